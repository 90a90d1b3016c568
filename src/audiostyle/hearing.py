"""Clips and styles as a transfer takes them: checked, and listened to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from audiostyle import mosaic, render, spectral
from audiostyle.config import TransferConfig
from audiostyle.errors import AudioFileError
from audiostyle.events import Callback, Stage
from audiostyle.streams import ArraySource, Tally

if TYPE_CHECKING:
    from audiostyle.analyzer import Analyzer
    from audiostyle.style_target import StyleTarget

Array = npt.NDArray[Any]

EXAMPLE_SECONDS = 60.0  # of a style that are kept for the picture and for init="style"


@dataclass
class Style:
    """One style: a clip, or several that together are one (a genre).

    Attributes
    ----------
    clips : iterable of (np.ndarray [shape=(n,) or (channels, n)], int)
        Each with its rate in Hz. May be a generator: one clip is held at a time.
    weight : float >= 0
        Share of this style among several.
    name : str
        For messages.
    heard : callable, optional
        Gives the style as it was analysed before; `clips` are not read then.
    """

    clips: Iterable[tuple[Array, int]]
    weight: float = 1.0
    name: str = "style"
    heard: Callable[[], HeardStyle] | None = None


@dataclass
class HeardStyle:
    """What a transfer needs of a style, whatever the style's length.

    Attributes
    ----------
    target : StyleTarget
    sound : StyleSound
    S : np.ndarray [shape=(n_mels, t), dB]
        Spectrogram of the first minute of its first clip.
    """

    target: StyleTarget
    sound: render.StyleSound
    S: Array


def check_clip(y: Any, sr: int, name: str) -> Array:
    """Return a clip as channels by samples without DC offset, or say what is wrong with it.

    Parameters
    ----------
    y : array_like [shape=(n,) or (channels, n)]
    sr : int > 0, in Hz
    name : str
        For messages: the file, or the parameter.

    Returns
    -------
    np.ndarray [shape=(channels, n), float32]

    Raises
    ------
    AudioFileError
        If it is of another shape, too short, not finite, or silent.
    """
    source = ArraySource(y, sr, name)
    tally = Tally(sr, source.channels)
    for block in source.blocks():
        tally.add(block)
    offset, _ = tally.check(name)
    return np.asarray(source.y - offset[:, None]) if offset.any() else source.y


def check_frames(n_frames: int, needed: int, name: str, config: TransferConfig) -> None:
    """Raise an `AudioFileError` if a clip has fewer frames than the network needs."""
    if n_frames < needed:
        raise AudioFileError(
            f"{name}: {n_frames} frames are too few for {config.network}, which needs {needed}; "
            f"use a longer clip, a smaller hop_length than {config.hop_length}, or shallower "
            "layers",
            kind="too_short",
        )


def hear(style: Style, analyzer: Analyzer, report: Callback) -> HeardStyle:
    """Take the statistics of one style, and what a start needs of it.

    Parameters
    ----------
    style : Style
    analyzer : Analyzer
    report : callable

    Returns
    -------
    HeardStyle

    Raises
    ------
    AudioFileError
        If a clip of it cannot be used.
    """
    if style.heard is not None:
        return style.heard()
    config = analyzer.config
    examples: list[render.Clip] = []
    pool = mosaic.FramePool(config.seed)

    def spectrograms() -> Iterable[Array]:
        for i, (y, sr) in enumerate(style.clips, 1):
            report(Stage("style", style.name if i == 1 else f"{style.name}, clip {i}"))
            clip = render.analyse(check_clip(y, sr, style.name), sr, config)
            check_frames(clip.S.shape[1], analyzer.min_frames, style.name, config)
            pool.add(spectral.channel_power(clip.D))
            if not examples:
                examples.append(clip)
            yield clip.S

    target = analyzer.style_target(spectrograms())
    n = int(EXAMPLE_SECONDS * config.sr)
    example = examples[0].y[:, :n].mean(axis=0, keepdims=True)
    # A copy: a view would keep the whole of a long clip in memory.
    S = examples[0].S[:, : 1 + n // config.hop_length].copy()
    return HeardStyle(target, render.StyleSound(target.mel_mean, pool.take(1.0), example), S)


def analyse_styles(
    styles: Sequence[Style], analyzer: Analyzer, report: Callback
) -> tuple[StyleTarget, render.StyleSound, Array]:
    """Blend styles into one.

    Parameters
    ----------
    styles : sequence of Style
    analyzer : Analyzer
    report : callable

    Returns
    -------
    target : StyleTarget
    sound : StyleSound
    S : np.ndarray [shape=(n_mels, t), dB]
        Spectrogram of the first minute of the first style.
    """
    from audiostyle.style_target import blend

    used = [style for style in styles if style.weight > 0]
    heard = [hear(style, analyzer, report) for style in used]
    total = sum(style.weight for style in used)
    shares = [style.weight / total for style in used]
    target = blend([h.target for h in heard], shares)
    # Of each style its share of a full pool of frames, the first of which are drawn best.
    counts = [max(1, round(share * mosaic.MAX_FRAMES)) for share in shares]
    frames = np.concatenate(
        [h.sound.frames[:, :n] for h, n in zip(heard, counts, strict=True)], axis=1
    )
    sound = replace(heard[0].sound, mel_mean=target.mel_mean, frames=frames)
    return target, sound, heard[0].S
