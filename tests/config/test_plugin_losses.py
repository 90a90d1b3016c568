"""Plugin losses: names and weights, records, batches, style files and pages."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch.run import run_batch
from audiostyle.config import plugins
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS, Iteration
from audiostyle.files import style_file
from audiostyle.files.transfer import make_style_file, transfer_file
from audiostyle.report.live_server import LivePage
from tests.conftest import SR, make_noise
from tests.support.fakes import SIDES
from tests.support.loss_plugins import PLUGIN, opening, with_losses

pytestmark = pytest.mark.usefixtures("only_what_ships")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(PLUGIN)
    return path


def test_a_loss_and_its_weight_can_be_written_in_every_form(plugin: Path, tmp_path: Path) -> None:
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
def test_an_invalid_loss_is_an_error_of_one_line(losses: Any, reason: str, plugin: Path) -> None:
    plugins.load_plugin(plugin)
    with pytest.raises(ConfigError, match=reason) as info:
        TransferConfig(losses=losses)
    assert "\n" not in str(info.value)


def test_a_batch_keeps_results_of_another_version(gtzan_folder: Path, plugin: Path) -> None:
    plugins.load_plugin(plugin)

    def computed(losses: str) -> int:
        config = TransferConfig(losses=losses)  # type: ignore[arg-type]
        result = run_batch(*SIDES, "out", config, pair="zip")
        assert result.computed + result.count("kept") in (0, 3)
        if result.count("kept"):
            assert (result.exit_code, result.computed) == (3, 0)
            result = run_batch(*SIDES, "out", config, pair="zip", force=True)
            assert (result.exit_code, result.computed) == (0, 3)
            return -3
        return result.computed

    assert [computed("tiny"), computed("tiny")] == [3, 0]
    record = json.loads(next(Path("out").rglob("*.wav.json")).read_text())
    assert record["loss_sources"]["tiny"]["sha256"] == hashlib.sha256(PLUGIN.encode()).hexdigest()
    plugin.write_text(PLUGIN + "# another version")
    assert [computed("tiny"), computed("tiny")] == [-3, 0]
    assert computed("tiny=0") == -3
    plugin.write_text(PLUGIN)  # a loss without a weight does not matter
    assert computed("tiny=0") == 0


@pytest.mark.slow
@pytest.mark.parametrize("made_with", ["", "tiny=2"])
def test_a_style_file_does_not_depend_on_the_losses(
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


def test_curves_and_the_live_page_show_a_plugin_loss(plugin: Path) -> None:
    plugins.load_plugin(plugin)
    config = with_losses(TransferConfig(), "tiny=2")
    steps = [{"total": 1.0, **dict.fromkeys(TERMS, 0.1), "more": {"tiny": t}} for t in (3.0, 1.0)]
    curves = plots.loss_curves(steps, config.to_dict())
    assert (list(curves)[-1], curves["tiny"]) == ("tiny", [6.0, 2.0])
    page = LivePage("t", config, bool)
    terms: dict[str, Any] = dict.fromkeys(TERMS, 0.1)
    page(Iteration(0, 1, 1.0, **terms, layers={}, seconds=0.0, more={"tiny": 3.0}))
    assert page._losses[0][-1] == 6.0
    assert len(page._losses[0]) == len(TERMS) + 3
    assert b"tiny" in page._page()
