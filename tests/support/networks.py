"""A small configuration and spectrograms for tests of the networks and the objective."""

from __future__ import annotations

from typing import Any

import numpy as np

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import InitialSpectrogram
from audiostyle.dsp import spectrogram
from tests.conftest import make_noise, make_tones

ALL_TERMS = ("texture", "music", "pitch", "onset", "rhythm", "envelope")
"""Terms beside content and style."""


def tiny(**changes: Any) -> TransferConfig:
    """Return the configuration of the fixture `tiny_config`, for fixtures of a wider scope."""
    options: dict[str, Any] = {
        "precision": "float32",
        "n_fft": 1024,
        "hop_length": 256,
        "n_mels": 64,
        "bands": 4,
        "init": "content",
        "iterations": 3,
        "inversion_iterations": 2,
        "style_layers": (("block1_conv1", 1.0), ("block2_conv1", 1.0)),
    }
    return TransferConfig(**{**options, **changes})


def tone_spectrogram(
    config: TransferConfig, seconds: float = 0.5, base: float = 220.0
) -> np.ndarray:
    return spectrogram.mel_spectrogram(make_tones(seconds, base=base), config)


def noise_spectrogram(config: TransferConfig, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    return spectrogram.mel_spectrogram(make_noise(seconds, seed=seed), config)


def starts(
    S: np.ndarray, S_target: np.ndarray | None = None, confidence: float = 0.0
) -> list[InitialSpectrogram]:
    """Start windows [shape=(batch, n_mels, t)] at `S`."""
    targets = S if S_target is None else S_target
    return [InitialSpectrogram(*pair, confidence) for pair in zip(S, targets, strict=True)]
