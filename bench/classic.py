"""Repeat experiments of Gatys, Ecker & Bethge (2016) with sound: alpha/beta, start, style layers.

Runs the preset ``classic`` on a grid of parameters, and measures every take as
``audiostyle evaluate`` does. Two controls show what the inversion alone costs: content and style,
turned into a spectrogram and back. docs/classic.md discusses the figure::

    python -m bench.classic
    python -m bench.classic song.wav piano.wav -o mine --seconds 8 --iterations 300

Writes ``classic.png``, ``classic.csv`` and ``classic.md``, and the takes to the folder ``classic``.
Needs the extra ``evaluate``.
"""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import audiostyle
from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.plots import COLOR_MAP, shared_range
from audiostyle.core.sweep import Take
from audiostyle.utils.lazy_imports import load_librosa, load_matplotlib
from bench.common import (
    MAX_SECONDS,
    describe_machine,
    format_number,
    integer,
    make_parser,
    markdown_table,
    number,
)

EXAMPLES = Path(__file__).parents[1] / "examples"
SR = 22_050
RATIOS = (0.01, 0.1, 1.0, 10.0)  # alpha / beta, as beta is 1
LAYERS = tuple(f"block{i}_conv1" for i in range(1, 6))
MEASURES = ("style", "content", "score")
PNG_COLORS = 64  # enough for thumbnails, in a small file


@dataclass
class Trial:
    """A take, with its place in the figure, its losses and its measures."""

    row: str
    label: str
    take: Take
    measures: dict[str, float]

    def table_row(self) -> dict[str, Any]:
        """Return what the tables contain."""
        config, end = self.take.result.config, self.take.result.history[-1]
        return {
            "experiment": self.row,
            "take": self.label,
            "iterations": end.step,
            "L_content": end.content,
            "L_style": end.style,
            **{name: self.measures[name] for name in MEASURES},
            "content_weight": config.content_weight,
            "init": config.init,
            "style_layers": " ".join(name for name, _ in config.style_layers),
        }


def experiments(iterations: int) -> Iterator[tuple[str, dict[str, list[Any]], dict[str, Any]]]:
    """Yield the name of each experiment, what varies in it, and its fixed parameters."""
    fixed = {"iterations": iterations}
    yield "inversion alone", {"init": ["content", "style"]}, {"iterations": 0}
    for init in ("noise", "content"):
        yield f"from {init}", {"content_weight": list(RATIOS)}, {"init": init, **fixed}
    layers = [",".join(LAYERS[:n]) for n in range(1, len(LAYERS))]
    yield "style layers", {"style_layers": layers}, {"init": "noise", **fixed}


def label(take: Take) -> str:
    """Name a take by what varies in its experiment."""
    config = take.result.config
    if config.iterations == 0:
        return f"the {config.init}, inverted"
    if "content_weight" in take.parameters:
        return f"from {config.init}, alpha/beta = {config.content_weight:g}"
    names = [name for name, _ in config.style_layers]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def run(content: Array, style: Array, iterations: int, folder: Path) -> Iterator[Trial]:
    """Run all experiments, and save the takes."""
    from audiostyle.evaluation.scores import PairEvaluator

    evaluator = PairEvaluator(content, style, SR)
    for row, vary, fixed in experiments(iterations):
        config = TransferConfig.from_preset("classic", **fixed)
        for i, take in enumerate(audiostyle.sweep(content, style, SR, vary, config)):
            name = f"{row.replace(' ', '-')}-{i + 1}.wav"
            take.result.save(folder / name, force=True)
            assert take.result.y is not None
            yield Trial(row, label(take), take, evaluator.evaluate(take.result.y))


def draw(trials: Sequence[Trial]) -> Any:
    """Draw the controls and all scores in the first column, then a row per experiment."""
    figure = load_matplotlib().figure.Figure(figsize=(10, 6.6), dpi=80, layout="constrained")
    controls, *rows = (
        [trial for trial in trials if trial.row == row]
        for row in dict.fromkeys(trial.row for trial in trials)
    )
    axes = figure.subplots(len(rows), 1 + max(map(len, rows)), squeeze=False)
    scale = shared_range([trial.take.result.S_result for trial in trials], TransferConfig())
    for ax in axes.flat:
        ax.set_axis_off()
    for trial, ax in zip(controls, axes[:, 0], strict=False):
        _draw_take(ax, trial, scale)
    for line, places in zip(rows, axes[:, 1:], strict=True):
        for trial, ax in zip(line, places, strict=False):
            _draw_take(ax, trial, scale)
    _draw_scores(axes[-1, 0], trials)
    return figure


def _draw_take(ax: Any, trial: Trial, scale: tuple[float, float]) -> None:
    S, (low, high) = trial.take.result.S_result, scale
    ax.imshow(S, origin="lower", aspect="auto", cmap=COLOR_MAP, vmin=low, vmax=high)
    values = (f"{name} {format_number(trial.measures[name], 2)}" for name in MEASURES)
    ax.set_title(f"{trial.label}\n{'  '.join(values)}", fontsize=7)


def _draw_scores(ax: Any, trials: Sequence[Trial]) -> None:
    ax.set_axis_on()
    for row, marker in zip(dict.fromkeys(trial.row for trial in trials), "xosv", strict=True):
        points = [trial.measures for trial in trials if trial.row == row]
        values = ([point[name] for point in points] for name in ("content", "style"))
        ax.plot(*values, marker, label=row, markersize=5)
    ax.set_xlabel("content", fontsize=7)
    ax.set_ylabel("style", fontsize=7)
    ax.tick_params(labelsize=6)
    ax.legend(fontsize=5)
    ax.grid(alpha=0.3)


def write_png(figure: Any, path: Path) -> None:
    """Write a figure with few colours."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    image = Image.open(buffer).convert("RGB").quantize(PNG_COLORS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def write_tables(trials: Sequence[Trial], output: Path, seconds: float) -> str:
    """Write the CSV and the Markdown table; return the latter."""
    rows = [trial.table_row() for trial in trials]
    with output.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    shown = list(rows[0])[1:8]
    digits = dict.fromkeys(MEASURES, 2) | {"L_content": 4, "L_style": 4}
    lines = [
        [format_number(row[name], digits[name]) if name in digits else row[name] for name in shown]
        for row in rows
    ]
    machine = describe_machine()
    about = f"{machine['cpu']}, {machine['cores_usable']} cores, {machine['date'][:10]}"
    text = f"{markdown_table(shown, lines)}\n{about}, {seconds:.0f} s\n"
    output.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiments."""
    parser, length = make_parser("bench.classic", __doc__), number(1.0, MAX_SECONDS, "s")
    parser.add_argument("content", type=Path, nargs="?", default=EXAMPLES / "pluck.flac")
    parser.add_argument("style", type=Path, nargs="?", default=EXAMPLES / "strings.flac")
    parser.add_argument("-o", "--output", type=Path, default=Path("classic"), metavar="NAME")
    parser.add_argument("--seconds", type=length, default=4.0, help="used of each clip (default 4)")
    parser.add_argument("--iterations", type=integer(), default=100, help="of a take (default 100)")
    options = parser.parse_args(arguments)
    content, style = (
        np.asarray(load_librosa().load(path, sr=SR, duration=options.seconds)[0], np.float32)
        for path in (options.content, options.style)
    )
    options.output.mkdir(parents=True, exist_ok=True)
    began, trials = time.perf_counter(), []
    for trial in run(content, style, options.iterations, options.output):
        trials.append(trial)
        seconds = time.perf_counter() - began
        print(
            f"{seconds:4.0f} s  {trial.label}: {trial.measures['score']:.2f}",
            flush=True,
        )
    write_png(draw(trials), options.output.with_suffix(".png"))
    print(write_tables(trials, options.output, time.perf_counter() - began), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
