"""Parameters: bounds, types, close matches, presets, files, and what wins over what."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audiostyle.cli.options import build_config
from audiostyle.config.fields import parse_weights
from audiostyle.config.network_specs import NETWORKS
from audiostyle.config.toml_file import load_toml
from audiostyle.config.transfer_config import PRESET_HELP, PRESETS, TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS
from audiostyle.utils.suggestions import check_choice

FIELDS = {field.name: field for field in dataclasses.fields(TransferConfig)}
BOUNDED = [
    name
    for name, field in FIELDS.items()
    if field.metadata["bounds"] and not field.metadata["weighs"]
]
CHOSEN = [name for name, field in FIELDS.items() if field.metadata["choices"]]
ROOT = Path(__file__).resolve().parents[2]


def check_one(name: str, value: Any) -> Any:
    """Set a single parameter, with the others where they cannot contradict it."""
    friends: dict[str, Any] = {
        "bands": {"n_mels": 256},
        "n_mels": {"n_fft": 65_536, "bands": 1},
        "n_fft": {"hop_length": 16, "n_mels": 16, "bands": 1},
        "hop_length": {"n_fft": 65_536},
    }.get(name, {})
    return getattr(TransferConfig(**{**friends, name: value}), name)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_inclusive_and_what_lies_beyond_is_refused(name: str) -> None:
    low, high = FIELDS[name].metadata["bounds"]
    for bound in (low, high):
        if (name, bound) != ("bands", 0):  # 0 asks for the network's own number
            assert check_one(name, bound) == bound
    step = 1 if FIELDS[name].type == "int" else 1e-3
    for outside in (low - step, high + step):
        with pytest.raises(
            ConfigError, match=rf"^{name}=.* must be from {low:.10g} to {high:.10g}"
        ):
            check_one(name, outside)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("value", ["many", None, True, [1], float("nan"), 10**400])
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}="):
        check_one(name, value)


@pytest.mark.parametrize("name", BOUNDED)
def test_numbers_come_out_with_the_type_of_their_field(name: str) -> None:
    kind = {"int": int, "float": float}[str(FIELDS[name].type)]
    high = FIELDS[name].metadata["bounds"][1]
    for written in (int(high), float(high), str(int(high))):  # as TOML and the shell write them
        value = check_one(name, written)
        assert type(value) is kind
        assert value == high


def test_a_fraction_of_a_whole_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"iterations=2\.5 must be a whole number"):
        TransferConfig(iterations=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CHOSEN)
def test_every_choice_is_taken_and_a_slip_is_answered_with_the_close_match(name: str) -> None:
    for choice in FIELDS[name].metadata["choices"]:
        assert check_choice(name, choice, FIELDS[name].metadata["choices"]) == choice
        with pytest.raises(ConfigError, match=rf"^{name} .* is not known: did you mean {choice}\?"):
            TransferConfig(**{name: choice[:-1] + "_"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": "vgg18"}, "network 'vgg18' is not known: did you mean vgg19?"),
        ({"network": "VGG-19"}, "did you mean vgg19?"),
        ({"network": "zzz"}, "choose from vgg19, musicnn-vgg, random-1d"),
        ({"network": 19}, "network 19 is not known"),
        ({"style_layers": "block1_conv"}, "did you mean block1_conv"),
        ({"style_layers": "block5_conv2"}, "layer of vgg19 'block5_conv2' is not known"),
        ({"network": "musicnn-vgg", "style_layers": "conv9"}, "layer of musicnn-vgg 'conv9'"),
        ({"network": "random-1d", "style_layers": "width0"}, "widthN with N frames from 1 to 512"),
        ({"network": "random-1d", "bands": 2}, "bands=2 does not fit network=random-1d"),
        ({"style_layers": "block1_conv1,block1_conv1=2"}, "names a layer twice"),
        ({"style_layers": {"block1_conv1": -1}}, "weight -1.0 of block1_conv1 must be finite"),
        ({"style_layers": {"block1_conv1": float("inf")}}, "must be finite and at least 0"),
        ({"style_layers": {"block1_conv1": 0}}, "style_layers: all weights are 0"),
        ({"content_layers": "block2_conv1=0"}, "content_layers: all weights are 0"),
        ({"style_layers": [["block1_conv1"]]}, "must be names, or names with weights"),
        ({"style_layers": [{"block1_conv1": 1}]}, "must be names, or names with weights"),
        ({"style_layers": 3}, "must be names, or names with weights"),
        ({"bands": 128, "n_mels": 64}, "bands=128 must be at most n_mels=64"),
        ({"hop_length": 1025}, "hop_length=1025 must be at most n_fft/2=1024"),
        ({"n_mels": 1025}, "n_mels=1025 must be at most n_fft/2=1024"),
        (
            {f"{term}_weight": 0 for term in TERMS},
            "are all 0: nothing to optimise",
        ),
        ({"weights": 3}, "weights=3 must be a path"),
    ],
)
def test_values_that_cannot_be_are_named_with_a_remedy(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        TransferConfig(**values)


def test_a_loss_that_is_off_may_have_layers_without_weight() -> None:
    config = TransferConfig(style_layers="block1_conv1=0", style_weight=0)  # type: ignore[arg-type]
    assert config.style_layers == (("block1_conv1", 0.0),)


def test_known_matches_without_regard_to_case() -> None:
    assert check_choice("subtype", "PCM_24", ["PCM_16", "PCM_24"]) == "PCM_24"
    with pytest.raises(ConfigError, match="did you mean PCM_24"):
        check_choice("subtype", "pcm24", ["PCM_16", "PCM_24"])


def test_layers_can_be_written_in_four_ways() -> None:
    expected = (("block1_conv1", 1.0), ("block2_conv1", 0.5))
    for written in (
        " block1_conv1 , block2_conv1=0.5,",
        {"block1_conv1": 1, "block2_conv1": 0.5},
        [["block1_conv1", 1], ["block2_conv1", 0.5]],
        expected,
    ):
        assert TransferConfig(style_layers=written).style_layers == expected  # type: ignore[arg-type]


def test_parse_weights() -> None:
    assert parse_weights("a=2, b") == (("a", 2.0), ("b", 1.0))
    assert parse_weights("") == ()
    with pytest.raises(ConfigError, match="layer weight 'x' in 'a=x' is not a number"):
        parse_weights("a=x")


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TransferConfig().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_brings_its_own_layers_and_bands(network: str) -> None:
    config = TransferConfig(network=network)
    spec = NETWORKS[network]
    assert (config.content_layers, config.style_layers) == (spec.content, spec.style)
    assert config.bands == spec.bands


def test_every_preset_holds_and_is_described() -> None:
    assert set(PRESETS) == set(PRESET_HELP) == {"fast", "balanced", "best", "classic"}
    made = {preset: TransferConfig.from_preset(preset) for preset in PRESETS}
    assert made["balanced"] == TransferConfig()
    assert len(set(made.values())) == len(PRESETS)


def test_classic_is_the_textbook_system() -> None:
    config = TransferConfig.from_preset("classic")
    assert config.network == "vgg19"
    assert [name for name, _ in config.content_layers] == ["block4_conv2"]
    assert [name for name, _ in config.style_layers] == [f"block{i}_conv1" for i in range(1, 6)]
    assert (config.bands, config.init, config.inversion) == (1, "noise", "griffinlim")
    assert (config.style_statistic, config.style_norm) == ("gram", "target")
    assert all(getattr(config, f"{term}_weight") == 0 for term in TERMS[2:])


def test_a_preset_with_another_network_takes_the_layers_of_that_network() -> None:
    config = TransferConfig.from_preset("classic", network="musicnn-vgg")
    assert config.style_layers == NETWORKS["musicnn-vgg"].style
    assert config.iterations == PRESETS["classic"]["iterations"]
    same = TransferConfig.from_preset("classic", network="vgg19")
    assert same == TransferConfig.from_preset("classic")
    own = TransferConfig.from_preset("classic", network="musicnn-vgg", style_layers="conv5")
    assert own.style_layers == (("conv5", 1.0),)


def test_from_preset_names_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="preset 'fats' is not known: did you mean fast"):
        TransferConfig.from_preset("fats")
    with pytest.raises(ConfigError, match="parameter 'iteration' is not known: did you mean iter"):
        TransferConfig.from_preset("fast", iteration=3)


EVERYTHING = TransferConfig(
    strength=0.25,
    network="musicnn-vgg",
    style_layers=(("conv1", 0.5), ("conv3", 2.0)),
    weights="some file.npz",
    tolerance=1e-6,
    seed=7,
    top_db=60,
)


@pytest.mark.parametrize("config", [TransferConfig(), EVERYTHING])
def test_a_configuration_survives_json(config: TransferConfig) -> None:
    values = json.loads(json.dumps(config.to_dict(), allow_nan=False))
    assert set(values) == set(FIELDS)
    assert TransferConfig(**values) == config


def to_toml(values: dict[str, Any]) -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            inside = ", ".join(f'"{key}" = {number}' for key, number in value.items())
            lines.append(f"{name} = {{ {inside} }}")
        elif value is not None:  # TOML has no word for it
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
        ("seed = 1" + 400 * "0", "seed=10+"),
        ("style_layers = [{ block1_conv1 = 1 }]", "must be names, or names with weights"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}:? .*{message}"):
        load_toml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml cannot be read \(No such file"):
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
    assert config.seed == TransferConfig().seed  # nobody
    preset, config = build_config("fast", str(path), {})
    assert preset == "fast"  # an option too
    assert (config.inversion, config.iterations) == ("content", 7)


def test_without_anything_the_preset_is_balanced() -> None:
    assert build_config(None, None, {}) == ("balanced", TransferConfig())


def test_a_network_given_as_an_option_drops_the_layers_of_the_preset() -> None:
    _, config = build_config("classic", None, {"network": "musicnn-vgg"})
    assert config.style_layers == NETWORKS["musicnn-vgg"].style


@pytest.mark.parametrize("preset", PRESETS)
def test_the_recipe_of_a_preset_is_that_preset(preset: str) -> None:
    file = ROOT / "configs" / f"{preset}.toml"
    assert build_config(None, str(file), {}) == (preset, TransferConfig.from_preset(preset))
    spelled_out = load_toml(file)
    spelled_out.pop("preset")
    assert TransferConfig(**spelled_out) == TransferConfig.from_preset(preset)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.toml")), ids=lambda f: f.name)
def test_every_recipe_loads(file: Path) -> None:
    preset, config = build_config(None, str(file), {})
    assert preset in PRESETS
    assert config.iterations <= TransferConfig.from_preset(preset).iterations


def test_recipes_and_reference_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "cli_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
