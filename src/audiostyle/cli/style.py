"""The command ``style``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audiostyle.cli.options import (
    PATH,
    command,
    option,
    option_group,
    output_option,
    parameter_options,
    take_config,
    verbose_option,
)
from audiostyle.cli.progress import Console, format_duration
from audiostyle.config.variants import UNANALYZED
from audiostyle.events import Iteration, Stage
from audiostyle.utils.interrupts import Interrupt
from audiostyle.utils.sizes import format_size

# What does not change a style file; a configuration file may name it all the same.
UNUSED = (*UNANALYZED, "content_layers", "losses")


@command(
    "style",
    "genres/classical -o classical.style.npz",
    "genres/jazz -o jazz.style.npz --preset fast --force",
    usage="-o FILE [OPTIONS]",
    help="""Save the style of all clips of FOLDER in a small file.

    FOLDER may also be a single clip. transfer and batch accept the file in place of a style, with
    the same result as the folder itself.
    """,
    details="""
    A transfer needs the same network, style layers, bands and spectrogram (sr, n_fft, hop_length,
    n_mels, mel_scale, top_db), and refuses the file otherwise. Of --texture-weight and
    --music-weight it counts only whether they are 0, of --init whether it is notes, and of
    --style-layers only the names.
    """,
    common=("--output", "--preset", "--config", "--force", "--quiet", "--verbose"),
)
@click.argument("source", metavar="FOLDER", type=PATH)
@option_group(
    "Output",
    output_option("FILE", "Write the style to this file, whose name ends in .style.npz."),
    option("-f --force", "Replace an output that exists."),
    option("--json as_json", "Print the metadata of the style file to standard output."),
    option("-q --quiet", "Print only errors."),
    verbose_option("Show tracebacks."),
)
@parameter_options(without=UNUSED)
def style_command(
    source: Path, output: Path, as_json: bool, quiet: bool, verbose: bool, **options: Any
) -> int:
    """Run ``audiostyle style``."""
    _, config = take_config(options)

    from audiostyle.audio.folder import summarize_skipped
    from audiostyle.files.record import to_json
    from audiostyle.files.transfer import make_style_file

    console = Console(quiet)

    def callback(event: Stage | Iteration) -> None:
        if isinstance(event, Stage) and event.name == "style":
            console.echo(f"analysing {event.detail}")

    with Interrupt(console.echo):
        metadata = make_style_file(source, output, config, callback, **options)
    for note in metadata["notes"]:
        console.echo(note)
    for line in summarize_skipped(metadata["skipped"], str(source)):
        console.echo(line)
    n = len(metadata["clips"])
    console.echo(
        f"{output.resolve()} ({n} clip{'s' * (n != 1)}, "
        f"{format_duration(metadata['seconds'])}, "
        f"{format_size(output.stat().st_size)}); use it as STYLE in transfer and batch"
    )
    if as_json:
        console.publish(to_json(metadata))
    return 0
