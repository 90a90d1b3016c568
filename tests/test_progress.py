"""What a transfer and an evaluation show while they run: a bar, lines, or nothing."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from audiostyle import evaluate_runner, runner
from audiostyle.events import TERMS, Iterate, Stage


def step(number: int, total: int = 5) -> Iterate:
    losses = dict.fromkeys(TERMS, 0.0) | {"content": 0.25, "style": 0.75}
    return Iterate(number, total, 1.0, **losses, layers={}, seconds=0.0)


def make_progress(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, quiet: bool = False
) -> tuple[runner.Progress, list[str]]:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    said: list[str] = []
    return runner.Progress(said.append, quiet), said


def events() -> list[Stage | Iterate]:
    stages = [Stage("style", "a.wav, clip 1"), Stage("features", "x"), Stage("descent", "CPU: x")]
    return [*stages, *(step(i) for i in range(6)), Stage("inversion")]


def test_without_a_terminal_progress_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, said = make_progress(monkeypatch)
    monkeypatch.setattr(runner.time, "monotonic", lambda: 1000.0)
    for event in events():
        progress(event)
    progress.close()
    assert said == [
        "listening to a.wav, clip 1",
        "CPU: x",
        "step 0/5: total 1, content 0.25, style 0.75",
        "step 5/5: total 1, content 0.25, style 0.75",
        "turning the spectrogram into sound",
    ]


def test_a_long_descent_says_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, said = make_progress(monkeypatch)
    clock = iter(np.arange(0, 100, runner.PLAIN_INTERVAL / 2))
    monkeypatch.setattr(runner.time, "monotonic", lambda: 1000.0 + next(clock))
    for i in range(6):
        progress(step(i))
    assert [line.split(":")[0] for line in said] == ["step 0/5", "step 2/5", "step 4/5"]
    progress.close()  # a descent that stops early says its last step all the same
    assert said[-1].startswith("step 5/5: ")


def test_on_a_terminal_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, said = make_progress(monkeypatch, terminal=True)
    for event in events():
        progress(event)
    bar = capsys.readouterr().err
    assert "5/5 [" in bar
    assert "content 0.25, style 0.75" in bar
    assert "step/s" in bar
    assert not any(line.startswith("step") for line in said)


def test_quiet_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, said = make_progress(monkeypatch, terminal=True, quiet=True)
    for event in events():
        progress(event)
    progress.close()
    assert (said, capsys.readouterr()) == ([], ("", ""))


def test_an_evaluation_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    said: list[str] = []
    progress = evaluate_runner.Progress(said.append, quiet=False)
    progress(0, 2, "first")
    progress(1, 2, "second")
    progress.close()
    assert "1/2" in terminal.getvalue()
    assert "second" in terminal.getvalue()
    assert said == []
