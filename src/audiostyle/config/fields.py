"""Parameter fields: their declaration, and the conversion and check of values from any source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice, format_value

LayerWeights = tuple[tuple[str, float], ...]


def option(
    default: Any,
    group: str,  # heading in --help
    help: str,  # one sentence
    *,
    unit: str = "",
    bounds: tuple[float, float] | None = None,  # smallest and largest value
    choices: tuple[str, ...] = (),
    lookup: Callable[[Any], str] | None = None,  # returns a registered name or raises ConfigError
    metavar: str = "",  # placeholder of the value in --help
    weighs: str = "",  # what the names are, such as "layer", if the value maps names to weights
) -> Any:
    """Declare a parameter as a field of a dataclass.

    With `weighs`, `bounds` apply to each weight and `lookup` to each name.
    """
    metadata = {
        "group": group,
        "help": help,
        "unit": unit,
        "bounds": bounds,
        "choices": choices,
        "lookup": lookup,
        "metavar": metavar,
        "weighs": weighs,
    }
    return dataclasses.field(default=default, metadata=metadata)


def parse_weights(value: str, what: str = "layer") -> LayerWeights:
    """Parse ``"block1_conv1=1,block2_conv1=0.5"``; a name without a weight has weight 1."""
    weights = []
    for part in filter(None, (p.strip() for p in value.split(","))):
        name, _, weight = part.partition("=")
        try:
            weights.append((name.strip(), float(weight) if weight else 1.0))
        except ValueError:
            raise ConfigError(f"{what} weight {weight!r} in {part!r} is not a number") from None
    return tuple(weights)


def coerce(field: dataclasses.Field[Any], value: Any) -> Any:
    """Convert a value to the type of a field made by `option`, and check it."""
    name, metadata = field.name, field.metadata
    if metadata["weighs"]:
        return _coerce_weights(name, value, metadata)
    if metadata["lookup"]:
        return metadata["lookup"](value)
    if metadata["choices"]:
        return check_choice(name, value, metadata["choices"])
    if metadata["bounds"]:
        return _coerce_number(name, value, field.type == "int", metadata)
    if value is not None and (not isinstance(value, (str, Path)) or "\0" in str(value)):
        raise ConfigError(f"{name}={format_value(value)} must be a path")
    return None if value is None else str(value)


def _coerce_weights(name: str, value: Any, metadata: Mapping[str, Any]) -> LayerWeights:
    what = metadata["weighs"]
    if isinstance(value, str):
        value = parse_weights(value, what)
    elif isinstance(value, Mapping):
        value = tuple(value.items())
    try:
        weights = tuple(
            (one, 1.0) if isinstance(one, str) else (str(one[0]), float(one[1])) for one in value
        )
    except (TypeError, ValueError, LookupError, OverflowError):
        example = "block1_conv1=1" if what == "layer" else "NAME=1"
        raise ConfigError(
            f"{name}={format_value(value)} must be names, or names with weights: '{example}'"
        ) from None
    for one, weight in weights:
        if metadata["lookup"]:
            metadata["lookup"](one)
        if metadata["bounds"]:
            _coerce_number(f"{name}: weight of {one}", weight, False, metadata)
        elif not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"{name}: weight {weight} of {one} must be finite and at least 0")
    check_distinct(name, weights, what)
    return weights


def check_distinct(name: str, weights: LayerWeights, what: str) -> None:
    """Raise a `ConfigError` if weights name something, such as a layer, twice."""
    if len({one for one, _ in weights}) < len(weights):
        raise ConfigError(f"{name}={format_value(weights)} names a {what} twice")


def _coerce_number(
    name: str, value: Any, integer: bool, metadata: Mapping[str, Any]
) -> float | int:
    low, high = metadata["bounds"]
    unit = f" {metadata['unit']}" if metadata["unit"] else ""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name}={format_value(value)} must be a number") from None
    if integer and (not math.isfinite(number) or number != int(number)):
        raise ConfigError(f"{name}={format_value(value)} must be a whole number")
    if not low <= number <= high:
        raise ConfigError(f"{name}={value} must be from {low:.10g} to {high:.10g}{unit}")
    return int(number) if integer else number
