"""A transfer from files to a file: load, check, call `audiostyle.pipeline.transfer`, publish."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle import audio, devices, outputs, sidecar, weights_io
from audiostyle.config import MIN_SECONDS, TransferConfig
from audiostyle.errors import AudioFileError, ConfigError, OutputError
from audiostyle.events import Callback
from audiostyle.pipeline import Style, TransferResult, check_clip, transfer

Array = npt.NDArray[Any]


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
    verbose : bool
        Let TensorFlow's messages through.
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
    verbose: bool = False

    @property
    def sidecar(self) -> Path:
        """Where the record of the run goes."""
        return self.output.with_name(self.output.name + ".json")

    @property
    def outputs(self) -> list[Path]:
        """Every file that the run makes."""
        return [self.output, self.sidecar, *([] if self.plot is None else [self.plot])]

    def check(self) -> None:
        """Raise a `ConfigError` if a value cannot be right, whatever the files hold."""
        if not self.output.name:
            raise ConfigError(f"output {str(self.output)!r} names no file: name one, as out.wav")
        if not self.styles:
            raise ConfigError("no style given: at least one file or folder is needed")
        if len(self.style_weights) != len(self.styles):
            raise ConfigError(
                f"{len(self.style_weights)} blend weights do not fit {len(self.styles)} styles: "
                "give one weight a style"
            )
        if not all(math.isfinite(w) and w >= 0 for w in self.style_weights):
            raise ConfigError(f"blend={_joined(self.style_weights)} must be finite and at least 0")
        if sum(self.style_weights) == 0:
            raise ConfigError(
                f"blend={_joined(self.style_weights)} leaves no style: raise a weight"
            )
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ConfigError(f"start={self.start:g} must be at least 0 seconds")
        for name in ("duration", "preview"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= MIN_SECONDS):
                raise ConfigError(f"{name}={value:g} must be at least {MIN_SECONDS} seconds")
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise ConfigError(f"plot={self.plot} must end in .png")
        devices.parse_device(self.device)


@dataclass
class StyleFiles:
    """The clips of one style, and what became of them."""

    path: Path
    weight: float
    clips: list[Path]
    used: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fail before TensorFlow is loaded if no clip can be used."""
        reasons = []
        for path in self.clips:
            try:
                self._load(path)
                return
            except AudioFileError as error:
                reasons.append(str(error))
        if not os.path.isdir(self.path):
            raise AudioFileError(reasons[0])
        raise AudioFileError(
            f"{self.path}: none of its {len(reasons)} files can be used; the first: {reasons[0]}"
        )

    def load(self) -> Iterator[tuple[Array, int]]:
        """Yield clips one by one; in a folder, one that cannot be used is skipped and noted."""
        for path in self.clips:
            try:
                clip = self._load(path)
            except AudioFileError as error:
                if not os.path.isdir(self.path):
                    raise
                self.skipped.append({"path": str(path), "reason": str(error)})
                continue
            self.used.append(sidecar.describe(path, clip))
            self.notes += clip.notes
            yield clip.y, clip.sr

    def _load(self, path: Path) -> audio.Audio:
        clip = audio.load_audio(path)
        check_clip(clip.y, clip.sr, str(path))
        return clip


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


def _joined(weights: Sequence[float]) -> str:
    return ",".join(f"{weight:g}" for weight in weights)


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
