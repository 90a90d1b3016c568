"""Losses that hold the spectrogram to its content: shipped ones, and registered ones, checked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from audiostyle.config.loss_specs import LOSSES, find_loss
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioStyleError, ConfigError, is_memory_error
from audiostyle.nn import spectrogram_losses

Tensor = Any  # TensorFlow ships no types

ZERO = 1e-3  # what a loss may be at the content itself


class SpectrogramLoss(Protocol):
    """What the descent needs of a loss on the dB mel spectrogram."""

    def target(self, S: Tensor) -> Tensor:
        """Take what is kept of a content. Called once for every window, before its descent.

        Parameters
        ----------
        S : tf.Tensor [shape=(batch, n_mels, t), dB]
            Of the content, from ``-top_db`` to 0.

        Returns
        -------
        tf.Tensor [shape=(batch, ...)]
            Any number of axes after the first; they may differ in length from window to window.
        """
        ...

    def __call__(self, S: Tensor, target: Tensor) -> Tensor:
        """Compare a result with what is kept of its content, by differentiable operations.

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
class _Shipped:
    """A loss on what a pure function makes of the spectrogram."""

    feature: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]

    def target(self, S: Tensor) -> Tensor:
        """Carry out what is promised; see `SpectrogramLoss.target`."""
        return self.feature(S)

    def __call__(self, S: Tensor, target: Tensor) -> Tensor:
        """Carry out what is promised; see `SpectrogramLoss.__call__`."""
        return self.loss(S, target)


SHIPPED: dict[str, SpectrogramLoss] = {
    "pitch": _Shipped(spectrogram_losses.partials, spectrogram_losses.pitch_loss),
    "onset": _Shipped(spectrogram_losses.onset_strength, spectrogram_losses.onset_loss),
    "rhythm": _Shipped(spectrogram_losses.frame_levels, spectrogram_losses.rhythm_loss),
}


class PluginLoss:
    """A loss that somebody else wrote: what it gives is checked before it can do harm.

    Parameters
    ----------
    name : str
    config : TransferConfig

    Raises
    ------
    ConfigError
        If it cannot be made.
    """

    def __init__(self, name: str, config: TransferConfig) -> None:
        self._name = name
        # A configuration that came from another process names a loss that was checked only there.
        build = LOSSES[find_loss(name)]
        with self._blamed():
            self._loss: SpectrogramLoss = build(config)
        if not callable(self._loss) or not callable(getattr(self._loss, "target", None)):
            raise ConfigError(f"loss {name!r} must have the methods target and __call__: add them")

    def target(self, S: Tensor) -> Tensor:
        """Take what is kept, and try the loss there; see `SpectrogramLoss.target`.

        Raises
        ------
        ConfigError
            If shapes or values cannot be right, or there is no gradient.
        """
        with self._blamed():
            target = tf.convert_to_tensor(self._loss.target(S))
        if target.shape[:1] != S.shape[:1]:
            raise ConfigError(
                f"loss {self._name!r}: target has shape {tuple(target.shape)}; it must begin with "
                f"the batch, {S.shape[0]}"
            )
        self._try(S, target)
        return target

    def _try(self, S: Tensor, target: Tensor) -> None:
        """Compute value and gradient at the content, where the mistakes of most losses show."""
        with tf.GradientTape() as tape:
            tape.watch(S)
            values = self(S, target)
        if values.shape != S.shape[:1]:
            raise ConfigError(
                f"loss {self._name!r}: has shape {tuple(values.shape)}; it must be one number for "
                f"each item of the batch, {tuple(S.shape[:1])}"
            )
        worst = float(tf.reduce_max(tf.abs(values)))
        if not worst <= ZERO:  # NaN is not, either
            raise ConfigError(
                f"loss {self._name!r}: is {worst:.4g} at the content itself; it must be 0 there"
            )
        slope = tape.gradient(values, S)
        if slope is None:
            raise ConfigError(
                f"loss {self._name!r}: has no gradient; compute it from the spectrogram by "
                "TensorFlow operations that have one"
            )
        if not bool(tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(slope)))):
            raise ConfigError(
                f"loss {self._name!r}: its gradient is not finite at the content itself; keep "
                "roots, logarithms and divisors away from 0"
            )

    def __call__(self, S: Tensor, target: Tensor) -> Tensor:
        """Carry out what is promised, in float32; see `SpectrogramLoss.__call__`."""
        with self._blamed():
            return tf.cast(self._loss(S, target), tf.float32)

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        """Make whatever somebody else's code may raise an error of one line that names it."""
        try:
            yield
        except Exception as error:
            if isinstance(error, AudioStyleError) or is_memory_error(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"loss {self._name!r} failed ({reason}); repair its code") from None


def make_losses(config: TransferConfig) -> dict[str, SpectrogramLoss]:
    """Make all losses of a configuration that hold the spectrogram to its content.

    Parameters
    ----------
    config : TransferConfig

    Returns
    -------
    dict of str to SpectrogramLoss
        By name, those that ship first; those of weight 0 are left out.

    Raises
    ------
    ConfigError
        If one is not known in this process, or cannot be made.
    """
    weights = config.loss_weights
    shipped = {name: loss for name, loss in SHIPPED.items() if weights[name] > 0}
    own = {name: PluginLoss(name, config) for name, weight in config.losses if weight > 0}
    return {**shipped, **own}
