"""A loss of one's own, from a file or from an installed package: its name, weight and record."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import tensorflow as tf

from audiostyle.batch.run import run_batch
from audiostyle.config import loss_specs, plugins
from audiostyle.config.loss_specs import LOSSES, find_loss, register_loss
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS, Iteration
from audiostyle.files import style_file
from audiostyle.files.transfer import make_style_file, transfer_file
from audiostyle.nn import loss_registry
from audiostyle.report.live_server import LivePage
from tests.conftest import SR, TINY_OPTIONS, make_noise
from tests.support.fakes import SIDES, call
from tests.support.loss_plugins import EXAMPLE, PLUGIN, opening, run, with_losses

pytestmark = pytest.mark.usefixtures("only_what_ships")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(PLUGIN)
    return path


def curve(*bands: float) -> tf.Tensor:
    """Draw a peak that moves from band to band [shape=(1, 64, len(bands)), dB]."""
    away = np.arange(64)[:, None] - np.array(bands)
    return tf.constant(-80 + 80 * np.exp(-0.5 * away**2)[None], tf.float32)


# --- the example ---------------------------------------------------------------------------------


def test_the_example_has_less_than_60_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60


def test_the_example_is_0_for_the_same_course_anywhere_and_2_for_its_opposite() -> None:
    assert plugins.load_plugin(EXAMPLE) == ["brightness"]
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


def test_the_example_holds_what_a_transfer_loses_without_it(few_terms: TransferConfig) -> None:
    plugins.load_plugin(EXAMPLE)
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
    assert held.history[-1].more["brightness"] < held.history[0].more["brightness"]


def test_the_example_styles_a_clip_from_the_command_line(tmp_path: Path) -> None:
    """As a newcomer would: a file, an option, a name; and it is on record, picture and page."""
    sf.write(tmp_path / "content.wav", opening(), SR)
    sf.write(tmp_path / "style.wav", make_noise(), SR)
    command = [sys.executable, "-m", "audiostyle", "transfer", "content.wav", "style.wav"]
    command += ["-o", "out.wav", "--plugin", str(EXAMPLE), "--losses", "brightness=2", "--json"]
    command += [*TINY_OPTIONS, "--music-weight=0", "--plot", "p.png", "--report", "page.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    digest = hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert record["loss_sources"]["brightness"]["sha256"] == digest
    assert record["parameters"]["losses"] == {"brightness": 2.0}
    assert all(set(step["more"]) == {"brightness"} for step in record["losses"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "brightness" in page
    assert digest in page
    assert (tmp_path / "p.png").stat().st_size > 0
    # Where the plugin is not known, the page is the same.
    (tmp_path / "page.html").unlink()
    assert call("report", str(tmp_path / "out.wav"), "-o", str(tmp_path / "page.html")) == 0
    assert digest in (tmp_path / "page.html").read_text(encoding="utf-8")


# --- names and weights ---------------------------------------------------------------------------


def test_a_loss_is_known_by_name_and_weighed_in_every_form(plugin: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^loss 'tiny' is not known: give .* --plugin$"):
        TransferConfig(losses="tiny")  # type: ignore[arg-type]
    assert plugins.load_plugin(plugin) == plugins.load_plugin(plugin) == ["tiny"]
    toml = tmp_path / "mine.toml"
    toml.write_text("losses = { tiny = 2.5 }")
    for written in ("tiny=2.5", {"tiny": 2.5}, [("tiny", 2.5)], load_toml(toml)["losses"]):
        config = TransferConfig.from_preset("fast", losses=written)
        assert config.losses == (("tiny", 2.5),)
        assert list(config.loss_weights) == [*TERMS, "tiny"]
        assert TransferConfig(**config.to_dict()) == config
    assert TransferConfig(losses="tiny").losses == (("tiny", 1.0),)  # type: ignore[arg-type]
    assert list(TransferConfig(losses="tiny=0").loss_weights) == list(TERMS)  # type: ignore[arg-type]
    alone = {f"{term}_weight": 0.0 for term in TERMS}
    assert TransferConfig(**alone, losses="tiny").loss_weights["tiny"] == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ("tyni", "loss 'tyni' is not known: did you mean tiny"),
        ("zzz", "loss 'zzz' is not known: choose from tiny, or give the file"),
        ("pitch=2", "loss 'pitch' is built in: set its weight with pitch_weight"),
        ("tiny=-1", "losses: weight of tiny=-1.0 must be from 0 to 1000000"),
        ("tiny=2e6", "losses: weight of tiny=2000000.0 must be from 0 to 1000000"),
        ("tiny=nan", "losses: weight of tiny=nan must be from 0 to 1000000"),
        ("tiny=x", "loss weight 'x' in 'tiny=x' is not a number"),
        ("tiny,tiny=2", "names a loss twice"),
        (3, "losses=3 must be names, or names with weights: 'NAME=1'"),
    ],
)
def test_what_cannot_be_weighed_is_one_line(losses: Any, reason: str, plugin: Path) -> None:
    plugins.load_plugin(plugin)
    with pytest.raises(ConfigError, match=reason) as info:
        TransferConfig(losses=losses)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["Tiny", "a=b", "total", "step", "rhythm", "tiny"])
def test_a_name_that_cannot_be_one_is_refused(name: str, plugin: Path) -> None:
    plugins.load_plugin(plugin)
    reason = rf"^loss (name )?'{name}' (must be|is registered already)"
    with pytest.raises(ConfigError, match=reason):
        register_loss(name)


def test_a_plugin_that_fails_leaves_neither_networks_nor_losses(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN + "1 / 0")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        plugins.load_plugin(path)
    assert LOSSES == {}


def test_an_installed_package_is_asked_only_for_a_name_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def entry_points(**by: str) -> list[SimpleNamespace]:
        asked.append((by["group"], by["name"]))

        def load() -> None:
            if by["name"] == "broken":
                raise ImportError("no\nsuch thing")
            register_loss(by["name"])(lambda config: config)

        known = by["name"] in ("theirs", "broken")
        return [SimpleNamespace(load=load, value="pkg:Loss")] if known else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    TransferConfig()
    assert asked == []
    assert [find_loss("theirs"), find_loss("theirs")] == ["theirs"] * 2
    assert asked == [("audiostyle.nn.style_losses", "theirs")]
    with pytest.raises(ConfigError, match=r"pkg:Loss cannot be imported \(ImportError: no such"):
        find_loss("broken")
    config = TransferConfig(losses="theirs")  # type: ignore[arg-type]
    LOSSES.clear()  # as in the process of a worker, which gets the configuration ready made
    with pytest.raises(ConfigError, match="loss 'theirs' must have the methods target and"):
        loss_registry.make_losses(config)
    assert asked[-1] == ("audiostyle.nn.style_losses", "theirs")


def test_workers_of_a_cluster_are_not_given_what_they_cannot_load(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--engine", "ray", "--plugin", str(plugin), "--losses"]
    sides = [str(tmp_path), str(tmp_path), "-o", str(tmp_path / "out")]
    assert call("batch", *sides, *options, "tiny") == 2
    assert "loss 'tiny' comes from a plugin file, which the workers" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    plugins.check_portable(TransferConfig(losses="tiny=0"))  # type: ignore[arg-type]


# --- records, batches, style files, pages --------------------------------------------------------


def test_a_batch_computes_again_what_another_version_made(gtzan_folder: Path, plugin: Path) -> None:
    plugins.load_plugin(plugin)

    def computed(losses: str) -> int:
        config = TransferConfig(losses=losses)  # type: ignore[arg-type]
        return run_batch(*SIDES, "out", config, pair="zip", force=False).computed

    assert [computed("tiny"), computed("tiny")] == [3, 0]
    record = json.loads(next(Path("out").rglob("*.wav.json")).read_text())
    assert record["loss_sources"]["tiny"]["sha256"] == hashlib.sha256(PLUGIN.encode()).hexdigest()
    plugin.write_text(PLUGIN + "# another version")
    assert [computed("tiny"), computed("tiny")] == [3, 0]
    assert computed("tiny=0") == 3
    plugin.write_text(PLUGIN)  # what is not weighed is of no account
    assert computed("tiny=0") == 0


def test_a_loss_typed_at_a_prompt_says_where_it_is_from() -> None:
    register_loss("typed")(eval("lambda config: None", {"__name__": "prompt"}))
    assert loss_specs.provenance((("typed", 1.0),)) == {
        "typed": {"source": "loss registered by prompt"}
    }
    assert loss_specs.loss_digests((("typed", 1.0), ("other", 0.0))) == {"typed": ""}


@pytest.mark.parametrize("made_with", ["", "tiny=2"])
def test_a_style_file_fits_with_a_loss_and_without(
    few_terms: TransferConfig, plugin: Path, tmp_path: Path, made_with: str
) -> None:
    plugins.load_plugin(plugin)
    sf.write(tmp_path / "content.wav", opening(0.6), SR)
    sf.write(tmp_path / "style.wav", make_noise(0.6), SR)
    few_terms = dataclasses.replace(few_terms, iterations=1)
    saved = tmp_path / "a.style.npz"
    make_style_file(tmp_path / "style.wav", saved, with_losses(few_terms, made_with))
    used = with_losses(few_terms, "" if made_with else "tiny=2")
    assert style_file.essentials(used) == style_file.essentials(with_losses(few_terms, made_with))
    _, record = transfer_file(tmp_path / "content.wav", saved, tmp_path / "out.wav", used)
    assert set(record["loss_sources"]) == ({"tiny"} if not made_with else set())


def test_curves_and_the_live_page_show_a_loss_like_those_that_ship(plugin: Path) -> None:
    plugins.load_plugin(plugin)
    config = with_losses(TransferConfig(), "tiny=2")
    steps = [{"total": 1.0, **dict.fromkeys(TERMS, 0.1), "more": {"tiny": t}} for t in (3.0, 1.0)]
    curves = plots.loss_curves(steps, config.to_dict())
    assert (list(curves)[-1], curves["tiny"]) == ("tiny", [6.0, 2.0])
    page = LivePage("t", config, bool)
    terms: dict[str, Any] = dict.fromkeys(TERMS, 0.1)
    page(Iteration(0, 1, 1.0, **terms, layers={}, seconds=0.0, more={"tiny": 3.0}))
    assert page._state.losses[0][-1] == 6.0
    assert len(page._state.losses[0]) == len(TERMS) + 3
    assert b"tiny" in page._page()
