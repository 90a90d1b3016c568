"""What to do with which files, before any of it is done."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from audiostyle.audio import reader
from audiostyle.config.transfer_config import MIN_SECONDS, TransferConfig
from audiostyle.core.style import AnalyzedStyle, Style
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.nn import device as nn_device
from audiostyle.utils import atomic_files

Array = npt.NDArray[Any]


@dataclass
class TransferRequest:
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
    report : Path or None
        A page about the result.
    force : bool
        Replace outputs that exist.
    device : str
    threads : int
        How many may compute; 0 stands for all cores, or for one if `deterministic`.
    deterministic : bool
        Give the same bytes each time, at some cost.
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
    report: Path | None = None
    force: bool = False
    device: str = "auto"
    threads: int = 0
    deterministic: bool = False
    preset: str | None = None
    verbose: bool = False

    @property
    def sidecar(self) -> Path:
        """Where the record of the run goes."""
        return atomic_files.record_path(self.output)

    @property
    def outputs(self) -> list[Path]:
        """Every file that the run makes."""
        pages = [path for path in (self.plot, self.report) if path is not None]
        return [self.output, self.sidecar, *pages]

    def __post_init__(self) -> None:
        """Take one thread if results are to be the same wherever they are computed."""
        if self.deterministic and not self.threads:
            self.threads = 1

    def check(self) -> None:
        """Raise a `ConfigError` if a value cannot be right, whatever the files hold.

        Raises
        ------
        ConfigError
            If a value cannot be right, whatever the files hold.
        """
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
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"report={self.report} must end in .html")
        nn_device.parse_device(self.device)
        nn_device.check_threads(self.threads)


@dataclass
class StyleSource:
    """The clips of one style, and what became of them.

    Attributes
    ----------
    path : Path
        A clip, a folder, or a style file.
    weight : float
    clips : list of Path
        What is read.
    used, skipped : list of dict
        What the style consists of, and what could not be used, as soon as it was read.
    notes : list of str
    sha256 : str or None
        Of a style file.
    analyzed : callable or None
        Gives the style without reading a clip, if it was analysed before.
    """

    path: Path
    weight: float
    clips: list[Path]
    used: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sha256: str | None = None
    analyzed: Callable[[], AnalyzedStyle] | None = None
    _checked: dict[Path, tuple[reader.FileSource, NormalizedStream]] = field(
        default_factory=dict, repr=False
    )

    def as_style(self, config: TransferConfig) -> Style:
        """Make what a transfer takes; clips are read while it listens, one by one.

        Parameters
        ----------
        config : TransferConfig

        Returns
        -------
        Style
        """
        return Style(self.load(config), self.weight, str(self.path), self.analyzed)

    def check(self, config: TransferConfig) -> None:
        """Fail before TensorFlow is loaded if no clip can be used.

        Parameters
        ----------
        config : TransferConfig

        Raises
        ------
        AudioFileError
            If none can.
        """
        if self.analyzed is not None:
            return
        reasons: list[AudioFileError] = []
        for path in self.clips:
            try:
                self._checked = {path: self._open(path, config)}
                return
            except AudioFileError as error:
                reasons.append(error)
        if not os.path.isdir(self.path):
            raise reasons[0]
        raise AudioFileError(
            f"{self.path}: none of its {len(reasons)} files can be used; the first: {reasons[0]}",
            reasons[0].kind,
        )

    def load(self, config: TransferConfig) -> Iterator[NormalizedStream]:
        """Yield clips one by one; in a folder, one that cannot be used is skipped and noted.

        Parameters
        ----------
        config : TransferConfig

        Yields
        ------
        Recording
        """
        for path in self.clips:
            try:
                # The one that was checked is not read again.
                checked = path in self._checked
                source, recording = self._checked.pop(path) if checked else self._open(path, config)
            except AudioFileError as error:
                if not os.path.isdir(self.path):
                    raise
                self.skipped.append({"path": str(path), "reason": str(error)})
                continue
            self.used.append(describe_clip(path, recording.sr, recording.channels, recording.n))
            self.notes += source.notes
            yield recording

    def _open(
        self, path: Path, config: TransferConfig
    ) -> tuple[reader.FileSource, NormalizedStream]:
        source = reader.FileSource(path)
        return source, NormalizedStream(source, config)


def _joined(weights: Sequence[float]) -> str:
    return ",".join(f"{weight:g}" for weight in weights)


def describe_clip(path: Path, sr: int, channels: int, samples: int) -> dict[str, Any]:
    """Say what an input is, after it was read.

    Parameters
    ----------
    path : Path
    sr : int, in Hz
    channels, samples : int

    Returns
    -------
    dict

    Raises
    ------
    AudioFileError
        If it is gone meanwhile.
    """
    try:
        digest = atomic_files.file_digest(path)
    except OSError as error:
        reason = f"{path}: is gone since it was read ({error.strerror}); begin again"
        raise AudioFileError(reason, kind="missing") from None
    return {
        "path": str(path),
        "sha256": digest,
        "sr": sr,
        "channels": channels,
        "samples": samples,
    }
