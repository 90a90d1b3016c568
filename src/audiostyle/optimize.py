"""The descent: L-BFGS or Adam on a bounded variable, watched, stopped early, and never silent.

A step is one TensorFlow function, traced once, line search included: on a GPU everything stays on
the device but the few numbers that are reported. Items of a batch descend side by side, each with
its own steps: none knows of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.errors import OptimizationError
from audiostyle.events import TERMS, Callback, Iterate

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types
Evaluate = Callable[[Tensor, Any], tuple[Tensor, Tensor, Tensor]]

HISTORY = 10  # pairs that L-BFGS keeps
FIRST_STEP = 0.02  # largest change of a value in the first step, as a share of the range
MAX_HALVINGS = 8  # of a step that does not lower the loss
ARMIJO = 1e-4
PLATEAU_STEPS = 5
ADAM_BETAS = (0.9, 0.99)


@dataclass
class Descent:
    """What came of a descent.

    Attributes
    ----------
    x : tf.Tensor
        The best point met.
    history : list of Iterate
        Means over the batch.
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


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each item of a batch."""
    return tf.reduce_sum(tf.reshape(a * b, (tf.shape(a)[0], -1)), axis=1)


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """Bring one value an item to the rank of `x`."""
    return tf.reshape(values, [-1] + [1] * (len(x.shape) - 1))


def _largest(x: Tensor) -> Tensor:
    return tf.reduce_max(tf.reshape(x, (tf.shape(x)[0], -1)), axis=1)


@dataclass
class _State:
    """Where a descent is. One entry an item in all vectors.

    `total` is infinite before the first evaluation. `alive` is False for an item that can be
    lowered no further; `bad` is True if the last step met values that are not finite.
    """

    x: Tensor
    total: Tensor
    gradient: Tensor
    terms: Tensor
    alive: Tensor
    bad: Tensor
    memory: Any

    def pack(self) -> tuple[Any, ...]:
        return (
            self.x,
            self.total,
            self.gradient,
            self.terms,
            self.alive,
            self.bad,
            self.memory,
        )


class Minimizer:
    """A descent that is traced once, for any number of problems of one kind.

    Parameters
    ----------
    evaluate : callable
        ``(x, data) -> (total, gradient, terms)`` with a total an item of the batch, the gradient of
        the shape of ``x``, and the terms [shape=(batch, len(TERMS) + len(layers))].
    layers : list of str
        Names of the style layers whose losses follow the `TERMS`.
    optimizer : str
        ``lbfgs`` or ``adam``.
    learning_rate : float > 0
        Step size of Adam, as a share of the range.
    signature : callable, optional
        ``data -> (x, data)`` as ``tf.TensorSpec``, open where problems differ; without it every
        shape is traced anew.
    compiled : bool
        False runs step by step in Python.
    jit : bool
        Compile with XLA.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        layers: list[str],
        *,
        optimizer: str,
        learning_rate: float,
        signature: Callable[[Any], tuple[Any, Any]] | None = None,
        compiled: bool = True,
        jit: bool = False,
    ) -> None:
        self._evaluate = evaluate
        self._layers = layers
        self._rate = learning_rate if optimizer == "adam" else FIRST_STEP
        self._method = self._adam_step if optimizer == "adam" else self._lbfgs_step
        self._remember = _remember_adam if optimizer == "adam" else _remember_lbfgs
        self._signature = signature
        self._compiled = compiled
        self._jit = jit
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
    ) -> Descent:
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
            Gets every `Iterate`; a true return value stops the descent.

        Returns
        -------
        Descent

        Raises
        ------
        OptimizationError
            If the loss is not finite even after one restart with steps ten times smaller.
        """
        rank = len(x.shape)
        lower, upper = (
            tf.reshape(b, [1] * (rank - len(b.shape)) + b.shape.as_list())
            for b in (tf.convert_to_tensor(lower, x.dtype), tf.convert_to_tensor(upper, x.dtype))
        )
        start = tf.clip_by_value(x, lower, upper)
        for restarts, scale in enumerate((1.0, 0.1)):
            watch = _Watch(self._layers, n_steps, tolerance, callback)
            rate = tf.constant(scale * self._rate, x.dtype)
            try:
                self._run(watch, start, data, lower, upper, rate)
            except _NotFinite:
                continue
            return Descent(watch.best(), watch.history, watch.stopped, restarts)
        raise OptimizationError(
            "the loss is not finite, even after a restart with smaller steps: try --precision "
            "float32, lower weights, or --optimizer adam"
        )

    def _run(
        self, watch: _Watch, x: Tensor, data: Any, lower: Tensor, upper: Tensor, rate: Tensor
    ) -> None:
        n_items = x.shape[0]
        state = (
            x,
            tf.fill([n_items], tf.constant(float("inf"), x.dtype)),
            tf.zeros_like(x),
            tf.zeros((n_items, len(TERMS) + len(self._layers))),
            tf.fill([n_items], True),
            tf.fill([n_items], False),
            self._remember(x),
        )
        for _ in range(watch.n_steps + 1):
            state = self._compile(x, data)(state, data, lower, upper, rate)
            if watch.record(_State(*state)):
                return
            state = (*state[:4], tf.constant(watch.alive), *state[5:])

    def _compile(self, x: Tensor, data: Any) -> Any:
        if not self._compiled:
            return self._call
        if self._step is None:
            spec = None
            if self._signature is not None:
                x_spec, data_spec = self._signature(data)
                spec = self._specify(x, x_spec, data_spec)
            self._step = tf.function(
                self._call, input_signature=spec, jit_compile=self._jit, autograph=False
            )
        return self._step

    def _specify(self, x: Tensor, x_spec: Any, data_spec: Any) -> list[Any]:
        def like(value: Tensor) -> Any:  # what the memory holds is as large as x, or one an item
            if value.shape == x.shape:
                return x_spec
            return tf.TensorSpec([*value.shape[:-1], None], value.dtype)

        vector, flags = tf.TensorSpec((None,), x.dtype), tf.TensorSpec((None,), tf.bool)
        terms = tf.TensorSpec((None, len(TERMS) + len(self._layers)), tf.float32)
        memory = tf.nest.map_structure(like, self._remember(x))
        bound = tf.TensorSpec([None] * len(x.shape), x.dtype)
        state = (x_spec, vector, x_spec, terms, flags, flags, memory)
        return [state, data_spec, bound, bound, tf.TensorSpec((), x.dtype)]

    def _call(
        self, state: tuple[Any, ...], data: Any, lower: Tensor, upper: Tensor, rate: Tensor
    ) -> tuple[Any, ...]:
        return self._method(_State(*state), data, lower, upper, rate).pack()

    def _lbfgs_step(
        self, state: _State, data: Any, lower: Tensor, upper: Tensor, rate: Tensor
    ) -> _State:
        """Projected L-BFGS: values that lie on a bound and push outwards are held for the step."""
        x, total, gradient = state.x, state.total, state.gradient
        first = tf.math.is_inf(total)
        held = ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))
        free = tf.cast(~held, x.dtype)
        largest = _largest(tf.abs(gradient * free))
        span = _largest(upper - lower + tf.zeros_like(x))
        searching = state.alive & ((largest > 0) | first)  # 0: an exact minimum, as strength 0
        moves, changes, curvatures = state.memory
        direction = _direction(gradient, free, moves, changes, curvatures)
        known = tf.reduce_any(curvatures > 0, axis=0) & (_dot(direction, gradient) < 0)
        steepest = -gradient * free * _spread(tf.math.divide_no_nan(rate * span, largest), x)
        direction = tf.where(_spread(known, x), direction, steepest)
        curvatures = tf.where(known, curvatures, 0.0)
        found, failed, bad = self._line_search(state, direction, searching, data, lower, upper)
        move, change = found[0] - x, found[2] - gradient
        curvature = _dot(move, change)
        useful = searching & ~failed & ~first & (curvature > 1e-10 * _dot(change, change))
        # Where the curvature misled the step, the next one begins again from the gradient.
        curvatures = tf.where(failed, 0.0, curvatures)
        alive = searching & ~(failed & ~known)
        memory = (
            [*moves[1:], move],
            [*changes[1:], change],
            tf.concat([curvatures[1:], tf.where(useful, curvature, 0.0)[None]], axis=0),
        )
        return _State(*found, alive, bad, memory)

    def _line_search(
        self,
        state: _State,
        direction: Tensor,
        searching: Tensor,
        data: Any,
        lower: Tensor,
        upper: Tensor,
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
        """Halve the step of each item until its loss falls enough (Armijo).

        Returns
        -------
        found : tuple
            Point, total, gradient and terms; those of the state where the search failed.
        failed, bad : tf.Tensor [shape=(batch,), bool]
            Whether the loss never fell enough; whether that was for values that are not finite.
        """
        x, total, gradient, terms = state.x, state.total, state.gradient, state.terms

        def go_on(i: Tensor, step: Tensor, pending: Tensor, *_: Any) -> Tensor:
            return (i < MAX_HALVINGS) & tf.reduce_any(pending)

        def attempt(
            i: Tensor, step: Tensor, pending: Tensor, broken: Tensor, *best: Tensor
        ) -> tuple[Any, ...]:
            trial = tf.clip_by_value(x + _spread(step, x) * direction, lower, upper)
            value, slope, parts = self._evaluate(trial, data)
            finite = tf.math.is_finite(_dot(tf.abs(slope), tf.ones_like(slope)) + value)
            enough = finite & (value <= total + ARMIJO * _dot(gradient, trial - x)) & pending
            better = zip((trial, value, slope, parts), best, strict=True)
            best = tuple(
                tf.ensure_shape(tf.where(_spread(enough, new), new, old), old.shape)
                for new, old in better
            )
            broken = broken | (pending & ~finite)
            return (i + 1, 0.5 * step, pending & ~enough, broken, *best)

        start = (0, tf.ones_like(total), searching, tf.zeros_like(searching))
        _, _, failed, broken, *found = tf.while_loop(
            go_on, attempt, (tf.constant(start[0]), *start[1:], x, total, gradient, terms)
        )
        return tuple(found), failed, failed & broken  # type: ignore[return-value]

    def _adam_step(
        self, state: _State, data: Any, lower: Tensor, upper: Tensor, rate: Tensor
    ) -> _State:
        """Adam (Kingma & Ba 2015) with projection onto the bounds."""
        x, gradient = state.x, state.gradient
        first = tf.math.is_inf(state.total)
        beta1, beta2 = ADAM_BETAS
        mean, square, count = state.memory
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * tf.square(gradient)
        count = count + tf.cast(~first, x.dtype)
        span = _largest(upper - lower + tf.zeros_like(x))
        size = rate * span * tf.sqrt(1 - beta2**count) / tf.maximum(1 - beta1**count, 1e-12)
        size = tf.where(state.alive & ~first, size, 0.0)
        x = tf.clip_by_value(x - _spread(size, x) * mean / (tf.sqrt(square) + 1e-12), lower, upper)
        total, slope, terms = self._evaluate(x, data)
        finite = tf.math.is_finite(_dot(tf.abs(slope), tf.ones_like(slope)) + total)
        return _State(x, total, slope, terms, state.alive, ~finite, (mean, square, count))


def _remember_lbfgs(x: Tensor) -> Any:
    nothing = tf.zeros_like(x)
    return [nothing] * HISTORY, [nothing] * HISTORY, tf.zeros((HISTORY, x.shape[0]), x.dtype)


def _remember_adam(x: Tensor) -> Any:
    return tf.zeros_like(x), tf.zeros_like(x), tf.zeros(x.shape[:1], x.dtype)


def _direction(
    gradient: Tensor,
    free: Tensor,
    moves: list[Tensor],
    changes: list[Tensor],
    curvatures: Tensor,
) -> Tensor:
    """Two-loop recursion of L-BFGS (Nocedal & Wright 2006, algorithm 7.4) on the free values.

    Pairs of curvature 0 do not exist, or are of no use.
    """
    pairs = list(zip(moves, changes, tf.unstack(curvatures), strict=True))
    q = gradient * free
    alphas = []
    scale = tf.ones_like(curvatures[0])
    for move, change, curvature in reversed(pairs):
        alpha = tf.math.divide_no_nan(_dot(move, q), curvature)
        alphas.append(alpha)
        q = q - _spread(alpha, q) * change
    for _, change, curvature in pairs:  # the last that exists decides
        newest = tf.math.divide_no_nan(curvature, _dot(change, change))
        scale = tf.where(curvature > 0, newest, scale)
    q = q * _spread(scale, q)
    for (move, change, curvature), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = tf.math.divide_no_nan(_dot(change, q), curvature)
        q = q + _spread(alpha - beta, q) * move
    return -q * free


class _Watch:
    """Record, keep the best point, and say when to stop."""

    def __init__(
        self, layers: list[str], n_steps: int, tolerance: float, callback: Callback | None
    ) -> None:
        self.layers = layers
        self.n_steps = n_steps
        self.tolerance = tolerance
        self.callback = callback
        self.began = time.perf_counter()
        self.history: list[Iterate] = []
        self.stopped = "iterations"
        self.alive: Array = np.ones(1, bool)
        self._totals: list[Array] = []
        self._best_total: Array | None = None
        self._best_x: Tensor = None

    def best(self) -> Tensor:
        """Return the best point of each item."""
        return self._best_x

    def record(self, state: _State) -> bool:
        """Note a step; return True if the descent should stop."""
        if state.bad.numpy().any():
            raise _NotFinite
        total = state.total.numpy()
        self.alive = state.alive.numpy()
        if self._totals and not self.alive.any():
            self.stopped = "plateau"
            return True
        self._keep_best(state.x, total)
        self._totals.append(total)
        self.history.append(self._iterate(total.mean(), state.terms.numpy().mean(axis=0)))
        if self.callback is not None and self.callback(self.history[-1]):
            self.stopped = "interrupted"
            return True
        if self.tolerance > 0 and len(self._totals) > PLATEAU_STEPS:
            before = self._totals[-1 - PLATEAU_STEPS]
            self.alive &= before - total >= self.tolerance * np.abs(before)
        if not self.alive.any():
            self.stopped = "plateau"
            return True
        return False

    def _keep_best(self, x: Tensor, total: Array) -> None:
        if self._best_total is None:
            self._best_total, self._best_x = total, x
            return
        better = total < self._best_total
        self._best_total = np.where(better, total, self._best_total)
        if better.all():
            self._best_x = x
        elif better.any():
            self._best_x = tf.where(_spread(tf.constant(better), x), x, self._best_x)

    def _iterate(self, total: float, terms: Array) -> Iterate:
        values = [float(term) for term in terms]
        return Iterate(
            step=len(self.history),
            n_steps=self.n_steps,
            total=float(total),
            **dict(zip(TERMS, values, strict=False)),
            layers=dict(zip(self.layers, values[len(TERMS) :], strict=True)),
            seconds=time.perf_counter() - self.began,
        )
