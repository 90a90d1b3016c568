"""Transfer request: which files to read, which to write, and how. Opens no files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiostyle.config.transfer_config import MIN_SECONDS
from audiostyle.errors import ConfigError
from audiostyle.nn import device as nn_device
from audiostyle.utils import atomic_files
from audiostyle.utils.times import format_span


@dataclass
class TransferRequest:
    """The files of one transfer and everything about it that is not in a `TransferConfig`."""

    content: Path
    styles: list[Path]  # audio files, folders whose clips together are one style, style files
    output: Path
    style_weights: list[float]  # one per style
    start: float = 0.0  # seconds into the content
    duration: float | None = None  # seconds
    preview: float | None = None  # seconds of the loudest excerpt, which alone is processed
    only: list[tuple[float, float]] = field(default_factory=list)  # start and end in seconds
    subtype: str | None = None  # libsndfile's name of the sample format
    plot: Path | None = None
    report: Path | None = None  # an HTML page about the result, written by the command line
    force: bool = False  # replace outputs that exist
    device: str = "auto"
    threads: int = 0  # 0: all cores, or one if deterministic
    deterministic: bool = False
    preset: str | None = None  # for the record only: the values are in the config
    command: list[str] | None = None  # for the record only: the command line
    verbose: bool = False  # show TensorFlow's messages

    def __post_init__(self) -> None:
        """Use one thread for a deterministic result: the order of sums depends on their number."""
        try:
            self.only = sorted((float(start), float(stop)) for start, stop in self.only)
        except (TypeError, ValueError):
            raise ConfigError(
                f"only={self.only!r} must be pairs of start and end in seconds, as [(62, 78)]"
            ) from None
        if self.deterministic and not self.threads:
            self.threads = 1

    @property
    def record_path(self) -> Path:
        """Where the record of the run is written."""
        return atomic_files.record_path(self.output)

    @property
    def outputs(self) -> list[Path]:
        """Every file that the run writes."""
        pages = [path for path in (self.plot, self.report) if path is not None]
        return [self.output, self.record_path, *pages]

    def check(self) -> None:
        """Raise a `ConfigError` if a value is invalid, whatever the files hold."""
        if not self.output.name:
            raise ConfigError(
                f"output {str(self.output)!r} names no file: name one, such as out.wav"
            )
        if not self.styles:
            raise ConfigError("no style given: at least one file or folder is needed")
        self._check_weights()
        check_excerpt(self.start, duration=self.duration, preview=self.preview)
        self._check_only()
        if self.plot is not None and self.plot.suffix.lower() != ".png":
            raise ConfigError(f"plot={self.plot} must end in .png")
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"report={self.report} must end in .html")
        nn_device.parse_device(self.device)
        nn_device.check_threads(self.threads)

    def _check_only(self) -> None:
        check_stretches(self.only)
        for name in ("start", "duration", "preview"):
            if self.only and getattr(self, name):
                raise ConfigError(
                    f"only={format_span(self.only[0])} cannot be combined with {name}="
                    f"{getattr(self, name):g}: its output has the length of the content; omit one"
                )

    def _check_weights(self) -> None:
        weights = self.style_weights
        if len(weights) != len(self.styles):
            raise ConfigError(
                f"{len(weights)} blend weights do not fit {len(self.styles)} styles: "
                "give one weight per style"
            )
        blend = ",".join(f"{weight:g}" for weight in weights)
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise ConfigError(f"blend={blend} must be finite and at least 0")
        if sum(weights) == 0:
            raise ConfigError(f"blend={blend} leaves no style: raise a weight")


def check_stretches(only: Sequence[tuple[float, float]]) -> None:
    """Raise a `ConfigError` if a stretch, of those in order, is invalid whatever the content is."""
    end = 0.0
    for start, stop in only:
        if not (math.isfinite(stop) and 0 <= start):
            raise ConfigError(f"only={start:g}-{stop:g} must be from 0 seconds to a finite time")
        span = format_span((start, stop))
        if stop <= start:
            raise ConfigError(f"only={span} must end after it begins")
        if stop - start < MIN_SECONDS:
            raise ConfigError(f"only={span} must be at least {MIN_SECONDS} seconds long")
        if start < end:
            raise ConfigError(f"only={span} overlaps the stretch before it; join them")
        end = stop


def check_excerpt(start: float, **lengths: float | None) -> None:
    """Raise a `ConfigError` if the start, or a length that is given, is invalid."""
    if not (math.isfinite(start) and start >= 0):
        raise ConfigError(f"start={start:g} must be at least 0 seconds")
    for name, value in lengths.items():
        if value is not None and not (math.isfinite(value) and value >= MIN_SECONDS):
            raise ConfigError(f"{name}={value:g} must be at least {MIN_SECONDS} seconds")
