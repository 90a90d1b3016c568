"""The command line: the group of commands, and the place where errors become messages.

Exit codes: 0 success; 1 failure; 2 usage error; 130 after SIGINT, 143 after SIGTERM; ``batch`` and
``doctor`` have more. Results (``--json``, the table of ``evaluate``) go to standard output,
everything else to standard error; with ``--json``, an error also goes to standard output.

A command imports what needs numpy, TensorFlow or librosa inside its functions: ``--help``, shell
completion and usage errors must not wait for it.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
from typing import Any, cast

import click

import audiostyle
from audiostyle.cli.batch import batch_command
from audiostyle.cli.compare import compare_command
from audiostyle.cli.doctor import completion_command, doctor_command
from audiostyle.cli.evaluate import evaluate_command
from audiostyle.cli.options import help_all_option, shows_all
from audiostyle.cli.progress import Console
from audiostyle.cli.report import report_command
from audiostyle.cli.status import status_command
from audiostyle.cli.style import style_command
from audiostyle.cli.transfer import transfer_command
from audiostyle.errors import AudioStyleError, ConfigError, Interrupted, is_memory_error

HELP = """Neural style transfer for sound.

\b
Apply the style of one recording, or of a whole genre, to another recording:
  audiostyle transfer content.wav style.wav -o out.wav

\b
Measure the result, with metrics that take no part in the optimisation:
  audiostyle evaluate content.wav style.wav out.wav

\b
Process whole folders; run the same command again to resume:
  audiostyle batch genres/jazz genres/classical -o out

\b
Look at the results and listen to them in a browser:
  audiostyle report out -o out.html

\b
Check the installation, and which device is used:
  audiostyle doctor
"""


COMMANDS = (  # by use, as the help lists them
    transfer_command,
    batch_command,
    status_command,
    report_command,
    evaluate_command,
    compare_command,
    style_command,
    doctor_command,
    completion_command,
)


class OrderedGroup(click.Group):
    """A group that lists its commands in the given order, and with ``--help-all`` their options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help, and that of each command if all is shown."""
        pages = [super().get_help(ctx)]
        if shows_all(ctx):
            contexts = [
                click.Context(one, ctx, info_name=name) for name, one in self.commands.items()
            ]
            pages += [context.get_help() for context in contexts]
        return "\n\n\n".join(pages)


@click.group(
    help=HELP,
    epilog="See 'audiostyle COMMAND --help'; with --help-all it lists every option.",
    cls=OrderedGroup,
    commands=COMMANDS,
    params=[help_all_option("Show all options of all commands and exit.")],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(audiostyle.__version__, prog_name="audiostyle")
def cli() -> None:
    """Collect the commands."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line on `arguments`, or on those of the process, and exit."""
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):  # a file name may hold bytes that are not text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    # `audiostyle.cli.options.verbose_option` adds "verbose".
    state: dict[str, Any] = {"command": ["audiostyle", *given]}
    try:
        # A command returns its exit code.
        code = cli.main(given, prog_name="audiostyle", standalone_mode=False, obj=state) or 0
    except (Exception, Interrupted) as error:
        if state.get("verbose") and not isinstance(error, (AudioStyleError, Interrupted, *_CLICK)):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # since Click 8.2
            cast(click.ClickException, error).show()
            sys.exit(2)
        message, code = _describe(error)
        options = itertools.takewhile("--".__ne__, given)
        Console().fail(error, message, code, as_json="--json" in options)
    sys.exit(code)


_CLICK = (click.ClickException, click.Abort)


def _describe(error: BaseException) -> tuple[str, int]:
    """Return the message and the exit code of an error that ended the command."""
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "audiostyle"
        page = "--help-all" if isinstance(error, click.NoSuchOption) else "--help"
        return f"{error.format_message().rstrip('.')}; see {command} {page}", error.exit_code
    if isinstance(error, AudioStyleError):
        return str(error), 2 if isinstance(error, ConfigError) else 1
    if isinstance(error, Interrupted):
        return "interrupted; nothing was written", error.code
    if isinstance(error, click.Abort):  # Ctrl-C before or after the work
        return "interrupted", 130
    return _describe_unexpected(error), 1


def _describe_unexpected(error: BaseException) -> str:
    if is_memory_error(error):
        return "out of memory: use --start and --duration, or a shorter clip"
    if isinstance(error, OSError):
        return _describe_system_error(error)
    name = type(error).__name__
    return f"internal error ({name}: {error}); run with -v for the traceback"


def _describe_system_error(error: OSError) -> str:
    try:
        os.getcwd()
    except OSError:
        return "the current folder was removed or cannot be read; change to another one"
    what = error.filename or "standard output, or a file,"  # such as --help > /dev/full
    reason = f"{what} cannot be read or written ({error.strerror})"
    return f"{reason}; run with -v for the traceback"


def open_standard_streams() -> None:
    """Open the standard streams that are closed on the null device.

    Otherwise the next file that is opened takes the place of a closed one, and its prints.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one, as those below it are open.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            stream = open(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
