"""The table of symbols in docs/classic.md, row by row against the code."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

from audiostyle.cli.main import cli
from audiostyle.config.transfer_config import TransferConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "classic.md").read_text(encoding="utf-8")
OPTIONS = {name for parameter in cli.commands["transfer"].params for name in parameter.opts}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and "`--" in line
]


def format_values(name: str) -> list[str]:
    """Return a parameter of `classic` as the table shows it, one string per layer."""
    value = getattr(TransferConfig.from_preset("classic"), name)
    if isinstance(value, tuple):
        names = [layer for layer, _ in value]
        return names if len(value) == 1 else [f"{layer}={w:g}" for layer, w in value]
    return [value if isinstance(value, str) else f"{value:g}"]


def test_the_table_was_found() -> None:
    assert len(ROWS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_a_symbol_has_its_option_key_value_and_function(row: list[str]) -> None:
    _, option, key, value, function = row
    name = key.strip("`")
    assert re.findall(r"`(--[a-z-]+)`", option)[0] == f"--{name.replace('_', '-')}"
    assert f"--{name.replace('_', '-')}" in OPTIONS
    shown, values = re.findall(r"`([^`]+)`", value), format_values(name)
    assert shown == ([values[0], values[-1]] if len(values) > 1 else values)
    assert callable(find(function.strip("`")))


def find(path: str) -> object:
    """Return what a dotted path below the package names."""
    return resolve_name(f"audiostyle.{path}")
