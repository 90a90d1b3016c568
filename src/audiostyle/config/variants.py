"""Variants of a configuration: the parameters that a sweep goes through, in all combinations."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from audiostyle.config.registry import NETWORKS
from audiostyle.config.transfer_config import (
    PRESETS,
    TransferConfig,
    changed_parameters,
    preset_parameters,
    resolve_alias,
)
from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice

FIELDS = {one.name: one for one in dataclasses.fields(TransferConfig)}
NAMES = ("preset", *FIELDS)

# What neither the networks nor the traced objective depend on.
UNTRACED = (
    *("strength", "style_norm", "iterations", "tolerance"),
    *("inversion", "inversion_iterations", "mix"),
)
# What the analysis of a style does not depend on.
UNANALYZED = (
    *UNTRACED,
    *("content_weight", "style_weight", "pitch_weight", "onset_weight", "rhythm_weight"),
    *("envelope_weight", "style_statistic", "optimizer", "learning_rate"),
)


@dataclass(frozen=True)
class Variant:
    """One configuration of a sweep; without a sweep, the configuration of all pairs."""

    config: TransferConfig = field(default_factory=TransferConfig)
    preset: str | None = None
    values: tuple[tuple[str, str], ...] = ()  # names and values of what varies, as options take it

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Preset and parameters as in a record."""
        return {"preset": self.preset, **self.config.to_dict()}

    @cached_property
    def networks(self) -> str:
        """What is the same for variants that share their networks."""
        return networks_key(self.config)


class Variants:
    """All variants: each value of `vary` with each of the others, on top of a configuration.

    `overrides` are the parameters that were given apart from the preset, and are kept when the
    preset varies; by default those in which `config` differs from its preset. Raises a
    `ConfigError` if a name or a value is not valid, or a value is given twice.
    """

    def __init__(
        self,
        config: TransferConfig | None = None,
        preset: str | None = None,
        vary: Mapping[str, Iterable[Any]] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self._config, self._preset = config or TransferConfig(), preset
        if overrides is None:
            overrides = _given_parameters(self._config, preset)
        self._overrides = dict(overrides)
        self._vary = {}
        for name, values in (vary or {}).items():
            check_choice("parameter to vary", name, NAMES)
            self._vary[name] = [values] if isinstance(values, (str, int, float)) else [*values]
            if not self._vary[name]:
                raise ConfigError(f"vary {name}: names no value")
        # A table may have 100,000 rows: their variants are made once, and are one object each.
        self._rows: dict[tuple[tuple[str, Any], ...], list[Variant]] = {}
        self._made: dict[tuple[tuple[str, str], ...], Variant] = {}
        self.all = self.make({})

    def make(self, row: Mapping[str, Any]) -> list[Variant]:
        """Make the variants with the parameters of a row of a table; an empty cell changes none."""
        key = tuple(row.items())
        if key not in self._rows:
            self._rows[key] = self._make(row)
        return self._rows[key]

    def _make(self, row: Mapping[str, Any]) -> list[Variant]:
        for name in row.keys() & self._vary.keys():
            raise ConfigError(f"{name} is a column and varies too: omit one")
        given = {name: value for name, value in row.items() if value != ""}
        variants = []
        for values in itertools.product(*self._vary.values()):
            changes = {**given, **dict(zip(self._vary, values, strict=True))}
            variants.append(self._make_one(changes, [*row, *self._vary]))
        twice = [values for values, n in Counter(one.values for one in variants).items() if n > 1]
        for values in twice:
            shown = ", ".join(f"{name}={value}" for name, value in values)
            raise ConfigError(f"vary: {shown} is given twice")
        return variants

    def _make_one(self, changes: Mapping[str, Any], names: Sequence[str]) -> Variant:
        config, preset = self._config, self._preset
        if changes:
            parameters = {**self._overrides, **changes}
            preset = parameters.pop("preset", preset)
            base = preset if preset in PRESETS or "preset" in changes else "balanced"
            config = TransferConfig.from_preset(str(base), **parameters)
        variant = Variant(config, preset)
        values = tuple((name, format_parameter(variant.parameters[name])) for name in names)
        return self._made.setdefault(values, replace(variant, values=values))


def parse_vary(texts: Iterable[str]) -> dict[str, list[str]]:
    """Parse values of ``--vary`` such as ``strength=.2,.4``; ``;`` separates lists of weights."""
    vary: dict[str, list[str]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        name = resolve_alias(name.strip().replace("-", "_"))
        check_choice("parameter of --vary", name, NAMES)
        weighs = name in FIELDS and FIELDS[name].metadata["weighs"]
        values = [value.strip() for value in listed.split(";" if weighs else ",")]
        if not equals or not all(values):
            raise ConfigError(f"--vary {text!r} must be NAME=VALUE,..., such as strength=.5,1")
        vary.setdefault(name, []).extend(values)
    return vary


def format_parameter(value: Any) -> str:
    """Write the value of a parameter, as in a record, as its option takes it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={weight:g}" for name, weight in value.items())
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def networks_key(config: TransferConfig) -> str:
    """Return what is the same for configurations that can share networks and their traces."""
    return _key(config, UNTRACED)


def analysis_key(config: TransferConfig) -> str:
    """Return what is the same for configurations that can share the analysis of a style."""
    return _key(config, UNANALYZED)


def has_plugins(config: TransferConfig) -> bool:
    """Tell whether the network or a loss comes from a plugin."""
    return bool(config.losses) or NETWORKS[config.network].build is not None


def _key(config: TransferConfig, unused: Sequence[str]) -> str:
    values = config.to_dict()
    if not has_plugins(config):  # which may depend on any parameter
        values = {name: value for name, value in values.items() if name not in unused}
    return json.dumps(values)


def _given_parameters(config: TransferConfig, preset: str | None) -> dict[str, Any]:
    """Return what differs from a preset, without the defaults that another network brings."""
    given = changed_parameters(config.to_dict(), preset)
    if "network" in given:
        own = TransferConfig(network=config.network).to_dict()
        for name in ("content_layers", "style_layers", "bands"):
            if name in given and given[name] == own[name] != preset_parameters(preset)[name]:
                del given[name]
    return given
