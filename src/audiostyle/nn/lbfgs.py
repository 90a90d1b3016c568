"""One step of L-BFGS or Adam on a bounded variable: TensorFlow in, TensorFlow out.

Items of a batch descend side by side, each with its own steps: none knows of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types
Evaluate = Callable[[Tensor, Any], tuple[Tensor, Tensor, Tensor]]

HISTORY = 10  # pairs that L-BFGS keeps
FIRST_STEP = 0.02  # largest change of a value in the first step, as a share of the range
MAX_HALVINGS = 8  # of a step that does not lower the loss
ARMIJO = 1e-4
ADAM_BETAS = (0.9, 0.99)


class OptimizerState(NamedTuple):
    """Where a descent is.

    Attributes
    ----------
    x : tf.Tensor [shape=(batch, ...)]
    total : tf.Tensor [shape=(batch,)]
        Infinite before the first evaluation.
    gradient : tf.Tensor [shape of `x`]
    terms : tf.Tensor [shape=(batch, n_terms), float32]
    alive : tf.Tensor [shape=(batch,), bool]
        False for an item that can be lowered no further, or shall not be.
    bad : tf.Tensor [shape=(batch,), bool]
        True if the last step met values that are not finite, and found no others.
    memory : nested structure of tf.Tensor
        What the method keeps from step to step.
    """

    x: Tensor
    total: Tensor
    gradient: Tensor
    terms: Tensor
    alive: Tensor
    bad: Tensor
    memory: Any


class BoundedProblem(NamedTuple):
    """What is to be minimised.

    Attributes
    ----------
    data : nested structure of tf.Tensor
        Handed to the function.
    lower, upper : tf.Tensor
        Bounds, of the rank of ``x``; broadcast to its shape.
    rate : tf.Tensor [shape=(batch,)]
        Step size, as a share of the range: of Adam always, of L-BFGS where no curvature is known.
    """

    data: Any
    lower: Tensor
    upper: Tensor
    rate: Tensor


class Method(Protocol):
    """A way to descend."""

    def remember(self, x: Tensor) -> Any:
        """Make the memory of a descent that has not begun, for `State.memory`.

        Parameters
        ----------
        x : tf.Tensor

        Returns
        -------
        object
        """
        ...

    def step(self, state: OptimizerState, problem: BoundedProblem) -> OptimizerState:
        """Evaluate the start, or else go one step from it.

        Parameters
        ----------
        state : State
        problem : Problem

        Returns
        -------
        State
        """
        ...


def initial_state(method: Method, x: Tensor, n_terms: int) -> OptimizerState:
    """Make the state before the first evaluation.

    Parameters
    ----------
    method : Method
    x : tf.Tensor [shape=(batch, ...)]
        Within the bounds.
    n_terms : int

    Returns
    -------
    State
    """
    n_items = x.shape[0]
    return OptimizerState(
        x=x,
        total=tf.fill([n_items], tf.constant(float("inf"), x.dtype)),
        gradient=tf.zeros_like(x),
        terms=tf.zeros((n_items, n_terms)),
        alive=tf.fill([n_items], True),
        bad=tf.fill([n_items], False),
        memory=method.remember(x),
    )


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each item of a batch.

    Parameters
    ----------
    a, b : tf.Tensor

    Returns
    -------
    tf.Tensor
    """
    return tf.reduce_sum(tf.reshape(a * b, (tf.shape(a)[0], -1)), axis=1)


def spread(values: Tensor, x: Tensor) -> Tensor:
    """Bring one value an item to the rank of `x`.

    Parameters
    ----------
    values, x : tf.Tensor

    Returns
    -------
    tf.Tensor
    """
    return tf.reshape(values, [-1] + [1] * (len(x.shape) - 1))


def _largest(x: Tensor) -> Tensor:
    return tf.reduce_max(tf.reshape(x, (tf.shape(x)[0], -1)), axis=1)


def _is_finite(total: Tensor, gradient: Tensor) -> Tensor:
    # A value that is not finite makes the sum so, and what is finite here is far from the largest.
    return tf.math.is_finite(
        tf.reduce_sum(gradient, axis=list(range(1, len(gradient.shape)))) + total
    )


class LBFGS:
    """Projected L-BFGS: values that lie on a bound and push outwards are held for the step.

    Parameters
    ----------
    evaluate : callable
        ``(x, data) -> (total, gradient, terms)``, all of them one an item of the batch.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def remember(self, x: Tensor) -> Any:
        """Make room for moves, changes of the gradient and their products, oldest first.

        Parameters
        ----------
        x : tf.Tensor

        Returns
        -------
        object
        """
        nothing = tf.zeros_like(x)
        return [nothing] * HISTORY, [nothing] * HISTORY, tf.zeros((HISTORY, x.shape[0]), x.dtype)

    def step(self, state: OptimizerState, problem: BoundedProblem) -> OptimizerState:
        """Go one step, or evaluate the start, which is a step of length 0; see `Method.step`."""
        x, gradient = state.x, state.gradient
        first = tf.math.is_inf(state.total)
        held = ((x <= problem.lower) & (gradient > 0)) | ((x >= problem.upper) & (gradient < 0))
        free = tf.cast(~held, x.dtype)
        pulled = gradient * free
        largest = _largest(tf.abs(pulled))
        searching = state.alive & ((largest > 0) | first)  # 0: an exact minimum, as strength 0
        direction, curvatures = self._direction(state, problem, free, pulled, largest)
        known = tf.reduce_any(curvatures > 0, axis=0)
        found, failed, bad = self._line_search(state, direction, searching, problem)
        move, change = found[0] - x, found[2] - gradient
        curvature = dot(move, change)
        useful = searching & ~failed & ~first & (curvature > 1e-10 * dot(change, change))
        # Where the curvature misled the step, the next one begins again from the gradient.
        curvatures = tf.where(failed, 0.0, curvatures)
        moves, changes, _ = state.memory
        # A pair of no use takes a place, too: to leave it out for some items of the batch only,
        # the whole memory would have to be copied at every step.
        memory = (
            [*moves[1:], move],
            [*changes[1:], change],
            tf.concat([curvatures[1:], tf.where(useful, curvature, 0.0)[None]], axis=0),
        )
        return OptimizerState(*found, alive=searching & ~(failed & ~known), bad=bad, memory=memory)

    def _direction(
        self,
        state: OptimizerState,
        problem: BoundedProblem,
        free: Tensor,
        pulled: Tensor,
        largest: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Choose between L-BFGS and the gradient.

        Returns
        -------
        direction : tf.Tensor [shape of `x`]
        curvatures : tf.Tensor [shape=(HISTORY, batch)]
            Those of the memory, or 0 where they are of no use.
        """
        x, gradient = state.x, state.gradient
        moves, changes, curvatures = state.memory
        direction = lbfgs_direction(pulled, moves, changes, curvatures) * free
        # What would leave the bounds at once is cut off before the descent is tested, not after:
        # what is left may lead uphill.
        outwards = ((x <= problem.lower) & (direction < 0)) | (
            (x >= problem.upper) & (direction > 0)
        )
        direction = tf.where(outwards, 0.0, direction)
        known = tf.reduce_any(curvatures > 0, axis=0) & (dot(direction, gradient) < 0)
        span = _largest(problem.upper - problem.lower)
        size = tf.math.divide_no_nan(problem.rate * span, largest)
        steepest = -spread(size, x) * pulled
        direction = tf.where(spread(known, x), direction, steepest)
        return direction, tf.where(known, curvatures, 0.0)

    def _line_search(
        self, state: OptimizerState, direction: Tensor, searching: Tensor, problem: BoundedProblem
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
        """Halve the step of each item until its loss falls enough (Armijo).

        Returns
        -------
        found : tuple
            Point, total, gradient and terms; those of the state where the search failed.
        failed, bad : tf.Tensor [shape=(batch,), bool]
            Whether the loss never fell enough; whether that was for values that are not finite.
        """
        x, total, gradient, terms = state[:4]
        # There is nothing to halve in the first evaluation.
        tries = tf.where(tf.reduce_any(tf.math.is_inf(total)), 1, MAX_HALVINGS)

        def go_on(i: Tensor, step: Tensor, pending: Tensor, *_: Any) -> Tensor:
            return (i < tries) & tf.reduce_any(pending)

        def attempt(
            i: Tensor, step: Tensor, pending: Tensor, broken: Tensor, *best: Tensor
        ) -> tuple[Any, ...]:
            trial = tf.clip_by_value(x + spread(step, x) * direction, problem.lower, problem.upper)
            value, slope, parts = self._evaluate(trial, problem.data)
            finite = _is_finite(value, slope)
            # The bounds may bend a step uphill, and rounding may make it nothing: without a real
            # decrease the search would go on for ever.
            expected = tf.minimum(dot(gradient, trial - x), 0.0)
            falls = (value < total) & (value <= total + ARMIJO * expected)
            enough = pending & finite & falls
            better = zip((trial, value, slope, parts), best, strict=True)
            best = tuple(
                tf.ensure_shape(tf.where(spread(enough, new), new, old), old.shape)
                for new, old in better
            )
            broken = broken | (pending & ~finite)
            return (i + 1, 0.5 * step, pending & ~enough, broken, *best)

        begin = (tf.constant(0), tf.ones_like(total), searching, tf.zeros_like(searching))
        _, _, failed, broken, *found = tf.while_loop(
            go_on, attempt, (*begin, x, total, gradient, terms)
        )
        return tuple(found), failed, failed & broken


def lbfgs_direction(
    gradient: Tensor, moves: list[Tensor], changes: list[Tensor], curvatures: Tensor
) -> Tensor:
    """Direction of L-BFGS (Nocedal & Wright 2006, algorithm 7.4), first scaled by their eq. 7.20.

    Unlike there, the two loops are solved as two triangular systems, which take no more than the
    inner products of all pairs (after Byrd, Nocedal & Schnabel 1994): three passes over the memory
    in place of sixty over vectors, for the same direction.

    Parameters
    ----------
    gradient : tf.Tensor [shape=(batch, ...)]
    moves, changes : list of tf.Tensor [shape=(batch, ...)]
        Steps and how the gradient changed by them, oldest first.
    curvatures : tf.Tensor [shape=(len(moves), batch), non-negative]
        Products of both. Pairs of curvature 0 do not exist, or are of no use.

    Returns
    -------
    tf.Tensor [shape=(batch, ...)]
    """
    n = len(moves)
    curvature = tf.transpose(curvatures)[..., None]
    used = curvature > 0
    vectors = tf.stack([*moves, *changes, gradient], axis=1)
    vectors = tf.reshape(vectors, (tf.shape(gradient)[0], 2 * n + 1, -1))
    products = tf.matmul(vectors, vectors, transpose_b=True)
    # What is of no use is left out: a row of the identity, and nothing on the right.
    both = used & tf.linalg.matrix_transpose(used)
    system = tf.linalg.band_part(tf.where(both, products[:, :n, n:-1], 0.0), 0, -1)
    system = tf.linalg.set_diag(system, tf.where(used, curvature, 1.0)[..., 0])
    along = products[:, :-1, -1:]  # the gradient along moves and changes
    alphas = _solve(system, tf.where(used, along[:, :n], 0.0), adjoint=False)
    squares = tf.linalg.diag_part(products)[:, n:-1, None]
    newest = tf.cast(used, gradient.dtype) * tf.math.cumprod(
        tf.cast(~used, gradient.dtype), axis=1, exclusive=True, reverse=True
    )
    scale = tf.reduce_sum(newest * tf.math.divide_no_nan(curvature, squares), axis=1, keepdims=True)
    scale = tf.where(tf.reduce_any(used, axis=1, keepdims=True), scale, 1.0)
    rest = along[:, n:] - tf.matmul(products[:, n:-1, n:-1], alphas)
    deltas = _solve(system, tf.where(used, curvature * alphas - scale * rest, 0.0), adjoint=True)
    shares = tf.concat([deltas, -scale * alphas, scale], axis=1)
    direction = tf.matmul(tf.linalg.matrix_transpose(shares), vectors)
    return -tf.reshape(direction, tf.shape(gradient))


def _solve(system: Tensor, right: Tensor, adjoint: bool) -> Tensor:
    return tf.linalg.triangular_solve(system, right, lower=False, adjoint=adjoint)


class Adam:
    """Adam (Kingma & Ba 2015) with projection onto the bounds.

    Parameters
    ----------
    evaluate : callable
        As for `LBFGS`.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def remember(self, x: Tensor) -> Any:
        """Make room for the moments of the gradient, and for the number of steps.

        Parameters
        ----------
        x : tf.Tensor

        Returns
        -------
        object
        """
        return tf.zeros_like(x), tf.zeros_like(x), tf.zeros(x.shape[:1], x.dtype)

    def step(self, state: OptimizerState, problem: BoundedProblem) -> OptimizerState:
        """Go one step, or evaluate the start, which is a step of length 0; see `Method.step`."""
        x, gradient = state.x, state.gradient
        first = tf.math.is_inf(state.total)
        beta1, beta2 = ADAM_BETAS
        mean, square, count = state.memory
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * tf.square(gradient)
        count = count + tf.cast(~first, x.dtype)
        span = _largest(problem.upper - problem.lower + tf.zeros_like(x))
        # The count is 0 in the first evaluation, which must not divide by 0.
        unbiased = tf.sqrt(1 - beta2**count) / tf.maximum(1 - beta1**count, 1e-12)
        size = tf.where(state.alive & ~first, problem.rate * span * unbiased, 0.0)
        x = tf.clip_by_value(
            x - spread(size, x) * mean / (tf.sqrt(square) + 1e-12), problem.lower, problem.upper
        )
        total, slope, terms = self._evaluate(x, problem.data)
        bad = ~_is_finite(total, slope)
        return OptimizerState(x, total, slope, terms, state.alive, bad, (mean, square, count))
