"""What `bench.speed` measures inside a process with TensorFlow, each task in a process of its own.

python -m bench.speed_worker TASK OPTIONS.JSON ANSWER
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
from bench import speed_audio

Array = npt.NDArray[Any]
Answer = dict[str, Any]

SHIFT_FRAMES = 97  # between the windows of a stack, so that no two are the same


class Work:
    """A descent that is ready to begin, on sounds of the bench.

    Parameters
    ----------
    preset : str
    seconds : float > 0
        Length of the content and the style.
    stack : int
        Windows that descend at once.
    threads : int
        0 stands for all cores.
    jit : bool, optional
        Compile with XLA; if not given, as the command does on this device.
    precision : str

    Attributes
    ----------
    config : TransferConfig
    styler : SpectrogramOptimizer
    problem : Problem
    S : np.ndarray [shape=(stack, n_mels, t), dB]
        The contents.
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
        self.device = nn_device.choose_device("auto", threads)
        from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

        self.config = TransferConfig.from_preset(preset, precision=precision)
        self.jit = self.device.is_gpu if jit is None else jit
        with self.on_device():
            self.styler = SpectrogramOptimizer(self.config, jit=self.jit)
            self._prepare(seconds, stack)

    def _prepare(self, seconds: float, stack: int) -> None:
        from audiostyle.dsp import spectrogram

        config = self.config
        content, style = (
            spectrogram.mel_spectrogram(_levelled(make(seconds, config.sr, 0), config.sr), config)
            for make in (speed_audio.chords, speed_audio.bursts)
        )
        means = [spectrogram.db_to_power(S).mean(axis=1) for S in (content, style)]
        gain = spectrogram.envelope_gain(means[0], means[1], config)
        self.S = np.stack([np.roll(content, SHIFT_FRAMES * i, axis=1) for i in range(stack)])
        start = np.maximum(self.S + gain[:, None], -config.top_db).astype(np.float32)
        self.target = self.styler.analyzer.style_statistics([style])
        # One by one, so that each window has targets of its own: broadcast over a stack, products
        # of matrices are wrong in oneDNN on a CPU, or crash (uxlfoundation/oneDNN issue 4396).
        alone = [
            self.styler.prepare(*window, self.target)
            for window in zip(self.S[:, None], start[:, None], strict=True)
        ]
        self.problem = _stacked(alone) if stack > 1 else alone[0]

    def on_device(self) -> Any:
        """Put what follows on the device."""
        return nn_device.load_tensorflow().device(self.device.name)


def _stacked(problems: list[Any]) -> Any:
    """Make one problem of several windows."""
    import tensorflow as tf

    first = problems[0]
    data = {
        name: tf.concat([problem.data[name] for problem in problems], axis=0) for name in first.data
    }
    x, upper = (
        tf.concat([getattr(problem, name) for problem in problems], axis=0)
        for name in ("x", "upper")
    )
    return replace(first, x=x, data=data, upper=upper)


def _levelled(y: Array, sr: int) -> Array:
    from audiostyle.audio import level

    gain = level.ANALYSIS_LEVEL_DB - level.active_level(y[None], sr)
    return np.asarray(y * 10.0 ** (gain / 20), np.float32)


class Counted:
    """A descent whose evaluations are counted, step by step.

    Parameters
    ----------
    work : Work

    Attributes
    ----------
    seconds : list of float
        Of each step, without what the callback took; the first is the evaluation of the start.
    evaluations : list of int
        In each step.
    """

    def __init__(self, work: Work) -> None:
        import tensorflow as tf

        from audiostyle.nn.optimizer import Optimizer

        self._work = work
        objective = work.styler.objective
        # XLA cannot count in a variable of the CPU; there the bench does without.
        self._counter = None if work.jit else tf.Variable(0, dtype=tf.int64)

        def evaluate(x: Any, data: Any) -> Any:
            if self._counter is not None:
                self._counter.assign_add(1)
            return objective.evaluate(x, data)

        self._minimizer = Optimizer(
            evaluate,
            objective.layers,
            optimizer=work.config.optimizer,
            learning_rate=work.config.learning_rate,
            signature=objective.signature,
            jit=work.jit,
        )
        self.seconds: list[float] = []
        self.evaluations: list[int] = []

    def run(self, n_steps: int, between: Callable[[], None] | None = None) -> None:
        """Descend; `between` is called after every step."""
        done = 0
        began = time.perf_counter()

        def callback(event: Any) -> bool:
            nonlocal began, done
            self.seconds.append(time.perf_counter() - began)
            if self._counter is not None:
                total = int(self._counter.numpy())
                self.evaluations.append(total - done)
                done = total
            if between is not None:
                between()
            began = time.perf_counter()
            return False

        problem = self._work.problem
        self._minimizer.minimize(
            problem.x,
            problem.data,
            np.float32(0.0),
            problem.upper,
            n_steps=n_steps,
            tolerance=0.0,
            callback=callback,
        )


def idle(options: dict[str, Any]) -> Answer:
    """Import TensorFlow, add two numbers, and say what it runs on."""
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
    """Time some steps: ``preset, seconds, stack, threads, jit, precision``, and how many."""
    n_steps = options.pop("steps")
    work = Work(**options)
    counted = Counted(work)
    with work.on_device():
        counted.run(n_steps)
    return {
        "first": counted.seconds[0],
        "seconds": counted.seconds[1:],
        "evaluations": counted.evaluations[1:],
        "frames": int(work.S.shape[2]),
        "precision": work.styler.precision,
    }


def limit(options: dict[str, Any]) -> Answer:
    """Time a step against the plain convolutions that are in it, by turns.

    Turns, so that a moment in which the machine is busy with something else falls on both.
    """
    import tensorflow as tf

    from bench import flops

    n_steps = options.pop("steps")
    work = Work(**options)
    objective, problem = work.styler.objective, work.problem
    with work.on_device():
        x, data = objective.signature(problem.data)
        evaluate = tf.function(objective.evaluate, input_signature=[x, data], autograph=False)
        static = tf.nest.map_structure(
            lambda value: tf.TensorSpec(value.shape, value.dtype), (problem.x, problem.data)
        )
        graph = tf.function(objective.evaluate, autograph=False).get_concrete_function(*static)
        counts = flops.convolutions(graph.graph)
        timed: dict[Any, Callable[[], Any]] = {c: flops.plain(c) for c in counts}
        timed["evaluate"] = lambda: evaluate(problem.x, problem.data)[1][..., :1].numpy()
        timed["analyse"] = lambda: _wait(work.styler.analyzer.analyze(work.S))
        laps: dict[Any, list[float]] = {name: [] for name in timed}
        for call in timed.values():
            call()  # the first call makes plans

        def between() -> None:
            for name, call in timed.items():
                began = time.perf_counter()
                call()
                laps[name].append(time.perf_counter() - began)

        counted = Counted(work)
        counted.run(n_steps, between)
    medians = {name: statistics.median(times) for name, times in laps.items()}
    shares = _shares(counted, counts, medians, flops.count(graph.graph))
    return {"frames": int(work.S.shape[2]), "precision": work.styler.precision, **shares}


def _wait(analysis: Any) -> None:
    for value in analysis.features.values():
        value[:1, :1, :1, :1].numpy()


def _shares(
    counted: Counted, counts: dict[Any, int], medians: dict[Any, float], flops_once: int
) -> Answer:
    """Put a step and its limits side by side; see docs/performance.md for what each is."""
    seconds = counted.seconds[1:]
    evaluations = counted.evaluations[1:] or [1] * len(seconds)
    step = statistics.median(seconds)
    wide = [c for c in counts if c.is_wide]
    wide_flops = sum(counts[c] * c.flops for c in wide)
    wide_seconds = sum(counts[c] * medians[c] for c in wide)
    rate = wide_flops / wide_seconds if wide else None
    all_seconds = sum(n * medians[c] for c, n in counts.items())
    # Step by step, as a step that tries twice does twice the work.
    reached = statistics.median(
        n * flops_once / s for n, s in zip(evaluations, seconds, strict=True)
    )
    convolving = statistics.median(
        n * all_seconds / s for n, s in zip(evaluations, seconds, strict=True)
    )
    return {
        "step": step,
        "steps": seconds,
        "evaluations": evaluations,
        "evaluate": medians["evaluate"],
        "analyse": medians["analyse"],
        "step_to_forward": step / medians["analyse"],
        "flops": flops_once,
        "conv_flops": sum(n * c.flops for c, n in counts.items()),
        "conv_seconds": all_seconds,
        "flops_per_second": reached,
        "rate": rate,
        "share_of_limit": None if rate is None else reached / rate,
        "conv_share": convolving,
        "evaluate_share": all_seconds / medians["evaluate"],
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
    """Run a whole transfer in either precision: ``preset, seconds``."""
    from audiostyle.core.transfer import transfer

    preset, seconds = options["preset"], options["seconds"]
    results = {}
    for name in ("float32", "bfloat16"):
        config = TransferConfig.from_preset(preset, precision=name)
        content, style = (
            make(seconds, config.sr, 0) for make in (speed_audio.chords, speed_audio.bursts)
        )
        results[name] = transfer(content, style, config.sr, config)
    exact, fast = results["float32"], results["bfloat16"]
    answer: Answer = {}
    for name, result in results.items():
        history = result.history
        n = len(history) - 1
        answer[name] = {
            "steps": n,
            "step": (history[-1].seconds - history[0].seconds) / max(1, n),
            "total": min(iterate.total for iterate in history),
            "convergence": result.convergence,
        }
    before, after = answer["float32"]["total"], answer["bfloat16"]["total"]
    answer["speed_up"] = answer["float32"]["step"] / max(answer["bfloat16"]["step"], 1e-9)
    answer["loss_change"] = (after - before) / before
    answer["spectrogram_db"] = float(np.abs(fast.S_result - exact.S_result).mean())
    answer["moved_db"] = float(np.abs(exact.S_result - exact.S_content).mean())
    return answer


TASKS = {task.__name__: task for task in (idle, steps, limit, precision)}


def main(arguments: list[str]) -> int:
    """Do a task, and write what came of it."""
    name, options, answer = arguments
    found = TASKS[name](json.loads(options))
    Path(answer).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
