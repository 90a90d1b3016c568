"""Check and time exported steps under JAX, without TensorFlow and audiostyle."""

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
TOLERANCES = {"float32": (0.01, 0.05), "bfloat16": (0.02, 0.2)}
TESTED = "0.6.2 to 0.10.2"  # versions of JAX
WARM_UP = 2
CHANNELS = 64  # of the plain convolution, as in the largest of VGG-19
KERNEL = 3


class RunError(Exception):
    """A program cannot be run on this machine."""


def load_arguments(folder: Path, description: dict[str, Any]) -> list[Array]:
    """Restore the arguments of a program, in order, from those of one item."""
    import ml_dtypes  # a dependency of JAX

    arguments = []
    with np.load(folder / description["inputs"]) as inputs:
        for argument in description["arguments"]:
            array = inputs[argument["name"]]
            if argument["dtype"] == "bfloat16":
                array = array.view(ml_dtypes.bfloat16)
            if argument["name"] == description["variable"]:
                shifts = (description["roll"] * i for i in range(description["batch"]))
                array = np.concatenate([np.roll(array, shift, axis=2) for shift in shifts])
            arguments.append(np.broadcast_to(array, argument["shape"]))
    return arguments


def compile_program(program: bytes) -> Callable[[Sequence[Any]], list[Any]]:
    """Compile serialised HLO for JAX's default device; return a function of device arrays."""
    import jax

    try:  # none of these names is public API of JAX
        from jax.extend import backend
        from jaxlib import _jax
        from jaxlib.xla_client import DeviceList

        module = _jax.mlir.hlo_to_stablehlo(program)
        devices = DeviceList(tuple(jax.devices()[:1]))
        executable = backend.get_backend().compile_and_load(module, devices)
    except (ImportError, AttributeError, TypeError) as error:
        raise RunError(
            f"JAX {jax.__version__} cannot run exported programs ({error}); install a version from "
            f"{TESTED}"
        ) from None

    def execute(arguments: Sequence[Any]) -> list[Any]:
        outputs = executable.execute_sharded(list(arguments))
        return [shards[0] for shards in outputs.disassemble_into_single_device_arrays()]

    return execute


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call until the arrays that it returns are ready."""
    import jax

    times = []
    for i in range(WARM_UP + repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        if i >= WARM_UP:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def plain_convolution_rate(description: dict[str, Any], repeats: int) -> float:
    """Measure the FLOP/s of a single forward convolution on this device."""
    import jax

    shape = (description["batch"], description["n_mels"], description["frames"], CHANNELS)
    x = jax.numpy.ones(shape, description["precision"])
    kernel = jax.numpy.ones((KERNEL, KERNEL, CHANNELS, CHANNELS), description["precision"])

    @jax.jit
    def convolve(x: Any, kernel: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    flop = 2 * int(np.prod(shape)) * KERNEL**2 * CHANNELS
    return flop / median_seconds(lambda: convolve(x, kernel), repeats)


def compare(outputs: Sequence[Any], folder: Path, description: dict[str, Any]) -> dict[str, float]:
    """Return the relative errors to TensorFlow's results.

    ``loss_error`` and ``norm_error`` (of the gradient) are the largest of the batch;
    ``gradient_error`` is the norm of the difference, of the first item.
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
    """Whether all errors of `compare` are within `TOLERANCES`; NaN is not."""
    of_values, of_gradient = TOLERANCES[precision]
    limits = {"loss_error": of_values, "norm_error": of_values, "gradient_error": of_gradient}
    return all(errors[name] <= limit for name, limit in limits.items())


def measure(folder: Path, description: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Check one exported program, and time `repeats` steps of it."""
    import jax

    began = time.perf_counter()
    program = gzip.decompress((folder / description["program"]).read_bytes())
    execute = compile_program(program)
    compile_seconds = time.perf_counter() - began
    arguments = [jax.device_put(array) for array in load_arguments(folder, description)]
    errors = compare(execute(arguments), folder, description)
    seconds = median_seconds(lambda: execute(arguments), repeats)
    rate = sum(description["flop"].values()) / seconds
    plain_rate = plain_convolution_rate(description, repeats)
    # The evaluation of the start costs as much as a step.
    pairs = 3600.0 * description["batch"] / (seconds * (description["n_steps"] + 1))
    names = ("preset", "precision", "batch", "seconds", "n_steps")
    return {
        **{name: description[name] for name in names},
        "compile_seconds": compile_seconds,
        "step_seconds": seconds,
        "tflops": rate / 1e12,
        "conv_tflops": plain_rate / 1e12,
        "conv_share": rate / plain_rate,
        "pairs_per_hour": pairs,
        "real_time": pairs * description["seconds"] / 3600.0,
        **errors,
        "agrees": is_close(errors, description["precision"]),
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "jax": jax.__version__,
    }
