"""Export an L-BFGS step as a program for XLA, with its arguments and expected results."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import InitialSpectrogram
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.errors import ConfigError
from audiostyle.nn import lbfgs
from bench.speed import flops
from bench.speed.worker import objective_graph

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types

VARIABLE = "state/0"
ROLL = 37  # frames between consecutive items of a batch
# Data that all items of a batch share; other data have one entry per item.
SHARED = ("gram", "mean", "axes", "deviations", "rest", "spectral", "temporal")


class Problem(NamedTuple):
    """An optimisation problem of one or several items."""

    x: Tensor  # (batch, n_mels, frames)
    data: dict[str, Tensor]
    upper: Tensor  # (batch, n_mels, 1)


def make_spectrogram(rng: np.random.Generator, config: TransferConfig, frames: int) -> Array:
    """Draw noise that falls with frequency and varies in time [shape=(n_mels, frames), dB].

    A step costs the same on any audio.
    """
    tilt = np.linspace(-15.0, -45.0, config.n_mels)[:, None]
    course = 6.0 * np.sin(np.arange(frames) / rng.uniform(5.0, 20.0))
    noise = rng.normal(0.0, 8.0, (config.n_mels, frames))
    return np.asarray(np.clip(tilt + course + noise, -config.top_db, 0.0), np.float32)


def make_problem(optimizer: SpectrogramOptimizer, frames: int) -> Problem:
    """Prepare the optimisation of one drawn spectrogram towards the style of another."""
    rng = np.random.default_rng(0)
    content, start, style = (make_spectrogram(rng, optimizer.config, frames) for _ in range(3))
    statistics = optimizer.analyzer.style_statistics([style])
    initial = InitialSpectrogram(0.5 * (content + start), content)
    problem = optimizer.prepare(content[None], [initial], statistics)
    return Problem(problem.x, problem.data, problem.upper)


def repeat(item: Problem, batch: int) -> Problem:
    """Repeat an item; each copy's variable is rolled in time, so that no two are the same."""
    data = {
        name: value if name.split("/")[0] in SHARED else tf.repeat(value, batch, axis=0)
        for name, value in item.data.items()
    }
    return Problem(_roll(item.x, batch), data, tf.repeat(item.upper, batch, axis=0))


def _roll(x: Tensor, batch: int) -> Tensor:
    return tf.concat([tf.roll(x, ROLL * i, axis=2) for i in range(batch)], axis=0)


def evaluate_expected(objective: Any, item: Problem, batch: int) -> dict[str, Any]:
    """Evaluate the start with TensorFlow, uncompiled and item by item.

    Returns ``loss`` and ``gradient_norm`` of each item, and the ``gradient`` of the first one.
    """
    losses, norms, gradients = [], [], []
    for x in tf.split(_roll(item.x, batch), batch):
        total, gradient, _ = objective.evaluate(x, item.data)
        losses.append(float(total[0]))
        norms.append(float(tf.norm(gradient)))
        gradients.append(gradient.numpy()[0])
    return {"loss": losses, "gradient_norm": norms, "gradient": gradients[0]}


def compile_step(objective: Any, problem: Problem) -> tuple[bytes, dict[str, Tensor]]:
    """Trace a whole L-BFGS step; return it as serialised HLO, with its arguments in order.

    The state is the one before the first evaluation. That step has length 0 but otherwise runs as
    every other one: it evaluates once, and returns the loss at the start.
    """
    method = lbfgs.LBFGS(objective.evaluate)
    x, data, upper = problem
    state = lbfgs.initial_state(method, x, data["scale"].shape[1])
    bounded = lbfgs.BoundedProblem(
        data, tf.zeros((1, 1, 1)), upper, tf.fill([len(x)], tf.constant(lbfgs.FIRST_STEP))
    )
    step = tf.function(method.step, jit_compile=True, autograph=False)
    try:
        captured = step.get_concrete_function(state, bounded).captured_inputs
        program = step.experimental_get_compiler_ir(state, bounded)(stage="hlo_serialized")
    except (tf.errors.OpError, ValueError) as error:
        raise ConfigError(f"the step cannot be compiled: {str(error).splitlines()[0]}") from None
    arguments = {f"state/{i}": value for i, value in enumerate(tf.nest.flatten(state))}
    arguments |= {f"problem/{i}": value for i, value in enumerate(tf.nest.flatten(bounded))}
    arguments |= {f"captured/{i}": value for i, value in enumerate(captured)}
    return program, arguments


def compact(name: str, value: Tensor) -> Array:
    """Reduce an argument to what it can be restored from by broadcasting.

    bfloat16 is stored as uint16, as NumPy's files do not support it.
    """
    array: Array = value.numpy()
    if name == VARIABLE:
        array = array[:1]
    elif not name.startswith("captured/"):
        for axis in range(array.ndim):
            first = array.take([0], axis=axis)
            if np.array_equal(np.broadcast_to(first, array.shape), array):
                array = first
    return array.view(np.uint16) if value.dtype == tf.bfloat16 else array


def count_flop(objective: Any, problem: Problem) -> dict[str, int]:
    """Count one evaluation of loss and gradient; the vector operations of L-BFGS are left out."""
    graph = objective_graph(objective, problem.x, problem.data)
    convolution = sum(n * c.flops for c, n in flops.convolutions(graph).items())
    return {"convolution": convolution, "dot": flops.count(graph) - convolution}


def export_programs(
    folder: Path, preset: str, precision: str, seconds: float, batches: list[int], **overrides: Any
) -> list[Path]:
    """Write a folder for ``bench.gpu_step run``; return the paths of the descriptions.

    For each batch size there is a program and its description, and once the arguments of one item.
    """
    config = TransferConfig.from_preset(preset, precision=precision, **overrides)
    if config.optimizer != "lbfgs":
        raise ConfigError("only the step of optimizer=lbfgs can be measured")
    optimizer = SpectrogramOptimizer(config)
    objective = optimizer.objective
    frames = 1 + round(seconds * config.sr) // config.hop_length
    if frames < optimizer.analyzer.min_frames:
        raise ConfigError(f"{seconds:g} s are too short for the networks of {preset}")
    item = make_problem(optimizer, frames)
    expected = evaluate_expected(objective, item, max(batches))
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{preset}-{precision}-{seconds:g}s"
    written: list[Path] = []
    for batch in batches:
        problem = repeat(item, batch)
        program, arguments = compile_step(objective, problem)
        if not written:
            arrays: dict[str, Any] = {name: compact(name, v) for name, v in arguments.items()}
            np.savez_compressed(folder / f"{stem}.npz", gradient=expected["gradient"], **arrays)
        name = f"{stem}-batch{batch}"
        (folder / f"{name}.hlo.gz").write_bytes(gzip.compress(program))
        description = {
            "preset": preset,
            "seconds": seconds,
            "batch": batch,
            "precision": optimizer.precision,
            "n_mels": config.n_mels,
            "frames": frames,
            "n_steps": config.iterations,
            "flop": count_flop(objective, problem),
            "tensorflow": tf.__version__,
            "program": f"{name}.hlo.gz",
            "inputs": f"{stem}.npz",
            "variable": VARIABLE,
            "roll": ROLL,
            "arguments": [
                {"name": key, "shape": value.shape.as_list(), "dtype": value.dtype.name}
                for key, value in arguments.items()
            ],
            "outputs": {
                key: lbfgs.OptimizerState._fields.index(key) for key in ("total", "gradient")
            },
            "expected": {key: expected[key][:batch] for key in ("loss", "gradient_norm")},
        }
        written.append(folder / f"{name}.json")
        written[-1].write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return written
