"""Table of pairs: a CSV file with the columns content and style, and parameters of each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from audiostyle.config.transfer_config import resolve_alias
from audiostyle.config.variants import NAMES
from audiostyle.errors import ConfigError
from audiostyle.utils import safe_read
from audiostyle.utils.suggestions import check_choice


def read_table(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Read the rows, by column, of a table with the delimiter of any spreadsheet."""
    try:
        text = safe_read.read_text(file)
        for delimiter in ",;\t|":
            lines = csv.reader(
                io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
            )
            rows = [
                (number, row) for number, row in enumerate(lines, 1) if any(map(str.strip, row))
            ]
            if rows and "".join(rows[0][1]).lower().startswith("sep="):  # for Excel
                del rows[0]
            header = [_column(name) for name in rows[0][1]] if rows else []
            if {"content", "style"} <= set(header):
                _check_columns(file, *rows[0])
                return [(number, _cells(file, header, number, row)) for number, row in rows[1:]]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"pair=csv:{file}: cannot be read ({reason})") from None
    raise ConfigError(
        f"{file}: its first line must name the columns content and style, separated by a comma, "
        "semicolon or tab"
    )


def _column(name: str) -> str:
    return resolve_alias(name.strip().casefold().replace("-", "_"))


def _check_columns(file: Path, number: int, names: Sequence[str]) -> None:
    """Raise a `ConfigError` if a column is not known, or named twice; unnamed ones are empty."""
    known = {"content": 0, "style": 0, **dict.fromkeys(NAMES, 0)}
    for name in filter(str.strip, names):
        column = check_choice(f"{file}, row {number}: column", _column(name), known)
        known[column] += 1
        if known[column] > 1:
            raise ConfigError(f"{file}, row {number}: names the column {column} twice; remove one")


def _cells(file: Path, header: Sequence[str], number: int, row: Sequence[str]) -> dict[str, str]:
    cells = dict(zip(header, [*row, *[""] * len(header)], strict=False))
    without_name = [*row[len(header) :], cells.pop("", "")]
    if any(map(str.strip, without_name)):
        raise ConfigError(
            f"{file}, row {number}: has more cells than the first line has names; name the column, "
            "or put the cell in double quotes"
        )
    return {n: c if n in ("content", "style") else c.strip() for n, c in cells.items()}
