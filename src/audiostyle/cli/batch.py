"""The commands for whole folders: parse, call, echo, set the exit code. No numbers, no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from audiostyle.batch.request import BatchRequest
from audiostyle.cli.options import (
    cluster_options,
    content_options,
    parameter_options,
    take_cluster,
    take_config,
)
from audiostyle.cli.parts import GroupedCommand, GroupedOption, complete_files, shared_flags

BATCH_EXAMPLE = """\b
Examples:
  audiostyle batch genres/jazz genres/classical -o out --by genre
  audiostyle batch genres genres -o out --content-genre jazz --style-genre classical --limit 50
  audiostyle batch "songs/*.mp3" classical.style.npz -o out --name "{content_genre}/{content}.flac"
  audiostyle batch @songs.txt genres -o out --by genre --pair random:2 --evaluate
  audiostyle batch genres/jazz genres/classical -o out --by genre --dry-run
  audiostyle batch genres/jazz genres/classical -o out --engine ray --ray-address auto
  audiostyle batch genres/jazz genres/classical -o out --shard 2/8
"""

STATUS_EXAMPLE = """\b
Examples:
  audiostyle status out
  audiostyle status out --json
"""

STYLE_EXAMPLE = """\b
Examples:
  audiostyle style genres/classical -o classical.style.npz
  audiostyle style genres/jazz -o jazz.style.npz --preset best --force
"""


@click.command(
    "batch", cls=GroupedCommand, epilog=BATCH_EXAMPLE, options_metavar="-o DIR [OPTIONS]"
)
@click.argument("content", shell_complete=complete_files)
@click.argument("style", shell_complete=complete_files)
@click.option(
    "-o",
    "--output",
    "out_dir",
    required=True,
    cls=GroupedOption,
    group="Output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where outputs, journal and results go; made if it is not there.",
)
@click.option(
    "--name",
    default=BatchRequest.name,
    cls=GroupedOption,
    group="Output",
    metavar="TEMPLATE",
    help="Names of the outputs, with {content}, {style}, {content_genre} and {style_genre}; / "
    f"makes folders.  [default: {BatchRequest.name}]",
)
@click.option(
    "--subtype",
    cls=GroupedOption,
    group="Output",
    help="Sample format, as PCM_16, PCM_24, FLOAT.  [default: as each content]",
)
@click.option(
    "--evaluate",
    is_flag=True,
    cls=GroupedOption,
    group="Output",
    help="Judge every output as audiostyle evaluate does, and put the scores into the results.",
)
@shared_flags(
    json="Print what happens on standard output, one JSON document a line.",
    quiet="Say nothing but what failed.",
    verbose="Show TensorFlow's messages, and tracebacks.",
)
@click.option(
    "--pair",
    default=BatchRequest.pair,
    cls=GroupedOption,
    group="Plan",
    metavar="[product|zip|random:N|csv:FILE]",
    help="Each content with each style; the first with the first and so on; each with N styles "
    "drawn by --seed; or as the columns content and style of a table say.  "
    f"[default: {BatchRequest.pair}]",
)
@click.option(
    "--by",
    default=BatchRequest.by,
    cls=GroupedOption,
    group="Plan",
    metavar="[clip|genre]",
    help="What is one style: a clip, or all clips of a genre (a folder).  "
    f"[default: {BatchRequest.by}]",
)
@click.option(
    "--content-genre",
    cls=GroupedOption,
    group="Plan",
    metavar="NAME",
    help="Take only this genre of CONTENT.  [default: all]",
)
@click.option(
    "--style-genre",
    cls=GroupedOption,
    group="Plan",
    metavar="NAME",
    help="Take only this genre of STYLE.  [default: all]",
)
@click.option(
    "--limit",
    type=int,
    cls=GroupedOption,
    group="Plan",
    help="At most so many pairs.  [at least 1; default: all]",
)
@click.option(
    "--shuffle",
    is_flag=True,
    cls=GroupedOption,
    group="Plan",
    help="Draw the pairs that --limit takes, by --seed.",
)
@click.option(
    "-n",
    "--dry-run",
    is_flag=True,
    cls=GroupedOption,
    group="Plan",
    help="Print names, counts, disk and time needed, and do nothing.",
)
@click.option(
    "--retry-failed",
    is_flag=True,
    cls=GroupedOption,
    group="Plan",
    help="Try again even what would fail again: pairs that crashed, inputs that could not be used.",
)
@shared_flags("Plan", force="Do everything again, and replace outputs that exist.")
@content_options
@parameter_options
@click.option(
    "--engine",
    default="local",
    cls=GroupedOption,
    group="Run",
    metavar="[local|ray]",
    help="Compute in this process, or on workers of a Ray cluster.  [default: local]",
)
@click.option(
    "--shard",
    cls=GroupedOption,
    group="Run",
    metavar="I/N",
    help="Do only this part of N; others may do the other parts at the same time.  [I from 1 to N; "
    "default: as SLURM_ARRAY_TASK_ID says, else all]",
)
@cluster_options
def batch_command(**options: Any) -> None:
    """Apply the style of every STYLE to every CONTENT; run it again to go on where it stopped.

    CONTENT and STYLE are each a folder with all below it, a glob in quotes, @FILE (a list of paths,
    one a line, relative to the list) or a file; STYLE may also be a style file. GTZAN is
    understood, also as a whole: --content-genre jazz --style-genre classical. Inputs are probed
    first, and a broken one costs only its own pairs. DIR/journal.jsonl remembers what is done: the
    next run does only what is missing, failed, or was changed, be it an input or a parameter.
    DIR/results.csv and DIR/results.jsonl hold a row for every pair. Exit codes: 0 all is done; 1
    some failed; 2 usage; 3 nothing succeeded; 4 disk full, device absent, cluster not to
    be used, or folder in use: nothing is lost; 130 and 143 after a signal, the first of which gives
    the current pair up cleanly, the second at once.
    """
    preset, config = take_config(options)

    from audiostyle.cli import batch_runner

    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    dry_run = options.pop("dry_run")
    cluster = take_cluster(options)
    code = batch_runner.run_batch_command(
        BatchRequest(preset=preset, **options),
        config,
        as_json=as_json,
        quiet=quiet,
        dry_run=dry_run,
        engine=cluster,
        echo=lambda text: click.echo(text, err=True),
        publish=lambda text: click.echo(text, nl=False),
    )
    sys.exit(code)


@click.command("status", cls=GroupedCommand, epilog=STATUS_EXAMPLE, options_metavar="[OPTIONS]")
@click.argument("out_dir", metavar="DIR", type=click.Path(path_type=Path))
@shared_flags(json="Print it as one JSON document.")
def status_command(out_dir: Path, as_json: bool) -> None:
    """Say how far the batch of a folder is: what is done, failed and pending, and why.

    DIR is the output folder of audiostyle batch. It may be running.
    """
    from audiostyle.cli import batch_runner

    publish = lambda text: click.echo(text, nl=False)  # noqa: E731
    sys.exit(batch_runner.run_status(out_dir, publish=publish, as_json=as_json))


@click.command(
    "style", cls=GroupedCommand, epilog=STYLE_EXAMPLE, options_metavar="-o FILE [OPTIONS]"
)
@click.argument("source", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    cls=GroupedOption,
    group="Output",
    type=click.Path(path_type=Path),
    metavar="NAME.style.npz",
    help="Where the style goes.",
)
@shared_flags(
    force="Replace an output that exists.",
    json="Print what the file says about itself on standard output.",
    quiet="Say nothing but errors.",
    verbose="Show tracebacks.",
)
@parameter_options
def style_command(source: Path, output: Path, **options: Any) -> None:
    """Save the style of FOLDER, all its clips together, in a small file.

    FOLDER may also be one clip. transfer and batch take the file wherever they take a style, and
    give what the folder itself would give. They must have the same network, style layers, bands and
    spectrogram (sr, n_fft, hop_length, n_mels, mel_scale, top_db), or refuse it.
    """
    options.pop("verbose")
    _, config = take_config(options)

    from audiostyle.cli import batch_runner

    code = batch_runner.run_style(
        source,
        output,
        config,
        echo=lambda text: click.echo(text, err=True),
        publish=lambda text: click.echo(text, nl=False),
        **options,
    )
    sys.exit(code)
