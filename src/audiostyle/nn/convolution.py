"""The convolution of a single plane, as a network's first layer is, with a faster gradient.

The gradient of a convolution by its input is a convolution from many channels to one, for which
libraries are not made: as a product of matrices, whose columns are then shifted and added, it takes
half the time or less. See docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any  # TensorFlow ships no types


def convolve_plane(plane: Tensor, kernel: Tensor, bias: Tensor, step: int = 1) -> Tensor:
    """Convolve a plane, padded with zeros, to many channels.

    Parameters
    ----------
    plane : tf.Tensor [shape=(batch, rows, t, 1)]
    kernel : tf.Tensor [shape=(3, 3, 1 or 2, C)]
        Of two input channels, the second is for a plane of ones: with padding, that is not the
        same as a bias.
    bias : tf.Tensor [shape=(C,)]
    step : int
        1, or 2 for every other row of the result, the first row being one of them; there must be
        an even number of rows then.

    Returns
    -------
    tf.Tensor [shape=(batch, rows / step, t, C)]
    """

    def convolve(plane: Tensor) -> tuple[Tensor, Any]:
        ones = [tf.ones_like(plane)] * (kernel.shape[2] - 1)
        # Padding as is usual would shift every other row by one.
        padding: Any = "SAME" if step == 1 else [[0, 0], [1, 0], [1, 1], [0, 0]]
        y = tf.nn.conv2d(tf.concat([plane, *ones], axis=3), kernel, (1, step, 1, 1), padding)

        def gradient(upstream: Tensor) -> Tensor:
            return tf.cast(_gather(upstream, kernel[:, :, 0], step)[..., None], plane.dtype)

        return tf.nn.bias_add(y, bias), gradient

    convolved: Tensor = tf.custom_gradient(convolve)(plane)
    if not tf.executing_eagerly():
        _forget_gradient(convolved)
    return convolved


def _forget_gradient(traced: Tensor) -> None:
    """Let go of a graph that TensorFlow would keep for ever.

    It lists the gradients of one's own for those who differentiate a whole graph by name, and each
    holds the graph that it was traced in. A tape knows its gradient by itself.
    """
    from tensorflow.python.framework import ops

    listed = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    if isinstance(listed, dict):  # nobody promises that it stays so
        listed.pop(traced.op.get_attr("_gradient_op_type").decode(), None)


def _gather(upstream: Tensor, kernel: Tensor, step: int) -> Tensor:
    """Sum up what each point of the plane has part in [shape=(batch, rows, t), float32]."""
    channels = kernel.shape[2]
    shape = tf.shape(upstream)
    # Taps come first, each of them contiguous: to pick them out of the last axis takes longer than
    # the product.
    by_tap, positions = tf.reshape(kernel, (9, channels)), tf.reshape(upstream, (-1, channels))
    taps = tf.cast(tf.matmul(by_tap, positions, transpose_b=True), tf.float32)
    taps = tf.reshape(taps, (3, 3, shape[0], shape[1], shape[2]))
    above, level, below = (_add_columns(taps[i]) for i in range(3))
    above = tf.pad(above[:, 1:], ((0, 0), (0, 1), (0, 0)))  # a row has part in the row below it
    if step == 1:
        return above + level + tf.pad(below[:, :-1], ((0, 0), (1, 0), (0, 0)))
    rows = tf.stack([level, above + below], axis=2)
    return tf.reshape(rows, (shape[0], 2 * shape[1], shape[2]))


def _add_columns(taps: Tensor) -> Tensor:
    """Add the three taps of a row of the kernel, each from the column that it reaches from."""
    earlier = tf.pad(taps[0, :, :, 1:], ((0, 0), (0, 0), (0, 1)))
    later = tf.pad(taps[2, :, :, :-1], ((0, 0), (0, 0), (1, 0)))
    return earlier + taps[1] + later
