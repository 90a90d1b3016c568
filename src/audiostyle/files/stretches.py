"""Stretches of a content that alone are styled: cut out with their surroundings, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from audiostyle.arrays import Array
from audiostyle.audio.loudness import LoudnessMatchedStream, LoudnessMeter, match_loudness_stream
from audiostyle.audio.reader import FileSource
from audiostyle.audio.streams import StreamChecker, StreamReader, crop_stream
from audiostyle.audio.writer import FLOAT, UNCOMPRESSED
from audiostyle.core.mixing import mix_blocks
from audiostyle.core.transfer import TransferResult
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.dsp.segmentation import fade_in
from audiostyle.errors import AudioFileError
from audiostyle.utils.times import format_span, format_time

CONTEXT_SECONDS = 1.0  # on either side of a stretch: styled with it, and then left as it was
FADE_SECONDS = 0.08  # from the content to the result and back, inside the stretch


@dataclass(frozen=True)
class Stretch:
    """One stretch, in samples of the content."""

    start: int
    stop: int
    position: int  # of its first sample in the `StretchSource`


class StretchSource:
    """The stretches of a file one after the other, each with its context, as an `AudioSource`.

    The whole file is read once to check it; an `AudioFileError` is raised if a stretch reaches
    beyond its end.
    """

    def __init__(self, file: FileSource, only: Sequence[tuple[float, float]]) -> None:
        self.file, self.sr, self.channels = file, file.sr, file.channels
        self._spans = [format_span(span) for span in only]
        self.name = f"{file.name} at {', '.join(self._spans)}"
        checker = StreamChecker(file.sr, file.channels)
        for block in file.blocks():
            checker.add(block)
        _, self.peak = checker.check(file.name)  # of the whole file
        self.n = checker.n
        self.stretches: list[Stretch] = []
        self._parts: list[tuple[int, int]] = []
        context, position = round(CONTEXT_SECONDS * self.sr), 0
        for span in only:
            start, stop = (round(time * self.sr) for time in span)
            if stop > self.n:
                raise AudioFileError(
                    f"{file.name}: only={format_span(span)} reaches beyond its end at "
                    f"{format_time(self.n / self.sr)}"
                )
            first, last = max(0, start - context), min(self.n, stop + context)
            self.stretches.append(Stretch(start, stop, position + start - first))
            self._parts.append((first, last))
            position += last - first

    def blocks(self) -> Iterator[Array]:
        """Yield the stretches with their context; see `AudioSource.blocks`."""
        for first, last in self._parts:
            part = FileSource(self.file.path, first / self.sr, (last - first) / self.sr)
            yield from part.blocks()

    def fades(self, stretch: Stretch) -> Array:
        """Return the share of the result [shape=(n,), float32]; the file's own ends do not fade."""
        share = np.ones(stretch.stop - stretch.start, np.float32)
        fade = fade_in(round(FADE_SECONDS * self.sr))
        if stretch.start > 0:
            share[: len(fade)] = fade
        if stretch.stop < self.n:
            share[-len(fade) :] *= fade[::-1]
        return share

    def notes(self, subtype: str) -> list[str]:
        """Say what was styled, and what an output of this format does to the rest."""
        notes = [f"styled only {', '.join(self._spans)}; the rest is as in the content"]
        if subtype not in UNCOMPRESSED and not subtype.startswith("ALAC"):
            notes.append(
                f"{subtype} is lossy and changes the rest as well; .wav and .flac keep its samples"
            )
        elif subtype not in FLOAT and self.peak > 1:
            notes.append(
                "peaks of the content above full scale are cut off outside the stretches; a WAV "
                "file with --subtype FLOAT can hold them"
            )
        return notes


def insert_stretches(
    source: StretchSource,
    content: NormalizedStream,
    result: TransferResult,
    *,
    float_output: bool,
) -> tuple[TransferResult, Iterator[Array]]:
    """Put the result of a `StretchSource` back into its file, at the loudness of each stretch.

    Returns the result with the gain of the stretches (their mean, and the largest reductions), and
    the blocks of the whole file, whose samples outside the stretches are those of the file.
    """
    ceiling = np.inf if float_output and content.peak > 1 else 1 - float(abs(content.offset).max())
    matched = [_match(stretch, content, result, ceiling) for stretch in source.stretches]
    result = replace(
        result,
        gain=float(np.mean([one.gain for one in matched])),
        lowered=max(one.lowered for one in matched),
        reduction=max(one.reduction for one in matched),
    )
    return result, _insert(source, content, matched, result.config.mix)


def _match(
    stretch: Stretch, content: NormalizedStream, result: TransferResult, ceiling: float
) -> LoudnessMatchedStream:
    """Bring a stretch of the result to the loudness that it has in the content."""
    assert result.matched is not None
    unmatched = result.matched.source

    def blocks() -> Iterator[Array]:
        return _crop(unmatched(), stretch)

    loudness, peak = _measure(blocks(), content.sr)
    target, _ = _measure(_crop(content.blocks(), stretch), content.sr)
    return match_loudness_stream(blocks, content.sr, loudness, peak, target, ceiling)


def _crop(blocks: Iterator[Array], stretch: Stretch) -> Iterator[Array]:
    return crop_stream(blocks, stretch.position, stretch.stop - stretch.start)


def _measure(blocks: Iterator[Array], sr: int) -> tuple[float, float]:
    meter, peak = LoudnessMeter(sr), 0.0
    for block in blocks:
        meter.add(block)
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
    return meter.value(), peak


def _insert(
    source: StretchSource,
    content: NormalizedStream,
    matched: Sequence[LoudnessMatchedStream],
    mix: float,
) -> Iterator[Array]:
    """Add the change of each stretch to the file, whose DC offset stays if it has one."""
    channels, first = source.channels, 0
    changes = [
        (
            stretch,
            source.fades(stretch),
            StreamReader(_crop(content.blocks(), stretch), channels),
            StreamReader(
                mix_blocks(_crop(content.blocks(), stretch), one.blocks(), channels, mix), channels
            ),
        )
        for stretch, one in zip(source.stretches, matched, strict=True)
    ]
    for block in source.file.blocks():
        last = first + block.shape[1]
        for stretch, share, before, after in changes:
            start, stop = max(first, stretch.start), min(last, stretch.stop)
            if start < stop:
                span = start - stretch.start, stop - stretch.start
                change = share[slice(*span)] * (after.read(*span) - before.read(*span))
                block = block.copy()
                block[:, start - first : stop - first] += change
        first = last
        yield block
