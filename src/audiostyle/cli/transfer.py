"""The command ``transfer``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from audiostyle.cli.options import (
    CONTENT_OPTIONS,
    PATH,
    SUBTYPE,
    command,
    command_line,
    is_given,
    option,
    option_group,
    output_option,
    parameter_options,
    take_config,
    verbose_option,
)
from audiostyle.cli.progress import Console, TransferProgress, format_duration, listen_hint
from audiostyle.cli.report import check_transfer_report, write_transfer_report
from audiostyle.config.record_file import EXCERPT, EarlierRun, input_digests, is_record, load_record
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import ConfigError
from audiostyle.events import Iteration, Stage
from audiostyle.utils.interrupts import Interrupt

if TYPE_CHECKING:
    from audiostyle.files.request import TransferRequest
    from audiostyle.report.live_server import LivePage


@command(
    "transfer",
    "song.wav piano.wav -o out.wav",
    "song.mp3 genres/classical -o out.flac --preset fast",
    "song.wav a.wav b.wav --blend 2,1 -o out.wav --strength 0.7",
    "song.wav style.wav -o try.wav --preview 5 --plot try.png",
    "song.wav style.wav -o out.wav --report out.html --live",
    "--config out.wav.json -o again.wav --strength 0.6",
    usage="-o FILE [OPTIONS]",
    help="""Apply the style of STYLE... to CONTENT.

    CONTENT is an audio or video file. Each STYLE is such a file, a folder whose clips together are
    one style (a genre), or a style file (.style.npz) written by audiostyle style. The output keeps
    the sample rate, channels, length and loudness of the content.
    """,
    details="""
    Any file with sound that libsndfile or FFmpeg reads is accepted (WAV, FLAC, OGG, MP3, M4A, WebM
    and others), at any sample rate, at least half a second long. OUTPUT.json records inputs,
    parameters, versions, losses, the time and the command line. With --config OUTPUT.json, that run
    is repeated: what is not given, CONTENT and STYLE included, is as it was then.
    """,
    common=(
        *("--output", "--preset", "--strength", "--mix", "--preview", "--only"),
        *("--report", "--config", "--force", "--quiet", "--verbose"),
    ),
)
@click.argument("content", required=False, type=PATH)
@click.argument("style", metavar="[STYLE...]", nargs=-1, type=PATH)
@option_group(
    "Output",
    output_option("FILE", "Write the result to this file, in the format of its extension."),
    SUBTYPE,
    option(
        "--plot",
        "Plot content, style, result and the loss curves to this PNG.  [default: no plot]",
        "FILE",
        type=PATH,
    ),
    option(
        "--report",
        "Write an HTML page with players, spectrograms and losses, as audiostyle report does.  "
        "[default: no page]",
        "FILE",
        type=PATH,
    ),
    option("-f --force", "Replace outputs that exist."),
    option("--json as_json", "Print the record of the run to standard output."),
    option("-q --quiet", "Print only errors."),
    verbose_option("Show TensorFlow's messages, timings, and tracebacks."),
    option(
        "--live",
        "Show the optimisation on a local web page while it runs, and print its address. The page "
        "can stop the optimisation and keep the result as it is then.",
    ),
)
@option_group(
    "Input",
    *CONTENT_OPTIONS,
    option(
        "--blend",
        "Blend the styles with these weights, one per style.  [at least 0; default: equal]",
        "N,N,...",
    ),
)
@parameter_options()
def transfer_command(
    content: Path | None,
    style: tuple[Path, ...],
    output: Path,
    report: Path | None,
    as_json: bool,
    quiet: bool,
    live: bool,
    blend: str | None,
    **options: Any,
) -> int:
    """Run ``audiostyle transfer``."""
    file = options["config_file"]
    preset, config = take_config(options)
    earlier = load_record(file) if file and is_record(file) else None
    if earlier is not None:
        options |= recorded_options(earlier, content is None)
    if content is None:
        content = earlier.content if earlier else _missing("content")
    styles = list(style) or (earlier.styles if earlier else _missing("style"))
    if earlier is not None and blend is None and not style:
        weights = earlier.blend
    else:
        weights = parse_blend(blend, len(styles))

    from audiostyle.files.request import TransferRequest

    request = TransferRequest(
        content,
        styles,
        output,
        style_weights=weights,
        preset=preset,
        command=command_line(),
        **options,
    )
    return run_transfer_command(
        request,
        config,
        Console(quiet, options["verbose"]),
        as_json=as_json,
        report=report,
        live=live,
        repeats=earlier if earlier and not (is_given("content") or style) else None,
    )


def recorded_options(earlier: EarlierRun, same_content: bool) -> dict[str, Any]:
    """Return the options of an earlier run that are not given; an excerpt is of its content.

    Stretches that are given replace an excerpt of the earlier run, and the reverse.
    """
    given = [name for name in EXCERPT if is_given(name)]
    replaced = set(EXCERPT) if not same_content or "only" in given else set()
    replaced |= {"only"} if given else set()
    return {
        name: value
        for name, value in earlier.request.items()
        if not is_given(name) and name not in replaced
    }


def _missing(name: str) -> NoReturn:
    context = click.get_current_context()
    (parameter,) = (one for one in context.command.params if one.name == name)
    hint = f"'{name.upper()}'"
    raise click.MissingParameter(ctx=context, param=parameter, param_hint=hint)


def parse_blend(text: str | None, n_styles: int) -> list[float]:
    """Read the weights of the styles; without a text, all are equal."""
    if text is None:
        return [1.0] * n_styles
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"blend={text!r} must be numbers separated by commas, such as 2,1"
        ) from None
    if len(weights) != n_styles:
        raise ConfigError(f"blend={text!r} has {len(weights)} weights for {n_styles} style(s)")
    return weights


def run_transfer_command(
    request: TransferRequest,
    config: TransferConfig,
    console: Console,
    *,
    as_json: bool,
    report: Path | None = None,
    live: bool = False,
    repeats: EarlierRun | None = None,
) -> int:
    """Run a transfer, show its progress and its result, and return the exit code."""
    from audiostyle.files.record import to_json
    from audiostyle.files.transfer import run_transfer

    began = time.perf_counter()
    if report is not None:
        check_transfer_report(request, report)
    progress = TransferProgress(console)
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt(console.echo))
        page = stack.enter_context(_live_page(request, config, interrupt)) if live else None
        if page is not None:
            console.echo(f"live at {page.address}", always=True)

        def callback(event: Stage | Iteration) -> bool:
            if isinstance(event, Stage):
                interrupt.stage = event.name
            progress(event)
            if page is not None:
                page(event)
            return interrupt.signals > 0

        with contextlib.closing(progress):
            result, record = run_transfer(request, config, callback)
        interrupt.stage = "done"
        for note in [*record["notes"], *_changed_inputs(record, repeats)]:
            console.echo(note)
        if request.verbose:
            console.echo(", ".join(f"{name} {s:.2f} s" for name, s in result.timings.items()))
        n = len(result.history) - 1
        stopped = f", {result.stopped}" if result.stopped != "iterations" else ""
        took = format_duration(time.perf_counter() - began)
        compare = listen_hint(request.output, str(request.output.with_suffix(".html")))
        hint = "" if report else f"; play it, or compare it with content and style: {compare}"
        console.echo(
            f"{request.output.resolve()} ({n} iteration{'s' * (n != 1)}{stopped}, {took}){hint}"
        )
        if page is not None:
            page.end(f"Done: {request.output.resolve()} ({result.stopped})")
    code = interrupt.code if interrupt.signals else 0
    if report is not None:
        code = write_transfer_report(request.output, report, console) or code
    if as_json:  # at the end: a failure prints a document of its own
        console.publish(to_json(record))
    return code


def _changed_inputs(record: Mapping[str, Any], repeats: EarlierRun | None) -> list[str]:
    """Name the inputs whose bytes are not those of the run that is repeated."""
    if repeats is None:
        return []
    pairs = zip(input_digests(record), repeats.digests, strict=True)
    changed = [path for (path, digests), (_, before) in pairs if digests != before]
    return [f"{path}: is not what it was for {repeats.path}" for path in changed]


def _live_page(request: TransferRequest, config: TransferConfig, interrupt: Interrupt) -> LivePage:
    from audiostyle.report.live_server import LivePage

    names = " + ".join(path.name for path in request.styles)
    return LivePage(f"{request.content.name} in the style of {names}", config, interrupt.ask)
