"""Helpers for tests of batches: a transfer that takes no time, a small GTZAN, the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile as sf

from audiostyle.audio.loudness import LoudnessMatchedStream
from audiostyle.batch import worker
from audiostyle.cli.main import main
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import sweep
from audiostyle.core.transfer import TransferResult
from audiostyle.events import Iteration, Stage
from tests.conftest import make_noise, make_tones

GTZAN_SR = 22050
SIDES = ("genres/jazz", "genres/classical")
WORKER = Path(__file__).parents[1] / "support" / "batch_worker.py"
BROKEN = ("jazz.00002.wav", "jazz.00007.wav", "classical.00011.wav")
"""Not RIFF, like jazz.00054.wav of GTZAN; cut off; empty."""
LONG = int(os.environ.get("AUDIOSTYLE_FUZZ", "0")) >= 20_000  # the run is a long one


def make_gtzan(root: Path, n_clips: int = 20, seconds: float = 0.6, broken: bool = True) -> Path:
    """Write ``root/genres`` with jazz and classical, broken clips and stray files as in GTZAN."""
    genres = root / "genres"
    for genre in ("jazz", "classical"):
        folder = genres / genre
        folder.mkdir(parents=True)
        for i in range(n_clips):
            y = (
                make_tones(seconds, GTZAN_SR, 110.0 * 2 ** (i / 12))
                if genre == "jazz"
                else make_noise(seconds, GTZAN_SR, seed=i)
            )
            name = f"{genre}.{i:05d}.wav"
            sf.write(folder / name, y, GTZAN_SR, subtype="PCM_16")
            (folder / f"._{name}").write_bytes(b"\x00\x05\x16\x07" + bytes(207))
    if broken:
        odd, cut, empty = (genres / name.split(".")[0] / name for name in BROKEN)
        odd.write_bytes(b"\x00not a RIFF header" + odd.read_bytes()[18:])
        cut.write_bytes(cut.read_bytes()[:9000])
        empty.write_bytes(b"")
    return genres


def rounds(few: int) -> int:
    """Return how often a process is killed: `AUDIOSTYLE_KILLS`, or more in a long run."""
    return int(os.environ.get("AUDIOSTYLE_KILLS", 50 if LONG else few))


def iterate(step: int) -> Iteration:
    """Make one of the iterations 0 to 2, whatever terms exist."""
    values: dict[str, Any] = {field.name: 0.5 for field in dataclasses.fields(Iteration)}
    values |= {"step": step, "n_steps": 2, "total": 3.0 - step, "layers": {}, "more": {}}
    return Iteration(**values)


class FakeStyleTransfer:
    """Replaces `audiostyle.core.transfer.StyleTransfer`: adds a tone that depends on the style.

    The output depends only on content, style and configuration.
    """

    pause = 0.0  # seconds between the iterations
    analyzed: ClassVar[Counter[str]] = Counter()  # how often each style was analysed
    watch: Callable[[TransferResult], Any] | None = None  # receives every result
    fail: Callable[[Any], None] | None = None  # receives the content, and may raise

    def __init__(self, config: TransferConfig, device: str = "auto", threads: int = 0) -> None:
        self.config = config

    def with_config(self, config: TransferConfig) -> FakeStyleTransfer:
        return type(self)(config)

    def analyze_style(self, style: Any, callback: Any) -> Any:
        if style.analyzed is not None:
            return style.analyzed()
        type(self).analyzed[style.name] += 1
        callback(Stage("style", style.name))
        levels = [float(np.abs(samples(recording)).mean()) for recording in style.clips]
        return SimpleNamespace(level=round(float(np.mean(levels)), 3))

    def run(
        self,
        recording: Any,
        styles: Any,
        buffer: Any,
        callback: Any,
        *,
        float_output: bool = True,
    ) -> TransferResult:
        (analyzed,) = (self.analyze_style(style, callback) for style in styles)
        callback(Stage("optimization", "no device"))
        content = samples(recording)
        if self.fail is not None:
            type(self).fail(content)  # type: ignore[misc]
        history = []
        for step in range(3):
            history.append(iterate(step))
            time.sleep(self.pause)
            callback(history[-1])
        callback(Stage("inversion"))
        tone = np.sin(np.arange(content.shape[-1]) * analyzed.level * self.config.strength)
        buffer.append(np.asarray(0.5 * content + 0.25 * tone, np.float32))
        result = make_result(recording.sr, self.config, buffer, history=history)
        if self.watch is not None:
            type(self).watch(result)  # type: ignore[misc]
        return result


def samples(recording: Any) -> np.ndarray:
    """Read all samples of a recording [shape=(channels, n)]."""
    return np.concatenate(list(recording.blocks()), axis=1)


def make_result(sr: int, config: TransferConfig, buffer: Any, **changes: Any) -> TransferResult:
    """Make the result of `StyleTransfer.run` from the samples in a buffer."""
    S = np.zeros((4, 4), np.float32)
    values: dict[str, Any] = {
        **dict(y=None, sr=sr, config=config, S_content=S, S_style=S, S_result=S),
        **dict(history=[], stopped="iterations", restarts=0, device="/CPU:0"),
        **dict(precision="float32", convergence=-9.0, gain=0.0, reduction=0.0),
        **dict(
            timings={"optimization": 0.0},
            matched=LoudnessMatchedStream(buffer.blocks, sr, 0.0, 0.0, 0.0),
        ),
    }
    return TransferResult(**{**values, **changes})


def install(set_attribute: Callable[[Any, str, Any], None]) -> type[FakeStyleTransfer]:
    """Replace `StyleTransfer` in the worker by a fresh fake, so that TensorFlow is not loaded."""

    class Fresh(FakeStyleTransfer):
        analyzed: ClassVar[Counter[str]] = Counter()

    set_attribute(sweep, "StyleTransfer", Fresh)
    set_attribute(worker.device, "load_tensorflow", lambda quiet=True: None)
    return Fresh


def journal_lines(folder: Path) -> list[dict[str, Any]]:
    """Parse the lines of a journal, and skip damaged ones."""
    lines = []
    for line in (folder / "journal.jsonl").read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def sounds(folder: Path) -> dict[str, bytes]:
    """Read all sound files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.wav"))
    }


def call(*arguments: str) -> int:
    """Run the command line, and return its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    return int(exit_info.value.code or 0)


def run(*options: str, out: str = "out", sides: tuple[str, str] = SIDES) -> int:
    """Run a batch in the current folder, and return its exit code."""
    return call("batch", *sides, "-o", out, *options)


def computed(out: str = "out") -> list[str]:
    """Return the names of the computed pairs in order."""
    return [line["pair"] for line in journal_lines(Path(out)) if line["event"] == "done"]


def rows(out: str = "out") -> dict[str, dict[str, Any]]:
    """Read the results of a batch by the name of the pair."""
    lines = (Path(out) / "results.jsonl").read_text().splitlines()
    return {row["pair"]: row for row in map(json.loads, lines)}


def fill_folder(root: Path, rate: int) -> Path:
    """Write inputs for a transfer and for a batch, and create the output folder."""
    sf.write(root / "content.wav", make_tones(0.6, rate), rate)
    sf.write(root / "style.wav", make_noise(0.6, rate), rate)
    make_gtzan(root, 3, broken=False)
    (root / "out").mkdir()
    return root
