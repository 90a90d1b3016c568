"""Memory: what TensorFlow traced for one transfer is gone before the next."""

from __future__ import annotations

import gc

from audiostyle.config import TransferConfig
from audiostyle.pipeline import Style, Stylist
from tests.conftest import SR, make_noise, make_tones


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
