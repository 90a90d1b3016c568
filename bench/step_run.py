"""Check and time programs that `step_export` wrote, by JAX: neither TensorFlow nor audiostyle."""

from __future__ import annotations

import gzip
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Largest errors relative to TensorFlow: of the loss and the norm of the gradient, and of the
# gradient itself, where rounding shows most. GPUs multiply float32 as TensorFloat-32, of 11 bits.
LIMITS = {"float32": (0.01, 0.05), "bfloat16": (0.02, 0.2)}
TESTED = "0.6.2 to 0.10.2"  # versions of JAX
WARM_UP = 2
CHANNELS = 64  # of the plain convolution, as in the largest of VGG-19
KERNEL = 3


class RunError(Exception):
    """A program cannot be run here."""


def load_arguments(folder: Path, description: dict[str, Any]) -> list[Array]:
    """Make what a program is to be called with.

    Parameters
    ----------
    folder : Path
    description : dict

    Returns
    -------
    arguments : list of np.ndarray
        In order.
    """
    import ml_dtypes  # which JAX brings

    arguments = []
    with np.load(folder / description["inputs"]) as inputs:
        for argument in description["arguments"]:
            array = inputs[argument["name"]]
            if argument["dtype"] == "bfloat16":
                array = array.view(ml_dtypes.bfloat16)
            if argument["name"] == description["variable"]:
                later = (description["roll"] * i for i in range(description["batch"]))
                array = np.concatenate([np.roll(array, shift, axis=2) for shift in later])
            arguments.append(np.broadcast_to(array, argument["shape"]))
    return arguments


def compile_program(program: bytes) -> Callable[[Sequence[Any]], list[Any]]:
    """Compile for JAX's default device.

    Parameters
    ----------
    program : bytes
        Serialised HLO.

    Returns
    -------
    execute : callable
        From arrays on the device to arrays on the device.

    Raises
    ------
    RunError
        If this version of JAX has no way to do so.
    """
    import jax

    try:  # JAX promises none of these names
        from jax.extend import backend
        from jaxlib import _jax
        from jaxlib.xla_client import DeviceList

        module = _jax.mlir.hlo_to_stablehlo(program)
        devices = DeviceList(tuple(jax.devices()[:1]))
        executable = backend.get_backend().compile_and_load(module, devices)
    except (ImportError, AttributeError, TypeError) as error:
        raise RunError(
            f"JAX {jax.__version__} runs no programs of others as {TESTED} do ({error}); install "
            "one of these"
        ) from None

    def execute(arguments: Sequence[Any]) -> list[Any]:
        outputs = executable.execute_sharded(list(arguments))
        return [shards[0] for shards in outputs.disassemble_into_single_device_arrays()]

    return execute


def seconds_of(call: Callable[[], Any], repeats: int) -> float:
    """Median time of a call until its results are there.

    Parameters
    ----------
    call : callable
        Without arguments; returns arrays of JAX.
    repeats : int > 0

    Returns
    -------
    float
    """
    import jax

    times = []
    for i in range(WARM_UP + repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        if i >= WARM_UP:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def plain_convolution(description: dict[str, Any], repeats: int) -> float:
    """Measure how fast the device convolves when it does nothing else.

    Parameters
    ----------
    description : dict
    repeats : int > 0

    Returns
    -------
    float
        In FLOP/s, of one forward convolution of `CHANNELS` to as many.
    """
    import jax

    shape = (description["batch"], description["n_mels"], description["frames"], CHANNELS)
    x = jax.numpy.ones(shape, description["precision"])
    kernel = jax.numpy.ones((KERNEL, KERNEL, CHANNELS, CHANNELS), description["precision"])

    @jax.jit
    def convolve(x: Any, kernel: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    flop = 2 * int(np.prod(shape)) * KERNEL**2 * CHANNELS
    return flop / seconds_of(lambda: convolve(x, kernel), repeats)


def compare(outputs: Sequence[Any], folder: Path, description: dict[str, Any]) -> dict[str, float]:
    """Compare what a program found with what TensorFlow found.

    Returns
    -------
    errors : dict of str to float
        ``loss_error`` and ``norm_error`` (of the gradient): the largest of the batch.
        ``gradient_error``: norm of the difference, of the first item. All are relative.
    """
    total = np.asarray(outputs[description["outputs"]["total"]], np.float64)
    gradient = np.asarray(outputs[description["outputs"]["gradient"]], np.float64)
    norms = np.sqrt(np.square(gradient).sum(axis=(1, 2)))
    with np.load(folder / description["inputs"]) as inputs:
        first = inputs["gradient"].astype(np.float64)
    expected = {key: np.asarray(value) for key, value in description["expected"].items()}
    return {
        "loss_error": float(np.max(np.abs(total / expected["loss"] - 1))),
        "norm_error": float(np.max(np.abs(norms / expected["gradient_norm"] - 1))),
        "gradient_error": float(np.linalg.norm(gradient[0] - first) / np.linalg.norm(first)),
    }


def is_close(errors: dict[str, float], precision: str) -> bool:
    """Say whether errors from `compare` are within `LIMITS`; NaN is not."""
    of_values, of_gradient = LIMITS[precision]
    limits = {"loss_error": of_values, "norm_error": of_values, "gradient_error": of_gradient}
    return all(errors[name] <= limit for name, limit in limits.items())


def measure(folder: Path, description: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Check and time one program.

    Parameters
    ----------
    folder : Path
    description : dict
        As `export` wrote it.
    repeats : int > 0
        Steps to time.

    Returns
    -------
    row : dict
        ``agrees``: whether all errors are within `LIMITS`.

    Raises
    ------
    RunError
        If it cannot be run.
    """
    import jax

    began = time.perf_counter()
    program = gzip.decompress((folder / description["program"]).read_bytes())
    execute = compile_program(program)
    compile_seconds = time.perf_counter() - began
    arguments = [jax.device_put(array) for array in load_arguments(folder, description)]
    errors = compare(execute(arguments), folder, description)
    seconds = seconds_of(lambda: execute(arguments), repeats)
    rate = sum(description["flop"].values()) / seconds
    plain = plain_convolution(description, repeats)
    # The evaluation of the start is a step, too.
    pairs = 3600.0 * description["batch"] / (seconds * (description["n_steps"] + 1))
    return {
        **{name: description[name] for name in ("preset", "precision", "batch", "seconds")},
        "n_steps": description["n_steps"],
        "compile_seconds": compile_seconds,
        "step_seconds": seconds,
        "tflops": rate / 1e12,
        "conv_tflops": plain / 1e12,
        "conv_share": rate / plain,
        "pairs_per_hour": pairs,
        "real_time": pairs * description["seconds"] / 3600.0,
        **errors,
        "agrees": is_close(errors, description["precision"]),
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "jax": jax.__version__,
    }
