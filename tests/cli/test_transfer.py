"""Signals and messages; the signals also against a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle.cli import transfer
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import Interrupted
from audiostyle.events import Iteration, Stage
from audiostyle.files.request import TransferRequest
from audiostyle.utils import interrupts
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import iterate

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

ENDLESS = ["--optimizer=adam", "--tolerance=0", "--iterations=100000"]


class Run:
    """A transfer without an end, in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        sf.write(folder / "content.wav", make_tones(), SR)
        sf.write(folder / "style.wav", make_noise(), SR)
        self.folder = folder
        command = [sys.executable, "-m", "audiostyle", "transfer", "content.wav", "style.wav"]
        command += ["-o", "out.wav", *TINY_OPTIONS, *ENDLESS, *options]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.watchdog = threading.Timer(120, self.process.kill)  # a test that hangs fails
        self.watchdog.start()

    def wait_for(self, start: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return
        pytest.fail(f"ended before it said {start!r}: {self.lines}")

    def end(self) -> int:
        _, rest = self.process.communicate()
        self.watchdog.cancel()
        self.lines += rest.splitlines()
        return self.process.returncode

    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"content.wav", "style.wav"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_the_descent_and_writes_the_best_so_far(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    run.wait_for("step 0/")
    run.process.send_signal(number)
    assert run.end() == 128 + number
    assert run.left() == {"out.wav", "out.wav.json"}
    y, sr = sf.read(tmp_path / "out.wav")
    assert (len(y), sr) == (SR, SR)
    assert np.abs(y).max() > 0.01
    record = json.loads((tmp_path / "out.wav.json").read_text())
    assert record["status"] == record["stopped"] == "interrupted"
    assert 0 < len(record["losses"]) < 100_000
    assert (
        "stopping; the best result so far will be written (interrupt again to stop now)"
        in run.lines
    )
    assert "interrupted" in run.lines[-1]


def test_the_second_signal_stops_now_and_leaves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, "--inversion-iterations=10000")
    run.wait_for("step 0/")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("turning the spectrogram into sound")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130
    assert run.left() == set()
    assert run.lines[-1] == "audiostyle: error: interrupted; nothing was written"


def test_a_signal_while_tensorflow_is_imported_stops_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, "--verbose")
    run.wait_for("")  # the first words of TensorFlow, of an import that takes seconds
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143
    assert run.left() == set()
    assert run.lines[-1] == "audiostyle: error: interrupted; nothing was written"
    assert not any(line.startswith(("step", "Traceback")) for line in run.lines)


@pytest.fixture
def interrupt() -> Iterator[tuple[interrupts.Interrupt, list[str]]]:
    said: list[str] = []
    with interrupts.Interrupt(said.append) as handler:
        yield handler, said


Handler = tuple[interrupts.Interrupt, list[str]]


@pytest.mark.parametrize("stage", ["", "style", "features"])
def test_before_the_descent_a_signal_stops_at_once(stage: str, interrupt: Handler) -> None:
    handler, said = interrupt
    handler.stage = stage
    with pytest.raises(Interrupted) as error:
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.code == handler.code == 143
    assert said == []


@pytest.mark.parametrize(
    ("stage", "what"), [("optimization", "the best result so far"), ("inversion", "the result")]
)
def test_during_the_work_the_first_signal_asks_and_the_second_stops(
    stage: str, what: str, interrupt: Handler
) -> None:
    handler, said = interrupt
    handler.stage = stage
    os.kill(os.getpid(), signal.SIGINT)
    assert (handler.signals, handler.code) == (1, 130)
    assert said == [f"stopping; {what} will be written (interrupt again to stop now)"]
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGINT)


def test_after_the_work_signals_come_too_late(interrupt: Handler) -> None:
    handler, said = interrupt
    handler.stage = "done"
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (handler.signals, said) == (0, [])


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts.Interrupt(print):
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
    assert not set(map(id, during)) & set(map(id, before))


def test_any_error_after_a_signal_is_an_interruption() -> None:
    """An import that is interrupted half-way fails with whatever its module makes of it."""
    with pytest.raises(Interrupted) as error, interrupts.Interrupt(print):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except Interrupted:
            raise ImportError("initialization failed") from None
    assert error.value.code == 130
    with pytest.raises(ImportError, match="by itself"), interrupts.Interrupt(print):
        raise ImportError("by itself")


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 0)]
)
def test_a_signal_stops_the_descent_and_decides_the_exit_code(
    number: signal.Signals | None, code: int, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    record = {"notes": ["a note"]}

    def work(
        _: Any, __: Any, callback: Callable[[Stage | Iteration], Any], *, laps: dict[str, float]
    ) -> Any:
        callback(Stage("optimization", "CPU"))
        assert list(laps) == ["to command"]
        answers.append(callback(iterate(0)))
        assert 0 < laps["to command"] <= laps["to first step"]
        if number is not None:
            os.kill(os.getpid(), number)
        answers.append(callback(iterate(1)))
        return SimpleNamespace(history=[iterate(0), iterate(1)], stopped="interrupted"), record

    monkeypatch.setattr(transfer.transfer, "run_transfer", work)
    said: list[str] = []
    published: list[str] = []
    result = transfer.run_transfer_command(
        TransferRequest(Path("a"), [Path("b")], Path("c"), style_weights=[1.0]),
        TransferConfig(),
        echo=said.append,
        publish=published.append,
        as_json=True,
        quiet=quiet,
    )
    assert (result, answers) == (code, [False, number is not None])
    assert [json.loads(text) for text in published] == [record]
    if quiet:
        assert said == []
    else:
        assert said[-2] == "a note"
        assert said[-1].startswith(f"{Path('c').resolve()} (1 steps, interrupted, ")
