"""A transfer from files to a file: load, check, call `audiostyle.pipeline.transfer`, publish."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle import audio, devices, outputs, sidecar, weights_io
from audiostyle.config import TransferConfig
from audiostyle.errors import OutputError
from audiostyle.events import Callback
from audiostyle.pipeline import Style, TransferResult, check_clip, transfer
from audiostyle.request import Request, StyleFiles

Array = npt.NDArray[Any]


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
        Audio files, or folders of audio files.
    output : str or Path
        Its extension says the format. Beside it a record of the run is written, ``output`` +
        ``.json``.
    config : TransferConfig, optional
    callback : callable, optional
        As for `audiostyle.transfer`.
    **options
        Further fields of `Request`: ``style_weights``, ``start``, ``duration``, ``preview``,
        ``subtype``, ``plot``, ``force``, ``device``, ``preset``.

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
    if options.get("plot") is not None:
        options["plot"] = Path(options["plot"])
    request = Request(
        content=Path(content),
        styles=[Path(s) for s in styles],
        output=Path(output),
        style_weights=list(weights),
        **options,
    )
    return run(request, config or TransferConfig(), callback)


def run(
    request: Request, config: TransferConfig, callback: Callback | None = None
) -> tuple[TransferResult, dict[str, Any]]:
    """Carry out a `Request`; see `transfer_file`."""
    request.check()
    style_files = [
        StyleFiles(path, weight, audio.find_clips(path) if os.path.isdir(path) else [path])
        for path, weight in zip(request.styles, request.style_weights, strict=True)
    ]
    _check_outputs(request, [request.content, *(p for s in style_files for p in s.clips)])
    source = _load_content(request)
    container, subtype = audio.output_format(request.output, request.subtype, source)
    audio.check_writable(request.output, source.sr, len(source.y), container, subtype)
    for files in style_files:
        files.check()
    weights_io.check_weights(config.network, config.weights)
    if request.verbose:
        devices.load_tensorflow(quiet=False)
    result = transfer(
        source.y,
        [Style(files.load(), files.weight, str(files.path)) for files in style_files],
        source.sr,
        config,
        callback,
        device=request.device,
    )
    record = sidecar.make_record(request, config, source, style_files, result)
    picture = _draw(request, result)
    with outputs.Staging() as staging:
        part = staging.add(request.output)
        audio.write_clip(part, result.y, source.sr, container, subtype, name=request.output)
        record["output"] = {
            "path": str(request.output),
            "sha256": outputs.file_digest(part),
            "sr": source.sr,
            "channels": len(result.y),
            "samples": result.y.shape[1],
            "format": container,
            "subtype": subtype,
        }
        staging.write(request.sidecar, sidecar.to_json(record).encode())
        if picture is not None and request.plot is not None:
            staging.write(request.plot, picture)
        staging.publish()
    return result, record


def _draw(request: Request, result: TransferResult) -> bytes | None:
    if request.plot is None:
        return None
    from audiostyle import plots

    names = " + ".join(path.name for path in request.styles)
    return plots.transfer_png(result, f"{request.content.name} in the style of {names}")


def _load_content(request: Request) -> audio.Audio:
    source = audio.load_audio(request.content, start=request.start, duration=request.duration)
    source.y = check_clip(source.y, source.sr, str(request.content))
    if request.preview is not None:
        first, n = _loudest(source.y, round(request.preview * source.sr))
        source.y = np.ascontiguousarray(source.y[:, first : first + n])
        source.start += first
        seconds = source.start / source.sr
        source.notes.append(f"a preview: the loudest {n / source.sr:g} s, from {seconds:.2f} s on")
    return source


def _loudest(y: Array, n: int) -> tuple[int, int]:
    """Where the excerpt of `n` samples with the most energy begins, to a tenth of its length."""
    n = min(max(n, 1), y.shape[-1])
    energy = np.concatenate([[0.0], np.cumsum(np.square(y, dtype=np.float64).sum(axis=0))])
    starts = np.arange(0, y.shape[-1] - n + 1, max(1, n // 10))
    return int(starts[np.argmax(energy[starts + n] - energy[starts])]), n


def _check_outputs(request: Request, inputs: list[Path]) -> None:
    """Refuse to overwrite an input, whatever it is called, or an output without --force."""
    for output in request.outputs:
        if os.path.isdir(output):
            raise OutputError(f"{output}: is a folder; name a file in it")
        if os.path.exists(output):
            for path in inputs:
                if os.path.exists(path) and os.path.samefile(path, output):
                    raise OutputError(
                        f"{output}: is the same file as the input {path}; choose another name"
                    )
            if not request.force:
                raise OutputError(f"{output}: exists already; use --force to replace it")
        with outputs.part_file(output):
            pass  # its folder can be written
