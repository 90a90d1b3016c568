"""Optimisation within bounds: steps of L-BFGS or Adam until the loss stops falling.

The evaluation, or with XLA the whole step, is one TensorFlow function, traced once. Tensors stay on
their device, except for the few numbers that decide when to stop and that are reported.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array, Tensor
from audiostyle.errors import OptimizationError
from audiostyle.events import TERMS, Callback, Iteration
from audiostyle.nn.lbfgs import (
    FIRST_STEP,
    LBFGS,
    BoundedProblem,
    Evaluate,
    OptimizerState,
    expand_to,
    initial_state,
    is_finite,
    largest,
)
from audiostyle.utils.lazy_imports import paused_collection

PLATEAU_STEPS = 5
ADAM_BETAS = (0.9, 0.99)


@dataclass
class OptimizationResult:
    """Best point and history of an optimisation."""

    x: Tensor  # best point of each item [shape=(batch, ...)]
    history: list[Iteration] = field(default_factory=list)  # means over the batch
    stopped: str = "iterations"  # or "plateau" or "interrupted"
    restarts: int = 0  # after a loss that was not finite; at most one per item


class Optimizer:
    """An optimisation traced once, for any number of problems with the same losses.

    `evaluate` maps ``(x, data)`` to the total of each item [shape=(batch,)], the gradient [shape of
    ``x``], and the terms [shape=(batch, len(TERMS) + len(more) + len(layers))]: `TERMS`, plugin
    losses (`more`), style layers. `learning_rate` is the step size of Adam as a share of the range.
    `signature` maps data to the ``tf.TensorSpec`` of ``(x, data)``, open where problems differ;
    without it, every new shape is traced again.

    Only the evaluation is traced, as nearly all of the time goes there: as one traced function with
    a loop for the line search, the steps of `balanced` took a fifth longer on a CPU, and as long
    again to trace. With `jit`, XLA compiles whole steps, which pays on a GPU. `compiled=False`
    traces nothing.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        layers: list[str],
        *,
        optimizer: str,
        learning_rate: float,
        more: Sequence[str] = (),
        signature: Callable[[Any], tuple[Any, Any]] | None = None,
        to_spectrogram: Callable[[Tensor], Any] = lambda x: x,
        compiled: bool = True,
        jit: bool = False,
    ) -> None:
        self._layers, self._more = layers, list(more)
        self._evaluate = evaluate
        self._make_method: type[LBFGS | Adam] = Adam if optimizer == "adam" else LBFGS
        self._method = self._make_method(evaluate)
        self._rate = learning_rate if optimizer == "adam" else FIRST_STEP
        self._signature = signature
        self._to_spectrogram = to_spectrogram
        self._jit = jit
        self._step: Any = None if compiled else self._method.step
        self._tracing = threading.Lock()
        self.traced: Any = None

    def trace(self, x: Tensor, data: Any) -> None:
        """Trace the evaluation and run it once, unless another thread has begun; not with `jit`.

        `minimize` waits for it.
        """
        with self._tracing:
            if self._step is None and not self._jit:
                self._step = self._trace_evaluation(data)
                self.traced(x, data)

    def minimize(
        self,
        x: Tensor,
        data: Any,
        lower: Any,
        upper: Any,
        *,
        n_steps: int,
        tolerance: float,
        callback: Callback | None = None,
        window: tuple[int, int] = (1, 1),
    ) -> OptimizationResult:
        """Minimise within bounds, from `x` [shape=(batch, ...), float32].

        `lower` and `upper` are broadcast to the shape of `x`. The optimisation stops when
        `PLATEAU_STEPS` steps lower the total by less than a share of `tolerance` (0: never), or
        when the callback, which gets every `Iteration`, returns a true value. `window` is the
        number of the window and the number of all windows, for these events.

        Raises
        ------
        OptimizationError
            If the loss is not finite even after a restart with steps ten times smaller.
        """
        lower, upper = _bound(lower, x), _bound(upper, x)
        x = tf.clip_by_value(x, lower, upper)
        slower, restarts = np.zeros(x.shape[0], bool), 0
        while True:
            rate = tf.constant(self._rate * np.where(slower, 0.1, 1.0), x.dtype)
            problem = BoundedProblem(data, lower, upper, rate)
            result, nonfinite = self._run(x, problem, n_steps, tolerance, callback, window)
            if not nonfinite.any():
                result.restarts = restarts
                return result
            if (slower & nonfinite).any():
                without = f", or without --losses {','.join(self._more)}" if self._more else ""
                raise OptimizationError(
                    "the loss is not finite, even after a restart with smaller steps: try "
                    f"--precision float32, lower weights, or --optimizer adam{without}"
                )
            # The other items repeat their steps, which are the same as those of each alone.
            slower |= nonfinite
            restarts += 1

    def _run(
        self,
        x: Tensor,
        problem: BoundedProblem,
        n_steps: int,
        tolerance: float,
        callback: Callback | None,
        window: tuple[int, int],
    ) -> tuple[OptimizationResult, Array]:
        """Take up to `n_steps` steps; also return which items met a loss that is not finite."""
        began = time.perf_counter()
        state = initial_state(self._method, x, len(TERMS) + len(self._more) + len(self._layers))
        with self._tracing:
            if self._step is None:
                self._step = self._trace(state, problem)
        result = OptimizationResult(x)
        best = np.full(x.shape[0], np.inf, np.float32)
        totals: list[Array] = []
        for step in range(n_steps + 1):
            state = self._step(state, problem)
            nonfinite, active, total = (
                tensor.numpy() for tensor in (state.nonfinite, state.active, state.total)
            )
            if nonfinite.any():
                break
            if not active.any():
                result.stopped = "plateau"
                break
            better = total < best
            best = np.where(better, total, best)
            if better.all():
                result.x = state.x
            elif better.any():
                result.x = tf.where(expand_to(tf.constant(better), x), state.x, result.x)
            totals.append(total)
            seconds = time.perf_counter() - began
            event = self._make_iteration(step, n_steps, state, seconds, window)
            result.history.append(event)
            if callback is not None and self._report(callback, event, state.x):
                result.stopped = "interrupted"
                break
            if tolerance > 0 and step >= PLATEAU_STEPS:
                before = totals[step - PLATEAU_STEPS]
                active &= before - total >= tolerance * np.abs(before)
                if not active.any():
                    result.stopped = "plateau"
                    break
            state = state._replace(active=tf.constant(active))
        return result, nonfinite

    def _make_iteration(
        self,
        step: int,
        n_steps: int,
        state: OptimizerState,
        seconds: float,
        window: tuple[int, int],
    ) -> Iteration:
        """Describe a step by means over the batch."""
        values = state.terms.numpy().mean(axis=0).tolist()
        more, layers = len(TERMS), len(TERMS) + len(self._more)
        terms: dict[str, Any] = dict(zip(TERMS, values, strict=False))
        return Iteration(
            step=step,
            n_steps=n_steps,
            total=float(state.total.numpy().mean()),
            **terms,
            layers=dict(zip(self._layers, values[layers:], strict=True)),
            seconds=seconds,
            window=window[0],
            n_windows=window[1],
            more=dict(zip(self._more, values[more:layers], strict=True)),
        )

    def _report(self, callback: Callback, event: Iteration, x: Tensor) -> bool:
        """Call the callback; an event that it keeps does not keep the point in memory."""
        points = [x]

        def fetch() -> Any:
            return self._to_spectrogram(points[0]) if points else None

        try:
            return bool(callback(event.with_spectrogram(fetch)))
        finally:
            points.clear()

    def _trace_evaluation(self, data: Any) -> Any:
        specs = None if self._signature is None else self._signature(data)
        evaluate = paused_collection()(self._evaluate)
        self.traced = tf.function(evaluate, input_signature=specs, autograph=False)
        return self._make_method(self.traced).step

    def _trace(self, state: OptimizerState, problem: BoundedProblem) -> Any:
        if not self._jit:
            return self._trace_evaluation(problem.data)
        specs: Any = None if self._signature is None else self._signature(problem.data)
        if specs is not None:
            specs = _step_signature(specs, state, problem)
        self.traced = tf.function(
            self._method.step, input_signature=specs, jit_compile=True, autograph=False
        )
        return self.traced


def _step_signature(
    specs: tuple[Any, Any], state: OptimizerState, problem: BoundedProblem
) -> tuple[OptimizerState, BoundedProblem]:
    """Extend the shapes of variable and data, open where problems differ, to state and problem."""
    x_spec, data_spec = specs

    def like(value: Tensor) -> Any:  # tensors of a state have the shape of x, or end in the batch
        if value.shape == state.x.shape:
            return x_spec
        return tf.TensorSpec([*value.shape[:-1], None], value.dtype)

    bound = tf.TensorSpec([None] * len(state.x.shape), state.x.dtype)
    terms = tf.TensorSpec((None, *state.terms.shape[1:]), state.terms.dtype)
    state_spec = tf.nest.map_structure(like, state)._replace(terms=terms)
    return state_spec, BoundedProblem(data_spec, bound, bound, like(problem.rate))


def _bound(values: Any, x: Tensor) -> Tensor:
    """Bring the bounds of a variable to its type and rank."""
    bound = tf.convert_to_tensor(values, x.dtype)
    missing = len(x.shape) - len(bound.shape)
    return tf.reshape(bound, [1] * missing + bound.shape.as_list())


class Adam:
    """Adam (Kingma & Ba 2015) with projection onto the bounds."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def initial_memory(self, x: Tensor) -> Any:
        """Return the moments of the gradient and the number of steps, all 0."""
        return tf.zeros_like(x), tf.zeros_like(x), tf.zeros(x.shape[:1], x.dtype)

    def step(self, state: OptimizerState, problem: BoundedProblem) -> OptimizerState:
        """Take one step; the evaluation of the start is a step of length 0."""
        x, gradient = state.x, state.gradient
        first = tf.math.is_inf(state.total)
        beta1, beta2 = ADAM_BETAS
        mean, square, count = state.memory
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * tf.square(gradient)
        count = count + tf.cast(~first, x.dtype)
        span = largest(problem.upper - problem.lower + tf.zeros_like(x))
        # At the first evaluation the count is 0, which must not divide by 0.
        unbiased = tf.sqrt(1 - beta2**count) / tf.maximum(1 - beta1**count, 1e-12)
        size = tf.where(state.active & ~first, problem.rate * span * unbiased, 0.0)
        x = tf.clip_by_value(
            x - expand_to(size, x) * mean / (tf.sqrt(square) + 1e-12), problem.lower, problem.upper
        )
        total, gradient, terms = self._evaluate(x, problem.data)
        nonfinite = ~is_finite(total, gradient)
        memory = mean, square, count
        return OptimizerState(x, total, gradient, terms, state.active, nonfinite, memory)
