"""The first layer against TensorFlow's own convolution and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.nn.convolution import convolve_plane


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("step", [1, 2])
def test_values_and_gradient_are_those_of_the_whole_convolution(step: int, planes: int) -> None:
    rng = np.random.default_rng(0)
    plane = tf.constant(rng.normal(size=(2, 8, 7, 1)), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 3, planes, 5)), tf.float32)
    bias = tf.constant(rng.normal(size=5), tf.float32)
    upstream = tf.constant(rng.normal(size=(2, 8 // step, 7, 5)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(plane)
        found = convolve_plane(plane, kernel, bias, step)
        both = tf.concat([plane, tf.ones_like(plane)][:planes], axis=3)
        expected = (tf.nn.conv2d(both, kernel, 1, "SAME") + bias)[:, ::step]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    ours = tape.gradient(found, plane, output_gradients=upstream)
    theirs = tape.gradient(expected, plane, output_gradients=upstream)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_gradient_in_bfloat16_is_as_near_as_its_rounding() -> None:
    rng = np.random.default_rng(1)
    kernel = tf.cast(rng.normal(size=(3, 3, 1, 64)), tf.bfloat16)
    upstream = tf.cast(rng.normal(size=(1, 6, 20, 64)), tf.bfloat16)
    plane = tf.zeros((1, 6, 20, 1), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(plane)
        found = convolve_plane(plane, kernel, tf.zeros(64, tf.bfloat16))
    slope = tape.gradient(found, plane, output_gradients=upstream)
    exact = tf.nn.conv2d_transpose(
        tf.cast(upstream, tf.float32), tf.cast(kernel, tf.float32), plane.shape, 1, "SAME"
    )
    assert slope.dtype == tf.bfloat16
    error = np.linalg.norm(tf.cast(slope, tf.float32) - exact) / np.linalg.norm(exact)
    assert error < 2.0**-7
