"""The part of a checkup that loads TensorFlow; run by `audiostyle.doctor.checks` in its own process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.doctor.packages import CheckResult
from audiostyle.nn import device, gpu_diagnosis
from audiostyle.nn.device import choose_precision
from audiostyle.utils.stderr_capture import capture_stderr

SELF_TEST_SR = 22_050
SELF_TEST = {
    "n_fft": 1024,
    "hop_length": 256,
    "n_mels": 64,
    "bands": 4,
    "iterations": 3,
    "inversion_iterations": 2,
    "style_layers": "block1_conv1,block2_conv1",
}
"""A transfer of all that a real one has, as small as it can be."""

SECTION = "TensorFlow"
Say = Callable[[CheckResult], None]


def main(self_test: bool) -> None:
    """Write a finding a line, each as soon as it is known, to the process that asked.

    Parameters
    ----------
    self_test : bool
    """

    def say(finding: CheckResult) -> None:
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
        sys.stdout.flush()

    run_selftest_checks(self_test, say)


def run_selftest_checks(self_test: bool, say: Say) -> None:
    """Look at TensorFlow, its devices and its precision, and make a tiny transfer.

    Parameters
    ----------
    self_test : bool
    say : callable
        Gets every `Finding`.
    """
    try:
        tf = device.load_tensorflow()
        built = "with CUDA" if tf.test.is_built_with_cuda() else "without CUDA"
        say(CheckResult(SECTION, "TensorFlow", "ok", f"{tf.__version__}, built {built}"))
    except Exception as error:  # a broken installation raises whatever it meets first
        remedy = "pip install --force-reinstall 'tensorflow>=2.16'"
        say(
            CheckResult(
                SECTION, "TensorFlow", "fault", f"cannot be imported ({_line(error)})", remedy
            )
        )
        return
    say(check_device(tf))
    chosen, reason = choose_precision("auto", tf)
    say(CheckResult(SECTION, "precision", "ok", f"{chosen}: {reason}"))
    if self_test:
        say(transfer_a_second())


def check_device(tf: Any) -> CheckResult:
    """Say where a transfer would run, and if that is no GPU, why.

    Parameters
    ----------
    tf : module
        TensorFlow.

    Returns
    -------
    Finding
    """
    with capture_stderr():
        found = tf.config.list_physical_devices("GPU")
    if not found:
        return CheckResult(
            SECTION, "device", "ok", f"CPU; no GPU, since {gpu_diagnosis.explain_missing_gpu(tf)}"
        )
    described = []
    for gpu in found:
        details = tf.config.experimental.get_device_details(gpu)
        major, minor = details.get("compute_capability", (0, 0))
        described.append(f"{details.get('device_name', gpu.name)} (capability {major}.{minor})")
    return CheckResult(SECTION, "device", "ok", f"GPU: {', '.join(described)}")


def transfer_a_second() -> CheckResult:
    """Apply the style of a second of noise to a second of tones, and check what comes out.

    Returns
    -------
    Finding
    """
    began = time.perf_counter()
    try:
        wrong = _transfer()
    except Exception as error:  # it is this that the test is for
        wrong = _line(error)
    seconds = time.perf_counter() - began
    if wrong:
        remedy = "run audiostyle transfer with -v on two short clips, and report what it says"
        return CheckResult(SECTION, "self-test", "fault", wrong, remedy)
    return CheckResult(SECTION, "self-test", "ok", f"1 s styled in {seconds:.1f} s, and checked")


def _transfer() -> str:
    """Make a transfer; return what is wrong with it, or nothing."""
    import numpy as np

    from audiostyle.core.transfer import transfer

    sr = SELF_TEST_SR
    t = np.arange(sr) / sr
    content = (0.3 * np.sin(2 * np.pi * 440 * t) * np.exp(-4 * (t % 0.25))).astype(np.float32)
    style = (0.1 * np.random.default_rng(0).standard_normal(sr)).astype(np.float32)
    with capture_stderr():
        result = transfer(content, style, sr, TransferConfig(**SELF_TEST))  # type: ignore[arg-type]
    y, losses = result.y, [iterate.total for iterate in result.history]
    if y is None or y.shape != content.shape:
        return f"the result has the shape {getattr(y, 'shape', None)}, not {content.shape}"
    if not np.isfinite(y).all() or np.abs(y).max() > 1:
        return "the result holds samples that are not finite, or above full scale"
    if not losses[-1] < losses[0]:
        return f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g}, not down"
    if np.abs(y - content).max() < 1e-3:
        return "the result is the content itself"
    return ""


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
