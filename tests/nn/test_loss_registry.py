"""Shipped and plugin losses in the objective, and errors in plugin code."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tensorflow as tf

from audiostyle.config import plugins
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.spectrogram_optimizer import SpectrogramOptimizer
from audiostyle.errors import ConfigError, OptimizationError
from audiostyle.events import TERMS
from audiostyle.nn import loss_registry
from audiostyle.nn.backbones import build_network
from audiostyle.nn.features import FeatureAnalyzer
from audiostyle.nn.objective import StyleObjective, to_variable
from tests.conftest import SR, TINY_OPTIONS, SetWindows, make_tones
from tests.support.fakes import call
from tests.support.loss_plugins import EXAMPLE, PLUGIN, run, with_losses
from tests.support.networks import starts

pytestmark = pytest.mark.usefixtures("only_what_ships")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(PLUGIN)
    return path


# --- in the objective ----------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), ("pitch",), ("pitch", "onset", "rhythm")])
def test_shipped_losses_are_built_like_plugin_losses(names: tuple[str, ...]) -> None:
    weights = {f"{term}_weight": float(term in (*names, "style")) for term in TERMS}
    made = loss_registry.make_losses(TransferConfig(**weights))  # type: ignore[arg-type]
    assert tuple(made) == names
    S = tf.constant(np.random.default_rng(0).uniform(-80, 0, (2, 256, 9)), tf.float32)
    for loss in made.values():
        np.testing.assert_allclose(loss(S, loss.target(S)), [0, 0], atol=1e-6)


def test_a_loss_enters_total_and_gradient_with_its_weight(
    few_terms: TransferConfig, plugin: Path
) -> None:
    plugins.load_plugin(plugin)
    rng = np.random.default_rng(0)
    S, x = (rng.uniform(low, low + 1, (2, 64, 50)) for low in (-1, 0))
    S_content = np.asarray(80 * S, np.float32)
    found = {}
    for weight in (0.0, 3.0):
        analyzer = FeatureAnalyzer(
            build_network(few_terms), with_losses(few_terms, {"tiny": weight})
        )
        objective = StyleObjective(analyzer)
        style = analyzer.style_statistics([S_content[0, :, ::-1]])
        data, _ = objective.prepare(
            *(S_content, S_content, S_content, np.zeros(2, np.float32)),
            *(style, analyzer.analyze(S_content)),
        )
        found[weight] = objective.evaluate(tf.constant(x, tf.float32), data)
    error = x - to_variable(S_content, few_terms.top_db).numpy()
    values = np.square(error).mean(axis=(1, 2))
    more, slope = (found[3.0][i] - found[0.0][i] for i in range(2))
    np.testing.assert_allclose(more, 3 * values, rtol=1e-3)
    np.testing.assert_allclose(slope, 3 * 2 * error / error[0].size, atol=1e-6)
    np.testing.assert_allclose(found[3.0][2][:, len(TERMS)], values, rtol=1e-4)
    assert found[0.0][2].shape[1] + 1 == found[3.0][2].shape[1]


def test_one_trace_serves_windows_of_every_length_and_number(
    few_terms: TransferConfig, plugin: Path
) -> None:
    plugins.load_plugin(plugin)
    optimizer = SpectrogramOptimizer(
        with_losses(dataclasses.replace(few_terms, iterations=1), "tiny")
    )
    rng = np.random.default_rng(0)
    for shape in ((1, 64, 50), (1, 64, 64), (3, 64, 40)):
        S = rng.uniform(-80, 0, shape).astype(np.float32)
        target = optimizer.analyzer.style_statistics([S[0] / 2])
        _, result = optimizer.optimize(optimizer.prepare(S, starts(S), target))
        assert result.history[0].more == {"tiny": pytest.approx(0, abs=1e-9)}
    assert optimizer._optimizer.traced.experimental_get_tracing_count() == 1


@pytest.mark.slow
def test_every_window_has_its_own_target(
    few_terms: TransferConfig, small_windows: SetWindows
) -> None:
    plugins.load_plugin(EXAMPLE)
    small_windows(64, 16)
    noise = dataclasses.replace(few_terms, init="noise")  # at the content the loss would be 0
    result = run(with_losses(noise, "brightness=2"), 1.0)
    assert result.n_windows > 1
    values = [iterate.more["brightness"] for iterate in result.history]
    assert values[-1] < values[0]


@pytest.mark.slow
def test_at_strength_0_the_content_stays_the_minimum(few_terms: TransferConfig) -> None:
    plugins.load_plugin(EXAMPLE)
    config = dataclasses.replace(few_terms, strength=0.0)
    result = run(with_losses(config, "brightness=2"), 0.5)
    assert result.history[-1].more["brightness"] == pytest.approx(0, abs=1e-5)
    inner = slice(2, -2)  # the frames that reach beyond the clip see its continuation, or none
    np.testing.assert_allclose(result.S_result[:, inner], result.S_content[:, inner], atol=1e-3)


# --- errors in plugin code ----------------------------------------------------------------------

WRONG = {
    "raises": ("return S", "raise ValueError('no\\nway')", r"failed \(ValueError: no way\)"),
    "no target": ("def target", "def aim", "must have the methods target and __call__"),
    "target of no batch": (
        "return S",
        "return S[0]",
        r"target has shape \(64, 44\); it",
    ),
    "no number per item": ("axis=(1, 2))", ")", r"has shape \(\); it must be one number"),
    "not 0": ("axis=(1, 2))", "axis=(1, 2)) + 0.5", "is 0.5 at the content itself; it must be 0"),
    "not finite": ("self.top_db)", "(self.top_db * 0))", "is nan at the content itself"),
    "no gradient": ("(S - target)", "tf.stop_gradient(S - target)", "has no gradient; compute it"),
    "a root": ("tf.square(", "tf.sqrt(", "its gradient is not finite at the content itself"),
    "made wrong": ("config.top_db", "config.top_dbs", r"failed \(AttributeError: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_plugin_loss_is_named_in_one_line(
    case: str, few_terms: TransferConfig, tmp_path: Path
) -> None:
    old, new, reason = WRONG[case]
    assert PLUGIN.count(old) == 1
    path = tmp_path / "tiny.py"
    path.write_text(PLUGIN.replace(old, new))
    plugins.load_plugin(path)
    with pytest.raises(ConfigError, match=f"^loss 'tiny':? .*({reason})") as info:
        loss = loss_registry.make_losses(with_losses(few_terms, "tiny"))["tiny"]
        loss.target(tf.constant(np.random.default_rng(0).uniform(-80, 0, (1, 64, 44)), tf.float32))
    assert "\n" not in str(info.value)


def test_a_plugin_loss_that_cannot_be_traced_is_named_in_one_line(
    few_terms: TransferConfig, plugin: Path
) -> None:
    plugin.write_text(PLUGIN.replace("tf.square(", "tf.square(0 * S.numpy() + "))
    plugins.load_plugin(plugin)
    with pytest.raises(ConfigError, match=r"^loss 'tiny':? .*(has no gradient|failed \()") as info:
        run(with_losses(few_terms, "tiny"), 0.5)
    assert "\n" not in str(info.value)


def test_the_command_line_shows_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plugin: Path
) -> None:
    plugin.write_text(PLUGIN.replace("axis=(1, 2))", ")"))
    sf.write(tmp_path / "a.wav", make_tones(0.5), SR)
    clips = [str(tmp_path / "a.wav")] * 2 + ["-o", str(tmp_path / "o.wav")]
    options = ["--plugin", str(plugin), "--losses", "tiny", *TINY_OPTIONS, "--music-weight=0"]
    assert call("transfer", *clips, *options, "--quiet") in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("audiostyle: error: loss 'tiny': has shape ()")
    assert not (tmp_path / "o.wav").exists()


def test_the_remedy_of_a_non_finite_loss_names_the_plugin_losses(
    few_terms: TransferConfig, plugin: Path
) -> None:
    away = " + tf.where(tf.reduce_all(S == target, axis=(1, 2)), 0.0, float('inf'))"
    plugin.write_text(PLUGIN.rstrip() + away)
    plugins.load_plugin(plugin)
    with pytest.raises(OptimizationError, match=r"or without --losses tiny$"):
        run(with_losses(few_terms, "tiny"), 0.5)
