"""Two plugin losses, and a content for their tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import TransferResult, transfer
from tests.conftest import SR, make_noise

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_loss.py"
PLUGIN = """
import tensorflow as tf
from audiostyle import register_loss
@register_loss("tiny")
class Tiny:
    def __init__(self, config):
        self.top_db = config.top_db
    def target(self, S):
        return S
    def __call__(self, S, target):
        return tf.reduce_mean(tf.square((S - target) / self.top_db), axis=(1, 2))
"""


def opening(seconds: float = 1.0) -> np.ndarray:
    """Return a chord whose upper half swells twice per second."""
    t = np.arange(round(seconds * SR)) / SR
    open_, tones = 0.5 - 0.5 * np.cos(4 * np.pi * t), 2 * np.pi * t
    low, high = (sum(np.sin(f * tones) for f in some) for some in ((220, 330), (1760, 2640, 3520)))
    return (0.1 * (low + open_ * high)).astype(np.float32)


def with_losses(config: TransferConfig, losses: Any) -> TransferConfig:
    return dataclasses.replace(config, losses=losses)


def run(config: TransferConfig, seconds: float = 1.0) -> TransferResult:
    return transfer(opening(seconds), make_noise(seconds), SR, config)
