"""What the inversion alone loses: clips to a mel spectrogram and back, without any style.

    python -m bench.inversion FOLDER
    python -m bench.inversion FOLDER --iterations 32 100 --seconds 10 -o inversion

Two ways: ``content``, the default of a transfer, keeps the clip's fine structure and phase;
``griffinlim`` starts from the mel spectrogram and random phase alone. For each clip it gives

- the mean absolute error of the mel spectrogram in dB, over the bands and frames within 60 dB of
  the loudest;
- the spectral convergence of Griffin-Lim in dB: how far the magnitudes of the sound are from those
  that were wanted;
- the F-measure of the notes, frame by frame, against the clip's own.
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
from audiostyle.dsp import inversion, spectrogram
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import AudioStyleError
from audiostyle.evaluation import content_metrics, style_metrics
from bench.arguments import MAX_SECONDS, make_parser, number, whole

Array = npt.NDArray[Any]

WAYS = ("content", "griffinlim")
AUDIBLE_DB = 60.0  # below the loudest band; what lies lower is left out of the mel error


def round_trip(source: AudioSource, config: TransferConfig) -> dict[str, float]:
    """Analyse a clip and make sound of its own spectrogram.

    Parameters
    ----------
    source : Source
    config : TransferConfig

    Returns
    -------
    dict of str to float
        ``mel_error`` and ``convergence`` in dB, and ``notes`` from 0 to 1.
    """
    recording = NormalizedStream(source, config)
    D = recording.frame_reader().stft(0, recording.n_frames)
    power = spectrogram.channel_power(D)
    S = spectrogram.mel_db(power, config)
    renderer = Synthesizer(recording, config)
    heard: list[Array] = []
    blocks = renderer.blocks(iter([SpectrogramSegment(S, D, power, last=True)]), heard.append)
    y = np.concatenate(list(blocks), axis=1)
    audible = S > S.max() - AUDIBLE_DB
    after = spectrogram.mel_spectrogram(np.concatenate(heard, axis=1), config)
    original = np.concatenate(list(recording.blocks()), axis=1)
    return {
        "mel_error": float(np.abs(after - S)[audible].mean()),
        "convergence": renderer.convergence,
        "notes": content_metrics.note_f_measure(
            *(_notes(clip, recording.sr) for clip in (original, y))
        ),
    }


def _notes(y: Array, sr: int) -> Array:
    return content_metrics.note_frames(content_metrics.constant_q(style_metrics.prepare(y, sr)))


def table(rows: Sequence[tuple[str, str, dict[str, float]]]) -> str:
    """Write the mean and the worst clip of each way, in Markdown.

    Parameters
    ----------
    rows : sequence of (str, str, dict)
        Way, clip, and its measures.

    Returns
    -------
    str
    """
    lines = [
        "| inversion | clips | mel error, dB | worst | convergence, dB | worst | notes | worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way in dict.fromkeys(row[0] for row in rows):
        found = [measures for name, _, measures in rows if name == way]
        cells = [way, str(len(found))]
        for name, worst in (("mel_error", max), ("convergence", max), ("notes", min)):
            values = [measures[name] for measures in found]
            digits = 1 if name == "convergence" else 2
            cells += [f"{np.mean(values):.{digits}f}", f"{worst(values):.{digits}f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's, if not given.

    Returns
    -------
    int
    """
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="with clips, in sub-folders too")
    parser.add_argument("--iterations", type=whole(0), nargs="+", default=[100], help="(100)")
    parser.add_argument("--seconds", type=number(0.5, MAX_SECONDS, "s"), help="of each clip (all)")
    parser.add_argument("-o", "--output", type=Path, help="folder for inversion.md")
    options = parser.parse_args(arguments)
    rows = []
    try:
        for path in find_clips(options.folder):
            for way in WAYS:
                for n in options.iterations:
                    config = dataclasses.replace(
                        TransferConfig(), inversion=way, inversion_iterations=n
                    )
                    found = round_trip(FileSource(path, duration=options.seconds), config)
                    rows.append((f"{way}, {n} iterations", str(path), found))
                    shown = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
                    print(f"{path}  {rows[-1][0]}  {shown}", flush=True)
    except (AudioStyleError, ImportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = table(rows)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "inversion.md").write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
