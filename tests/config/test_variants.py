"""Variants: all combinations, on top of what was given, with their names."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from audiostyle.config import variants
from audiostyle.config.registry import NETWORKS, register_loss
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.config.variants import Variants, analysis_key, networks_key, parse_vary
from audiostyle.errors import ConfigError


def test_without_a_sweep_there_is_the_configuration_itself() -> None:
    config = TransferConfig(strength=0.3)
    (only,) = Variants(config, "fast").all
    assert (only.config, only.preset, only.values) == (config, "fast", ())


def test_all_combinations_in_order() -> None:
    vary = {"strength": [".2", 1], "preset": ["classic", "fast"]}
    made = Variants(None, "balanced", vary, {"seed": 7}).all
    assert [one.values for one in made] == [
        (("strength", strength), ("preset", preset))
        for strength in ("0.2", "1")
        for preset in ("classic", "fast")
    ]
    for one in made:
        strength = float(one.values[0][1])
        expected = TransferConfig.from_preset(str(one.preset), strength=strength, seed=7)
        assert one.config == expected and one.preset == one.values[1][1]


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_what_differs_from_the_preset_stays(preset: str | None) -> None:
    base = TransferConfig.from_preset(preset or "balanced", n_mels=128, strength=0.5)
    (first, second) = Variants(base, preset, {"seed": [0, 5]}).all
    assert first.config == base and first.preset == preset
    assert second.config == dataclasses.replace(base, seed=5)
    (other,) = Variants(base, preset, {"preset": ["fast"]}).all
    assert other.config == TransferConfig.from_preset("fast", n_mels=128, strength=0.5)


@pytest.mark.parametrize("network", NETWORKS)
def test_another_network_brings_its_layers(network: str) -> None:
    for base in (TransferConfig(), TransferConfig(network=network)):
        (found,) = Variants(base, None, {"network": [network]}).all
        assert found.config == TransferConfig(network=network)
        (found,) = Variants(base, None, {"network": ["vgg19"]}).all
        assert found.config == TransferConfig()


def test_parsing() -> None:
    assert parse_vary(["strength=.2, 1", "content-weight=1", "strength=.4"]) == {
        "strength": [".2", "1", ".4"],
        "content_weight": ["1"],
    }
    layers = parse_vary(["style_layers=block1_conv1=1,block2_conv1;block3_conv1"])
    assert layers == {"style_layers": ["block1_conv1=1,block2_conv1", "block3_conv1"]}
    assert [one.values[0][1] for one in Variants(vary=layers).all] == [
        "block1_conv1=1,block2_conv1=1",
        "block3_conv1=1",
    ]
    assert parse_vary(["alpha=1,2", "beta=3"]) == {
        "content_weight": ["1", "2"],
        "style_weight": ["3"],
    }
    (made,) = Variants(vary=parse_vary(["content_layers=conv4_2"])).all
    assert made.values == (("content_layers", "block4_conv2=1"),)
    for text in ("strength", "strength=", "strength=1,,2", "=1", "tempo=1"):
        with pytest.raises(ConfigError):
            parse_vary([text])


def test_keys_tell_apart_what_must_not_be_shared(only_what_ships: None) -> None:
    config = TransferConfig()
    other: dict[str, Any] = {
        **{"style_norm": "target", "style_statistic": "gram", "init": "noise", "seed": 1},
        **{"optimizer": "adam", "inversion": "griffinlim", "bands": 1, "music_weight": 0.0},
    }
    for name in variants.FIELDS:
        value = getattr(config, name)
        value = other.get(name, value / 2 if isinstance(value, float) and value else 0.5)
        if name in ("iterations", "inversion_iterations"):
            value = 3
        elif name not in other and not isinstance(getattr(config, name), float):
            continue
        changed = dataclasses.replace(config, **{name: value})
        assert (networks_key(changed) == networks_key(config)) == (name in variants.UNTRACED), name
        same = analysis_key(changed) == analysis_key(config)
        assert same == (name in variants.UNANALYZED), name

    @register_loss("any")
    def build(config: TransferConfig) -> Any:
        raise NotImplementedError

    plugin = TransferConfig(losses=(("any", 1.0),))
    changed = dataclasses.replace(plugin, strength=0.5)
    assert networks_key(changed) != networks_key(plugin)
    assert analysis_key(changed) != analysis_key(plugin)
