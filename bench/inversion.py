"""Measure what the inversion alone loses: from clips to mel spectrograms and back, without a style.

    python -m bench.inversion FOLDER
    python -m bench.inversion FOLDER --iterations 32 100 --seconds 10 -o inversion

Compares two methods: ``content``, the default of a transfer, keeps the clip's fine structure and
phase; ``griffinlim`` starts from the mel spectrogram and random phase. For each clip it gives

- the mean absolute error of the mel spectrogram in dB, over bands and frames within 60 dB of the
  loudest;
- the spectral convergence of Griffin-Lim in dB: the distance between the magnitudes of the output
  and the requested ones;
- the frame-wise F-measure of the notes, against the clip's own.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.audio.reader import FileSource, find_clips
from audiostyle.audio.streams import AudioSource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.synthesis import SpectrogramSegment, Synthesizer
from audiostyle.dsp import spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import AudioStyleError
from audiostyle.evaluation import content_metrics, style_metrics
from bench.common import MAX_SECONDS, integer, make_parser, markdown_table, number

Array = npt.NDArray[Any]

METHODS = ("content", "griffinlim")
AUDIBLE_DB = 60.0  # below the maximum; lower levels do not count in the mel error


def round_trip(source: AudioSource, config: TransferConfig) -> dict[str, float]:
    """Invert a clip's own spectrogram; return ``mel_error``, ``convergence`` (dB) and ``notes``."""
    stream = NormalizedStream(source, config)
    D = stream.frame_reader().stft(0, stream.n_frames)
    power = spectrogram.channel_power(D)
    S = spectrogram.mel_db(power, config)
    synthesizer = Synthesizer(stream, config)
    changes: list[Array] = []
    segments = iter([SpectrogramSegment(S, D, power, last=True)])
    y = np.concatenate(list(synthesizer.blocks(segments, changes.append)), axis=1)
    audible = S > S.max() - AUDIBLE_DB
    S_after = spectrogram.mel_spectrogram(np.concatenate(changes, axis=1), config)
    original = np.concatenate(list(stream.blocks()), axis=1)
    return {
        "mel_error": float(np.abs(S_after - S)[audible].mean()),
        "convergence": synthesizer.convergence,
        "notes": content_metrics.note_f_measure(
            *(_notes(clip, stream.sr) for clip in (original, y))
        ),
    }


def _notes(y: Array, sr: int) -> Array:
    return content_metrics.note_frames(content_metrics.constant_q(style_metrics.prepare(y, sr)))


def format_rows(rows: Sequence[tuple[str, str, dict[str, float]]]) -> str:
    """Format the mean and the worst clip of each method, from rows of (method, clip, measures)."""
    lines = []
    for method in dict.fromkeys(row[0] for row in rows):
        found = [measures for name, _, measures in rows if name == method]
        cells = [method, str(len(found))]
        for name, worst in (("mel_error", max), ("convergence", max), ("notes", min)):
            values = [measures[name] for measures in found]
            digits = 1 if name == "convergence" else 2
            cells += [f"{np.mean(values):.{digits}f}", f"{worst(values):.{digits}f}"]
        lines.append(cells)
    head = ["mel error, dB", "worst", "convergence, dB", "worst", "notes", "worst"]
    return markdown_table(["inversion", "clips", *head], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = make_parser("bench.inversion", __doc__)
    add = parser.add_argument
    add("folder", type=Path, help="folder of clips, searched recursively")
    add("--iterations", type=integer(0), nargs="+", default=[100], help="(100)")
    add("--seconds", type=number(0.5, MAX_SECONDS, "s"), help="of each clip (default: all)")
    add("-o", "--output", type=Path, help="folder for inversion.md")
    options = parser.parse_args(arguments)
    rows = []
    try:
        for path in find_clips(options.folder):
            for method in METHODS:
                for n in options.iterations:
                    config = dataclasses.replace(
                        TransferConfig(), inversion=method, inversion_iterations=n
                    )
                    found = round_trip(FileSource(path, duration=options.seconds), config)
                    rows.append((f"{method}, {n} iterations", str(path), found))
                    measures = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
                    print(f"{path}  {rows[-1][0]}  {measures}", flush=True)
    except (AudioStyleError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = format_rows(rows)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "inversion.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
