"""The command line: parse, call, echo, set the exit code. No numbers, no logic.

Exit codes: 0 the output exists and was read back, or all were judged; 1 failure; 2 usage; 130
interrupted (143 by SIGTERM); of ``batch`` also 3 and 4, see `audiostyle.cli.batch_runner`. What was
asked for (``--json``, the table of ``evaluate``) goes to standard output, everything else to
standard error.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

import audiostyle
from audiostyle.cli.batch import batch_command, status_command, style_command
from audiostyle.cli.doctor import completion_command, doctor_command
from audiostyle.cli.options import content_options, parameter_options, parse_blend, take_config
from audiostyle.cli.parts import GroupedCommand, GroupedOption, shared_flags
from audiostyle.cli.report import report_command
from audiostyle.errors import AudioStyleError, ConfigError, Interrupted, is_memory_error

EXAMPLE = """\b
Examples:
  audiostyle transfer song.wav piano.wav -o out.wav
  audiostyle transfer song.mp3 genres/classical -o out.flac --preset best
  audiostyle transfer song.wav a.wav b.wav --blend 2,1 -o out.wav --strength 0.7
  audiostyle transfer song.wav style.wav -o try.wav --preview 5 --plot try.png
  audiostyle transfer song.wav style.wav -o out.wav --report out.html --live
"""

EVALUATE_EXAMPLE = """\b
Examples:
  audiostyle evaluate song.wav piano.wav out.wav
  audiostyle evaluate song.wav piano.wav fast.wav best.wav --baselines
  audiostyle evaluate song.mp3 genres/classical out.flac --json --quiet
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(audiostyle.__version__, prog_name="audiostyle")
def cli() -> None:
    r"""Neural style transfer for sound.

    \b
    Take the style of one recording, or of a whole genre, and apply it to another:
      audiostyle transfer content.wav style.wav -o out.wav
    \b
    Measure what became of it, by means that no loss uses:
      audiostyle evaluate content.wav style.wav out.wav
    \b
    Do it with whole folders; run the same command again to go on:
      audiostyle batch genres/jazz genres/classical -o out
    \b
    Look at it and listen to it in a browser:
      audiostyle report out -o out.html
    \b
    See whether it works here, and on which device:
      audiostyle doctor
    """


for _command in (
    batch_command,
    completion_command,
    doctor_command,
    report_command,
    status_command,
    style_command,
):
    cli.add_command(_command)


@cli.command("transfer", cls=GroupedCommand, epilog=EXAMPLE, options_metavar="-o FILE [OPTIONS]")
@click.argument("content", type=click.Path(path_type=Path))
@click.argument("style", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    cls=GroupedOption,
    group="Output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the result goes; the extension says the format.",
)
@click.option(
    "--subtype",
    cls=GroupedOption,
    group="Output",
    help="Sample format, as PCM_16, PCM_24, FLOAT.  [default: as the content]",
)
@click.option(
    "--plot",
    cls=GroupedOption,
    group="Output",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw content, style, result and the loss curves.  [default: no picture]",
)
@click.option(
    "--report",
    cls=GroupedOption,
    group="Output",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Make a page with players, spectrograms and losses, as audiostyle report does.  "
    "[default: no page]",
)
@shared_flags(
    force="Replace outputs that exist.",
    json="Print the record of the run on standard output.",
    quiet="Say nothing but errors.",
    verbose="Show TensorFlow's messages, timings, and tracebacks.",
)
@click.option(
    "--live",
    is_flag=True,
    cls=GroupedOption,
    group="Output",
    help="Show the descent on a page of this machine while it runs; its address is printed. It can "
    "stop the descent and keep what there is.",
)
@content_options
@click.option(
    "--blend",
    cls=GroupedOption,
    group="Input",
    metavar="W,W,...",
    help="Weights of the styles, one each.  [at least 0; default: equal]",
)
@parameter_options
def transfer_command(content: Path, style: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Apply the style of STYLE... to CONTENT.

    CONTENT is any file that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF), of any rate and length
    from half a second. STYLE is one or more such files, or folders whose clips together are one
    style (a genre), or style files (.style.npz) made by audiostyle style. The output keeps the
    content's rate, channels, length and loudness; beside it OUTPUT.json records inputs, parameters,
    versions and losses.
    """
    preset, config = take_config(options)
    weights = parse_blend(options.pop("blend"), len(style))

    from audiostyle.cli import transfer
    from audiostyle.files import request

    as_json, quiet, live = (options.pop(name) for name in ("as_json", "quiet", "live"))
    code = transfer.run_transfer_command(
        request.TransferRequest(
            content, list(style), output, style_weights=weights, preset=preset, **options
        ),
        config,
        as_json=as_json,
        quiet=quiet,
        live=live,
        echo=lambda text: click.echo(text, err=True),
        publish=lambda text: click.echo(text, nl=False),
    )
    sys.exit(code)


@cli.command("evaluate", cls=GroupedCommand, epilog=EVALUATE_EXAMPLE, options_metavar="[OPTIONS]")
@click.argument("content", type=click.Path(path_type=Path))
@click.argument("style", type=click.Path(path_type=Path))
@click.argument(
    "outputs", metavar="OUTPUT...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--baselines",
    is_flag=True,
    cls=GroupedOption,
    group="Input",
    help="Judge trivial outputs too: identity (the content), the style, half of each, and the "
    "content with the style's long-term EQ.",
)
@click.option(
    "--start",
    type=float,
    cls=GroupedOption,
    group="Input",
    help="The outputs were made from the content from here on.  [seconds; at least 0; default: "
    "as the record beside each output says, else 0]",
)
@click.option(
    "--duration",
    type=float,
    cls=GroupedOption,
    group="Input",
    help="They were made from so much of the content.  [seconds; at least 0.5; default: as the "
    "record beside each output says, else all]",
)
@shared_flags(
    json="Print inputs, versions and measures as one JSON document in place of the table.",
    quiet="No progress and no notes: the table, or JSON, and errors.",
    verbose="Show TensorFlow's messages, and tracebacks.",
)
def evaluate_command(content: Path, style: Path, outputs: tuple[Path, ...], **options: Any) -> None:
    """Measure how much of STYLE each OUTPUT took, and how much of CONTENT it kept.

    No measure takes part in a transfer; docs/evaluation.md explains them. CONTENT and OUTPUT... are
    audio files, STYLE is one too, or a folder whose clips together are one style; of either the
    first 120 s count. Everything is brought to the content's rate, and an OUTPUT to its length. If
    OUTPUT.json, the record of a transfer, says that the output was made from a part of CONTENT,
    it is compared to that part. Needs mir_eval: pip install 'audiostyle[evaluate]'.
    """
    from audiostyle.cli import evaluate
    from audiostyle.evaluation import types

    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    code = evaluate.run_evaluation_command(
        types.EvaluationRequest(content, style, list(outputs), **options),
        as_json=as_json,
        quiet=quiet,
        echo=lambda text: click.echo(text, err=True),
        publish=lambda text: click.echo(text, nl=False),
    )
    sys.exit(code)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; the only place where errors become messages.

    Parameters
    ----------
    arguments : list of str, optional
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    verbose = any(a == "--verbose" or (a[:1] == "-" != a[1:2] and "v" in a) for a in arguments)
    code = 0
    for stream in (sys.stdout, sys.stderr):  # names of files may be bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(args=arguments, prog_name="audiostyle", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        code = _usage(error)
    except ConfigError as error:
        code = _fail(str(error), 2)
    except AudioStyleError as error:
        code = _fail(str(error), 1)
    except Interrupted as error:
        code = _fail("interrupted; nothing was written", error.code)
    except click.Abort:  # Click's word for a Ctrl-C before or after the work
        code = _fail("interrupted", 130)
    except Exception as error:
        if verbose:
            raise
        code = _fail(_unexpected(error), 1)
    sys.exit(code)


def _usage(error: click.ClickException) -> int:
    """Show an error of Click's as one line, like all others."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # since Click 8.2
        error.show()
        return error.exit_code
    command = context.command_path if context is not None else "audiostyle"
    return _fail(f"{error.format_message().rstrip('.')}; see {command} --help", error.exit_code)


def _unexpected(error: Exception) -> str:
    kind = type(error).__name__
    if is_memory_error(error):
        return "out of memory: use --start and --duration, or a shorter clip"
    return f"internal error ({kind}: {error}); run with -v for the traceback"


def _fail(message: str, code: int) -> int:
    click.echo(f"audiostyle: error: {' '.join(message.split())}", err=True)
    return code
