"""Networks, objective and optimiser of one configuration, traced once and used for any content."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import InitialSpectrogram
from audiostyle.events import Callback
from audiostyle.nn import backbones
from audiostyle.nn.features import FeatureAnalyzer
from audiostyle.nn.objective import Data, StyleObjective, from_variable, to_variable
from audiostyle.nn.optimizer import OptimizationResult, Optimizer
from audiostyle.nn.style_statistics import StyleStatistics


@dataclass(frozen=True)
class WindowBatch:
    """Windows that are optimised side by side, as the optimiser takes them."""

    x: Any  # tf.Tensor [shape=(batch, n_mels, t)]: the initial value
    data: Data
    upper: Any  # tf.Tensor [shape=(batch, n_mels, 1)]
    seconds: float  # that the analysis of the content took


class SpectrogramOptimizer:
    """Optimises the spectrogram of a content towards a style.

    Traced at the first use; later contents of any length and later styles use the same graph.

    Attributes
    ----------
    analyzer : FeatureAnalyzer
    objective : StyleObjective
    precision : str
        Of the convolutions: ``float32`` or ``bfloat16``.

    Raises
    ------
    WeightsError
        If the weights are missing or corrupt.
    """

    def __init__(self, config: TransferConfig, *, jit: bool = False) -> None:
        """Build the networks; `jit` compiles the optimisation with XLA, which pays on a GPU."""
        self.config = config
        self.analyzer = FeatureAnalyzer(backbones.build_network(config), config)
        self.objective = StyleObjective(self.analyzer)
        self.precision = backbones.resolve_precision(config.precision)
        self._optimizer = Optimizer(
            self.objective.evaluate,
            self.objective.layers,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            more=self.objective.more,
            signature=self.objective.signature,
            to_spectrogram=lambda x: from_variable(x, config.top_db),
            jit=jit,
        )

    def with_config(self, config: TransferConfig) -> SpectrogramOptimizer:
        """Share networks and traces with a configuration of the same `networks_key`."""
        other = copy.copy(self)
        other.objective = copy.copy(self.objective)
        other.config = other.objective.config = config
        return other

    @property
    def is_traced(self) -> bool:
        """Whether the optimisation was traced."""
        return self._optimizer.traced is not None

    def trace_in_background(self) -> None:
        """Trace the optimisation, which needs no data of a pair, in a thread of its own.

        `optimize` waits for it.
        """
        x, data = self.objective.example()

        def trace() -> None:
            # Where this fails, so does `optimize`, which reports it.
            with contextlib.suppress(Exception), tf.device(x.device):
                self._optimizer.trace(x, data)

        threading.Thread(target=trace, name="trace").start()

    def prepare(
        self, S_content: Array, initial: Sequence[InitialSpectrogram], style: StyleStatistics
    ) -> WindowBatch:
        """Analyse windows of a content [shape=(batch, n_mels, t), dB] for `optimize`."""
        start = time.perf_counter()
        features = self.analyzer.analyze(S_content)
        seconds = time.perf_counter() - start
        S_init, S_target = (np.stack([getattr(i, n) for i in initial]) for n in ("S", "S_target"))
        confidence = np.array([i.confidence for i in initial], np.float32)
        targets = features
        if np.any(confidence > 0):
            targets = replace(features, features=self.analyzer.analyze(S_target).features)
        data, upper = self.objective.prepare(
            S_content, S_init, S_target, confidence, style, targets
        )
        return WindowBatch(to_variable(S_init, self.config.top_db), data, upper, seconds)

    def optimize(
        self,
        batch: WindowBatch,
        callback: Callback | None = None,
        window: tuple[int, int] = (1, 1),
    ) -> tuple[Array, OptimizationResult]:
        """Optimise windows, and return their spectrograms [shape=(batch, n_mels, t), dB].

        The callback gets every `Iteration`; a true return value stops the optimisation. `window`
        is the number of the batch and the number of all batches, for these events.

        Raises
        ------
        OptimizationError
            If the losses are not finite.
        """
        result = self._optimizer.minimize(
            batch.x,
            batch.data,
            np.float32(0.0),
            batch.upper,
            # At strength 0 the initial value is the content, and the content is the minimum:
            # iterations would only add rounding errors.
            n_steps=self.config.iterations if self.config.strength > 0 else 0,
            tolerance=self.config.tolerance,
            callback=callback,
            window=window,
        )
        return from_variable(result.x, self.config.top_db), result
