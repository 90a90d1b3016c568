"""The networks, the objective and the descent of a configuration, put together once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import Callback
from audiostyle.nn import backbones
from audiostyle.nn.features import FeatureAnalyzer
from audiostyle.nn.objective import Data, StyleObjective, from_variable, to_variable
from audiostyle.nn.optimizer import OptimizationResult, Optimizer
from audiostyle.nn.style_statistics import StyleStatistics

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class WindowBatch:
    """Windows that are to be styled.

    Attributes
    ----------
    x : tf.Tensor [shape=(batch, n_mels, t)]
        Where the descent starts.
    data : dict of str to tf.Tensor
    upper : tf.Tensor [shape=(batch, n_mels, 1)]
    seconds : float
        That the analysis of the content took.
    """

    x: Any
    data: Data
    upper: Any
    seconds: float


class SpectrogramOptimizer:
    """What turns the spectrogram of a content into one in a style.

    It is traced at the first use, and then serves contents of any length and any style.

    Parameters
    ----------
    config : TransferConfig
    jit : bool
        Compile the descent with XLA, as pays on a GPU.

    Attributes
    ----------
    analyzer : Analyzer
    objective : StyleObjective
    precision : str
        Of the convolutions: ``float32`` or ``bfloat16``.

    Raises
    ------
    WeightsError
        If the weights are missing or corrupt.
    """

    def __init__(self, config: TransferConfig, *, jit: bool = False) -> None:
        self.config = config
        self.analyzer = FeatureAnalyzer(backbones.build_network(config), config)
        self.objective = StyleObjective(self.analyzer)
        self.precision = backbones.resolve_precision(config.precision)
        self._minimizer = Optimizer(
            self.objective.evaluate,
            self.objective.layers,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            more=self.objective.more,
            signature=self.objective.signature,
            jit=jit,
        )

    def prepare(self, S_content: Array, S_start: Array, target: StyleStatistics) -> WindowBatch:
        """Analyse windows of a content, and gather what their descent needs.

        Parameters
        ----------
        S_content, S_start : np.ndarray [shape=(batch, n_mels, t), dB]
        target : StyleStatistics

        Returns
        -------
        Problem
        """
        began = time.perf_counter()
        analysis = self.analyzer.analyze(S_content)
        seconds = time.perf_counter() - began
        data, upper = self.objective.prepare(S_content, S_start, target, analysis)
        return WindowBatch(to_variable(S_start, self.config), data, upper, seconds)

    def descend(
        self, problem: WindowBatch, callback: Callback | None = None
    ) -> tuple[Array, OptimizationResult]:
        """Optimise the windows of a problem.

        Parameters
        ----------
        problem : Problem
        callback : callable, optional
            Gets every `Iteration`; a true return value stops the descent.

        Returns
        -------
        S : np.ndarray [shape=(batch, n_mels, t), dB]
        descent : Descent

        Raises
        ------
        OptimizationError
            If the losses are not finite.
        """
        descent = self._minimizer.minimize(
            problem.x,
            problem.data,
            np.float32(0.0),
            problem.upper,
            # At strength 0 the start is the content, and the content the minimum: what a descent
            # would add is rounding.
            n_steps=self.config.iterations if self.config.strength > 0 else 0,
            tolerance=self.config.tolerance,
            callback=None if callback is None else self._in_decibels(callback),
        )
        return from_variable(descent.x, self.config), descent

    def _in_decibels(self, callback: Callback) -> Callback:
        """Let events show dB where the descent has its variable."""

        def report(event: Any) -> Any:
            def look() -> Array | None:
                x = event.look()
                return None if x is None else from_variable(x, self.config)

            return callback(event.showing(look))

        return report
