"""The plugins in examples/: a network and a loss, alone and in a transfer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tensorflow as tf

from audiostyle.config import plugins
from audiostyle.config.registry import LOSSES
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import TERMS
from audiostyle.nn import backbones
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import call
from tests.support.loss_plugins import EXAMPLE as LOSS_EXAMPLE
from tests.support.loss_plugins import opening, run, with_losses

NETWORK_EXAMPLE = LOSS_EXAMPLE.with_name("my_network.py")
FEW_TERMS = [f"--{term}-weight=0" for term in TERMS[2:]]

pytestmark = pytest.mark.usefixtures("only_what_ships")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a content and a style."""
    monkeypatch.chdir(tmp_path)
    sf.write("content.wav", opening(), SR)
    sf.write("style.wav", make_noise(), SR)
    return tmp_path


@pytest.mark.parametrize("example", [NETWORK_EXAMPLE, LOSS_EXAMPLE], ids=lambda path: path.stem)
def test_an_example_has_less_than_60_lines(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60


def test_the_network_transfers_a_clip(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sf.write("content.wav", make_tones(), SR)
    options = [*FEW_TERMS, "--network=ripples", "--iterations=3", "--n-mels=64", "--json"]
    options += ["--plugin", str(NETWORK_EXAMPLE)]
    assert call("transfer", "content.wav", "style.wav", "-o", "out.wav", *options) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["parameters"]["network"] == "ripples"
    assert record["weights"]["sha256"] == hashlib.sha256(NETWORK_EXAMPLE.read_bytes()).hexdigest()
    assert set(record["losses"][0]["layers"]) == {"slow", "fast"}
    assert record["losses"][-1]["style"] < record["losses"][0]["style"]
    assert sf.info("out.wav").frames == SR


def test_the_loss_is_in_record_plot_and_page(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*TINY_OPTIONS, *FEW_TERMS, "--plot=p.png", "--report=page.html", "--json"]
    options += ["--plugin", str(LOSS_EXAMPLE), "--losses", "brightness=2"]
    assert call("transfer", "content.wav", "style.wav", "-o", "out.wav", *options) == 0
    record = json.loads(capsys.readouterr().out)
    digest = hashlib.sha256(LOSS_EXAMPLE.read_bytes()).hexdigest()
    assert record["loss_sources"]["brightness"]["sha256"] == digest
    assert record["parameters"]["losses"] == {"brightness": 2.0}
    assert all(set(step["more"]) == {"brightness"} for step in record["losses"])
    page = Path("page.html").read_text(encoding="utf-8")
    assert "brightness" in page
    assert digest in page
    assert Path("p.png").stat().st_size > 0
    LOSSES.clear()  # without the plugin, the page is the same
    Path("page.html").unlink()
    assert call("report", "out.wav", "-o", "page.html") == 0
    assert digest in Path("page.html").read_text(encoding="utf-8")


def test_a_filter_of_the_network_responds_to_its_own_ripples() -> None:
    plugins.load_plugin(NETWORK_EXAMPLE)
    (name,) = (n for n in sys.modules if n.startswith(plugins.PREFIX))
    rates, scales = sys.modules[name].RATES, sys.modules[name].SCALES
    config = TransferConfig(network="ripples", n_mels=128)
    network = backbones.build_network(config)
    rate, scale = rates[1], scales[1]
    at = 2 * np.pi * (scale * np.arange(128)[:, None] + rate * np.arange(96))
    S = (-40 + 20 * np.cos(at))[None, :, :, None].astype(np.float32)
    answer = np.asarray(network(S)["fast"])[0, 32:96, 32:64].mean(axis=(0, 1))
    assert divmod(int(answer.argmax()), len(scales)) == (1, 1)


def curve(*bands: float) -> tf.Tensor:
    """Make a peak that moves from band to band [shape=(1, 64, len(bands)), dB]."""
    away = np.arange(64)[:, None] - np.array(bands)
    return tf.constant(-80 + 80 * np.exp(-0.5 * away**2)[None], tf.float32)


def test_the_loss_is_one_minus_the_correlation() -> None:
    assert plugins.load_plugin(LOSS_EXAMPLE) == ["brightness"]
    loss = LOSSES["brightness"](TransferConfig())
    S = curve(20, 24, 28, 24, 20)
    target = loss.target(S)
    cases = {0.0: (20, 24, 28, 24, 20), 2.0: (28, 24, 20, 24, 28), 1.0: (20, 24, 20, 16, 20)}
    for expected, bands in cases.items():
        assert float(loss(curve(*bands), target)[0]) == pytest.approx(expected, abs=0.03)
    higher = curve(30, 34, 38, 34, 30)
    assert float(loss(higher, target)[0]) == pytest.approx(0, abs=0.02)
    both = loss(tf.concat([S, curve(28, 24, 20, 24, 28)], 0), tf.repeat(target, 2, axis=0))
    np.testing.assert_allclose(both, [0, 2], atol=0.03)


@pytest.mark.slow
def test_the_loss_keeps_what_a_transfer_loses_without_it(few_terms: TransferConfig) -> None:
    plugins.load_plugin(LOSS_EXAMPLE)
    few_terms = dataclasses.replace(few_terms, iterations=8, content_weight=0.03)
    loss = LOSSES["brightness"](few_terms)
    without, at_0, held = (
        run(with_losses(few_terms, losses)) for losses in ((), "brightness=0", "brightness=2")
    )
    lost = {}
    for name, result in (("without", without), ("held", held)):
        target = loss.target(tf.constant(result.S_content[None]))
        lost[name] = float(loss(tf.constant(result.S_result[None]), target)[0])
    assert lost["held"] < 0.5 * lost["without"]
    assert np.asarray(at_0.y).tobytes() == np.asarray(without.y).tobytes()
    assert [i.more for i in at_0.history] == [{}] * len(at_0.history)
    # At the content the loss is 0, so it falls only from another start.
    history = run(with_losses(dataclasses.replace(few_terms, init="noise"), "brightness=2")).history
    assert history[-1].more["brightness"] < history[0].more["brightness"]
