"""Configuration files: TOML that holds fields of `TransferConfig`, and nothing else."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from audiostyle.config.fields import check_choice, coerce
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.utils import safe_read


def load_toml(path: str | Path) -> dict[str, Any]:
    """Read a configuration file: fields of `TransferConfig`, and optionally ``preset``.

    Parameters
    ----------
    path : str or Path
        A TOML file.

    Returns
    -------
    dict
        Values as written, with ``preset`` among them if it was there.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or holds an unknown key or a value that is out of
        bounds.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        values = tomllib.loads(safe_read.read_file(path).decode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check its path") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise ConfigError(f"{path} is not a TOML file: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is not a TOML file: it is nested too deeply") from None
    fields = {field.name: field for field in dataclasses.fields(TransferConfig)}
    for name, value in values.items():
        try:
            if check_choice("parameter", name, ["preset", *fields]) == "preset":
                check_choice("preset", value, PRESETS)
            else:
                coerce(fields[name], value)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    return dict(values)
