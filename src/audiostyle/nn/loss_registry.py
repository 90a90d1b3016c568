"""Losses that keep the spectrogram close to its content: shipped and plugin losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import tensorflow as tf

from audiostyle.arrays import Tensor
from audiostyle.config.registry import LOSSES, find_loss
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioStyleError, ConfigError, is_memory_error
from audiostyle.nn.spectrogram_losses import (
    frame_levels,
    onset_loss,
    onset_strength,
    partials,
    pitch_loss,
    rhythm_loss,
)

MAX_AT_CONTENT = 1e-3  # largest value of a loss at the content itself


class SpectrogramLoss(Protocol):
    """Interface of a loss on the dB mel spectrogram."""

    def target(self, S: Tensor) -> Tensor:
        """Return what the loss keeps of a content. Called once per window, before it is optimised.

        Parameters
        ----------
        S : tf.Tensor [shape=(batch, n_mels, t), dB]
            Spectrogram of the content, from ``-top_db`` to 0.

        Returns
        -------
        tf.Tensor [shape=(batch, ...)]
            Any number of axes after the first, whose lengths may differ from window to window.
        """
        ...

    def __call__(self, S: Tensor, target: Tensor) -> Tensor:
        """Compare a result with the target of its content, by differentiable operations.

        Parameters
        ----------
        S : tf.Tensor [shape=(batch, n_mels, t), dB]
        target : tf.Tensor [shape=(batch, ...)]

        Returns
        -------
        tf.Tensor [shape=(batch,), non-negative]
            0 where both agree; free of units, so that a weight means the same for every pair.
        """
        ...


@dataclass(frozen=True)
class FeatureLoss:
    """Comparison of a feature of the spectrogram with that of the content."""

    target: Callable[[Tensor], Tensor]
    compare: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, S: Tensor, target: Tensor) -> Tensor:
        """Compare a result with the target of its content; see `SpectrogramLoss.__call__`."""
        return self.compare(S, target)


SHIPPED: dict[str, SpectrogramLoss] = {
    "pitch": FeatureLoss(partials, pitch_loss),
    "onset": FeatureLoss(onset_strength, onset_loss),
    "rhythm": FeatureLoss(frame_levels, rhythm_loss),
}


class PluginLoss:
    """A plugin loss whose results are checked.

    Every error in its code becomes a `ConfigError` of one line that names the loss.
    """

    def __init__(self, name: str, config: TransferConfig) -> None:
        self._name = name
        # A configuration from another process may name a loss that is not known in this one.
        build = LOSSES[find_loss(name)]
        with self._named_errors():
            self._loss: SpectrogramLoss = build(config)
        if not callable(self._loss) or not callable(getattr(self._loss, "target", None)):
            raise ConfigError(f"loss {name!r} must have the methods target and __call__: add them")

    def target(self, S: Tensor) -> Tensor:
        """Return what the loss keeps of a content, after a trial there."""
        with self._named_errors():
            target = tf.convert_to_tensor(self._loss.target(S))
        fault = self._find_fault(S, target)
        if fault:
            raise ConfigError(f"loss {self._name!r}: {fault}")
        return target

    def _find_fault(self, S: Tensor, target: Tensor) -> str:
        """Compute value and gradient at the content, which reveals the mistakes of most losses."""
        n = S.shape[0]
        if target.shape[:1] != (n,):
            return f"target has shape {tuple(target.shape)}; it must begin with the batch, {n}"
        with tf.GradientTape() as tape:
            tape.watch(S)
            values = self(S, target)
        if values.shape != (n,):
            shape = tuple(values.shape)
            return f"has shape {shape}; it must be one number per item of the batch, ({n},)"
        worst = float(tf.reduce_max(tf.abs(values)))
        if not worst <= MAX_AT_CONTENT:  # true for NaN as well
            return f"is {worst:.4g} at the content itself; it must be 0 there"
        gradient = tape.gradient(values, S)
        if gradient is None:
            return (
                "has no gradient; compute it from the spectrogram by TensorFlow operations that "
                "have one"
            )
        if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(gradient)))):
            return (
                "its gradient is not finite at the content itself; keep roots, logarithms and "
                "divisors away from 0"
            )
        return ""

    def __call__(self, S: Tensor, target: Tensor) -> Tensor:
        """Compare a result with the target of its content, in float32."""
        with self._named_errors():
            return tf.cast(self._loss(S, target), tf.float32)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, AudioStyleError) or is_memory_error(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"loss {self._name!r} failed ({reason}); repair its code") from None


def make_losses(config: TransferConfig) -> dict[str, SpectrogramLoss]:
    """Build the losses of a configuration by name, shipped ones first, without those of weight 0.

    Raises
    ------
    ConfigError
        If a plugin loss is unknown in this process, or cannot be built.
    """
    names = {*SHIPPED, *(name for name, _ in config.losses)}
    return {
        name: SHIPPED.get(name) or PluginLoss(name, config)
        for name, weight in config.loss_weights.items()
        if weight > 0 and name in names
    }
