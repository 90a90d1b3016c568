"""Style transfer of files: open the inputs, run the transfer, publish the outputs together.

The content is decoded several times, so that hours of sound need no more memory than minutes: no
step holds more than a window of the recording.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiostyle.audio import writer
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.reader import FileSource
from audiostyle.audio.streams import loudest_excerpt, summarize_stream
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.notebook import progress_bar
from audiostyle.core.transfer import StyleTransfer, TransferResult, mix_result
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import ConfigError, OutputError
from audiostyle.events import Callback
from audiostyle.files import style_file
from audiostyle.files.record import make_record, to_json
from audiostyle.files.request import TransferRequest
from audiostyle.files.stretches import StretchSource, insert_stretches
from audiostyle.files.style_source import StyleSource, find_source
from audiostyle.nn import device as nn_device
from audiostyle.nn import weights as nn_weights
from audiostyle.utils.atomic_files import Staging, file_digest, part_file
from audiostyle.utils.lazy_imports import load_matplotlib

logger = logging.getLogger(__name__)


def transfer_file(
    content: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    *,
    style_weights: Sequence[float] | None = None,
    start: float = 0.0,
    duration: float | None = None,
    preview: float | None = None,
    only: Sequence[tuple[float, float]] = (),
    subtype: str | None = None,
    plot: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    threads: int = 0,
    deterministic: bool = False,
    preset: str | None = None,
    progress: bool = False,
) -> tuple[TransferResult, dict[str, Any]]:
    """Apply the style of files or folders to a file, and write the result.

    Parameters
    ----------
    content : str or Path
        An audio file.
    style : str or Path, or a sequence of them
        Audio files, folders of audio files, or style files (``.style.npz``).
    output : str or Path
        The file to write; its extension selects the format. The record of the run is written
        beside it, as ``output`` + ``.json``.
    config : TransferConfig, optional
        Parameters of the transfer; by default those of the preset ``balanced``.
    callback : callable, optional
        As for `audiostyle.transfer`.
    style_weights : sequence of float, optional
        One weight per style, at least 0; equal weights by default.
    start : float >= 0, in seconds
        Where in the content to start.
    duration : float, in seconds, optional
        How much of the content to process; by default to its end.
    preview : float, in seconds, optional
        Process only the loudest excerpt of this length.
    only : sequence of (float, float), in seconds
        Start and end of stretches, each at least 0.5 s. Only these are styled; the output has all
        of the content, whose other samples stay as they are.
    subtype : str, optional
        Sample format of the output, as libsndfile names it (``PCM_24``); by default that of the
        content where the format allows it.
    plot : str or Path, optional
        A PNG file to write: spectrograms and losses.
    force : bool
        Replace outputs that exist.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    threads : int >= 0
        Number of threads; 0 uses all cores, or one thread if `deterministic`.
    deterministic : bool
        Produce the same bytes in each run, which is slower.
    preset : str, optional
        Name of the preset that `config` comes from, for the record.
    progress : bool
        Show a progress bar, in a notebook or on the terminal.

    Returns
    -------
    result : TransferResult
        Losses, spectrograms and measurements; its `y` is None, as the sound is in the file.
    record : dict of str to object
        The content of the record.

    Raises
    ------
    AudioStyleError
        In one line that names the file, the value and the remedy. Nothing is written then.

    Examples
    --------
    >>> transfer_file("song.wav", "strings.wav", "out.wav", plot="out.png")  # doctest: +SKIP
    """
    styles = [style] if isinstance(style, (str, Path)) else list(style)
    request = TransferRequest(
        content=Path(content),
        styles=[Path(s) for s in styles],
        output=Path(output),
        style_weights=list(style_weights or [1.0] * len(styles)),
        start=start,
        duration=duration,
        preview=preview,
        only=list(only),
        subtype=subtype,
        plot=None if plot is None else Path(plot),
        force=force,
        device=device,
        threads=threads,
        deterministic=deterministic,
        preset=preset,
    )
    with progress_bar(callback, progress) as report:
        return run_transfer(request, config or TransferConfig(), report)


def run_transfer(
    request: TransferRequest,
    config: TransferConfig,
    callback: Callback | None = None,
    style_transfer: StyleTransfer | None = None,
    style_sources: Sequence[StyleSource] | None = None,
) -> tuple[TransferResult, dict[str, Any]]:
    """Carry out a request; see `transfer_file`.

    A batch passes a `style_transfer`, whose network stays loaded, and `style_sources` that it has
    analysed already.
    """
    request.check()
    sources = style_sources or [
        find_style_source(path, weight, config)
        for path, weight in zip(request.styles, request.style_weights, strict=True)
    ]
    inputs = [request.content, *(clip for source in sources for clip in source.clips)]
    for output in request.outputs:
        _check_output(output, inputs, request.force)
    file, preview_notes = _open_content(request)
    source = StretchSource(file, request.only) if request.only else file
    content = NormalizedStream(source, config)
    n = source.n if isinstance(source, StretchSource) else content.n
    container, subtype = writer.output_format(
        request.output, request.subtype, file.subtype, n * file.channels
    )
    writer.check_writable(request.output, file.sr, file.channels, container, subtype)
    if request.plot is not None:
        load_matplotlib()  # fails before the work, not after it
    styles = [source.as_style(config) for source in sources]
    if style_transfer is None:
        style_transfer = _load_transfer(
            config, request.device, request.threads, request.deterministic, request.verbose
        )
    with AudioBuffer(file.channels, request.output.parent) as buffer, Staging() as staging:
        float_output = subtype in writer.FLOAT
        result = style_transfer.run(content, styles, buffer, callback, float_output=float_output)
        if isinstance(source, StretchSource):
            result, blocks = insert_stretches(source, content, result, float_output=float_output)
            stretch_notes = source.notes(subtype)
        else:
            result = mix_result(result, content, float_output=float_output)
            blocks, stretch_notes = result.blocks(), []
        part = staging.add(request.output)
        n_samples = writer.write_stream(
            part, blocks, file.sr, file.channels, container, subtype, request.output
        )
        # The stream ends with its buffer.
        result = replace(result, matched=None, path=request.output, n=n_samples)
        about = {
            "path": str(request.output),
            "sha256": file_digest(part),
            "sr": file.sr,
            "channels": file.channels,
            "samples": n_samples,
            "format": container,
            "subtype": subtype,
        }
        notes = [*file.notes, *preview_notes, *stretch_notes]
        record = make_record(request, config, file, n, sources, result, output=about, notes=notes)
        staging.write(request.record_path, to_json(record).encode())
        if request.plot is not None:
            from audiostyle.core import plots

            names = " + ".join(path.name for path in request.styles)
            title = f"{request.content.name} in the style of {names}"
            staging.write(request.plot, plots.transfer_png(result, title))
        staging.publish()
    for note in record["notes"]:
        logger.info("%s: %s", request.output, note)
    return result, record


def make_style_file(
    source: str | Path,
    output: str | Path,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    *,
    force: bool = False,
    device: str = "auto",
    threads: int = 0,
    deterministic: bool = False,
) -> dict[str, Any]:
    """Analyse the style of a folder of clips, and save it in a file.

    Parameters
    ----------
    source : str or Path
        A folder whose clips together are the style, or one clip.
    output : str or Path
        The file to write; must end in ``.style.npz``.
    config : TransferConfig, optional
        A transfer that uses the file must have the same network and spectrogram.
    callback : callable, optional
        Gets a `Stage` for each clip.
    force, device, threads, deterministic
        As for `transfer_file`.

    Returns
    -------
    dict of str to object
        What the file says about itself: clips, parameters, versions.

    Raises
    ------
    AudioStyleError
        In one line that names the file, the value and the remedy. Nothing is written then.
    """
    config = config or TransferConfig()
    source, output = Path(source), Path(output)
    if not style_file.is_style_file(output):
        raise ConfigError(f"{output}: a style file must end in {style_file.SUFFIX}")
    nn_device.parse_device(device)
    nn_device.check_threads(threads)
    clips = find_source(source)
    _check_output(output, clips.clips, force)
    style = clips.as_style(config)
    style_transfer = _load_transfer(config, device, threads or int(deterministic), deterministic)
    analyzed = style_transfer.analyze_style(style, callback)
    about = style_file.describe_style(clips, config)
    style_file.save_style(output, analyzed, about)
    return about


def find_style_source(path: Path, weight: float, config: TransferConfig) -> StyleSource:
    """Find the clips of a style, or load a style file and check that it fits `config`."""
    if style_file.is_style_file(path):
        saved = style_file.load_style(path, config)
        used, skipped = saved.about["clips"], saved.about["skipped"]
        return StyleSource(path, weight, [path], used, skipped, [], saved.sha256, saved.restore)
    return find_source(path, weight)


def _load_transfer(
    config: TransferConfig, device: str, threads: int, deterministic: bool, verbose: bool = False
) -> StyleTransfer:
    nn_weights.check_weights(config.network, config.weights)
    if verbose:
        nn_device.load_tensorflow(quiet=False)
    nn_device.set_deterministic(deterministic)
    return StyleTransfer(config, device, threads)


def _open_content(request: TransferRequest) -> tuple[FileSource, list[str]]:
    """Open the part of the content that is processed; return notes on a preview as well."""
    file = FileSource(request.content, request.start, request.duration)
    if request.preview is None:
        return file, []
    whole = summarize_stream(file)
    first, n = loudest_excerpt(file, request.preview, whole.offset)
    seconds, start = n / file.sr, (file.start + first) / file.sr
    excerpt = FileSource(request.content, start, seconds)
    return excerpt, [*file.notes, f"a preview: the loudest {seconds:g} s, from {start:.2f} s on"]


def _check_output(output: Path, inputs: Sequence[Path], force: bool) -> None:
    """Refuse to overwrite an input under any name, or an existing output without --force."""
    if os.path.isdir(output):
        raise OutputError(f"{output}: is a folder; name a file in it")
    if os.path.exists(output):
        for path in inputs:
            if os.path.exists(path) and os.path.samefile(path, output):
                raise OutputError(
                    f"{output}: is the same file as the input {path}; choose another name"
                )
        if not force:
            raise OutputError(f"{output}: exists already; use --force to replace it")
    with part_file(output):
        pass  # raises if its folder cannot be written
