"""The descent: L-BFGS or Adam on a bounded variable, watched, stopped early, and never silent.

The whole descent works on TensorFlow tensors, so that on a GPU nothing but the losses leaves the
device.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from audiostyle.errors import OptimizationError
from audiostyle.events import TERMS, Callback, Iterate

Tensor = Any  # TensorFlow ships no types

HISTORY = 10  # pairs that L-BFGS keeps
FIRST_STEP = 0.02  # largest change of a value in the first step, as a share of the range
MAX_HALVINGS = 8  # of a step that does not lower the loss
ARMIJO = 1e-4
PLATEAU_STEPS = 5
ADAM_BETAS = (0.9, 0.99)


@dataclass
class Objective:
    """A function to minimise.

    Attributes
    ----------
    evaluate : callable
        ``x -> (total, gradient, terms)``: the total as a scalar, the gradient of the shape of
        ``x``, and the terms, those of `TERMS` and one a style layer, as a vector.
    layers : list of str
        Names of the style layers, in the order of the terms.
    lower, upper : float or tf.Tensor
        Bounds of every value of ``x``; a tensor is broadcast to its shape.
    """

    evaluate: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    layers: list[str]
    lower: Any
    upper: Any

    @property
    def span(self) -> float:
        """The widest range of a value, to which steps are relative."""
        return float(tf.reduce_max(self.upper - self.lower))


@dataclass
class Descent:
    """What came of a descent.

    Attributes
    ----------
    x : tf.Tensor
        The best point met.
    history : list of Iterate
    stopped : str
        ``iterations``, ``plateau`` or ``interrupted``.
    restarts : int
        1 if a loss was not finite once.
    """

    x: Tensor
    history: list[Iterate] = field(default_factory=list)
    stopped: str = "iterations"
    restarts: int = 0


class _NotFinite(Exception):
    """The loss or the gradient is not finite."""


class _Watch:
    """Evaluate, record, keep the best point, and say when to stop."""

    def __init__(
        self, objective: Objective, n_steps: int, tolerance: float, callback: Callback | None
    ) -> None:
        self.objective = objective
        self.n_steps = n_steps
        self.tolerance = tolerance
        self.callback = callback
        self.began = time.perf_counter()
        self.history: list[Iterate] = []
        self.best_loss = float("inf")
        self.best_x: Tensor = None
        self.stopped = "iterations"

    def evaluate(self, x: Tensor) -> tuple[float, Tensor, Tensor]:
        total, gradient, terms = self.objective.evaluate(x)
        finite = tf.math.is_finite(tf.reduce_sum(tf.abs(gradient)) + total)
        if not bool(finite):
            raise _NotFinite
        return float(total), gradient, terms

    def record(self, x: Tensor, total: float, terms: Tensor) -> bool:
        """Note a step; return True if the descent should stop."""
        values = [float(term) for term in terms.numpy()]
        iterate = Iterate(
            step=len(self.history),
            n_steps=self.n_steps,
            total=total,
            **dict(zip(TERMS, values, strict=False)),
            layers=dict(zip(self.objective.layers, values[len(TERMS) :], strict=True)),
            seconds=time.perf_counter() - self.began,
        )
        self.history.append(iterate)
        if total < self.best_loss:
            self.best_loss, self.best_x = total, x
        if self.callback is not None and self.callback(iterate):
            self.stopped = "interrupted"
            return True
        if self.tolerance > 0 and len(self.history) > PLATEAU_STEPS:
            before = self.history[-1 - PLATEAU_STEPS].total
            if before - total < self.tolerance * abs(before):
                self.stopped = "plateau"
                return True
        return False


def minimize(
    objective: Objective,
    x: Tensor,
    *,
    optimizer: str,
    n_steps: int,
    learning_rate: float,
    tolerance: float,
    callback: Callback | None = None,
) -> Descent:
    """Minimise an objective within its bounds.

    Parameters
    ----------
    objective : Objective
    x : tf.Tensor [float32]
        Where to start.
    optimizer : str
        ``lbfgs`` or ``adam``.
    n_steps : int >= 0
    learning_rate : float > 0
        Step size of Adam.
    tolerance : float >= 0
        Stop when `PLATEAU_STEPS` steps lower the total by less than this share; 0 never does.
    callback : callable, optional
        Gets every `Iterate`; a true return value stops the descent.

    Returns
    -------
    Descent

    Raises
    ------
    OptimizationError
        If the loss is not finite even after one restart with steps ten times smaller.
    """
    method = _lbfgs if optimizer == "lbfgs" else _adam
    for restarts, scale in enumerate((1.0, 0.1)):
        watch = _Watch(objective, n_steps, tolerance, callback)
        rate = learning_rate if optimizer == "adam" else FIRST_STEP
        try:
            method(watch, tf.clip_by_value(x, objective.lower, objective.upper), scale * rate)
        except _NotFinite:
            continue
        return Descent(watch.best_x, watch.history, watch.stopped, restarts)
    raise OptimizationError(
        "the loss is not finite, even after a restart with smaller steps: try --precision float32, "
        "lower weights, or --optimizer adam"
    )


def _dot(a: Tensor, b: Tensor) -> float:
    return float(tf.reduce_sum(a * b))


def _direction(
    gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, float]], free: Tensor
) -> Tensor:
    """Two-loop recursion of L-BFGS (Nocedal & Wright 2006, algorithm 7.4) on the free values."""
    q = gradient * free
    alphas = []
    for s, y, sy in reversed(pairs):
        alpha = _dot(s, q) / sy
        alphas.append(alpha)
        q = q - alpha * y
    s, y, sy = pairs[-1]
    q = q * (sy / _dot(y, y))
    for (s, y, sy), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - _dot(y, q) / sy) * s
    return -q * free


def _lbfgs(watch: _Watch, x: Tensor, first_step: float) -> None:
    """Projected L-BFGS: values that lie on a bound and push outwards are held for the step."""
    low, high = watch.objective.lower, watch.objective.upper
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=HISTORY)
    total, gradient, terms = watch.evaluate(x)
    if watch.record(x, total, terms):
        return
    for _ in range(watch.n_steps):
        held = ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))
        free = tf.cast(~held, x.dtype)
        largest = float(tf.reduce_max(tf.abs(gradient * free)))
        if largest == 0.0:
            watch.stopped = "plateau"  # an exact minimum, such as strength 0
            return
        if pairs:
            direction = _direction(gradient, pairs, free)
        if not pairs or _dot(direction, gradient) >= 0:
            pairs.clear()
            direction = -gradient * free * (first_step * watch.objective.span / largest)
        found = _line_search(watch, x, total, gradient, direction)
        if found is None:
            if not pairs:
                watch.stopped = "plateau"
                return
            pairs.clear()  # the curvature misled the step: begin again from the gradient
            continue
        x_new, total, gradient_new, terms = found
        s, y = x_new - x, gradient_new - gradient
        curvature = _dot(s, y)
        if curvature > 1e-10 * _dot(y, y):
            pairs.append((s, y, curvature))
        x, gradient = x_new, gradient_new
        if watch.record(x, total, terms):
            return


def _line_search(
    watch: _Watch, x: Tensor, total: float, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, float, Tensor, Tensor] | None:
    """Halve the step until the loss falls enough (Armijo); None if it never does."""
    low, high = watch.objective.lower, watch.objective.upper
    step, all_finite = 1.0, True
    for _ in range(MAX_HALVINGS):
        x_new = tf.clip_by_value(x + step * direction, low, high)
        try:
            total_new, gradient_new, terms = watch.evaluate(x_new)
        except _NotFinite:
            total_new, all_finite = float("inf"), False
        if total_new <= total + ARMIJO * _dot(gradient, x_new - x):
            return x_new, total_new, gradient_new, terms
        step *= 0.5
    if not all_finite:
        raise _NotFinite
    return None


def _adam(watch: _Watch, x: Tensor, learning_rate: float) -> None:
    """Adam (Kingma & Ba 2015) with projection onto the bounds."""
    low, high = watch.objective.lower, watch.objective.upper
    beta1, beta2 = ADAM_BETAS
    mean, square = tf.zeros_like(x), tf.zeros_like(x)
    total, gradient, terms = watch.evaluate(x)
    if watch.record(x, total, terms):
        return
    for step in range(1, watch.n_steps + 1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * tf.square(gradient)
        rate = learning_rate * watch.objective.span * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        x = tf.clip_by_value(x - rate * mean / (tf.sqrt(square) + 1e-12), low, high)
        total, gradient, terms = watch.evaluate(x)
        if watch.record(x, total, terms):
            return
