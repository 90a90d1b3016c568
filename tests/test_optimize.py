from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.errors import OptimizationError
from audiostyle.events import TERMS, Iterate
from audiostyle.optimize import FIRST_STEP, MAX_HALVINGS, Objective, minimize


def objective(function: Any, lower: float = -10.0, upper: float = 10.0) -> Objective:
    def evaluate(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = function(x)
        return total, tape.gradient(total, x), tf.stack([total] * (len(TERMS) + 1))

    return Objective(evaluate, ["layer"], lower, upper)


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def run(function: Any, start: list[float], **options: Any) -> Any:
    bounds = {name: options.pop(name) for name in ("lower", "upper") if name in options}
    defaults = {"optimizer": "lbfgs", "n_steps": 200, "learning_rate": 0.02, "tolerance": 0.0}
    return minimize(objective(function, **bounds), tf.constant(start), **{**defaults, **options})


def test_lbfgs_finds_the_minimum_of_rosenbrock() -> None:
    descent = run(rosenbrock, [-1.2, 1.0, 0.5])
    np.testing.assert_allclose(descent.x, 1.0, atol=2e-3)


def test_lbfgs_needs_about_as_many_evaluations_as_scipy() -> None:
    from scipy.optimize import minimize as scipy_minimize

    scales = np.logspace(0, 3, 20).astype(np.float32)

    def quadratic(x: tf.Tensor) -> tf.Tensor:
        return 0.5 * tf.reduce_sum(scales * x**2)

    reference = scipy_minimize(
        lambda x: (0.5 * (scales * x**2).sum(), scales * x),
        np.full(20, 3.0),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 25},
    )
    descent = run(quadratic, [3.0] * 20, n_steps=25)
    assert descent.history[-1].total < 10 * reference.fun + 1e-4


def test_adam_takes_the_textbook_first_step_and_then_descends() -> None:
    descent = run(lambda x: tf.reduce_sum(x**2), [3.0], optimizer="adam", n_steps=150)
    # Adam's first step is the learning rate, whatever the gradient: 0.02 of the range of 20.
    assert descent.history[1].total == pytest.approx(2.6**2, rel=1e-4)
    np.testing.assert_allclose(descent.x, 0.0, atol=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_bounds_hold_and_the_constrained_minimum_is_found(optimizer: str) -> None:
    def distance(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum((x - tf.constant([5.0, 0.3, -5.0])) ** 2)

    descent = run(distance, [0.9, 0.9, 0.9], lower=0.0, upper=1.0, optimizer=optimizer)
    np.testing.assert_allclose(descent.x, [1.0, 0.3, 0.0], atol=0.01)


def test_the_first_step_of_lbfgs_moves_no_value_by_more_than_its_share_of_the_range() -> None:
    seen = []

    def recording(x: tf.Tensor) -> tf.Tensor:
        seen.append(x.numpy())
        return tf.reduce_sum(x**4)

    run(recording, [2.0, 1.0], n_steps=1)
    assert np.abs(seen[1] - seen[0]).max() == pytest.approx(20 * FIRST_STEP, rel=1e-4)


def test_the_loss_of_lbfgs_never_rises() -> None:
    totals = [iterate.total for iterate in run(rosenbrock, [-1.2, 1.0], n_steps=60).history]
    assert totals == sorted(totals, reverse=True)


def test_zero_steps_return_the_start() -> None:
    descent = run(rosenbrock, [0.0, 0.5], n_steps=0)
    np.testing.assert_array_equal(descent.x, [0.0, 0.5])
    assert [iterate.step for iterate in descent.history] == [0]


def test_a_start_at_the_minimum_stops_at_once() -> None:
    descent = run(lambda x: tf.reduce_sum(x**2), [0.0, 0.0])
    assert descent.stopped == "plateau"
    assert len(descent.history) == 1


def test_a_plateau_stops_the_descent() -> None:
    descent = run(lambda x: 1000 + 1e-3 * rosenbrock(x), [-1.2, 1.0], tolerance=1e-3)
    assert descent.stopped == "plateau"
    assert len(descent.history) == 6  # the first step at which five steps can be compared


def test_the_callback_sees_every_step_and_can_stop() -> None:
    seen: list[Iterate] = []

    def callback(iterate: Any) -> bool:
        seen.append(iterate)
        return iterate.step == 3

    descent = run(rosenbrock, [-1.2, 1.0], callback=callback)
    assert [iterate.step for iterate in seen] == [0, 1, 2, 3]
    assert descent.stopped == "interrupted"
    assert descent.history == seen
    assert float(rosenbrock(descent.x)) == pytest.approx(min(i.total for i in seen), rel=1e-5)


def test_adam_returns_the_best_point_and_not_the_last() -> None:
    descent = run(
        lambda x: tf.reduce_sum(tf.abs(x)), [0.03], optimizer="adam", n_steps=3, learning_rate=0.05
    )
    totals = [iterate.total for iterate in descent.history]
    assert totals[0] == min(totals)  # every step of 1 overshoots
    assert float(tf.abs(descent.x[0])) == pytest.approx(min(totals))


def test_a_loss_that_is_not_finite_once_costs_one_restart() -> None:
    calls = []

    def fragile(x: tf.Tensor) -> tf.Tensor:
        calls.append(1)
        bad = 1 < len(calls) <= 1 + MAX_HALVINGS
        return tf.reduce_sum(x**2) + (float("nan") if bad else 0.0)

    descent = run(fragile, [3.0])
    assert descent.restarts == 1
    np.testing.assert_allclose(descent.x, 0.0, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_loss_that_is_never_finite_is_an_error(optimizer: str) -> None:
    with pytest.raises(OptimizationError, match="not finite, even after a restart"):
        run(lambda x: tf.reduce_sum(x) * float("nan"), [1.0], optimizer=optimizer)


def test_a_step_into_infinity_is_halved() -> None:
    # -log(x) is infinite or undefined outside of x > 0; the minimum of x - log(x) is at 1.
    descent = run(lambda x: tf.reduce_sum(x - tf.math.log(x)), [0.05], lower=-10.0)
    assert descent.restarts == 0
    np.testing.assert_allclose(descent.x, 1.0, atol=1e-2)
