from __future__ import annotations

import numpy as np
import tensorflow as tf

from audiostyle.nn.lbfgs import HISTORY, lbfgs_direction


def test_the_direction_is_minus_the_inverse_hessian_of_bfgs_times_the_gradient() -> None:
    """Compare with the update of the matrix, pair by pair (Nocedal & Wright 2006, eq. 6.17)."""
    rng = np.random.default_rng(0)
    hessian = np.diag(rng.uniform(0.5, 3, 6))
    moves = rng.normal(0, 1, (4, 6))
    changes = moves @ hessian
    products = (moves * changes).sum(axis=1)
    H = products[-1] / (changes[-1] ** 2).sum() * np.eye(6)
    for s, y, sy in zip(moves, changes, products, strict=True):
        V = np.eye(6) - np.outer(y, s) / sy
        H = V.T @ H @ V + np.outer(s, s) / sy
    gradient = rng.normal(0, 1, 6)

    def rows(values: np.ndarray) -> list[tf.Tensor]:
        # One pair has curvature 0 and must be ignored.
        values = np.insert(values, 2, rng.normal(0, 1, 6), axis=0)
        return [tf.constant(v[None], tf.float32) for v in values]

    curvatures = tf.constant(np.insert(products, 2, 0.0)[:, None], tf.float32)
    found = lbfgs_direction(
        tf.constant(gradient[None], tf.float32), rows(moves), rows(changes), curvatures
    )
    np.testing.assert_allclose(found[0], -H @ gradient, rtol=1e-4, atol=1e-5)


def test_the_direction_without_curvature_is_minus_the_gradient() -> None:
    gradient = tf.constant([[1.0, -2.0]])
    nothing = [tf.zeros((1, 2))] * HISTORY
    found = lbfgs_direction(gradient, nothing, nothing, tf.zeros((HISTORY, 1)))
    np.testing.assert_array_equal(found, -gradient)
