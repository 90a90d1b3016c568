"""Memory: what TensorFlow traced for one transfer is gone before the next."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import tensorflow as tf

from audiostyle.config import TransferConfig
from audiostyle.pipeline import Style, Stylist
from audiostyle.tracing import short_lived_graphs
from tests.conftest import SR, make_noise, make_tones


@tf.custom_gradient
def tripled(x: Any) -> Any:
    """Say that the slope of ``x`` is 3."""
    return tf.identity(x), lambda upstream: 3.0 * upstream


def n_graphs() -> int:
    gc.collect()
    return sum(type(item).__name__ == "FuncGraph" for item in gc.get_objects())


def test_no_graph_outlives_its_transfer(tiny_config: TransferConfig) -> None:
    stylist = Stylist(tiny_config, "cpu")
    style = Style([(make_noise(0.6), SR)])
    heard = stylist.hear(style)
    counts = []
    for i in range(3):
        again = Style([], heard=lambda: heard)
        stylist.transfer(make_tones(0.6 + 0.1 * i), [again], SR)
        counts.append(n_graphs())
    assert counts[0] == counts[1] == counts[2]


def test_what_others_traced_can_still_be_differentiated() -> None:
    before = tf.function(tripled).get_concrete_function(tf.TensorSpec((), tf.float32))
    inside: list[Any] = []
    with short_lived_graphs():

        @tf.function
        def slope(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tripled(x) ** 2
            return tape.gradient(y, x)

        inside.append(slope.get_concrete_function(tf.TensorSpec((), tf.float32)))
    x = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = before(x)
    assert tape.gradient(y, x).numpy() == pytest.approx(3.0)
    assert inside[0](x).numpy() == pytest.approx(12.0)
