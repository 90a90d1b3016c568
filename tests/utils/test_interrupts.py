"""Signals before, during and after the work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from audiostyle.errors import Interrupted
from audiostyle.utils import interrupts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


@pytest.fixture
def interrupt() -> Iterator[tuple[interrupts.Interrupt, list[str]]]:
    lines: list[str] = []
    with interrupts.Interrupt(lines.append) as handler:
        yield handler, lines


Handler = tuple[interrupts.Interrupt, list[str]]


@pytest.mark.parametrize("stage", ["", "style", "features"])
def test_before_the_optimization_a_signal_stops_at_once(stage: str, interrupt: Handler) -> None:
    handler, lines = interrupt
    handler.stage = stage
    with pytest.raises(Interrupted) as error:
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.code == handler.code == 143
    assert lines == []


@pytest.mark.parametrize(
    ("stage", "what"), [("optimization", "the best result so far"), ("inversion", "the result")]
)
def test_during_the_work_the_first_signal_asks_and_the_second_stops(
    stage: str, what: str, interrupt: Handler
) -> None:
    handler, lines = interrupt
    handler.stage = stage
    os.kill(os.getpid(), signal.SIGINT)
    assert (handler.signals, handler.code) == (1, 130)
    assert lines == [f"stopping; {what} will be written (interrupt again to stop now)"]
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGINT)


def test_after_the_work_signals_are_ignored(interrupt: Handler) -> None:
    handler, lines = interrupt
    handler.stage = "done"
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert (handler.signals, lines) == (0, [])


def test_the_previous_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interrupts.Interrupt(print):
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
    assert not set(map(id, during)) & set(map(id, before))


def test_any_error_after_a_signal_is_reported_as_an_interruption() -> None:
    """An import that is interrupted may fail with any error of its module."""
    with pytest.raises(Interrupted) as error, interrupts.Interrupt(print):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except Interrupted:
            raise ImportError("initialization failed") from None
    assert error.value.code == 130
    with pytest.raises(ImportError, match="by itself"), interrupts.Interrupt(print):
        raise ImportError("by itself")
