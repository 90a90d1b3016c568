"""Configuration files: TOML with fields of `TransferConfig`, and optionally ``preset``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiostyle.config.fields import coerce
from audiostyle.config.transfer_config import ALIASES, PRESETS, TransferConfig, resolve_alias
from audiostyle.errors import ConfigError
from audiostyle.utils.safe_read import read_file
from audiostyle.utils.suggestions import check_choice


def load_toml(path: str | Path) -> dict[str, Any]:
    """Return the values of a TOML file as written; raise a `ConfigError` if one is not valid."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        values = tomllib.loads(read_file(path).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its path") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(f"{path}: is not a TOML file ({error})") from None
    except RecursionError:
        raise ConfigError(f"{path}: is not a TOML file: it is nested too deeply") from None
    for alias, name in ALIASES.items():
        if alias in values and name in values:
            raise ConfigError(f"{path}: {alias} and {name} are the same parameter; omit one")
    values = {resolve_alias(name): value for name, value in values.items()}
    check_values(path, values)
    return values


def check_values(path: str | Path, values: Mapping[str, Any]) -> None:
    """Check the values of a configuration file; raise a `ConfigError` if one is not valid."""
    fields = {field.name: field for field in dataclasses.fields(TransferConfig)}
    for name, value in values.items():
        try:
            if check_choice("parameter", name, ["preset", *fields]) == "preset":
                check_choice("preset", value, PRESETS)
            else:
                coerce(fields[name], value)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
