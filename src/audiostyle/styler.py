"""The networks, the objective and the descent of a configuration, put together once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle import networks
from audiostyle.analyzer import Analyzer
from audiostyle.config import TransferConfig
from audiostyle.events import Callback
from audiostyle.objective import Data, StyleObjective, from_variable, to_variable
from audiostyle.optimize import Descent, Minimizer
from audiostyle.style_target import StyleTarget

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Problem:
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


class Styler:
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
        self.analyzer = Analyzer(networks.build_network(config), config)
        self.objective = StyleObjective(self.analyzer)
        self.precision = networks.resolve_precision(config.precision)
        self._minimizer = Minimizer(
            self.objective.evaluate,
            self.objective.layers,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            more=self.objective.more,
            signature=self.objective.signature,
            jit=jit,
        )

    def prepare(self, S_content: Array, S_start: Array, target: StyleTarget) -> Problem:
        """Analyse windows of a content, and gather what their descent needs.

        Parameters
        ----------
        S_content, S_start : np.ndarray [shape=(batch, n_mels, t), dB]
        target : StyleTarget

        Returns
        -------
        Problem
        """
        began = time.perf_counter()
        analysis = self.analyzer.analyse(S_content)
        seconds = time.perf_counter() - began
        data, upper = self.objective.prepare(S_content, S_start, target, analysis)
        return Problem(to_variable(S_start, self.config), data, upper, seconds)

    def descend(self, problem: Problem, callback: Callback | None = None) -> tuple[Array, Descent]:
        """Optimise the windows of a problem.

        Parameters
        ----------
        problem : Problem
        callback : callable, optional
            Gets every `Iterate`; a true return value stops the descent.

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
