"""The commands ``doctor`` and ``completion``."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

import audiostyle
from audiostyle.cli.options import command, option, option_group, verbose_option
from audiostyle.cli.progress import Console

if TYPE_CHECKING:
    from audiostyle.doctor.checks import CheckResult

SCHEMA = 1  # of the JSON document
BRIEF = ("packages", "formats", "weights")  # sections that the summary lists by name only
WIDTH = 80
NOT_USABLE = 4  # as `audiostyle batch` exits if a device, disk space or a package is missing


@command(
    "doctor",
    "--no-self-test",
    "--json",
    help="""Check the installation, and which device is used and why.

    Checks Python and packages against the supported versions, threads, memory, folders, formats,
    figures, the digests of the weights, TensorFlow, its devices and its precision, and transfers
    the style of one second of sound. Each check is ok, a note (something could be better), absent
    (an optional package is not installed), or a fault; -v lists each in a line of its own. Exit
    codes: 0 audiostyle can be used; 4 it cannot.
    """,
)
@option_group(
    "Output",
    option("--json as_json", "Print all results as JSON, not as a table."),
    verbose_option("Show each check in a line of its own."),
)
@option_group("Run", option("--no-self-test", "Skip the transfer of one second."))
def doctor_command(as_json: bool, verbose: bool, no_self_test: bool) -> int:
    """Run ``audiostyle doctor``."""
    from audiostyle.doctor import checks

    results = checks.run_checks(self_test=not no_self_test)
    faults = [result.name for result in results if result.state == "fault"]
    if as_json:
        record = {
            "schema": SCHEMA,
            "audiostyle": audiostyle.__version__,
            "usable": not faults,
            "findings": [dataclasses.asdict(result) for result in results],
        }
        Console().publish(json.dumps(record, indent=2) + "\n")
    else:
        untested = "; the self-test was skipped" if no_self_test else ""
        conclusion = f"cannot be used: {', '.join(faults)}" if faults else f"can be used{untested}"
        table = render_results(results) if verbose else render_summary(results)
        Console().publish(f"{table}\naudiostyle {conclusion}\n")
    return NOT_USABLE if faults else 0


def render_results(results: list[CheckResult]) -> str:
    """Write one line per result under the heading of its section, with remedies below."""
    lines: list[str] = []
    width = max((len(result.name) for result in results), default=0)
    for section, group in groupby(results, lambda result: result.section):
        lines += [*([""] if lines else []), section]
        for result in group:
            lines.append(f"  {result.state:<6} {result.name:<{width}}  {result.text}")
            if result.remedy:
                lines.append(f"  {'':<6} {'':<{width}}  -> {result.remedy}")
    return "\n".join(lines) + "\n"


def render_summary(results: list[CheckResult]) -> str:
    """Write the same for one screen: what is ok in `BRIEF` sections is one entry without details.

    Lines are at most `WIDTH` wide.
    """
    lines: list[str] = []
    for section, group in groupby(results, lambda result: result.section):
        entries: dict[str, list[str]] = {}
        for result in group:
            if section in BRIEF and result.state == "ok":
                found = f" {result.text.split()[0]}" if section == "packages" else ""
                entries.setdefault("ok", []).append(result.name + found)
            else:
                remedy = f" -> {result.remedy}" if result.remedy else ""
                text = f"{result.name}: {result.text}{remedy}"
                entries[f"{result.state} {result.name}"] = [text]
        lines += [*([""] if lines else []), section]
        for key, texts in entries.items():
            first = f"  {key.split()[0]:<6} "
            text = ", ".join(texts)
            lines += textwrap.wrap(
                text, WIDTH, initial_indent=first, subsequent_indent=" " * 9, break_on_hyphens=False
            )
    return "\n".join([*lines, "", "Details: audiostyle doctor -v"]) + "\n"


@command(
    "completion",
    "bash",
    "zsh",
    "fish",
    help="""Print the script for completion with Tab in bash, zsh or fish.

    Redirect it to a file that the shell loads: for bash
    ~/.local/share/bash-completion/completions/audiostyle, for zsh _audiostyle in a folder of
    $fpath, for fish ~/.config/fish/completions/audiostyle.fish.
    """,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Run ``audiostyle completion``."""
    completion: Any = get_completion_class(shell)  # Click has all three
    root = click.get_current_context().find_root().command
    source = completion(root, {}, "audiostyle", "_AUDIOSTYLE_COMPLETE").source()
    Console().publish(source + "\n")
