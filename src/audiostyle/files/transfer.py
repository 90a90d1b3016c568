"""A transfer from files to a file: load, check, call `audiostyle.core.transfer.transfer`, publish."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiostyle.audio import reader, writer
from audiostyle.audio.buffer import AudioBuffer
from audiostyle.audio.streams import summarize_stream
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import StyleTransfer, TransferResult
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import ConfigError, OutputError
from audiostyle.events import Callback
from audiostyle.files import record as files_record
from audiostyle.files import style_file
from audiostyle.files.request import StyleSource, TransferRequest
from audiostyle.nn import device as nn_device
from audiostyle.nn import weights as nn_weights
from audiostyle.utils import atomic_files


def transfer_file(
    content: str | Path,
    style: str | Path | Sequence[str | Path],
    output: str | Path,
    config: TransferConfig | None = None,
    callback: Callback | None = None,
    **options: Any,
) -> tuple[TransferResult, dict[str, Any]]:
    """Apply the style of files or folders to a file, and write the result.

    Parameters
    ----------
    content : str or Path
    style : str or Path, or a sequence of them
        Audio files, folders of audio files, or style files (``.style.npz``).
    output : str or Path
        Its extension says the format. Beside it a record of the run is written, ``output`` +
        ``.json``.
    config : TransferConfig, optional
    callback : callable, optional
        As for `audiostyle.transfer`.
    **options
        Further fields of `Request`: ``style_weights``, ``start``, ``duration``, ``preview``,
        ``subtype``, ``plot``, ``report``, ``force``, ``device``, ``threads``, ``deterministic``,
        ``preset``.

    Returns
    -------
    result : TransferResult
    record : dict
        What the sidecar holds.

    Raises
    ------
    AudioStyleError
        One line that names the file, the value and the remedy. Nothing is written then.
    """
    styles = [style] if isinstance(style, (str, Path)) else list(style)
    weights = options.pop("style_weights", None) or [1.0] * len(styles)
    for name in ("plot", "report"):
        if options.get(name) is not None:
            options[name] = Path(options[name])
    request = TransferRequest(
        content=Path(content),
        styles=[Path(s) for s in styles],
        output=Path(output),
        style_weights=list(weights),
        **options,
    )
    result, record = run_transfer(request, config or TransferConfig(), callback)
    return result, record


def find_style_source(path: Path, weight: float, config: TransferConfig) -> StyleSource:
    """Find out what a style consists of, without listening to it.

    Parameters
    ----------
    path : Path
        A clip, a folder, or a style file.
    weight : float
    config : TransferConfig
        What a style file has to fit.

    Returns
    -------
    StyleSource

    Raises
    ------
    AudioFileError, ConfigError
    """
    if style_file.is_style_file(path):
        saved = style_file.load_style(path, config)
        used, skipped = saved.about["clips"], saved.about["skipped"]
        return StyleSource(path, weight, [path], used, skipped, [], saved.sha256, saved.restore)
    return StyleSource(path, weight, reader.find_clips(path) if os.path.isdir(path) else [path])


def run_transfer(
    request: TransferRequest,
    config: TransferConfig,
    callback: Callback | None = None,
    stylist: StyleTransfer | None = None,
    style_files: Sequence[StyleSource] | None = None,
    laps: Mapping[str, float] | None = None,
) -> tuple[TransferResult, dict[str, Any]]:
    """Carry out a `Request`; see `transfer_file`.

    A `stylist` that is kept, and `style_files` that were heard, spare what they did before. `laps`,
    which may grow until the sound is there, are times of the caller's own for the record.
    """
    request.check()
    if style_files is None:
        style_files = [
            find_style_source(path, weight, config)
            for path, weight in zip(request.styles, request.style_weights, strict=True)
        ]
    _check_outputs(request, [request.content, *(p for s in style_files for p in s.clips)])
    source, recording, notes = _load_content(request, config)
    container, subtype = writer.output_format(
        request.output, request.subtype, source.subtype, recording.n * recording.channels
    )
    writer.check_writable(request.output, source.sr, source.channels, container, subtype)
    for files in style_files:
        files.check(config)
    styles = [files.as_style(config) for files in style_files]
    if stylist is None:
        nn_weights.check_weights(config.network, config.weights)
        if request.verbose:
            nn_device.load_tensorflow(quiet=False)
        nn_device.set_deterministic(request.deterministic)
        stylist = StyleTransfer(config, request.device, request.threads)
    with (
        AudioBuffer(source.channels, request.output.parent) as spool,
        atomic_files.Staging() as staging,
    ):
        result = stylist.run(recording, styles, spool, callback)
        part = staging.add(request.output)
        n_samples = writer.write_stream(
            part, result.blocks(), source.sr, source.channels, container, subtype, request.output
        )
        result = replace(result, matched=None, timings={**(laps or {}), **result.timings})
        source.notes += notes
        record = files_record.make_record(
            request, config, source, recording, list(style_files), result
        )
        picture = _draw(request, result)
        record["output"] = {
            "path": str(request.output),
            "sha256": atomic_files.file_digest(part),
            **{"sr": source.sr, "channels": source.channels, "samples": n_samples},
            **{"format": container, "subtype": subtype},
        }
        staging.write(request.sidecar, files_record.to_json(record).encode())
        if picture is not None and request.plot is not None:
            staging.write(request.plot, picture)
        staging.publish()
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
    """Listen to a folder of clips, and save their style.

    Parameters
    ----------
    source : str or Path
        A folder whose clips together are the style, or one clip.
    output : str or Path
        Must end in ``.style.npz``.
    config : TransferConfig, optional
        A transfer that uses the file must have the same network and spectrogram.
    callback : callable, optional
        Gets a `Stage` for every clip.
    force : bool
        Replace an output that exists.
    device : str
    threads : int
        How many may compute; 0 stands for all cores, or for one if `deterministic`.
    deterministic : bool
        Give the same file each time, at some cost.

    Returns
    -------
    dict
        What the file says about itself: clips, parameters, versions.

    Raises
    ------
    AudioStyleError
    """
    config = config or TransferConfig()
    source, output = Path(source), Path(output)
    if not style_file.is_style_file(output):
        raise ConfigError(f"{output}: a style file must end in {style_file.SUFFIX}")
    nn_device.parse_device(device)
    nn_device.check_threads(threads)
    files = StyleSource(source, 1.0, reader.find_clips(source) if source.is_dir() else [source])
    _check_output(output, files.clips, force)
    files.check(config)
    nn_weights.check_weights(config.network, config.weights)
    nn_device.set_deterministic(deterministic)
    threads = threads or int(deterministic)
    heard = StyleTransfer(config, device, threads).analyze_style(files.as_style(config), callback)
    about = style_file.describe_style(files, config)
    style_file.save_style(output, heard, about)
    return about


def _draw(request: TransferRequest, result: TransferResult) -> bytes | None:
    if request.plot is None:
        return None
    from audiostyle.core import plots

    names = " + ".join(path.name for path in request.styles)
    return plots.transfer_png(result, f"{request.content.name} in the style of {names}")


def _load_content(
    request: TransferRequest, config: TransferConfig
) -> tuple[reader.FileSource, NormalizedStream, list[str]]:
    """Find the content, and say what of the file it is."""
    source = reader.FileSource(request.content, request.start, request.duration)
    if request.preview is None:
        return source, NormalizedStream(source, config), []
    whole = summarize_stream(source)
    first, n = reader.loudest_excerpt(source, request.preview, whole.offset)
    notes = list(source.notes)
    source = reader.FileSource(request.content, first=source.start + first, n=n)
    begins = source.start / source.sr
    notes.append(f"a preview: the loudest {n / source.sr:g} s, from {begins:.2f} s on")
    return source, NormalizedStream(source, config), notes


def _check_outputs(request: TransferRequest, inputs: list[Path]) -> None:
    for output in request.outputs:
        _check_output(output, inputs, request.force)


def _check_output(output: Path, inputs: Sequence[Path], force: bool) -> None:
    """Refuse to overwrite an input, whatever it is called, or an output without --force."""
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
    with atomic_files.part_file(output):
        pass  # its folder can be written
