"""A transfer from files to a file: load, check, call `audiostyle.pipeline.transfer`, publish."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import audiostyle
from audiostyle import audio, weights_io
from audiostyle.config import TransferConfig
from audiostyle.errors import AudioFileError, ConfigError, OutputError
from audiostyle.events import Callback
from audiostyle.pipeline import Style, TransferResult, check_clip, transfer

Array = npt.NDArray[Any]

SIDECAR_SCHEMA = 1


@dataclass
class Request:
    """What to do with which files.

    Attributes
    ----------
    content : Path
    styles : list of Path
        Files, or folders whose clips together are one style.
    output : Path
    style_weights : list of float
        One a style.
    start : float, in seconds
        Where in the content to begin.
    duration : float or None, in seconds
    preview : float or None, in seconds
        Style only the loudest excerpt of this length.
    subtype : str or None
    plot : Path or None
    force : bool
        Replace outputs that exist.
    device : str
    preset : str or None
        For the record only; `config` holds the values.
    """

    content: Path
    styles: list[Path]
    output: Path
    style_weights: list[float]
    start: float = 0.0
    duration: float | None = None
    preview: float | None = None
    subtype: str | None = None
    plot: Path | None = None
    force: bool = False
    device: str = "auto"
    preset: str | None = None

    @property
    def sidecar(self) -> Path:
        """Where the record of the run goes."""
        return self.output.with_name(self.output.name + ".json")


@dataclass
class _StyleFiles:
    """The clips of one style, and what became of them."""

    path: Path
    weight: float
    clips: list[Path]
    used: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def load(self, sr: int) -> Iterator[tuple[Array, int]]:
        """Yield clips one by one; in a folder, one that cannot be used is skipped and noted."""
        for path in self.clips:
            try:
                clip = audio.load_audio(path)
                check_clip(clip.y, clip.sr, str(path))
            except AudioFileError as error:
                if not self.path.is_dir():
                    raise
                self.skipped.append({"path": str(path), "reason": str(error)})
                continue
            self.used.append(_describe(path, clip))
            yield clip.y, clip.sr
        if not self.used:
            raise AudioFileError(
                f"{self.path}: none of its {len(self.clips)} files can be used; the first: "
                f"{self.skipped[0]['reason']}"
            )


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
    if len(request.style_weights) != len(request.styles):
        raise ConfigError(
            f"{len(request.style_weights)} blend weights do not fit {len(request.styles)} styles: "
            "give one weight a style"
        )
    style_files = [
        _StyleFiles(path, weight, audio.find_clips(path) if path.is_dir() else [path])
        for path, weight in zip(request.styles, request.style_weights, strict=True)
    ]
    _check_outputs(request, [request.content, *(p for s in style_files for p in s.clips)])
    source = _load_content(request)
    container, subtype = audio.output_format(request.output, request.subtype, source)
    audio.check_writable(request.output, source.sr, len(source.y), container, subtype)
    for files in style_files:
        if not files.path.is_dir():
            _check_single(files.path)
    weights_io.load_weights(config.network, config.weights)
    result = transfer(
        source.y,
        [Style(files.load(config.sr), files.weight, str(files.path)) for files in style_files],
        source.sr,
        config,
        callback,
        device=request.device,
    )
    record = _record(request, config, source, style_files, result)
    picture = None
    if request.plot is not None:
        from audiostyle import plots

        names = " + ".join(path.name for path in request.styles)
        picture = plots.transfer_png(result, f"{request.content.name} in the style of {names}")
    digest = audio.save_audio(request.output, result.y, source.sr, container, subtype)
    record["output"] = {
        "path": str(request.output),
        "sha256": digest,
        "sr": source.sr,
        "channels": len(result.y),
        "samples": result.y.shape[1],
        "format": container,
        "subtype": subtype,
    }
    audio.write_atomically(request.sidecar, (json.dumps(record, indent=2) + "\n").encode())
    if picture is not None and request.plot is not None:
        audio.write_atomically(request.plot, picture)
    return result, record


def _check_single(path: Path) -> None:
    """Fail on a bad style file before TensorFlow is loaded."""
    clip = audio.load_audio(path)
    check_clip(clip.y, clip.sr, str(path))


def _load_content(request: Request) -> audio.Audio:
    for name in ("start", "duration", "preview"):
        value = getattr(request, name)
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise ConfigError(f"{name}={value} must be finite and at least 0 seconds")
    source = audio.load_audio(request.content, start=request.start, duration=request.duration)
    if request.preview is not None:
        first, n = _loudest(source.y, round(request.preview * source.sr))
        source.y = source.y[:, first : first + n]
        source.start += first
    source.y = check_clip(source.y, source.sr, str(request.content))
    return source


def _loudest(y: Array, n: int) -> tuple[int, int]:
    """Where the excerpt of `n` samples with the most energy begins, to a tenth of its length."""
    n = min(max(n, 1), y.shape[-1])
    energy = np.concatenate([[0.0], np.cumsum(np.square(y, dtype=np.float64).sum(axis=0))])
    starts = np.arange(0, y.shape[-1] - n + 1, max(1, n // 10))
    return int(starts[np.argmax(energy[starts + n] - energy[starts])]), n


def _check_outputs(request: Request, inputs: list[Path]) -> None:
    """Refuse to overwrite an input, whatever it is called, or an output without --force."""
    outputs = [request.output, request.sidecar]
    if request.plot is not None:
        if request.plot.suffix.lower() != ".png":
            raise ConfigError(f"plot {request.plot} must end in .png")
        outputs.append(request.plot)
    if len({os.path.abspath(path) for path in outputs}) < len(outputs):
        raise OutputError(f"{request.plot}: would overwrite another output; choose another name")
    for output in outputs:
        if output.is_dir():
            raise OutputError(f"{output}: is a folder; name a file in it")
        if not output.exists():
            continue
        for path in inputs:
            if path.exists() and os.path.samefile(path, output):
                raise OutputError(
                    f"{output}: is the same file as the input {path}; choose another name"
                )
        if not request.force:
            raise OutputError(f"{output}: exists already; use --force to replace it")


def _describe(path: Path, clip: audio.Audio) -> dict[str, Any]:
    return {
        "path": str(path),
        "sha256": audio.file_digest(path),
        "sr": clip.sr,
        "channels": len(clip.y),
        "samples": clip.y.shape[1],
    }


def _record(
    request: Request,
    config: TransferConfig,
    source: audio.Audio,
    styles: list[_StyleFiles],
    result: TransferResult,
) -> dict[str, Any]:
    content = {**_describe(request.content, source), "start_sample": source.start}
    return {
        "schema": SIDECAR_SCHEMA,
        "audiostyle": audiostyle.__version__,
        "status": "interrupted" if result.stopped == "interrupted" else "complete",
        "output": {},
        "content": content,
        "styles": [
            {"path": str(s.path), "weight": s.weight, "clips": s.used, "skipped": s.skipped}
            for s in styles
        ],
        "preset": request.preset,
        "parameters": config.to_dict(),
        "weights": weights_io.provenance(config.network, config.weights),
        "seed": config.seed,
        "device": result.device,
        "precision": result.precision,
        "versions": _versions(),
        "stopped": result.stopped,
        "restarts": result.restarts,
        "losses": [asdict(iterate) for iterate in result.history],
        "inversion_convergence_db": result.convergence,
        "loudness_gain_db": result.gain,
        "limiter_reduction_db": result.reduction,
        "timings": result.timings,
        "notes": _notes(config, source, styles, result),
    }


def _notes(
    config: TransferConfig, source: audio.Audio, styles: list[_StyleFiles], result: TransferResult
) -> list[str]:
    notes = list(source.notes)
    if source.sr != config.sr:
        notes.append(f"content analysed at {config.sr} Hz; the output keeps its {source.sr} Hz")
    rates = {clip["sr"] for s in styles for clip in s.used} - {config.sr}
    if rates:
        shown = ", ".join(str(rate) for rate in sorted(rates))
        notes.append(f"style resampled from {shown} Hz to {config.sr} Hz")
    for s in styles:
        notes += [f"skipped {skipped['reason']}" for skipped in s.skipped]
    if result.reduction > 0:
        notes.append(f"peaks limited by up to {result.reduction:.2f} dB")
    if result.restarts:
        notes.append("a loss was not finite once; the descent began again with smaller steps")
    return notes


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("librosa", "numpy", "soundfile"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    versions["tensorflow"] = str(getattr(sys.modules.get("tensorflow"), "__version__", "unknown"))
    return versions
