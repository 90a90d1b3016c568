from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.errors import OptimizationError
from audiostyle.events import TERMS, Iteration
from audiostyle.nn.lbfgs import FIRST_STEP, MAX_HALVINGS
from audiostyle.nn.optimizer import PLATEAU_STEPS, OptimizationResult, Optimizer


def make_optimizer(function: Any, optimizer: str = "lbfgs", **options: Any) -> Optimizer:
    """Make an optimizer of ``function(x, data)``, from rows to one number per row."""

    def evaluate(x: tf.Tensor, data: Any) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = function(x, data)
        terms = tf.stack([total] * (len(TERMS) + 1), axis=1)
        return total, tape.gradient(total, x), terms

    return Optimizer(evaluate, ["layer"], optimizer=optimizer, learning_rate=0.02, **options)


def run(
    function: Any,
    start: Any,
    *,
    lower: float = -10.0,
    upper: float = 10.0,
    n_steps: int = 200,
    tolerance: float = 0.0,
    callback: Any = None,
    data: Any = (),
    **options: Any,
) -> OptimizationResult:
    """Minimise from one or several starts, by default without tracing."""
    method = make_optimizer(function, **{"compiled": False, **options})
    x = tf.constant(start, tf.float32)
    return method.minimize(
        x if len(x.shape) == 2 else x[None],
        data,
        np.float32(lower),
        np.float32(upper),
        n_steps=n_steps,
        tolerance=tolerance,
        callback=callback,
    )


def rosenbrock(x: tf.Tensor, data: Any = ()) -> tf.Tensor:
    head, tail = x[:, :-1], x[:, 1:]
    return tf.reduce_sum(100 * (tail - head**2) ** 2 + (1 - head) ** 2, axis=1)


def square(x: tf.Tensor, data: Any = ()) -> tf.Tensor:
    return tf.reduce_sum(x**2, axis=1)


def test_lbfgs_finds_the_minimum_of_rosenbrock() -> None:
    result = run(rosenbrock, [-1.2, 1.0, 0.5])
    np.testing.assert_allclose(result.x[0], 1.0, atol=2e-3)


def test_lbfgs_needs_about_as_many_evaluations_as_scipy() -> None:
    from scipy.optimize import minimize as scipy_minimize

    scales = np.logspace(0, 3, 20).astype(np.float32)

    def quadratic(x: tf.Tensor, data: Any) -> tf.Tensor:
        return 0.5 * tf.reduce_sum(scales * x**2, axis=1)

    reference = scipy_minimize(
        lambda x: (0.5 * (scales * x**2).sum(), scales * x),
        np.full(20, 3.0),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 25},
    )
    result = run(quadratic, [3.0] * 20, n_steps=25)
    assert result.history[-1].total < 10 * reference.fun + 1e-4


def test_lbfgs_finds_the_minimum_of_scipy_on_a_box() -> None:
    from scipy.optimize import minimize as scipy_minimize

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        head, tail = x[:-1], x[1:]
        gradient = np.zeros_like(x)
        gradient[:-1] = -400 * head * (tail - head**2) - 2 * (1 - head)
        gradient[1:] += 200 * (tail - head**2)
        return float((100 * (tail - head**2) ** 2 + (1 - head) ** 2).sum()), gradient

    start = [-1.2, 0.8, 0.5, 0.3, -0.7]
    reference = scipy_minimize(
        function, start, jac=True, method="L-BFGS-B", bounds=[(-1.3, 0.8)] * 5
    )
    result = run(rosenbrock, start, lower=-1.3, upper=0.8, n_steps=60)
    np.testing.assert_allclose(result.x[0], reference.x, atol=1e-3)


def test_adam_takes_the_textbook_first_step_and_then_converges() -> None:
    result = run(square, [3.0], optimizer="adam", n_steps=150)
    # Adam's first step is the learning rate, whatever the gradient: 0.02 of the range of 20.
    assert result.history[1].total == pytest.approx(2.6**2, rel=1e-4)
    np.testing.assert_allclose(result.x, 0.0, atol=0.05)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_bounds_hold_and_the_constrained_minimum_is_found(optimizer: str) -> None:
    def distance(x: tf.Tensor, data: Any) -> tf.Tensor:
        return tf.reduce_sum((x - tf.constant([5.0, 0.3, -5.0])) ** 2, axis=1)

    result = run(distance, [0.9, 0.9, 0.9], lower=0.0, upper=1.0, optimizer=optimizer)
    np.testing.assert_allclose(result.x[0], [1.0, 0.3, 0.0], atol=0.01)


def test_the_first_step_of_lbfgs_moves_no_value_by_more_than_its_share_of_the_range() -> None:
    seen = []

    def recording(x: tf.Tensor, data: Any) -> tf.Tensor:
        seen.append(x.numpy())
        return tf.reduce_sum(x**4, axis=1)

    run(recording, [2.0, 1.0], n_steps=1)
    assert np.abs(seen[1] - seen[0]).max() == pytest.approx(20 * FIRST_STEP, rel=1e-4)


@pytest.mark.parametrize(("lower", "upper"), [(-10.0, 10.0), (-1.3, 0.8)])
def test_the_loss_of_lbfgs_never_rises(lower: float, upper: float) -> None:
    result = run(rosenbrock, [-1.2, 1.0, 0.3, -0.7], lower=lower, upper=upper, n_steps=60)
    totals = [iterate.total for iterate in result.history]
    assert totals == sorted(totals, reverse=True)


def test_lbfgs_stops_where_no_step_lowers_the_loss_though_the_gradient_is_not_0() -> None:
    """Rounding makes every step 0, so that further evaluations are useless."""
    result = run(lambda x, data: 1e6 + 1e-3 * rosenbrock(x), [-1.2, 1.0])
    assert result.stopped == "plateau"
    assert len(result.history) < 10


def test_zero_steps_return_the_start() -> None:
    result = run(rosenbrock, [0.0, 0.5], n_steps=0)
    np.testing.assert_array_equal(result.x[0], [0.0, 0.5])
    assert [iterate.step for iterate in result.history] == [0]


def test_a_start_at_the_minimum_stops_at_once() -> None:
    result = run(square, [0.0, 0.0])
    assert result.stopped == "plateau"
    assert len(result.history) == 1


def test_a_plateau_stops_the_optimization() -> None:
    result = run(lambda x, data: 1000 + 1e-3 * rosenbrock(x), [-1.2, 1.0], tolerance=1e-3)
    assert result.stopped == "plateau"
    # The first step with enough history to compare.
    assert len(result.history) == PLATEAU_STEPS + 1 == 6


def test_the_callback_sees_every_step_and_can_stop() -> None:
    seen: list[Iteration] = []

    def callback(iterate: Any) -> bool:
        seen.append(iterate)
        return iterate.step == 3

    result = run(rosenbrock, [-1.2, 1.0], callback=callback)
    assert [iterate.step for iterate in seen] == [0, 1, 2, 3]
    assert result.stopped == "interrupted"
    assert result.history == seen
    assert float(rosenbrock(result.x)[0]) == pytest.approx(min(i.total for i in seen), rel=1e-5)


def test_adam_returns_the_best_point_and_not_the_last() -> None:
    result = run(
        lambda x, data: tf.reduce_sum(tf.abs(x), axis=1), [0.03], optimizer="adam", n_steps=3
    )
    totals = [iterate.total for iterate in result.history]
    assert totals[0] == min(totals)  # every step of 0.4 overshoots
    assert float(tf.abs(result.x[0, 0])) == pytest.approx(min(totals))


def test_a_loss_that_is_not_finite_once_costs_one_restart() -> None:
    calls = []

    def fragile(x: tf.Tensor, data: Any) -> tf.Tensor:
        calls.append(1)
        bad = 1 < len(calls) <= 1 + MAX_HALVINGS
        return square(x) + (float("nan") if bad else 0.0)

    result = run(fragile, [3.0])
    assert result.restarts == 1
    np.testing.assert_allclose(result.x, 0.0, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_loss_that_is_never_finite_is_an_error_at_once(optimizer: str) -> None:
    calls = []

    def broken(x: tf.Tensor, data: Any) -> tf.Tensor:
        calls.append(1)
        return tf.reduce_sum(x, axis=1) * float("nan")

    with pytest.raises(OptimizationError, match="not finite, even after a restart"):
        run(broken, [1.0], optimizer=optimizer)
    assert len(calls) == 2  # the start, and once more at the restart


def test_a_step_into_infinity_is_halved() -> None:
    # -log(x) is infinite or undefined outside of x > 0; the minimum of x - log(x) is at 1.
    result = run(lambda x, data: tf.reduce_sum(x - tf.math.log(x), axis=1), [0.05], lower=-10.0)
    assert result.restarts == 0
    np.testing.assert_allclose(result.x, 1.0, atol=1e-2)


def test_a_batch_of_different_problems_gives_what_each_gives_alone() -> None:
    """One starts at its minimum, one reaches a plateau, and one takes all steps."""

    def shifted(x: tf.Tensor, data: Any) -> tf.Tensor:
        return data["offset"] + data["scale"] * rosenbrock(x)

    starts = [[1.0, 1.0, 1.0], [-1.2, 1.0, 0.5], [-1.2, 1.0, 0.5]]
    offset = tf.constant([0.0, 50.0, 0.0])
    scale = tf.constant([1.0, 1e-2, 1.0])
    options = {"n_steps": 25, "tolerance": 1e-3}
    together = run(shifted, starts, data={"offset": offset, "scale": scale}, **options)
    alone = [
        run(shifted, starts[i], data={"offset": offset[i], "scale": scale[i]}, **options)
        for i in range(3)
    ]
    assert [result.stopped for result in alone] == ["plateau", "plateau", "iterations"]
    assert together.stopped == "iterations"
    lengths = [len(result.history) for result in alone]
    assert lengths[0] == 1 < PLATEAU_STEPS < lengths[1] < lengths[2] == 26
    for i, result in enumerate(alone):
        np.testing.assert_allclose(together.x[i], result.x[0], rtol=1e-4, atol=1e-5)
    for step, iterate in enumerate(together.history):
        # An item that has stopped keeps its total.
        totals = [result.history[min(step, len(result.history) - 1)].total for result in alone]
        assert iterate.total == pytest.approx(np.mean(totals), rel=1e-4)


# Limits that Adam's first step and the shortest step of L-BFGS exceed, but a tenth of them not.
@pytest.mark.parametrize(("optimizer", "safe"), [("adam", 0.2), ("lbfgs", 0.002)])
def test_only_a_non_finite_item_restarts_with_smaller_steps(optimizer: str, safe: float) -> None:
    def fragile(x: tf.Tensor, data: Any) -> tf.Tensor:
        broken = tf.abs(x[:, 0] - 3.0) > data["safe"]
        return square(x) + tf.where(broken, float("nan"), 0.0)

    def minimize(*limits: float) -> OptimizationResult:
        data = {"safe": tf.constant(limits)}
        return run(fragile, [[3.0]] * len(limits), data=data, n_steps=1, optimizer=optimizer)

    alone, sound, together = minimize(safe), minimize(99.0), minimize(safe, 99.0)
    assert [alone.restarts, sound.restarts, together.restarts] == [1, 0, 1]
    assert 0 < 3 - float(alone.x[0, 0]) < safe < 3 - float(sound.x[0, 0])
    np.testing.assert_allclose(together.x, tf.concat([alone.x, sound.x], axis=0), rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("jit", [False, True])
def test_eager_traced_and_compiled_optimizations_agree(optimizer: str, jit: bool) -> None:
    options: Any = {"n_steps": 12, "optimizer": optimizer, "lower": -1.3, "upper": 0.8}
    starts = [[-1.2, 0.8, 0.3], [0.0, 0.5, -1.0]]
    eager = run(rosenbrock, starts, **options)
    traced = run(rosenbrock, starts, compiled=True, jit=jit, **options)
    np.testing.assert_allclose(traced.x, eager.x, rtol=1e-3, atol=1e-4)
    totals = [iterate.total for iterate in eager.history]
    assert [iterate.total for iterate in traced.history] == pytest.approx(totals, rel=1e-3)
