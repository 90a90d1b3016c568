"""One trace serves all pairs, whatever their length, style, number and device."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.nn.objective import from_variable, to_variable
from audiostyle.nn.optimizer import Optimizer
from tests.support.networks import ALL_TERMS, noise_spectrogram, starts, tiny, tone_spectrogram

MAX_DISTANCE = 0.01
CONFIG = tiny(**{f"{name}_weight": 1.0 for name in ALL_TERMS})


@pytest.fixture(scope="module", params=["lbfgs", "adam"])
def optimizer(request: pytest.FixtureRequest) -> SpectrogramOptimizer:
    """With all terms. Shared by all tests: a second trace would be found by any of them."""
    return SpectrogramOptimizer(dataclasses.replace(CONFIG, optimizer=request.param))


def tones(*bases: float, seconds: float = 0.4) -> np.ndarray:
    return np.stack([tone_spectrogram(CONFIG, seconds, base) for base in bases or (220.0,)])


def noise(seed: int = 0) -> np.ndarray:
    return noise_spectrogram(CONFIG, 0.4, seed)


def distance(found: np.ndarray, expected: np.ndarray, start: np.ndarray) -> float:
    """Distance of two results, relative to their distance from the start.

    Not value by value: where a maximum of the pooling is a tie, rounding decides it.
    """
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected - start))


def n_traces(optimizer: SpectrogramOptimizer) -> tuple[int, int]:
    evaluate, analyze = optimizer._optimizer.traced, optimizer.analyzer._analyze
    return evaluate.experimental_get_tracing_count(), analyze.experimental_get_tracing_count()


def test_one_trace_serves_all_lengths_styles_strengths_and_numbers(
    optimizer: SpectrogramOptimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = [optimizer.analyzer.style_statistics([noise(seed)]) for seed in range(2)]
    for S, style, strength in (
        (tones(), 0, 1.0),
        (tones(seconds=0.6), 1, 0.5),
        (tones(), 1, 0.5),
        (tones(220.0, 330.0), 0, 0.5),
        (tones(220.0, 330.0), 1, 1.0),
    ):
        config = dataclasses.replace(optimizer.config, strength=strength)
        monkeypatch.setattr(optimizer.objective, "config", config)
        optimizer.optimize(optimizer.prepare(S, starts(S), styles[style]))
        assert n_traces(optimizer) == (1, 1)


def wait_for_the_trace() -> None:
    for thread in threading.enumerate():
        if thread.name == "trace":
            thread.join()


def test_a_trace_in_the_background_changes_nothing(optimizer: SpectrogramOptimizer) -> None:
    ahead = SpectrogramOptimizer(optimizer.config)
    ahead.trace_in_background()
    style, S = ahead.analyzer.style_statistics([noise()]), tones()
    found, _ = ahead.optimize(ahead.prepare(S, starts(S), style))
    wait_for_the_trace()
    assert n_traces(ahead) == (1, 1)
    expected, _ = optimizer.optimize(optimizer.prepare(S, starts(S), style))
    assert distance(found, expected, S) < MAX_DISTANCE


def test_an_error_of_the_trace_in_the_background_is_that_of_the_optimization(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizer = SpectrogramOptimizer(CONFIG)

    def fail(*_: Any) -> Any:
        raise ValueError("on purpose")

    monkeypatch.setattr(optimizer._optimizer, "_evaluate", fail)
    optimizer.trace_in_background()
    wait_for_the_trace()  # its error would fail the test, see filterwarnings in pyproject.toml
    style, S = optimizer.analyzer.style_statistics([noise()]), tones()
    with pytest.raises(ValueError, match="on purpose"):
        optimizer.optimize(optimizer.prepare(S, starts(S), style))


def test_items_of_a_batch_are_optimized_as_each_alone(optimizer: SpectrogramOptimizer) -> None:
    style = optimizer.analyzer.style_statistics([noise()])
    S = tones(220.0, 330.0, seconds=1.0)
    together, result = optimizer.optimize(optimizer.prepare(S, starts(S), style))
    alone = [optimizer.optimize(optimizer.prepare(s[None], starts(s[None]), style)) for s in S]
    for i, (found, _) in enumerate(alone):
        assert distance(together[i], found[0], S[i]) < MAX_DISTANCE
    for step, iteration in enumerate(result.history):
        mean = np.mean([of_one.history[step].total for _, of_one in alone])
        assert iteration.total == pytest.approx(mean, rel=1e-3)


def test_traced_and_eager_optimizations_agree(optimizer: SpectrogramOptimizer) -> None:
    config, objective = optimizer.config, optimizer.objective
    S, style = tones(), optimizer.analyzer.style_statistics([noise()])
    found, result = optimizer.optimize(optimizer.prepare(S, starts(S), style))
    eager = Optimizer(
        objective.evaluate,
        objective.layers,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        compiled=False,
    )
    data, upper = objective.prepare(
        S, S, S, np.zeros(1, np.float32), style, optimizer.analyzer.analyze(S)
    )
    expected = eager.minimize(
        to_variable(S, config.top_db),
        data,
        np.float32(0.0),
        upper,
        n_steps=config.iterations,
        tolerance=config.tolerance,
    )
    totals = [iteration.total for iteration in expected.history]
    assert [iteration.total for iteration in result.history] == pytest.approx(totals, rel=1e-3)
    assert distance(found, from_variable(expected.x, config.top_db), S) < MAX_DISTANCE


@pytest.mark.slow
def test_compiled_by_xla_the_result_is_the_same() -> None:
    S = tones(seconds=0.8)  # of 0.6 s, rounding decides how far the third iteration goes
    found, totals = {}, {}
    for jit in (False, True):
        optimizer = SpectrogramOptimizer(CONFIG, jit=jit)
        style = optimizer.analyzer.style_statistics([noise()])
        found[jit], result = optimizer.optimize(optimizer.prepare(S, starts(S), style))
        totals[jit] = [iteration.total for iteration in result.history]
    assert totals[True] == pytest.approx(totals[False], rel=1e-3)
    assert distance(found[True], found[False], S) < MAX_DISTANCE


PLACEMENT = """
import sys
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.initialization import InitialSpectrogram
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

config = TransferConfig(
    precision="float32", n_fft=1024, hop_length=256, n_mels=64, bands=4, iterations=2,
    style_layers=(("block1_conv1", 1.0),), init="content", optimizer=sys.argv[1],
)
rng = np.random.default_rng(0)
S = rng.uniform(-80, 0, (1, 64, 40)).astype(np.float32)
with tf.device("/CPU:1"):
    optimizer = SpectrogramOptimizer(config)
    style = optimizer.analyzer.style_statistics([S[0, ::-1].copy()])
    features = optimizer.analyzer.analyze(S)
    start = [InitialSpectrogram(S[0], S[0])]
    found, result = optimizer.optimize(optimizer.prepare(S, start, style))
assert np.abs(found - S).max() > 0.1
print(result.x.device, *(A.device for A in features.features.values()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_optimization_stays_on_its_device(optimizer: str) -> None:
    """On the second of two devices, in its own process, as devices are created once per process."""
    done = subprocess.run(
        [sys.executable, "-c", PLACEMENT, optimizer], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    devices = done.stdout.split()
    assert len(devices) >= 2
    assert all(device.endswith("/device:CPU:1") for device in devices), devices
