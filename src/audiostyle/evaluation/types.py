"""What an evaluation is asked, and what it answers: plain data, for a table or for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.config.transfer_config import MIN_SECONDS
from audiostyle.errors import ConfigError
from audiostyle.files import record as files_record

SCHEMA = 1


@dataclass(frozen=True)
class Excerpt:
    """A part of the content.

    Attributes
    ----------
    start : float >= 0, in seconds
    duration : float or None, in seconds
        None reaches to the end.
    """

    start: float = 0.0
    duration: float | None = None


@dataclass
class EvaluationRequest:
    """What to compare; checked before any of it is done.

    Attributes
    ----------
    content : Path
    style : Path
        A file, or a folder whose clips together are the style.
    outputs : list of Path
    baselines : bool
        Evaluate the trivial outputs too.
    start, duration : float or None, in seconds
        The part of the content that the outputs were made from. If both are None, the sidecar of
        each output says it, and without one the whole content counts.
    verbose : bool
        Let TensorFlow's messages through.
    """

    content: Path
    style: Path
    outputs: list[Path]
    baselines: bool = False
    start: float | None = None
    duration: float | None = None
    verbose: bool = False

    @property
    def excerpt(self) -> Excerpt:
        """The part of the content that was asked for, or all of it."""
        return Excerpt(self.start or 0.0, self.duration)

    def check(self) -> None:
        """Raise a `ConfigError` if a value cannot be right, whatever the files hold.

        Raises
        ------
        ConfigError
            If a value cannot be right, whatever the files hold.
        """
        if not self.outputs:
            raise ConfigError("no output given: at least one file is needed")
        if self.start is not None and not (math.isfinite(self.start) and self.start >= 0):
            raise ConfigError(f"start={self.start:g} must be at least 0 seconds")
        duration = self.duration
        if duration is not None and not (math.isfinite(duration) and duration >= MIN_SECONDS):
            raise ConfigError(f"duration={duration:g} must be at least {MIN_SECONDS} seconds")


@dataclass
class OutputScores:
    """What was measured of one output, or of one baseline.

    Attributes
    ----------
    name : str
        The path of the output, or the name of the baseline.
    start_sample, samples : int
        The part of the content that it was compared to, at the content's rate.
    measures : dict of str to float or None
        As from `audiostyle.evaluate`, and ``sound_consistency`` in dB: how far the inversion
        stayed from the spectrogram it was to reach; None where no sidecar tells.
    file : dict
        Path, SHA-256, rate, channels and samples of an output; empty for a baseline.
    notes : list of str
        What was done to it before it was compared.
    """

    name: str
    start_sample: int
    samples: int
    measures: dict[str, float | None]
    file: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of the trivial outputs."""
        return not self.file


@dataclass
class EvaluationReport:
    """All that an evaluation found.

    Attributes
    ----------
    content, style : dict
        What the inputs are: paths, digests, rates, sizes.
    verdicts : list of Verdict
        The outputs in the order in which they were given, then the baselines.
    failed : list of dict
        ``path`` and ``reason`` of each output that could not be judged.
    notes : list of str
        What is odd about the inputs.
    """

    content: dict[str, Any]
    style: dict[str, Any]
    verdicts: list[OutputScores] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON, with the versions that they were computed with.

        Returns
        -------
        dict of str to object
        """

        def entry(verdict: OutputScores) -> dict[str, Any]:
            about = verdict.file or {"name": verdict.name}
            excerpt = {"start_sample": verdict.start_sample, "samples": verdict.samples}
            rest = {} if verdict.is_baseline else {"notes": verdict.notes}
            return {**about, "compared_to": excerpt, "measures": verdict.measures, **rest}

        record: dict[str, Any] = files_record.to_json_value(
            {
                "schema": SCHEMA,
                "audiostyle": audiostyle.__version__,
                "versions": files_record.package_versions(
                    "librosa", "numpy", "soundfile", "mir_eval"
                ),
                "content": self.content,
                "style": self.style,
                "outputs": [entry(v) for v in self.verdicts if not v.is_baseline],
                "baselines": [entry(v) for v in self.verdicts if v.is_baseline],
                "failed": self.failed,
                "notes": self.notes,
            }
        )
        return record
