"""Parameters of a transfer: combinations, presets and JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from audiostyle.config.registry import NETWORKS
from audiostyle.config.transfer_config import PRESET_HELP, PRESETS, TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.events import TERMS

EVERYTHING = TransferConfig(
    strength=0.25,
    network="musicnn-vgg",
    style_layers=(("conv1", 0.5), ("conv3", 2.0)),
    weights="some file.npz",
    tolerance=1e-6,
    seed=7,
    top_db=60,
)


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
        ({"network": "random-1d", "style_layers": "width0"}, "widthN, N from 1 to 512 frames"),
        ({"network": "random-1d", "bands": 2}, "bands=2 does not fit network=random-1d"),
        ({"style_layers": "block1_conv1,block1_conv1=2"}, "names a layer twice"),
        ({"style_layers": "block1_conv1,conv1_1=2"}, "names a layer twice"),
        ({"style_layers": "conv5_2"}, "layer of vgg19 'conv5_2' is not known"),
        ({"network": "musicnn-vgg", "style_layers": "conv1_1"}, "layer of musicnn-vgg 'conv1_1'"),
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
def test_invalid_values_are_named_with_a_remedy(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        TransferConfig(**values)


def test_a_loss_that_is_off_may_have_layers_without_weight() -> None:
    config = TransferConfig(style_layers="block1_conv1=0", style_weight=0)  # type: ignore[arg-type]
    assert config.style_layers == (("block1_conv1", 0.0),)


def test_layers_may_have_the_names_of_the_literature() -> None:
    """Gatys et al. write conv4_2 for the second convolution of the fourth block."""
    config = TransferConfig(content_layers="conv4_2=2", style_layers="conv1_1,block5_conv1")  # type: ignore[arg-type]
    assert config.content_layers == (("block4_conv2", 2.0),)
    assert config.to_dict()["style_layers"] == {"block1_conv1": 1.0, "block5_conv1": 1.0}
    musicnn = TransferConfig(network="musicnn-vgg", style_layers="conv4")  # type: ignore[arg-type]
    assert musicnn.style_layers == (("conv4", 1.0),)


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TransferConfig().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_its_own_default_layers_and_bands(network: str) -> None:
    config = TransferConfig(network=network)
    spec = NETWORKS[network]
    assert (config.content_layers, config.style_layers) == (spec.content, spec.style)
    assert config.bands == spec.bands


def test_every_preset_is_valid_and_described() -> None:
    assert set(PRESETS) == set(PRESET_HELP) == {"fast", "balanced", "classic"}
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


def test_from_preset_names_unknown_presets_and_parameters() -> None:
    with pytest.raises(ConfigError, match="preset 'fats' is not known: did you mean fast"):
        TransferConfig.from_preset("fats")
    with pytest.raises(ConfigError, match="parameter 'iteration' is not known: did you mean iter"):
        TransferConfig.from_preset("fast", iteration=3)


@pytest.mark.parametrize("config", [TransferConfig(), EVERYTHING])
def test_a_configuration_survives_json(config: TransferConfig) -> None:
    values = json.loads(json.dumps(config.to_dict(), allow_nan=False))
    assert set(values) == {field.name for field in dataclasses.fields(TransferConfig)}
    assert TransferConfig(**values) == config
