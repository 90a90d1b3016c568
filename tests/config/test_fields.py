"""Parameter fields: bounds, types, choices and weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from audiostyle.config.fields import parse_weights
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice

FIELDS = {field.name: field for field in dataclasses.fields(TransferConfig)}
BOUNDED = [
    name
    for name, field in FIELDS.items()
    if field.metadata["bounds"] and not field.metadata["weighs"]
]
CHOSEN = [name for name, field in FIELDS.items() if field.metadata["choices"]]


def check_one(name: str, value: Any) -> Any:
    """Set one parameter, with others such that they do not contradict it."""
    others: dict[str, Any] = {
        "bands": {"n_mels": 256},
        "n_mels": {"n_fft": 65_536, "bands": 1},
        "n_fft": {"hop_length": 16, "n_mels": 16, "bands": 1},
        "hop_length": {"n_fft": 65_536},
    }.get(name, {})
    return getattr(TransferConfig(**{**others, name: value}), name)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_inclusive(name: str) -> None:
    low, high = FIELDS[name].metadata["bounds"]
    for bound in (low, high):
        if (name, bound) != ("bands", 0):  # 0 selects the default of the network
            assert check_one(name, bound) == bound
    step = 1 if FIELDS[name].type == "int" else 1e-3
    for outside in (low - step, high + step):
        with pytest.raises(
            ConfigError, match=rf"^{name}=.* must be from {low:.10g} to {high:.10g}"
        ):
            check_one(name, outside)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("value", ["many", None, True, [1], float("nan"), 10**400])
def test_values_that_are_not_numbers_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}="):
        check_one(name, value)


@pytest.mark.parametrize("name", BOUNDED)
def test_numbers_have_the_type_of_their_field(name: str) -> None:
    kind = {"int": int, "float": float}[str(FIELDS[name].type)]
    high = FIELDS[name].metadata["bounds"][1]
    for written in (int(high), float(high), str(int(high))):  # as TOML and the shell write them
        value = check_one(name, written)
        assert type(value) is kind
        assert value == high


def test_whole_numbers_have_no_fraction() -> None:
    with pytest.raises(ConfigError, match=r"iterations=2\.5 must be a whole number"):
        TransferConfig(iterations=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CHOSEN)
def test_a_misspelt_choice_gets_the_closest_match(name: str) -> None:
    for choice in FIELDS[name].metadata["choices"]:
        assert check_choice(name, choice, FIELDS[name].metadata["choices"]) == choice
        with pytest.raises(ConfigError, match=rf"^{name} .* is not known: did you mean {choice}\?"):
            TransferConfig(**{name: choice[:-1] + "_"})


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
