"""Write a step of the descent as a program for XLA, with its inputs and what it has to return."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from hlo_count import count_flop

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.errors import ConfigError
from audiostyle.nn import lbfgs

Array = npt.NDArray[Any]
Tensor = Any  # TensorFlow ships no types

VARIABLE = "state/0"
ROLL = 37  # frames that an item of a batch is later than the one before it
# Data that all items of a batch share; the others have an entry an item.
OF_STYLE = ("gram", "mean", "covariance", "root", "spectral", "temporal")


class Item(NamedTuple):
    """A problem of a single item.

    Attributes
    ----------
    x : tf.Tensor [shape=(1, n_mels, frames)]
    data : dict of str to tf.Tensor
    upper : tf.Tensor [shape=(1, n_mels, 1)]
    """

    x: Tensor
    data: dict[str, Tensor]
    upper: Tensor


def make_spectrogram(rng: np.random.Generator, config: TransferConfig, frames: int) -> Array:
    """Draw noise that falls with frequency and moves with time: a step costs the same on any sound.

    Parameters
    ----------
    rng : np.random.Generator
    config : TransferConfig
    frames : int > 0

    Returns
    -------
    np.ndarray [shape=(n_mels, frames), dB]
    """
    tilt = np.linspace(-15.0, -45.0, config.n_mels)[:, None]
    course = 6.0 * np.sin(np.arange(frames) / rng.uniform(5.0, 20.0))
    noise = rng.normal(0.0, 8.0, (config.n_mels, frames))
    return np.asarray(np.clip(tilt + course + noise, -config.top_db, 0.0), np.float32)


def make_item(styler: SpectrogramOptimizer, frames: int) -> Item:
    """Prepare the descent of one drawn spectrogram to the style of another.

    Parameters
    ----------
    styler : SpectrogramOptimizer
    frames : int > 0

    Returns
    -------
    Item
    """
    config = styler.config
    rng = np.random.default_rng(0)
    content, start, style = (make_spectrogram(rng, config, frames) for _ in range(3))
    target = styler.analyzer.style_statistics([style])
    problem = styler.prepare(content[None], 0.5 * (content + start)[None], target)
    return Item(problem.x, problem.data, problem.upper)


def make_batch(item: Item, batch: int) -> Item:
    """Repeat an item; each one's variable is rolled in time, so that no two are alike.

    Parameters
    ----------
    item : Item
    batch : int > 0

    Returns
    -------
    Item
        Its data of the style are still those of one.
    """

    def repeat(name: str, value: Tensor) -> Tensor:
        shared = name.split("/")[0] in OF_STYLE
        return value if shared else tf.repeat(value, batch, axis=0)

    data = {name: repeat(name, value) for name, value in item.data.items()}
    return Item(roll(item.x, batch), data, tf.repeat(item.upper, batch, axis=0))


def roll(x: Tensor, batch: int) -> Tensor:
    """Stack copies of a variable, each `ROLL` frames later than the one before."""
    return tf.concat([tf.roll(x, ROLL * i, axis=2) for i in range(batch)], axis=0)


def expect(styler: SpectrogramOptimizer, item: Item, batch: int) -> dict[str, Any]:
    """Let TensorFlow compute what the step has to find, uncompiled and item by item.

    Parameters
    ----------
    styler : SpectrogramOptimizer
    item : Item
    batch : int > 0

    Returns
    -------
    dict
        ``loss`` and ``gradient_norm``: lists of `batch` numbers. ``gradient``: np.ndarray of
        [shape=(n_mels, frames)] of the first item.
    """
    losses, norms, first = [], [], None
    for x in tf.split(roll(item.x, batch), batch):
        total, gradient, _ = styler.objective.evaluate(x, item.data)
        losses.append(float(total[0]))
        norms.append(float(tf.norm(gradient)))
        first = gradient.numpy()[0] if first is None else first
    return {"loss": losses, "gradient_norm": norms, "gradient": first}


def export_step(
    styler: SpectrogramOptimizer, item: Item, batch: int
) -> tuple[bytes, str, dict[str, Any]]:
    """Trace a whole step of L-BFGS at a fixed shape.

    Its state is that before the first evaluation, which is a step like every other, but for its
    length, 0: it evaluates exactly once, and what it finds is the loss at the start.

    Parameters
    ----------
    styler : SpectrogramOptimizer
    item : Item
    batch : int > 0

    Returns
    -------
    program : bytes
        Serialised HLO.
    text : str
        The same for people.
    arguments : dict of str to tf.Tensor
        What the program is to be called with, in order.

    Raises
    ------
    ConfigError
        If TensorFlow cannot compile the step.
    """
    method = lbfgs.LBFGS(styler.objective.evaluate)
    x, data, upper = make_batch(item, batch)
    n_terms = data["scale"].shape[1]
    state = lbfgs.initial_state(method, x, n_terms)
    problem = lbfgs.BoundedProblem(
        data, tf.zeros((1, 1, 1)), upper, tf.fill([batch], tf.constant(lbfgs.FIRST_STEP))
    )
    step = tf.function(method.step, jit_compile=True, autograph=False)
    try:
        captured = step.get_concrete_function(state, problem).captured_inputs
        to_ir = step.experimental_get_compiler_ir(state, problem)
        program, text = to_ir(stage="hlo_serialized"), to_ir(stage="hlo")
    except (tf.errors.OpError, ValueError) as error:
        raise ConfigError(f"the step cannot be compiled: {str(error).splitlines()[0]}") from None
    arguments = {f"state/{i}": value for i, value in enumerate(tf.nest.flatten(state))}
    arguments |= {f"problem/{i}": value for i, value in enumerate(tf.nest.flatten(problem))}
    arguments |= {f"captured/{i}": value for i, value in enumerate(captured)}
    return program, text, arguments


def compact(name: str, value: Tensor) -> tuple[str, Array]:
    """Take from an argument what it can be made from again by broadcasting.

    Parameters
    ----------
    name : str
    value : tf.Tensor

    Returns
    -------
    dtype : str
    array : np.ndarray
        bfloat16 as uint16, as NumPy's files do not know it.
    """
    array = value.numpy()
    if name == VARIABLE:
        array = array[:1]
    elif not name.startswith("captured/"):
        for axis in range(array.ndim):
            first = array.take([0], axis=axis)
            if np.array_equal(np.broadcast_to(first, array.shape), array):
                array = first
    dtype = value.dtype.name
    return dtype, array.view(np.uint16) if dtype == "bfloat16" else array


def export(
    folder: Path, preset: str, precision: str, seconds: float, batches: list[int], **overrides: Any
) -> list[Path]:
    """Write a folder that `gpu_step.py run` takes.

    Parameters
    ----------
    folder : Path
        Gets a program and its description for each size of the batch, and the inputs of one item.
    preset, precision : str
    seconds : float > 0
    batches : list of int > 0
    **overrides
        Further fields of `TransferConfig`.

    Returns
    -------
    written : list of Path
        The descriptions.
    """
    config = TransferConfig.from_preset(preset, precision=precision, **overrides)
    if config.optimizer != "lbfgs":
        raise ConfigError("only the step of optimizer=lbfgs can be measured")
    styler = SpectrogramOptimizer(config)
    frames = 1 + round(seconds * config.sr) // config.hop_length
    if frames < styler.analyzer.min_frames:
        raise ConfigError(f"{seconds:g} s are too short for the networks of {preset}")
    item = make_item(styler, frames)
    expected = expect(styler, item, max(batches))
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{preset}-{precision}-{seconds:g}s"
    written: list[Path] = []
    for batch in batches:
        program, text, arguments = export_step(styler, item, batch)
        arrays = {name: compact(name, value) for name, value in arguments.items()}
        if not written:
            inputs: dict[str, Any] = {name: array for name, (_, array) in arrays.items()}
            np.savez_compressed(folder / f"{stem}.npz", gradient=expected["gradient"], **inputs)
        name = f"{stem}-batch{batch}"
        (folder / f"{name}.hlo.gz").write_bytes(gzip.compress(program))
        description = {
            "preset": preset,
            "seconds": seconds,
            "batch": batch,
            **describe(styler, frames),
            "flop": count_flop(text),
            "program": f"{name}.hlo.gz",
            "inputs": f"{stem}.npz",
            "arguments": [
                {"name": key, "shape": arguments[key].shape.as_list(), "dtype": dtype}
                for key, (dtype, _) in arrays.items()
            ],
            "expected": {key: expected[key][:batch] for key in ("loss", "gradient_norm")},
        }
        written.append(folder / f"{name}.json")
        written[-1].write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return written


def describe(styler: SpectrogramOptimizer, frames: int) -> dict[str, Any]:
    """Say what does not depend on the size of the batch."""
    config = styler.config
    return {
        "precision": styler.precision,
        "n_mels": config.n_mels,
        "frames": frames,
        "sr": config.sr,
        "hop_length": config.hop_length,
        "n_steps": config.iterations,
        "flop_counted": "convolutions and matrix products, from their shapes",
        "tensorflow": tf.__version__,
        "variable": VARIABLE,
        "roll": ROLL,
        "outputs": {
            name: lbfgs.OptimizerState._fields.index(name) for name in ("total", "gradient")
        },
    }
