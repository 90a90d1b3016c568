"""Write ``docs/cli.md`` and ``configs/PRESET.toml`` from the command line and the presets.

Run after any change of an option, a default or a preset::

    python tools/cli_reference.py

With ``--check`` nothing is written; the exit code is 1 if a file is not up to date.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import click

from audiostyle.cli.main import cli
from audiostyle.config.transfer_config import PRESET_HELP, PRESETS, TransferConfig

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python tools/cli_reference.py"


def render_reference() -> str:
    """Return the whole of ``docs/cli.md``."""
    context = click.Context(cli, info_name="audiostyle")
    parts = [
        "# Command line",
        f"<!-- Made by `{COMMAND}`; do not edit. -->",
        "What `--help` says, for all commands. Exit codes: 0 the output exists and was read back, "
        "or all were judged; 1 failure; 2 usage; 130 interrupted (143 by SIGTERM); those of "
        "`batch` are in [batch.md](batch.md#what-can-go-wrong). What was asked for, `--json`, the "
        "table of `evaluate`, a status or a dry run, goes to standard output; progress, notes and "
        "errors go to standard error.",
    ]
    for name, command in sorted(cli.commands.items()):
        parts += _render_command(command, click.Context(command, parent=context, info_name=name))
    return "\n\n".join(parts) + "\n"


def _render_command(command: click.Command, context: click.Context) -> list[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = "\n\n".join(
        " ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")
    )
    parts = [f"## {context.command_path}", f"```\n{usage}\n```", text]
    groups: dict[str, list[str]] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            group = getattr(parameter, "group", "Run")
            groups.setdefault(group, []).append(_render_option(parameter))
    for group, options in groups.items():
        parts += [f"### {group}", "\n".join(options)]
    if command.epilog:
        examples = command.epilog.replace("\b", "").strip().splitlines()[1:]
        parts += ["### Examples", "```\n" + "\n".join(line.strip() for line in examples) + "\n```"]
    return parts


def _render_option(option: click.Option) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    metavar = "" if option.is_flag else " " + (option.metavar or option.type.name.upper())
    required = "  [required]" if option.required else ""
    return f"- `{names}{metavar}`: {' '.join((option.help or '').split())}{required}"


def render_preset(preset: str) -> str:
    """Return a TOML file that spells out every parameter of a preset."""
    config = TransferConfig.from_preset(preset)
    lines = [
        *_commented(
            f"The preset {preset}: {PRESET_HELP[preset]}. Every parameter is spelled out: copy "
            "this file, and change what you like. What is left out takes the value of the preset "
            "named first."
        ),
        "#",
        "#     audiostyle transfer CONTENT STYLE -o OUT --config FILE",
        "#",
        f"# Made by `{COMMAND}`.",
        "",
        f'preset = "{preset}"',
    ]
    group = ""
    for field in dataclasses.fields(config):
        if field.metadata["group"] != group:
            group = field.metadata["group"]
            lines += ["", f"# ----- {group} -----"]
        lines += ["", *_commented(_comment(field))]
        lines.append(_toml(field.name, getattr(config, field.name)))
    return "\n".join(lines) + "\n"


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent="# ", subsequent_indent="# ")


def _comment(field: dataclasses.Field[Any]) -> str:
    metadata = field.metadata
    facts = [metadata["unit"]] if metadata["unit"] else []
    if metadata["bounds"]:
        facts.append("{:.10g} to {:.10g}".format(*metadata["bounds"]))
    facts += [" | ".join(metadata["choices"])] if metadata["choices"] else []
    return metadata["help"] + (f" [{'; '.join(facts)}]" if facts else "")


def _toml(name: str, value: Any) -> str:
    if value is None:
        return f'# {name} = "FILE"'
    if isinstance(value, tuple):
        inside = ", ".join(f"{one} = {weight!r}" for one, weight in value)
        return f"{name} = {{ {inside} }}" if value else f"{name} = {{}}"
    return f"{name} = {json.dumps(value)}"


def main(arguments: list[str]) -> int:
    """Write the files, or check them."""
    files = {ROOT / "docs" / "cli.md": render_reference()}
    files |= {ROOT / "configs" / f"{preset}.toml": render_preset(preset) for preset in PRESETS}
    stale = [
        path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text
    ]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not up to date: run {COMMAND}")
        else:
            path.write_text(files[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return int("--check" in arguments and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
