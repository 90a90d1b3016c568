"""The descent: L-BFGS or Adam on a bounded variable, watched, stopped early, and never silent.

The evaluation, or with XLA the whole step, is one TensorFlow function, traced once. Everything
stays on its device but the few numbers that decide and that are reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.errors import OptimizationError
from audiostyle.events import TERMS, Callback, Iteration
from audiostyle.nn.lbfgs import (
    FIRST_STEP,
    LBFGS,
    Adam,
    BoundedProblem,
    Evaluate,
    Method,
    OptimizerState,
    initial_state,
    spread,
)

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types

PLATEAU_STEPS = 5


@dataclass
class OptimizationResult:
    """What came of a descent.

    Attributes
    ----------
    x : tf.Tensor
        The best point met.
    history : list of Iteration
        Means over the batch.
    stopped : str
        ``iterations``, ``plateau`` or ``interrupted``.
    restarts : int
        How often it began again because a loss was not finite: once an item at most.
    """

    x: Tensor
    history: list[Iteration] = field(default_factory=list)
    stopped: str = "iterations"
    restarts: int = 0


class _NotFinite(Exception):
    """The loss or the gradient of some items is not finite."""

    def __init__(self, items: Array) -> None:
        super().__init__()
        self.items = items


class Optimizer:
    """A descent that is traced once, for any number of problems of one kind.

    Parameters
    ----------
    evaluate : callable
        ``(x, data) -> (total, gradient, terms)`` with a total an item of the batch, the gradient of
        the shape of ``x``, and the terms [shape=(batch, len(TERMS) + len(more) + len(layers))].
    layers : list of str
        Names of the style layers whose losses are the last terms.
    optimizer : str
        ``lbfgs`` or ``adam``.
    learning_rate : float > 0
        Step size of Adam, as a share of the range.
    more : sequence of str
        Names of registered losses, which follow the `TERMS`.
    signature : callable, optional
        ``data -> (x, data)`` as ``tf.TensorSpec``, open where problems differ; without it every
        shape is traced anew.
    compiled : bool
        Trace the evaluation, in which nearly all time goes. The steps around it run one operation
        after the other: as one traced function with a loop for the line search, the steps of
        `balanced` took a fifth longer on a CPU, and as long again to trace. False traces nothing.
    jit : bool
        Compile whole steps with XLA instead, as pays on a GPU.

    Attributes
    ----------
    traced : tf.function or None
        What was traced, as soon as it was needed.
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
        compiled: bool = True,
        jit: bool = False,
    ) -> None:
        self._layers = layers
        self._more = list(more)
        self._evaluate = evaluate
        self._make_method: Callable[[Evaluate], Method] = Adam if optimizer == "adam" else LBFGS
        self._method = self._make_method(evaluate)
        self._rate = learning_rate if optimizer == "adam" else FIRST_STEP
        self._signature = signature
        self._compiled = compiled
        self._jit = jit
        self.traced: Any = None
        self._step: Any = None

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
    ) -> OptimizationResult:
        """Minimise within bounds.

        Parameters
        ----------
        x : tf.Tensor [shape=(batch, ...), float32]
            Where to start.
        data : nested structure of tf.Tensor
            Handed to `evaluate`.
        lower, upper : array_like
            Bounds of every value of ``x``; broadcast to its shape.
        n_steps : int >= 0
        tolerance : float >= 0
            Stop when `PLATEAU_STEPS` steps lower the total by less than this share; 0 never does.
        callback : callable, optional
            Gets every `Iteration`; a true return value stops the descent.

        Returns
        -------
        Descent

        Raises
        ------
        OptimizationError
            If the loss is not finite even after one restart with steps ten times smaller.
        """
        lower, upper = _bound(lower, x), _bound(upper, x)
        x = tf.clip_by_value(x, lower, upper)
        slower = np.zeros(x.shape[0], bool)
        restarts = 0
        while True:
            watch = _Watch(self._more, self._layers, n_steps, tolerance, callback)
            rate = tf.constant(self._rate * np.where(slower, 0.1, 1.0), x.dtype)
            try:
                self._run(watch, x, BoundedProblem(data, lower, upper, rate))
            except _NotFinite as failure:
                if (slower & failure.items).any():
                    break
                # The others come to where they were: their steps are what they would be alone.
                slower |= failure.items
                restarts += 1
                continue
            return OptimizationResult(watch.best(), watch.history, watch.stopped, restarts)
        without = f", or without --losses {','.join(self._more)}" if self._more else ""
        raise OptimizationError(
            "the loss is not finite, even after a restart with smaller steps: try --precision "
            f"float32, lower weights, or --optimizer adam{without}"
        )

    def _run(self, watch: _Watch, x: Tensor, problem: BoundedProblem) -> None:
        state = initial_state(self._method, x, len(TERMS) + len(self._more) + len(self._layers))
        step = self._compile(state, problem)
        for _ in range(watch.n_steps + 1):
            state = step(state, problem)
            if watch.record(state):
                return
            state = state._replace(alive=tf.constant(watch.alive))

    def _compile(self, state: OptimizerState, problem: BoundedProblem) -> Any:
        if not self._compiled:
            return self._method.step
        if self._step is None and self._jit:
            specs = None if self._signature is None else self._specify(state, problem)
            self.traced = tf.function(
                self._method.step, input_signature=specs, jit_compile=True, autograph=False
            )
            self._step = self.traced
        elif self._step is None:
            specs = None if self._signature is None else list(self._signature(problem.data))
            self.traced = tf.function(self._evaluate, input_signature=specs, autograph=False)
            self._step = self._make_method(self.traced).step
        return self._step

    def _specify(self, state: OptimizerState, problem: BoundedProblem) -> list[Any]:
        """Shapes of state and problem, with all that may differ left open."""
        assert self._signature is not None
        x_spec, data_spec = self._signature(problem.data)

        def like(value: Tensor) -> Any:  # what a state holds is as large as x, or one an item
            if value.shape == state.x.shape:
                return x_spec
            return tf.TensorSpec([*value.shape[:-1], None], value.dtype)

        bound = tf.TensorSpec([None] * len(state.x.shape), state.x.dtype)
        terms = tf.TensorSpec((None, *state.terms.shape[1:]), state.terms.dtype)
        specs = tf.nest.map_structure(like, state)._replace(terms=terms)
        return [specs, BoundedProblem(data_spec, bound, bound, like(problem.rate))]


def _bound(values: Any, x: Tensor) -> Tensor:
    """Bring the bounds of a variable to its type and rank."""
    bound = tf.convert_to_tensor(values, x.dtype)
    missing = len(x.shape) - len(bound.shape)
    return tf.reshape(bound, [1] * missing + bound.shape.as_list())


class _Watch:
    """Record, keep the best point, and say when to stop."""

    def __init__(
        self,
        more: list[str],
        layers: list[str],
        n_steps: int,
        tolerance: float,
        callback: Callback | None,
    ) -> None:
        self.more = more
        self.layers = layers
        self.n_steps = n_steps
        self.tolerance = tolerance
        self.callback = callback
        self.began = time.perf_counter()
        self.history: list[Iteration] = []
        self.stopped = "iterations"
        self.alive: Array = np.ones(1, bool)
        self._totals: list[Array] = []
        self._best_total: Array | None = None
        self._best_x: Tensor = None

    def best(self) -> Tensor:
        """Return the best point of each item."""
        return self._best_x

    def record(self, state: OptimizerState) -> bool:
        """Note a step; return True if the descent should stop."""
        bad = state.bad.numpy()
        if bad.any():
            raise _NotFinite(bad)
        total = state.total.numpy()
        self.alive = state.alive.numpy()
        if self._totals and not self.alive.any():
            self.stopped = "plateau"
            return True
        self._keep_best(state.x, total)
        self._totals.append(total)
        self.history.append(self._iterate(total.mean(), state.terms.numpy().mean(axis=0)))
        if self.callback is not None and self._ask(self.callback, state.x):
            self.stopped = "interrupted"
            return True
        if self.tolerance > 0 and len(self._totals) > PLATEAU_STEPS:
            before = self._totals[-1 - PLATEAU_STEPS]
            self.alive &= before - total >= self.tolerance * np.abs(before)
        if not self.alive.any():
            self.stopped = "plateau"
            return True
        return False

    def _ask(self, callback: Callback, x: Tensor) -> bool:
        """Report the last step; who keeps the event does not keep the point with it."""
        points = [x]
        try:
            event = self.history[-1].with_spectrogram(lambda: points[0] if points else None)
            return bool(callback(event))
        finally:
            points.clear()

    def _keep_best(self, x: Tensor, total: Array) -> None:
        if self._best_total is None:
            self._best_total, self._best_x = total, x
            return
        better = total < self._best_total
        self._best_total = np.where(better, total, self._best_total)
        if better.all():
            self._best_x = x
        elif better.any():
            self._best_x = tf.where(spread(tf.constant(better), x), x, self._best_x)

    def _iterate(self, total: float, terms: Array) -> Iteration:
        values: list[Any] = [float(term) for term in terms]
        named: dict[str, Any] = dict(zip(TERMS, values, strict=False))
        last = len(TERMS) + len(self.more)
        return Iteration(
            step=len(self.history),
            n_steps=self.n_steps,
            total=float(total),
            **named,
            layers=dict(zip(self.layers, values[last:], strict=True)),
            seconds=time.perf_counter() - self.began,
            more=dict(zip(self.more, values[len(TERMS) : last], strict=True)),
        )
