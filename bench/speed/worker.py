"""Tasks of `bench.speed` that need TensorFlow, each run in a process of its own.

python -m bench.speed.worker TASK OPTIONS_JSON ANSWER_FILE
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.nn import device as nn_device
from bench.speed import signals

Array = npt.NDArray[Any]
Answer = dict[str, Any]

SHIFT_FRAMES = 97  # between the windows of a stack, so that no two are the same


class PreparedOptimization:
    """An optimisation of the benchmark's audio, prepared up to its first step.

    Parameters
    ----------
    preset : str
    seconds : float
        Length of content and style.
    stack : int
        Number of windows optimised at once.
    threads : int
        0 for all cores.
    jit : bool, optional
        Compile with XLA. By default only on a GPU, as the command does.
    precision : str
    """

    def __init__(
        self,
        preset: str,
        seconds: float,
        stack: int = 1,
        threads: int = 0,
        jit: bool | None = None,
        precision: str = "auto",
    ) -> None:
        device = nn_device.choose_device("auto", threads)
        from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

        self.device = device
        self.config = TransferConfig.from_preset(preset, precision=precision)
        self.jit = device.is_gpu if jit is None else jit
        with self.on_device():
            self.optimizer = SpectrogramOptimizer(self.config, jit=self.jit)
            self.S, self.problem = self._prepare(seconds, stack)

    def on_device(self) -> Any:
        """Return a context that places operations on the device."""
        return nn_device.load_tensorflow().device(self.device.name)

    def _prepare(self, seconds: float, stack: int) -> tuple[Array, Any]:
        """Return the contents [shape=(stack, n_mels, t), dB] and their problem."""
        from audiostyle.core.initialization import InitialSpectrogram
        from audiostyle.dsp import spectrogram

        config = self.config
        content, style = (
            spectrogram.mel_spectrogram(_normalize(make(seconds, config.sr, 0), config.sr), config)
            for make in (signals.chords, signals.bursts)
        )
        gain = style.mean(axis=1) - content.mean(axis=1)
        S = np.stack([np.roll(content, SHIFT_FRAMES * i, axis=1) for i in range(stack)])
        start = np.maximum(S + gain[:, None], -config.top_db).astype(np.float32)
        statistics = self.optimizer.analyzer.style_statistics([style])
        # Prepared one by one, so that each window has its own statistics: matrix products that
        # broadcast over a stack are wrong in oneDNN on a CPU, or crash (uxlfoundation/oneDNN#4396).
        problems = [
            self.optimizer.prepare(one[None], [InitialSpectrogram(first, one)], statistics)
            for one, first in zip(S, start, strict=True)
        ]
        return S, _stack(problems) if stack > 1 else problems[0]


def _stack(problems: list[Any]) -> Any:
    """Combine the problems of several windows."""
    import tensorflow as tf

    first = problems[0]
    data = {
        name: tf.concat([problem.data[name] for problem in problems], axis=0) for name in first.data
    }
    x = tf.concat([problem.x for problem in problems], axis=0)
    upper = tf.concat([problem.upper for problem in problems], axis=0)
    return replace(first, x=x, data=data, upper=upper)


def _normalize(y: Array, sr: int) -> Array:
    from audiostyle.audio import level

    gain = level.ANALYSIS_LEVEL_DB - level.active_level(y[None], sr)
    return np.asarray(y * 10.0 ** (gain / 20), np.float32)


class TimedOptimization:
    """An optimisation whose steps are timed and whose evaluations are counted."""

    def __init__(self, prepared: PreparedOptimization) -> None:
        import tensorflow as tf

        from audiostyle.nn.optimizer import Optimizer

        self._problem = prepared.problem
        objective = prepared.optimizer.objective
        # Compiled code cannot count in a variable of the CPU; there, evaluations are not counted.
        self._counter = None if prepared.jit else tf.Variable(0, dtype=tf.int64)

        def evaluate(x: Any, data: Any) -> Any:
            if self._counter is not None:
                self._counter.assign_add(1)
            return objective.evaluate(x, data)

        self._optimizer = Optimizer(
            evaluate,
            objective.layers,
            optimizer=prepared.config.optimizer,
            learning_rate=prepared.config.learning_rate,
            signature=objective.signature,
            jit=prepared.jit,
        )
        self.seconds: list[float] = []  # of each step; the first evaluates the start
        self.evaluations: list[int] = []  # in each step

    def run(self, n_steps: int, between: Callable[[], None] | None = None) -> None:
        """Optimise; call `between` after every step, outside the timing."""
        counted = 0
        began = time.perf_counter()

        def callback(event: Any) -> bool:
            nonlocal began, counted
            self.seconds.append(time.perf_counter() - began)
            if self._counter is not None:
                total = int(self._counter.numpy())
                self.evaluations.append(total - counted)
                counted = total
            if between is not None:
                between()
            began = time.perf_counter()
            return False

        self._optimizer.minimize(
            self._problem.x,
            self._problem.data,
            np.float32(0.0),
            self._problem.upper,
            n_steps=n_steps,
            tolerance=0.0,
            callback=callback,
        )


def idle(options: dict[str, Any]) -> Answer:
    """Import TensorFlow, add two numbers, and describe the device."""
    device = nn_device.choose_device("auto")
    tf = nn_device.load_tensorflow()
    with tf.device(device.name):
        float(tf.constant(1.0) + tf.constant(1.0))
    names = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {"device": device.reason, "gpus": names, "tensorflow": tf.__version__}


def steps(options: dict[str, Any]) -> Answer:
    """Time ``steps`` steps; further options are those of `PreparedOptimization`."""
    n_steps = options.pop("steps")
    prepared = PreparedOptimization(**options)
    timed = TimedOptimization(prepared)
    with prepared.on_device():
        timed.run(n_steps)
    return {
        "first": timed.seconds[0],
        "seconds": timed.seconds[1:],
        "evaluations": timed.evaluations[1:],
        "frames": int(prepared.S.shape[2]),
        "precision": prepared.optimizer.precision,
    }


def limit(options: dict[str, Any]) -> Answer:
    """Time steps in alternation with their parts, so that other load affects all of them alike.

    The parts are the loss with its gradient, the analysis, and every convolution on its own.
    """
    import tensorflow as tf

    from bench.speed import flops

    n_steps = options.pop("steps")
    prepared = PreparedOptimization(**options)
    objective, problem = prepared.optimizer.objective, prepared.problem
    analyzer = prepared.optimizer.analyzer
    with prepared.on_device():
        signature = objective.signature(problem.data)
        evaluate = tf.function(objective.evaluate, input_signature=signature, autograph=False)
        graph = objective_graph(objective, problem.x, problem.data)
        counts = flops.convolutions(graph)
        parts: dict[Any, Callable[[], Any]] = {c: flops.plain_convolution(c) for c in counts}
        parts["evaluate"] = lambda: evaluate(problem.x, problem.data)[1][..., :1].numpy()
        parts["analyze"] = lambda: _wait(analyzer.analyze(prepared.S))
        times: dict[Any, list[float]] = {name: [] for name in parts}
        for call in parts.values():
            call()  # traces, and plans the convolutions

        def between() -> None:
            for name, call in parts.items():
                began = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - began)

        timed = TimedOptimization(prepared)
        timed.run(n_steps, between)
    medians = {name: statistics.median(values) for name, values in times.items()}
    shares = _shares(timed, counts, medians, flops.count(graph))
    frames = int(prepared.S.shape[2])
    return {"frames": frames, "precision": prepared.optimizer.precision, **shares}


def objective_graph(objective: Any, x: Any, data: Any) -> Any:
    """Trace one evaluation of loss and gradient with static shapes."""
    import tensorflow as tf

    static = tf.nest.map_structure(lambda v: tf.TensorSpec(v.shape, v.dtype), (x, data))
    return tf.function(objective.evaluate, autograph=False).get_concrete_function(*static).graph


def _wait(analysis: Any) -> None:
    for value in analysis.features.values():
        value[:1, :1, :1, :1].numpy()


def _shares(
    timed: TimedOptimization, counts: dict[Any, int], medians: dict[Any, float], flops_once: int
) -> Answer:
    """Compare a step with its limits; docs/performance.md explains each number."""
    seconds = timed.seconds[1:]
    evaluations = timed.evaluations[1:] or [1] * len(seconds)
    step = statistics.median(seconds)
    wide = [c for c in counts if c.is_wide]
    wide_seconds = sum(counts[c] * medians[c] for c in wide)
    rate = sum(counts[c] * c.flops for c in wide) / wide_seconds if wide else None
    conv_seconds = sum(n * medians[c] for c, n in counts.items())
    # Per step, as a step with two evaluations does twice the work.
    evaluations_per_second = statistics.median(
        n / s for n, s in zip(evaluations, seconds, strict=True)
    )
    reached = evaluations_per_second * flops_once
    return {
        "step": step,
        "steps": seconds,
        "evaluations": evaluations,
        "evaluate": medians["evaluate"],
        "analyze": medians["analyze"],
        "step_to_forward": step / medians["analyze"],
        "flops": flops_once,
        "conv_flops": sum(n * c.flops for c, n in counts.items()),
        "conv_seconds": conv_seconds,
        "flops_per_second": reached,
        "rate": rate,
        "share_of_limit": None if rate is None else reached / rate,
        "conv_share": evaluations_per_second * conv_seconds,
        "convolutions": [
            {
                "kind": c.kind,
                "input": c.input,
                "kernel": c.kernel,
                "dtype": c.dtype,
                "count": n,
                "wide": c.is_wide,
                "seconds": medians[c],
                "flops_per_second": c.flops / medians[c],
            }
            for c, n in counts.items()
        ],
    }


def precision(options: dict[str, Any]) -> Answer:
    """Run a whole transfer of ``preset`` and ``seconds`` in float32 and in bfloat16."""
    from audiostyle.core.transfer import transfer

    results, answer = {}, {}
    for name in ("float32", "bfloat16"):
        config = TransferConfig.from_preset(options["preset"], precision=name)
        content, style = (
            make(options["seconds"], config.sr, 0) for make in (signals.chords, signals.bursts)
        )
        result = transfer(content, style, config.sr, config)
        history = result.history
        n = len(history) - 1
        results[name] = result
        answer[name] = {
            "steps": n,
            "step": (history[-1].seconds - history[0].seconds) / max(1, n),
            "total": min(iteration.total for iteration in history),
            "convergence": result.convergence,
        }
    exact, fast = results["float32"], results["bfloat16"]
    before, after = answer["float32"]["total"], answer["bfloat16"]["total"]
    return {
        **answer,
        "speed_up": answer["float32"]["step"] / max(answer["bfloat16"]["step"], 1e-9),
        "loss_change": (after - before) / before,
        "spectrogram_db": float(np.abs(fast.S_result - exact.S_result).mean()),
        "moved_db": float(np.abs(exact.S_result - exact.S_content).mean()),
    }


TASKS = {task.__name__: task for task in (idle, steps, limit, precision)}


def main(arguments: list[str]) -> int:
    """Run a task, and write its answer."""
    name, options, answer = arguments
    found = TASKS[name](json.loads(options))
    Path(answer).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
