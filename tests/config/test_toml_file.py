"""Configuration files, presets as files, and the precedence of options, file and preset."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from audiostyle.cli.main import cli
from audiostyle.cli.options import build_config
from audiostyle.config.registry import NETWORKS
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.errors import ConfigError
from tests.config.test_transfer_config import EVERYTHING

ROOT = Path(__file__).resolve().parents[2]


def to_toml(values: dict[str, Any]) -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            inside = ", ".join(f'"{key}" = {number}' for key, number in value.items())
            lines.append(f"{name} = {{ {inside} }}")
        elif value is not None:  # TOML has no null
            lines.append(f"{name} = {json.dumps(value)}")
    return "\n".join(lines)


@pytest.mark.parametrize("config", [TransferConfig(), EVERYTHING])
def test_a_configuration_survives_toml(config: TransferConfig, tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(to_toml(config.to_dict()), encoding="utf-8")
    assert TransferConfig(**load_toml(path)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations = ", "is not a TOML file"),
        ("\xff\xfe", "is not a TOML file"),
        ("iteration = 3", "parameter 'iteration' is not known: did you mean iterations"),
        ("learning-rate = 0.1", "did you mean learning_rate"),
        ("[transfer]\niterations = 3", "parameter 'transfer' is not known"),
        ("iterations = -1", "iterations=-1 must be from 0"),
        ("network = 'vgg18'", "did you mean vgg19"),
        ("preset = 'fats'", "did you mean fast"),
        ("preset = 3", "preset 3 is not known"),
        ("alpha = 1\ncontent_weight = 1", "alpha and content_weight are the same parameter"),
        ("beta = -1", "style_weight=-1 must be from 0"),
        ("seed = 1" + 400 * "0", "seed=10+"),
        ("style_layers = [{ block1_conv1 = 1 }]", "must be names, or names with weights"),
    ],
)
def test_a_bad_file_is_named_with_the_reason(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}:? .*{message}"):
        load_toml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read \(No such file"):
        load_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory"):
        load_toml(tmp_path)


def test_options_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("preset = 'classic'\niterations = 7\nn_fft = 4096\n")
    preset, config = build_config(None, str(path), {"n_fft": "1024", "seed": None, "n_mels": "64"})
    assert preset == "classic"
    assert config.n_fft == 1024  # the option
    assert config.iterations == 7  # the file
    assert config.inversion == "griffinlim"  # the preset of the file
    assert config.seed == TransferConfig().seed  # the default
    preset, config = build_config("fast", str(path), {})
    assert preset == "fast"  # the option
    assert (config.inversion, config.iterations) == ("content", 7)


def test_weights_may_have_the_symbols_of_the_literature(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("alpha = 2\nbeta = 3\ncontent_layers = 'conv4_2'\n")
    _, config = build_config(None, str(path), {"style_weight": "4"})
    assert (config.content_weight, config.style_weight) == (2.0, 4.0)
    assert config.to_dict()["content_layers"] == {"block4_conv2": 1.0}
    context = cli.commands["transfer"].make_context("transfer", ["-o", "c", "--alpha=1"])
    assert context.params["content_weight"] == "1"


def test_the_default_preset_is_balanced() -> None:
    assert build_config(None, None, {}) == ("balanced", TransferConfig())


def test_a_network_given_as_an_option_drops_the_layers_of_the_preset() -> None:
    _, config = build_config("classic", None, {"network": "musicnn-vgg"})
    assert config.style_layers == NETWORKS["musicnn-vgg"].style


@pytest.mark.parametrize("preset", PRESETS)
def test_the_file_of_a_preset_equals_the_preset(preset: str) -> None:
    file = ROOT / "configs" / f"{preset}.toml"
    assert build_config(None, str(file), {}) == (preset, TransferConfig.from_preset(preset))
    spelled_out = load_toml(file)
    spelled_out.pop("preset")
    assert TransferConfig(**spelled_out) == TransferConfig.from_preset(preset)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda f: f.name)
def test_every_file_in_configs_loads(file: Path) -> None:
    preset, config = build_config(None, str(file), {})
    assert preset in PRESETS
    assert config.iterations <= TransferConfig.from_preset(preset).iterations


def test_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "cli_reference.py"))
    assert tool["main"](["--check"]) == 0
    assert capsys.readouterr().out == ""
