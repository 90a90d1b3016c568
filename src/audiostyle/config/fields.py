"""What a parameter may be: its declaration, and how a value from anywhere is read and checked."""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError

SHOWN_LENGTH = 200  # of a value in a message

LayerWeights = tuple[tuple[str, float], ...]


def option(
    default: Any,
    group: str,
    help: str,
    *,
    unit: str = "",
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    lookup: Callable[[Any], str] | None = None,
    metavar: str = "",
    weighs: str = "",
) -> Any:
    """Declare a parameter as a field of a dataclass.

    Parameters
    ----------
    default : Any
    group : str
        Heading in ``--help``.
    help : str
        One sentence.
    unit : str
    bounds : (float, float), optional
        Smallest and largest value.
    choices : tuple of str
        The names that are allowed.
    lookup : callable, optional
        Returns a name that is allowed or raises `ConfigError`, where names may be added to
        `choices` later.
    metavar : str
        What stands for the value in ``--help``.
    weighs : str
        What the names are names of, as ``layer``, if the parameter gives names their weights;
        `bounds` are those of a weight then, and `lookup` is asked for every name.

    Returns
    -------
    dataclasses.Field
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


def format_value(value: Any) -> str:
    """Write a value for a message: short, whatever it is.

    Parameters
    ----------
    value : Any

    Returns
    -------
    str
    """
    if isinstance(value, (str, Path)):
        return repr(value) if len(str(value)) <= SHOWN_LENGTH else repr(str(value)[:SHOWN_LENGTH])
    try:
        return repr(value) if len(repr(value)) <= SHOWN_LENGTH else reprlib.repr(value)
    except (ValueError, RecursionError):  # as of a number of thousands of digits
        return f"a value of type {type(value).__name__}"


def check_choice(what: str, name: str, names: Collection[str], otherwise: str = "") -> str:
    """Return `name` if it is one of `names`, or raise with the closest match.

    Parameters
    ----------
    what : str
        What is named, for the message.
    name : str
        The name to look up.
    names : collection of str
        The names that exist.
    otherwise : str
        What else may help, where no name is close.

    Returns
    -------
    str
        `name` itself.

    Raises
    ------
    ConfigError
        If `name` is not in `names`.
    """
    by_lower = {other.lower(): other for other in names}
    if name in by_lower.values():
        return name
    text = name.lower() if isinstance(name, str) else ""
    close = difflib.get_close_matches(text[:100], by_lower, n=1, cutoff=0.5)
    listed = "choose from " + ", ".join(names) if names else ""
    hint = ", or ".join(filter(None, (listed, otherwise)))
    if close:
        hint = f"did you mean {by_lower[close[0]]}?"
    raise ConfigError(f"{what} {format_value(name)} is not known: {hint}")


def parse_weights(value: str, what: str = "layer") -> LayerWeights:
    """Read ``"block1_conv1=1,block2_conv1=0.5"``; a name without a weight has weight 1.

    Parameters
    ----------
    value : str
        Comma-separated names.
    what : str
        What they are names of, for the message.

    Returns
    -------
    tuple of (str, float)

    Raises
    ------
    ConfigError
        If a weight is not a number.
    """
    weights = []
    for part in filter(None, (p.strip() for p in value.split(","))):
        name, _, weight = part.partition("=")
        try:
            weights.append((name.strip(), float(weight) if weight else 1.0))
        except ValueError:
            raise ConfigError(f"{what} weight {weight!r} in {part!r} is not a number") from None
    return tuple(weights)


def coerce(field: dataclasses.Field[Any], value: Any) -> Any:
    """Bring a value to the type of its field, and check it.

    Parameters
    ----------
    field : dataclasses.Field
        As `option` makes them.
    value : Any

    Returns
    -------
    Any

    Raises
    ------
    ConfigError
        If it is of another type, out of bounds, or not a known name.
    """
    name, metadata = field.name, field.metadata
    if metadata["weighs"]:
        return _coerce_weights(name, value, metadata)
    if metadata["lookup"]:
        return metadata["lookup"](value)
    if metadata["choices"]:
        return check_choice(name, value, metadata["choices"])
    if metadata["bounds"]:
        return _coerce_number(name, value, field.type == "int", metadata)
    if value is not None and not isinstance(value, (str, Path)):
        raise ConfigError(f"{name}={format_value(value)} must be a path")
    if value is not None and "\0" in str(value):
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
    if len({one for one, _ in weights}) < len(weights):
        raise ConfigError(f"{name}={format_value(value)} names a {what} twice")
    return weights


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
