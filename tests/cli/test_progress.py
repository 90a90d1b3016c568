"""What a transfer and an evaluation show while they run: a bar, lines, or nothing."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

from audiostyle.cli import batch_progress, evaluate, transfer
from audiostyle.events import TERMS, Iteration, Stage


def step(number: int, total: int = 5, window: int = 1, n_windows: int = 1) -> Iteration:
    losses = dict.fromkeys(TERMS, 0.0) | {"content": 0.25, "style": 0.75}
    where = {"window": window, "n_windows": n_windows}
    return Iteration(number, total, 1.0, **losses, layers={}, seconds=0.0, **where)


def make_progress(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, quiet: bool = False
) -> tuple[transfer.TransferProgress, list[str]]:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    said: list[str] = []
    return transfer.TransferProgress(said.append, quiet), said


def events() -> list[Stage | Iteration]:
    stages = [
        Stage("style", "a.wav, clip 1"),
        Stage("features", "x"),
        Stage("optimization", "CPU: x"),
    ]
    return [*stages, *(step(i) for i in range(6)), Stage("inversion")]


def test_without_a_terminal_progress_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, said = make_progress(monkeypatch)
    monkeypatch.setattr(transfer.time, "monotonic", lambda: 1000.0)
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
    clock = iter(np.arange(0, 100, transfer.PLAIN_INTERVAL / 2))
    monkeypatch.setattr(transfer.time, "monotonic", lambda: 1000.0 + next(clock))
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


def windows() -> list[Stage | Iteration]:
    """Three windows, of which the second stops early."""
    estimate = Stage("estimate", "about 12 min")
    steps = [step(i, 5, w, 3) for w, n in ((1, 6), (2, 3), (3, 6)) for i in range(n)]
    return [estimate, Stage("optimization", "CPU: x"), *steps, Stage("inversion")]


def test_several_windows_are_one_bar_that_never_goes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, said = make_progress(monkeypatch, terminal=True)
    shown: list[tuple[int, int]] = []
    move = progress._move

    def watch(bar: Any, done: int, text: str) -> None:
        move(bar, done, text)
        shown.append((bar.n, bar.total))

    monkeypatch.setattr(progress, "_move", watch)
    for event in windows():
        progress(event)
    assert shown == [(n, 15) for n in (0, 1, 2, 3, 4, 5, 5, 6, 7, 10, 11, 12, 13, 14, 15)]
    bar = capsys.readouterr().err
    assert "100%" in bar and "15/15 [" in bar
    assert "window 3/3, total 1, content 0.25, style 0.75" in bar
    assert bar.count("\n") == 1
    assert said == ["this will take about 12 min", "CPU: x", "turning the spectrogram into sound"]


def test_plain_lines_say_which_window(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, said = make_progress(monkeypatch)
    clock = iter(np.arange(0, 1000, transfer.PLAIN_INTERVAL))
    monkeypatch.setattr(transfer.time, "monotonic", lambda: 1000.0 + next(clock))
    for event in windows():
        progress(event)
    lines = [line.split(":")[0] for line in said]
    assert lines[:3] == ["this will take about 12 min", "CPU", "window 1/3, step 0/5"]
    assert "window 2/3, step 2/5" in lines
    assert lines[-2:] == ["window 3/3, step 5/5", "turning the spectrogram into sound"]


def test_windows_that_take_no_time_are_no_flood_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, said = make_progress(monkeypatch)
    monkeypatch.setattr(transfer.time, "monotonic", lambda: 1000.0)
    for event in windows():
        progress(event)
    assert [line.split(":")[0] for line in said if "step" in line] == [
        "window 1/3, step 0/5",
        "window 3/3, step 5/5",
    ]


def test_a_pair_of_several_windows_is_one_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = batch_progress.BatchProgress(lambda text: None, quiet=False)
    bar = progress._bar("step", position=1, leave=False)
    shown = []
    for event in [*windows(), *(step(i, 2) for i in range(3)), *windows()]:
        progress(event)
        if isinstance(event, Iteration):
            shown.append((bar.n, bar.total))
    long = [(n, 15) for n in (0, 1, 2, 3, 4, 5, 5, 6, 7, 10, 11, 12, 13, 14, 15)]
    assert shown == [*long, (0, 2), (1, 2), (2, 2), *long]
    assert bar.postfix == "window 3/3, total 1"
    progress.close()


def test_programs_are_told_which_window() -> None:
    assert batch_progress.as_event(step(3, 5, 2, 4)) == {
        **{"event": "step", "step": 3, "n_steps": 5, "window": 2, "n_windows": 4},
        **{"total": 1.0, "content": 0.25, "style": 0.75},
    }


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
    progress = evaluate.EvaluationProgress(said.append, quiet=False)
    progress(0, 2, "first")
    progress(1, 2, "second")
    progress.close()
    assert "1/2" in terminal.getvalue()
    assert "second" in terminal.getvalue()
    assert said == []
