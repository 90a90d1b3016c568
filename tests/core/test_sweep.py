"""Sweeps: takes are those of single transfers, and share networks and analyses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.config.variants import UNANALYZED, UNTRACED
from audiostyle.core import sweep as sweep_module
from audiostyle.core import transfer as transfer_module
from audiostyle.core.sweep import sweep
from audiostyle.core.transfer import Style, transfer
from audiostyle.errors import ConfigError
from tests.conftest import SR, make_noise, make_tones

CONTENT, STYLE = make_tones(0.7), make_noise(0.6)
OTHER = {  # a value of each parameter that does not change the networks
    **{"strength": 0.5, "style_norm": "target", "mix": 0.5},
    **{"iterations": 1, "tolerance": 0.5, "inversion": "griffinlim", "inversion_iterations": 3},
}


@pytest.mark.slow
def test_takes_are_those_of_single_transfers(
    tiny_config: TransferConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyzed, built = [], []

    def analyze(style: Any, *arguments: Any) -> Any:
        analyzed.extend([style.name] * (style.analyzed is None))
        return original(style, *arguments)

    original = transfer_module.analyze_style
    monkeypatch.setattr(transfer_module, "analyze_style", analyze)
    load = transfer_module.StyleTransfer._load

    def count(self: Any) -> Any:
        built.extend([self] * (self._loaded is None))
        return load(self)

    monkeypatch.setattr(transfer_module.StyleTransfer, "_load", count)
    clips = iter([(STYLE, SR)])  # can be read once
    vary: dict[str, Any] = {"strength": [0.4, "1"]}
    takes = list(sweep(CONTENT, [Style(clips, name="noise")], SR, vary, tiny_config))
    assert [take.parameters for take in takes] == [{"strength": 0.4}, {"strength": 1.0}]
    assert analyzed == ["noise"] and len(built) == 1
    for take in takes:
        alone = transfer(CONTENT, STYLE, SR, take.result.config).y
        np.testing.assert_array_equal(take.result.y, alone, str(take.parameters))
        assert {**take.result.config.to_dict(), **take.parameters} == take.result.config.to_dict()


@pytest.mark.slow
def test_results_do_not_depend_on_shared_networks(tiny_config: TransferConfig) -> None:
    assert set(OTHER) == set(UNTRACED)
    base = dataclasses.replace(tiny_config, strength=0.7)
    cache = sweep_module.TransferCache()
    first = cache.get(base).transfer(CONTENT, STYLE, SR).y
    optimizer = cache.get(base)._load()[0]._optimizer
    for name, value in OTHER.items():
        config = dataclasses.replace(base, **{name: value})
        shared = cache.get(config)
        assert shared._load()[0]._optimizer is optimizer
        y = shared.transfer(CONTENT, STYLE, SR).y
        np.testing.assert_array_equal(y, transfer(CONTENT, STYLE, SR, config).y, name)
        # Five iterations are too few for the tolerance to end them.
        assert name == "tolerance" or not np.array_equal(y, first), name


@pytest.mark.slow
def test_other_networks_are_built_and_analyse_again(tiny_config: TransferConfig) -> None:
    vary = {"bands": [1, 2], "seed": [0, 1]}
    for take in sweep(CONTENT, STYLE, SR, vary, tiny_config):
        assert {name: getattr(take.result.config, name) for name in vary} == take.parameters
        alone = transfer(CONTENT, STYLE, SR, take.result.config).y
        np.testing.assert_array_equal(take.result.y, alone, str(take.parameters))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*UNANALYZED} - {*UNTRACED}))
def test_an_analysis_does_not_depend_on_what_it_is_shared_across(
    name: str, tiny_config: TransferConfig
) -> None:
    other: Any = {"style_statistic": "gram", "optimizer": "adam"}.get(name, 0.01)
    base, found = dataclasses.replace(tiny_config, init="notes"), []
    for config in (base, dataclasses.replace(base, **{name: other})):
        style = transfer_module.StyleTransfer(config).analyze_style(Style([(STYLE, SR)]))
        found.append([*style.statistics.grams.values(), *style.statistics.means.values()])
        found[-1] += [*vars(style.levels).values(), style.y, style.S]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_wrong_values_are_refused_before_the_first_take() -> None:
    with pytest.raises(ConfigError, match="did you mean strength"):
        sweep(CONTENT, STYLE, SR, {"strenght": [1]})
    with pytest.raises(ConfigError, match=r"strength=2\.0|strength=2"):
        sweep(CONTENT, STYLE, SR, {"strength": [1, 2]})


def test_few_networks_stay_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TransferConfig] = []

    class Fake:
        def __init__(self, config: TransferConfig, *options: Any) -> None:
            made.append(config)

        def with_config(self, config: TransferConfig) -> TransferConfig:
            return config

    monkeypatch.setattr(sweep_module, "StyleTransfer", Fake)
    cache, configs = sweep_module.TransferCache(), []
    for i in range(sweep_module.MAX_NETWORKS + 1):
        configs.append(TransferConfig(content_weight=0.1 + i))
        for strength in (0.5, 1.0):
            config = dataclasses.replace(configs[-1], strength=strength)
            assert cache.get(config) == config
    assert len(made) == len(configs)
    cache.get(configs[-1])
    assert len(made) == len(configs)
    cache.get(configs[0])  # was dropped
    assert len(made) == len(configs) + 1
