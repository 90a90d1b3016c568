"""L-BFGS within bounds: one step, from tensors to tensors, so that XLA can compile it as a whole.

The items of a batch are optimised side by side and do not affect each other: each has its own
memory of curvature and its own line search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from audiostyle.arrays import Tensor

Evaluate = Callable[[Tensor, Any], tuple[Tensor, Tensor, Tensor]]
"""``(x, data) -> (total, gradient, terms)``, each with one entry per item of the batch."""

HISTORY = 10  # pairs that L-BFGS keeps
FIRST_STEP = 0.02  # largest change of a value in the first step, as a share of the range
MAX_HALVINGS = 8  # of a step that does not lower the loss
ARMIJO = 1e-4


class OptimizerState(NamedTuple):
    """Point, loss and gradient between two steps."""

    x: Tensor  # [shape=(batch, ...)]
    total: Tensor  # [shape=(batch,)], infinite before the first evaluation
    gradient: Tensor  # [shape of x]
    terms: Tensor  # [shape=(batch, n_terms), float32]
    active: Tensor  # [shape=(batch,), bool], False for an item that has stopped
    nonfinite: Tensor  # [shape=(batch,), bool], True if the last step met no finite loss
    memory: Any  # what the method keeps from step to step


class BoundedProblem(NamedTuple):
    """Data and bounds of a minimisation."""

    data: Any  # passed to the evaluation
    lower: Tensor  # of the rank of x; broadcast to its shape
    upper: Tensor
    rate: Tensor  # [shape=(batch,)], step size without curvature, as a share of the range


def initial_state(method: Any, x: Tensor, n_terms: int) -> OptimizerState:
    """Return the state of a method before the first evaluation, at `x` [shape=(batch, ...)]."""
    n_items = x.shape[0]
    return OptimizerState(
        x=x,
        total=tf.fill([n_items], tf.constant(float("inf"), x.dtype)),
        gradient=tf.zeros_like(x),
        terms=tf.zeros((n_items, n_terms)),
        active=tf.fill([n_items], True),
        nonfinite=tf.fill([n_items], False),
        memory=method.initial_memory(x),
    )


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each item [shape=(batch,)]."""
    return tf.reduce_sum(tf.reshape(a * b, (tf.shape(a)[0], -1)), axis=1)


def expand_to(values: Tensor, x: Tensor) -> Tensor:
    """Reshape `values` [shape=(batch,)] to the rank of `x`."""
    return tf.reshape(values, [-1] + [1] * (len(x.shape) - 1))


def largest(x: Tensor) -> Tensor:
    """Maximum of each item [shape=(batch,)]."""
    return tf.reduce_max(tf.reshape(x, (tf.shape(x)[0], -1)), axis=1)


def is_finite(total: Tensor, gradient: Tensor) -> Tensor:
    """Whether loss and gradient of each item are finite [shape=(batch,), bool]."""
    # One value that is not finite makes the sum so; finite values here are too small to overflow.
    return tf.math.is_finite(
        tf.reduce_sum(gradient, axis=list(range(1, len(gradient.shape)))) + total
    )


class LBFGS:
    """Projected L-BFGS: a value on a bound whose gradient points outwards is fixed for the step."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def initial_memory(self, x: Tensor) -> Any:
        """Return empty moves, gradient changes and curvatures, oldest first."""
        zeros = tf.zeros_like(x)
        return [zeros] * HISTORY, [zeros] * HISTORY, tf.zeros((HISTORY, x.shape[0]), x.dtype)

    def step(self, state: OptimizerState, problem: BoundedProblem) -> OptimizerState:
        """Take one step; the evaluation of the start is a step of length 0."""
        x, gradient = state.x, state.gradient
        first = tf.math.is_inf(state.total)
        direction, curvatures, steepness = self._direction(state, problem)
        # A gradient of 0 is an exact minimum, such as the content at strength 0.
        searching = state.active & ((steepness > 0) | first)
        known = tf.reduce_any(curvatures > 0, axis=0)
        found, failed, nonfinite = self._line_search(state, direction, searching, problem)
        move, change = found[0] - x, found[2] - gradient
        curvature = dot(move, change)
        useful = searching & ~failed & ~first & (curvature > 1e-10 * dot(change, change))
        # Where the curvature misled the step, the next one starts again from the gradient.
        curvatures = tf.where(failed, 0.0, curvatures)
        moves, changes, _ = state.memory
        # A useless pair takes a place as well: to leave it out for some items of the batch only,
        # the whole memory would have to be copied at every step.
        memory = (
            [*moves[1:], move],
            [*changes[1:], change],
            tf.concat([curvatures[1:], tf.where(useful, curvature, 0.0)[None]], axis=0),
        )
        active = searching & ~(failed & ~known)
        return OptimizerState(*found, active=active, nonfinite=nonfinite, memory=memory)

    def _direction(
        self, state: OptimizerState, problem: BoundedProblem
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose between L-BFGS and the gradient.

        Returns the direction, the curvatures of the memory [shape=(HISTORY, batch)], set to 0 for
        items that take the gradient, and the largest slope of each item.
        """
        x, gradient = state.x, state.gradient
        fixed = ((x <= problem.lower) & (gradient > 0)) | ((x >= problem.upper) & (gradient < 0))
        free = tf.cast(~fixed, x.dtype)
        steepest = gradient * free
        steepness = largest(tf.abs(steepest))
        moves, changes, curvatures = state.memory
        direction = lbfgs_direction(steepest, moves, changes, curvatures) * free
        # Cut off what would leave the bounds at once before testing whether the direction leads
        # downhill: the rest may lead uphill.
        outwards = ((x <= problem.lower) & (direction < 0)) | (
            (x >= problem.upper) & (direction > 0)
        )
        direction = tf.where(outwards, 0.0, direction)
        known = tf.reduce_any(curvatures > 0, axis=0) & (dot(direction, gradient) < 0)
        span = largest(problem.upper - problem.lower)
        size = tf.math.divide_no_nan(problem.rate * span, steepness)
        downhill = -expand_to(size, x) * steepest
        direction = tf.where(expand_to(known, x), direction, downhill)
        return direction, tf.where(known, curvatures, 0.0), steepness

    def _line_search(
        self, state: OptimizerState, direction: Tensor, searching: Tensor, problem: BoundedProblem
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
        """Halve the step of each item until its loss falls enough (Armijo).

        Returns point, total, gradient and terms, unchanged where the search failed; where it
        failed; and where it failed and met a loss that is not finite [shape=(batch,), bool].
        """
        x, total, gradient, terms = state[:4]
        # The first evaluation has no step to halve.
        tries = tf.where(tf.reduce_any(tf.math.is_inf(total)), 1, MAX_HALVINGS)

        def unfinished(i: Tensor, step: Tensor, pending: Tensor, *_: Any) -> Tensor:
            return (i < tries) & tf.reduce_any(pending)

        def attempt(
            i: Tensor, step: Tensor, pending: Tensor, broken: Tensor, *best: Tensor
        ) -> tuple[Any, ...]:
            trial = tf.clip_by_value(
                x + expand_to(step, x) * direction, problem.lower, problem.upper
            )
            trial_total, trial_gradient, trial_terms = self._evaluate(trial, problem.data)
            finite = is_finite(trial_total, trial_gradient)
            # The bounds may bend a step uphill, and rounding may reduce it to nothing: without a
            # real decrease the search would never end.
            expected = tf.minimum(dot(gradient, trial - x), 0.0)
            falls = (trial_total < total) & (trial_total <= total + ARMIJO * expected)
            enough = pending & finite & falls
            pairs = zip((trial, trial_total, trial_gradient, trial_terms), best, strict=True)
            best = tuple(
                tf.ensure_shape(tf.where(expand_to(enough, new), new, old), old.shape)
                for new, old in pairs
            )
            broken = broken | (pending & ~finite)
            return (i + 1, 0.5 * step, pending & ~enough, broken, *best)

        start = (tf.constant(0), tf.ones_like(total), searching, tf.zeros_like(searching))
        _, _, failed, broken, *found = tf.while_loop(
            unfinished, attempt, (*start, x, total, gradient, terms)
        )
        return tuple(found), failed, failed & broken


def lbfgs_direction(
    gradient: Tensor, moves: list[Tensor], changes: list[Tensor], curvatures: Tensor
) -> Tensor:
    """Direction of L-BFGS (Nocedal & Wright 2006, algorithm 7.4), first scaled by their eq. 7.20.

    The two loops are solved as two triangular systems of the inner products of all pairs (after
    Byrd, Nocedal & Schnabel 1994): three passes over the memory instead of sixty over vectors, for
    the same direction.

    `moves` are steps, and `changes` those of the gradient along them, oldest first. `curvatures`
    [shape=(len(moves), batch)] are their inner products; pairs of curvature 0 are ignored.
    """
    n = len(moves)
    curvature = tf.transpose(curvatures)[..., None]
    used = curvature > 0
    vectors = tf.stack([*moves, *changes, gradient], axis=1)
    vectors = tf.reshape(vectors, (tf.shape(gradient)[0], 2 * n + 1, -1))
    products = tf.matmul(vectors, vectors, transpose_b=True)
    # An unused pair becomes a row of the identity, with 0 on the right-hand side.
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
