"""The number of threads: where it applies, when it is refused, and what it changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle.cli.main import main
from audiostyle.errors import ConfigError
from audiostyle.nn import device
from tests.conftest import SR, TINY_OPTIONS, Array, make_noise, make_tones


@dataclass
class Run:
    """What `tests.support.threads_worker` found, and what it made."""

    threads: int
    found: dict[str, Any]
    y: Array
    losses: list[float]
    folder: Path


def run_with(threads: int, folder: Path) -> Run:
    sf.write(folder / "content.wav", make_tones(), SR)
    sf.write(folder / "style.wav", make_noise(), SR)
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "threads_worker.py"),
        str(threads),
    ]
    command += ["transfer", "content.wav", "style.wav", "-o", "out.wav", *TINY_OPTIONS]
    command += ["--precision=float32", "--subtype=FLOAT", "--device=cpu", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    record = json.loads((folder / "out.wav.json").read_text())
    losses = [step["total"] for step in record["losses"]]
    return Run(threads, json.loads(done.stdout), sf.read(folder / "out.wav")[0], losses, folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return [run_with(threads, tmp_path_factory.mktemp(f"of{threads}")) for threads in (1, 2)]


@pytest.mark.slow
def test_tensorflow_and_the_libraries_below_numpy_use_the_given_number(runs: list[Run]) -> None:
    for run in runs:
        assert run.found["code"] == 0
        assert (run.found["intra"], run.found["inter"]) == (run.threads, run.threads)
        assert run.found["libraries"]
        assert max(run.found["libraries"]) <= min(run.threads, os.cpu_count() or 1)


@pytest.mark.slow
def test_the_number_cannot_change_after_tensorflow_started(runs: list[Run]) -> None:
    for run in runs:
        assert (run.found["same"], run.found["default"]) == ("", "")
        assert run.found["other"] == (
            f"threads={run.threads + 1}: TensorFlow has already started, with "
            f"threads={run.threads} within and {run.threads} between operations; use the same "
            "number, or a new process"
        )


@pytest.mark.slow
def test_a_batch_with_another_number_starts_no_pair(runs: list[Run]) -> None:
    for run in runs:
        assert run.found["batch"] == run.found["other"]
        journal = (run.folder / "batch" / "journal.jsonl").read_text()
        assert '"started"' not in journal and '"failed"' not in journal


@pytest.mark.slow
def test_the_number_changes_a_result_only_by_rounding(runs: list[Run]) -> None:
    """Sums are computed in another order, and every iteration magnifies the difference.

    Measured: 4e-6 of the loss at the start, 5e-5 after three steps, and -52 dB of the sound.
    """
    one, two = runs
    np.testing.assert_allclose(two.losses[0], one.losses[0], rtol=1e-4)
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-3)
    error = np.sum((two.y - one.y) ** 2) / np.sum(one.y**2)
    assert error < 1e-3


@pytest.mark.parametrize(
    "command",
    [
        ["transfer", "content.wav", "style.wav", "-o", "out.wav"],
        ["batch", "content.wav", "style.wav", "-o", "out"],
        ["style", "style.wav", "-o", "out.style.npz"],
    ],
)
def test_every_command_that_computes_passes_the_number_on(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(threads: int) -> None:
        raise ConfigError(f"{threads} threads were asked for")

    monkeypatch.setattr(device, "set_threads", refuse)
    monkeypatch.chdir(tmp_path)
    sf.write("content.wav", make_tones(), SR)
    sf.write("style.wav", make_noise(), SR)
    with pytest.raises(SystemExit) as exit_info:
        main([*command, "--threads=3", "--quiet"])
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "audiostyle: error: 3 threads were asked for\n"


@pytest.mark.parametrize("value", ["-1", "1025", "1.5"])
@pytest.mark.parametrize("command", ["transfer", "batch", "style"])
def test_an_invalid_number_is_a_usage_error(
    command: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write("style.wav", make_noise(), SR)
    sides = {"style": ["style.wav", "-o", "a.style.npz"], "batch": ["style.wav"] * 2 + ["-o", "b"]}
    rest = sides.get(command, ["style.wav", "style.wav", "-o", "a.wav"])
    with pytest.raises(SystemExit) as exit_info:
        main([command, *rest, f"--threads={value}"])
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "threads" in line and value in line
    assert {path.name for path in tmp_path.iterdir()} == {"style.wav"}


@pytest.mark.parametrize("value", [True, 1.5, "2", None])
def test_a_number_of_threads_is_a_whole_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"threads=.* must be a whole number"):
        device.check_threads(value)


def test_numpy_integers_are_accepted() -> None:
    assert device.check_threads(np.int64(4)) == 4
    assert device.check_threads(1024) == 1024
