"""The progress of commands: a bar, lines, or nothing."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiostyle.cli import progress as cli_progress
from audiostyle.cli.batch import to_event
from audiostyle.cli.progress import (
    LINE_INTERVAL,
    BatchProgress,
    Console,
    Progress,
    TransferProgress,
    device_label,
    format_duration,
)
from audiostyle.events import TERMS, Iteration, Stage
from audiostyle.nn import device


def step(number: int, total: int = 5, window: int = 1, n_windows: int = 1) -> Iteration:
    losses = dict.fromkeys(TERMS, 0.0) | {"content": 0.25, "style": 0.75}
    where = {"window": window, "n_windows": n_windows}
    return Iteration(number, total, 1.0, **losses, layers={}, seconds=0.0, **where)


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[int, list[Any]] | None], None]:
    """Replace the answer of the NVIDIA driver; at first, there is none."""

    def replace(answer: tuple[int, list[Any]] | None) -> None:
        def query() -> tuple[int, list[Any]]:
            if answer is None:
                raise OSError
            return answer

        monkeypatch.setattr(device, "query_driver", query)

    replace(None)
    return replace


class ListConsole(Console):
    """Keeps the lines."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet)
        self.lines: list[str] = []

    def echo(self, text: str, always: bool = False) -> None:
        self.lines.append(text)


def make_progress(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, quiet: bool = False
) -> tuple[TransferProgress, list[str]]:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    console = ListConsole(quiet)
    return TransferProgress(console), console.lines


def events() -> list[Stage | Iteration]:
    stages = [
        Stage("loading"),
        Stage("style", "a.wav, clip 1"),
        Stage("features", "x"),
        Stage("optimization", "CPU: x"),
    ]
    return [*stages, *(step(i) for i in range(6)), Stage("inversion")]


def test_without_a_terminal_progress_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, lines = make_progress(monkeypatch)
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: 1000.0)
    for event in events():
        progress(event)
    progress.close()
    assert lines == [
        "analysing a.wav, clip 1",
        "iteration 0/5: total loss 1",
        "iteration 5/5: total loss 1",
        "turning the spectrogram into sound",
    ]


def test_a_long_optimization_shows_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress, lines = make_progress(monkeypatch)
    clock = iter(np.arange(0, 100, LINE_INTERVAL / 2))
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: 1000.0 + next(clock))
    for i in range(6):
        progress(step(i))
    assert [line.split(":")[0] for line in lines] == [
        "iteration 0/5",
        "iteration 2/5",
        "iteration 4/5",
    ]
    progress.close()  # the last iteration is shown even if the optimization stops early
    assert lines[-1].startswith("iteration 5/5: ")


def test_on_a_terminal_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, lines = make_progress(monkeypatch, terminal=True)
    for event in events():
        progress(event)
    bar = capsys.readouterr().err
    assert "5/5 [" in bar
    assert "total loss 1" in bar
    assert lines[0] == "loading TensorFlow"
    assert "iteration/s" in bar
    assert not any(line.startswith("iteration") for line in lines)


def windows() -> list[Stage | Iteration]:
    """Three windows, of which the second stops early."""
    estimate = Stage("estimate", "about 12 min")
    steps = [step(i, 5, w, 3) for w, n in ((1, 6), (2, 3), (3, 6)) for i in range(n)]
    return [estimate, Stage("optimization", "CPU: x"), *steps, Stage("inversion")]


def test_several_windows_are_one_bar_that_never_goes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, lines = make_progress(monkeypatch, terminal=True)
    shown: list[tuple[int, int]] = []
    for event in windows():
        progress(event)
        if isinstance(event, Iteration):
            shown.append((progress.bar("iteration").n, progress.bar("iteration").total))
    assert shown == [(n, 15) for n in (0, 1, 2, 3, 4, 5, 5, 6, 7, 10, 11, 12, 13, 14, 15)]
    bar = capsys.readouterr().err
    assert "100%" in bar and "15/15 [" in bar
    assert "window 3/3, total loss 1" in bar
    assert bar.count("\n") == 1
    assert lines == ["this will take about 12 min", "turning the spectrogram into sound"]


def test_lines_name_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, lines = make_progress(monkeypatch)
    clock = iter(np.arange(0, 1000, LINE_INTERVAL))
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: 1000.0 + next(clock))
    for event in windows():
        progress(event)
    starts = [line.split(":")[0] for line in lines]
    assert starts[:2] == ["this will take about 12 min", "window 1/3, iteration 0/5"]
    assert "window 2/3, iteration 2/5" in starts
    assert starts[-2:] == ["window 3/3, iteration 5/5", "turning the spectrogram into sound"]


def test_fast_windows_do_not_flood_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, lines = make_progress(monkeypatch)
    monkeypatch.setattr(cli_progress.time, "monotonic", lambda: 1000.0)
    for event in windows():
        progress(event)
    assert [line.split(":")[0] for line in lines if "iteration" in line] == [
        "window 1/3, iteration 0/5",
        "window 3/3, iteration 5/5",
    ]


def test_a_pair_of_several_windows_is_one_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = BatchProgress(ListConsole())
    bar = progress.bar("iteration", position=1, leave=False)
    shown = []
    for event in [*windows(), *(step(i, 2) for i in range(3)), *windows()]:
        progress(event)
        if isinstance(event, Iteration):
            shown.append((bar.n, bar.total))
    long = [(n, 15) for n in (0, 1, 2, 3, 4, 5, 5, 6, 7, 10, 11, 12, 13, 14, 15)]
    assert shown == [*long, (0, 2), (1, 2), (2, 2), *long]
    assert bar.postfix == "window 3/3, total loss 1"
    progress.close()


def test_events_name_the_window() -> None:
    assert to_event(step(3, 5, 2, 4)) == {
        **{"event": "step", "step": 3, "n_steps": 5, "window": 2, "n_windows": 4},
        **{"total": 1.0, **dict.fromkeys(TERMS, 0.0), "content": 0.25, "style": 0.75},
    }


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (None, False),  # no driver
        ((device.NO_DEVICE, []), False),
        ((0, []), False),
        ((803, []), True),  # a driver that fails
        ((0, [(8, 6)]), True),
    ],
)
def test_why_no_gpu_is_used_is_shown_where_there_is_one_or_if_verbose(
    answer: Any, shown: bool, driver: Callable[[Any], None]
) -> None:
    driver(answer)
    assert device_label("CPU: why", verbose=False) == ("CPU: why" if shown else "")
    assert device_label("CPU: why", verbose=True) == "CPU: why"
    assert device_label("CPU, as requested", verbose=False) == ""
    assert device_label("GPU 0 of 1", verbose=False) == "GPU 0 of 1"


def test_verbose_shows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, lines = make_progress(monkeypatch)
    progress.console.verbose = True
    progress(Stage("optimization", "CPU: x"))
    assert lines == ["CPU: x"]


def test_quiet_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, lines = make_progress(monkeypatch, terminal=True, quiet=True)
    for event in events():
        progress(event)
    progress.close()
    assert (lines, capsys.readouterr()) == ([], ("", ""))


def test_an_evaluation_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(ListConsole())
    progress.show_item("step", 0, 2, "first")
    progress.show_item("step", 1, 2, "second")
    progress.close()
    assert "1/2" in terminal.getvalue()
    assert "second" in terminal.getvalue()
    assert progress.console.lines == []  # type: ignore[attr-defined]


def test_many_items_are_about_twenty_lines() -> None:
    for total, expected in ((3, 3), (20, 20), (39, 39), (1000, 20)):
        progress = Progress(console := ListConsole())
        for done in range(total + 1):
            progress.show_item("drawing", done, total, "x.wav")
        assert len(console.lines) == expected
        assert console.lines[0] == f"drawing 1/{total}: x.wav"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.46, "4.5 s"), (45, "45 s"), (720, "12 min"), (12_600, "3.5 h"), (181_440, "2.1 days")],
)
def test_durations_are_written_in_the_largest_fitting_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
