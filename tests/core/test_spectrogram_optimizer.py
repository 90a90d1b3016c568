"""All pairs by one trace: whatever their length, their style, their number and their device."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.dsp import spectrogram
from audiostyle.nn.objective import from_variable, to_variable
from audiostyle.nn.optimizer import Optimizer
from tests.conftest import make_noise, make_tones

NEAR = 0.01


@pytest.fixture
def config(tiny_config: TransferConfig) -> TransferConfig:
    """Every term in."""
    names = ("texture", "music", "pitch", "onset", "rhythm", "envelope")
    return dataclasses.replace(tiny_config, **{f"{name}_weight": 1.0 for name in names})


def tones(config: TransferConfig, seconds: float = 1.0, base: float = 220.0) -> np.ndarray:
    return spectrogram.mel_spectrogram(make_tones(seconds, base=base), config)[None]


def noise(config: TransferConfig, seed: int = 0) -> np.ndarray:
    return spectrogram.mel_spectrogram(make_noise(seed=seed), config)


def distance(found: np.ndarray, expected: np.ndarray, start: np.ndarray) -> float:
    """How far two descents are apart, relative to how far they went.

    Not value by value: where a maximum of the pooling is a tie, rounding decides it.
    """
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected - start))


def n_traces(styler: SpectrogramOptimizer) -> tuple[int, int]:
    step, analyse = styler._minimizer.traced, styler.analyzer._analyze
    return step.experimental_get_tracing_count(), analyse.experimental_get_tracing_count()


@pytest.mark.parametrize(("optimizer", "strength"), [("lbfgs", 0.5), ("adam", 1.0)])
def test_one_trace_serves_every_length_every_style_and_every_number(
    config: TransferConfig, optimizer: str, strength: float
) -> None:
    config = dataclasses.replace(config, optimizer=optimizer, strength=strength, iterations=1)
    styler = SpectrogramOptimizer(config)
    styles = [styler.analyzer.style_statistics([noise(config, seed)]) for seed in range(2)]
    for seconds, style in ((0.6, 0), (0.8, 1), (0.6, 1)):
        S = tones(config, seconds)
        styler.descend(styler.prepare(S, S, styles[style]))
        assert n_traces(styler) == (1, 1)
    S = np.concatenate([tones(config), tones(config, base=330.0)])
    styler.descend(styler.prepare(S, S, styles[0]))
    assert n_traces(styler) == (1, 1)


def test_a_batch_gives_what_each_of_it_gives_alone(config: TransferConfig) -> None:
    styler = SpectrogramOptimizer(config)
    target = styler.analyzer.style_statistics([noise(config)])
    S = np.concatenate([tones(config), tones(config, base=330.0)])
    together, descent = styler.descend(styler.prepare(S, S, target))
    alone = [styler.descend(styler.prepare(S[i : i + 1], S[i : i + 1], target)) for i in range(2)]
    for i, (found, _) in enumerate(alone):
        assert distance(together[i], found[0], S[i]) < NEAR
    for step, iterate in enumerate(descent.history):
        mean = np.mean([of_one.history[step].total for _, of_one in alone])
        assert iterate.total == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_traced_and_in_python_it_is_the_same_descent(
    config: TransferConfig, optimizer: str
) -> None:
    config = dataclasses.replace(config, optimizer=optimizer)
    styler = SpectrogramOptimizer(config)
    S, target = tones(config), styler.analyzer.style_statistics([noise(config)])
    found, descent = styler.descend(styler.prepare(S, S, target))
    in_python = Optimizer(
        styler.objective.evaluate,
        styler.objective.layers,
        optimizer=optimizer,
        learning_rate=config.learning_rate,
        compiled=False,
    )
    data, upper = styler.objective.prepare(S, S, target, styler.analyzer.analyze(S))
    expected = in_python.minimize(
        to_variable(S, config),
        data,
        np.float32(0.0),
        upper,
        n_steps=config.iterations,
        tolerance=config.tolerance,
    )
    totals = [iterate.total for iterate in expected.history]
    assert [iterate.total for iterate in descent.history] == pytest.approx(totals, rel=1e-3)
    assert distance(found, from_variable(expected.x, config), S) < NEAR


def test_compiled_by_xla_it_is_the_same_descent(config: TransferConfig) -> None:
    S = tones(config, 0.6)
    found, totals = {}, {}
    for jit in (False, True):
        styler = SpectrogramOptimizer(config, jit=jit)
        target = styler.analyzer.style_statistics([noise(config)])
        found[jit], descent = styler.descend(styler.prepare(S, S, target))
        totals[jit] = [iterate.total for iterate in descent.history]
    assert totals[True] == pytest.approx(totals[False], rel=1e-3)
    assert distance(found[True], found[False], S) < NEAR


PLACEMENT = """
import sys
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer

config = TransferConfig(
    precision="float32", n_fft=1024, hop_length=256, n_mels=64, bands=4, iterations=2,
    style_layers=(("block1_conv1", 1.0),), optimizer=sys.argv[1],
)
rng = np.random.default_rng(0)
S = rng.uniform(-80, 0, (1, 64, 40)).astype(np.float32)
with tf.device("/CPU:1"):
    styler = SpectrogramOptimizer(config)
    target = styler.analyzer.style_statistics([S[0, ::-1].copy()])
    analysis = styler.analyzer.analyze(S)
    found, descent = styler.descend(styler.prepare(S, S, target))
assert np.abs(found - S).max() > 0.1
print(descent.x.device, *(A.device for A in analysis.features.values()))
"""


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_descent_stays_on_its_device(optimizer: str) -> None:
    """On the second of two, in a process of its own: devices are made once a process."""
    done = subprocess.run(
        [sys.executable, "-c", PLACEMENT, optimizer], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    devices = done.stdout.split()
    assert len(devices) >= 2
    assert all(device.endswith("/device:CPU:1") for device in devices), devices
