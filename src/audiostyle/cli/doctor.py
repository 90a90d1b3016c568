"""The commands about audiostyle itself: parse, call, echo, set the exit code."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from audiostyle.cli.parts import GroupedCommand, GroupedOption, shared_flags

DOCTOR_EXAMPLE = """\b
Examples:
  audiostyle doctor --no-self-test
  audiostyle doctor --json
"""

COMPLETION_EXAMPLE = """\b
Examples:
  audiostyle completion bash
  audiostyle completion zsh
  audiostyle completion fish
"""


@click.command("doctor", cls=GroupedCommand, epilog=DOCTOR_EXAMPLE, options_metavar="[OPTIONS]")
@shared_flags(json="Print what was found as one JSON document in place of the table.")
@click.option(
    "--no-self-test",
    is_flag=True,
    cls=GroupedOption,
    group="Run",
    help="Make no transfer: look only.",
)
def doctor_command(as_json: bool, no_self_test: bool) -> None:
    """Find out whether audiostyle works here, and why no GPU is used.

    Looks at Python and packages and the ranges they must be in, at threads, memory, disk, formats,
    the digests of the weights, TensorFlow, its devices and its precision, and styles one second of
    sound. A row is ok, a note (it could be better), absent (an extra that is not installed), or a
    fault. Exit codes: 0 audiostyle can be used, 4 it cannot.
    """
    from audiostyle.cli import doctor_runner

    code = doctor_runner.run_doctor(
        as_json=as_json,
        self_test=not no_self_test,
        publish=lambda text: click.echo(text, nl=False),
    )
    sys.exit(code)


@click.command(
    "completion", cls=GroupedCommand, epilog=COMPLETION_EXAMPLE, options_metavar="[OPTIONS]"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that lets SHELL (bash, zsh or fish) complete commands and options.

    Send it, with >, to where the shell looks for it: for bash
    ~/.local/share/bash-completion/completions/audiostyle, for zsh _audiostyle in a folder of
    $fpath, for fish ~/.config/fish/completions/audiostyle.fish.
    """
    made = get_completion_class(shell)
    assert made is not None  # Click has all three
    root = click.get_current_context().find_root().command
    click.echo(made(root, {}, "audiostyle", "_AUDIOSTYLE_COMPLETE").source())
