"""Settings of takes: what differs among them, and the command that repeats one."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.errors import AudioStyleError
from audiostyle.report.records import PairRecord, as_dict, as_list, as_number

UNITS = {field.name: field.metadata["unit"] for field in dataclasses.fields(TransferConfig)}


def format_setting(value: Any) -> str:
    """Write the value of a parameter as a person reads it."""
    if value in (None, "", {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {v:g}" if as_number(v) is not None else str(k) for k, v in value.items()
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def preset_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the preset of a record; empty if it is unknown here."""
    try:
        return TransferConfig.from_preset(str(record.get("preset"))).to_dict()
    except AudioStyleError:
        return {}


def differing_settings(pairs: Sequence[PairRecord]) -> dict[str, list[str]]:
    """Return what differs among pairs: by name, a text per pair, which is empty without a record.

    Parameters come in the order of `TransferConfig`. One that differs only because the presets do
    is left out: the preset says it.
    """
    records = [pair.record for pair in pairs if pair.record]
    every = [as_dict(record.get("parameters")) for record in records]
    names = list(dict.fromkeys([*UNITS, *(name for values in every for name in values)]))
    found: dict[str, list[str]] = {}
    for key in ("preset", "audiostyle"):
        if len({str(record.get(key)) for record in records}) > 1:
            found[key] = [_text(pair, pair.record.get(key)) for pair in pairs]
    presets = {str(r.get("preset")): preset_values(r) for r in records if "preset" in found}
    for name in names:
        values = [parameters.get(name) for parameters in every]
        if all(value == values[0] for value in values):
            continue
        if presets and values == [presets[str(r.get("preset"))].get(name) for r in records]:
            continue
        texts = [_text(pair, as_dict(pair.record.get("parameters")).get(name)) for pair in pairs]
        found[name] = texts
    first = found.pop("audiostyle", None)
    return found if first is None else {**found, "audiostyle": first}


def _text(pair: PairRecord, value: Any) -> str:
    return format_setting(value) if pair.record else ""


def describe_settings(settings: Mapping[str, Sequence[str]], n: int) -> list[str]:
    """Name the settings of each of `n` pairs, such as ``strength=0.4, preset=fast``."""
    return [
        ", ".join(f"{name}={texts[i]}" for name, texts in settings.items() if texts[i])
        for i in range(n)
    ]


def repeat_command(record: Mapping[str, Any]) -> str:
    """Return the command that repeats a run, quoted for a POSIX shell.

    That is the recorded one if there is one, else one with every parameter that differs from the
    preset, as for a pair of a batch.
    """
    command = as_list(record.get("command"))
    if command[1:2] == ["transfer"]:
        return shlex.join(map(str, command))
    styles = [as_dict(style) for style in as_list(record.get("styles"))]
    words = ["audiostyle", "transfer", str(as_dict(record.get("content")).get("path"))]
    words += [str(style.get("path")) for style in styles]
    words += ["-o", str(as_dict(record.get("output")).get("path"))]
    weights = [as_number(style.get("weight")) for style in styles]
    if len(set(weights)) > 1:
        words += ["--blend", ",".join(f"{weight or 0.0:g}" for weight in weights)]
    request = as_dict(record.get("request"))
    for name in ("start", "duration", "preview", "subtype"):
        if request.get(name):
            words += [f"--{name}", _argument(request[name])]
    for span in as_list(request.get("only")):
        words += ["--only", "-".join(map(_argument, as_list(span)))]
    preset = str(record.get("preset"))
    if preset in PRESETS:
        words += ["--preset", preset]
    base = preset_values(record) or TransferConfig().to_dict()
    for name, value in as_dict(record.get("parameters")).items():
        if name in base and value not in (base[name], None):
            words += [f"--{name.replace('_', '-')}", _argument(value)]
    for name in ("threads", "deterministic"):
        if record.get(name):
            words += [f"--{name}"] if record[name] is True else [f"--{name}", str(record[name])]
    return shlex.join(words)


def _argument(value: Any) -> str:
    """Write a value as its option takes it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={_argument(weight)}" for name, weight in value.items())
    return repr(value) if isinstance(value, float) and value % 1 else f"{value}".removesuffix(".0")
