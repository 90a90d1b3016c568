"""Let go of what TensorFlow traced for one pair, so that a thousand pairs take no more memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def short_lived_graphs() -> Iterator[None]:
    """Forget the custom gradients that are traced in the block, when it ends.

    TensorFlow keeps every ``tf.custom_gradient`` that was ever traced in a table that is never
    cleared, and with it the whole graph: a few megabytes a pair. What was in the table before
    the block stays. The graphs that are traced in the block can be run afterwards, but not be
    differentiated; a descent has taken its gradient by then.

    Yields
    ------
    None
    """
    table = _custom_gradients()
    before = set(table)
    try:
        yield
    finally:
        for name in [name for name in table if name not in before]:
            if name.startswith("CustomGradient"):
                del table[name]


def _custom_gradients() -> dict[str, Any]:
    """Return TensorFlow's table; an empty one if this TensorFlow keeps it elsewhere."""
    from tensorflow.python.framework import ops

    table = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    return table if isinstance(table, dict) else {}
