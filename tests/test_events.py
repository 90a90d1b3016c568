"""Events of the core, and the merged history of several windows."""

from __future__ import annotations

import pytest

from audiostyle.events import TERMS, Iteration, merge_histories


def step(
    i: int, total: float, *, window: int = 1, n_windows: int = 2, n_steps: int = 4
) -> Iteration:
    terms = {name: total * k for k, name in enumerate(TERMS, 1)}
    layers = {"a": total / 2, "b": -total}
    return Iteration(
        i, n_steps, total, **terms, layers=layers, seconds=0.5 * i, window=window,
        n_windows=n_windows,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("i", "n_steps", "window", "n_windows", "done"),
    [
        (0, 4, 1, 1, 0.0),
        (1, 4, 1, 1, 0.25),
        (4, 4, 1, 1, 1.0),
        (0, 4, 3, 5, 0.4),
        (2, 4, 3, 5, 0.5),
        (4, 4, 5, 5, 1.0),
        (0, 0, 1, 1, 1.0),
        (0, 0, 1, 2, 0.5),
    ],
)
def test_the_share_that_is_done(
    i: int, n_steps: int, window: int, n_windows: int, done: float
) -> None:
    event = step(i, 1.0, window=window, n_windows=n_windows, n_steps=n_steps)
    assert event.done == pytest.approx(done)


def test_the_history_of_one_window_stays_unchanged() -> None:
    history = [step(i, 3.0 - i) for i in range(3)]
    assert merge_histories([history]) == history


def test_histories_are_averaged_step_by_step() -> None:
    first = [step(0, 4.0), step(1, 2.0), step(2, 1.0)]
    second = [step(0, 8.0, window=2), step(1, 6.0, window=2)]
    merged = merge_histories([first, second])
    means = [6.0, 4.0, 3.5]
    assert [event.total for event in merged] == means
    for k, name in enumerate(TERMS, 1):
        assert [getattr(event, name) for event in merged] == [k * mean for mean in means]
    assert [event.layers for event in merged] == [{"a": m / 2, "b": -m} for m in means]
    assert [event.seconds for event in merged] == [0.0, 1.0, 1.5]  # one after the other
    assert [(event.step, event.n_steps) for event in merged] == [(0, 4), (1, 4), (2, 4)]
    assert [event.done for event in merged] == [0.0, 0.25, 0.5]
