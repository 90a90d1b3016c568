"""Checks that load TensorFlow; `audiostyle.doctor.checks` runs them in their own process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.doctor.checks import CheckResult, describe_error
from audiostyle.nn import device
from audiostyle.nn.device import choose_precision, explain_missing_gpu
from audiostyle.utils.stderr_capture import capture_stderr

SECTION = "TensorFlow"
SR = 22_050
SMALL_CONFIG = TransferConfig(  # the steps of a real transfer at the smallest size
    n_fft=1024,
    hop_length=256,
    n_mels=64,
    bands=4,
    iterations=3,
    inversion_iterations=2,
    style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
)


def main(self_test: bool) -> None:
    """Print each result as a line of JSON, as soon as it is known."""
    for result in run_selftest_checks(self_test):
        print(json.dumps(asdict(result)), flush=True)


def run_selftest_checks(self_test: bool) -> Iterator[CheckResult]:
    """Check TensorFlow, its devices and its precision, and run a small transfer if `self_test`."""
    try:
        tf = device.load_tensorflow()
        built = "with CUDA" if tf.test.is_built_with_cuda() else "without CUDA"
        text = f"{tf.__version__}, built {built}"
    except Exception as error:  # a broken installation may raise anything
        text = f"cannot be imported ({describe_error(error)})"
        remedy = "pip install --force-reinstall 'tensorflow>=2.16'"
        yield CheckResult(SECTION, "TensorFlow", "fault", text, remedy)
        return
    yield CheckResult(SECTION, "TensorFlow", "ok", text)
    yield check_device(tf)
    precision, reason = choose_precision("auto", tf)
    yield CheckResult(SECTION, "precision", "ok", f"{precision}: {reason}")
    if self_test:
        yield transfer_one_second()


def check_device(tf: Any) -> CheckResult:
    """Describe the GPUs that TensorFlow uses, or why it uses none."""
    with capture_stderr():
        gpus = tf.config.list_physical_devices("GPU")
    described = []
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        major, minor = details.get("compute_capability", (0, 0))
        described.append(f"{details.get('device_name', gpu.name)} (capability {major}.{minor})")
    text = f"GPU: {', '.join(described)}"
    if not gpus:
        text = f"CPU; no GPU, since {explain_missing_gpu(tf)}"
    return CheckResult(SECTION, "device", "ok", text)


def transfer_one_second() -> CheckResult:
    """Apply the style of one second of noise to one second of tones, and check the result."""
    began = time.perf_counter()
    try:
        problem = _try_transfer()
    except Exception as error:  # to find any error is the purpose of the test
        problem = describe_error(error)
    seconds = time.perf_counter() - began
    if problem:
        remedy = "run audiostyle transfer with -v on two short clips, and report its output"
        return CheckResult(SECTION, "self-test", "fault", problem, remedy)
    return CheckResult(SECTION, "self-test", "ok", f"1 s styled in {seconds:.1f} s, and checked")


def _try_transfer() -> str:
    """Run a transfer; return what is wrong with the result, or an empty string."""
    import numpy as np

    from audiostyle.core.transfer import transfer

    t = np.arange(SR) / SR
    content = (0.3 * np.sin(2 * np.pi * 440 * t) * np.exp(-4 * (t % 0.25))).astype(np.float32)
    style = (0.1 * np.random.default_rng(0).standard_normal(SR)).astype(np.float32)
    with capture_stderr():
        result = transfer(content, style, SR, SMALL_CONFIG)
    y, losses = result.y, [iteration.total for iteration in result.history]
    if y is None or y.shape != content.shape:
        return f"the result has the shape {getattr(y, 'shape', None)}, not {content.shape}"
    if not np.isfinite(y).all() or np.abs(y).max() > 1:
        return "the result holds samples that are not finite, or above full scale"
    if not losses[-1] < losses[0]:
        return f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g}, not down"
    if np.abs(y - content).max() < 1e-3:
        return "the result is the content itself"
    return ""
