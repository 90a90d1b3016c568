"""Request, scores and report of an evaluation: plain data for a table or for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.errors import ConfigError
from audiostyle.files.record import package_versions, to_json_value
from audiostyle.files.request import check_excerpt

SCHEMA = 1

Excerpt = tuple[float, float | None]
"""Start and duration of a part of the content, in seconds; None: to its end."""


@dataclass
class EvaluationRequest:
    """The files to compare.

    Without `start` and `duration`, in seconds, the record of an output says which part of the
    content it was made from; an output without a record is compared to the whole content.
    """

    content: Path
    style: Path  # a file, or a folder whose clips together are the style
    outputs: list[Path]
    baselines: bool = False
    start: float | None = None
    duration: float | None = None
    verbose: bool = False  # show TensorFlow's messages

    @property
    def excerpt(self) -> Excerpt:
        """The part of the content that was requested, or all of it."""
        return self.start or 0.0, self.duration

    def check(self) -> None:
        """Raise a `ConfigError` if a value is invalid, whatever the files hold."""
        if not self.outputs:
            raise ConfigError("no output given: at least one file is needed")
        check_excerpt(self.start or 0.0, duration=self.duration)


@dataclass
class OutputScores:
    """The measures of one output or one baseline.

    `measures` are those of `audiostyle.evaluate`, and ``sound_consistency``: the distance of the
    inversion, in dB, from the spectrogram that it should reach, if a record tells.
    """

    name: str  # path of the output, or name of the baseline
    start_sample: int  # of the part of the content it was compared to, at the content's rate
    samples: int
    measures: dict[str, float | None]
    file: dict[str, Any] = field(default_factory=dict)  # as in a record; empty for a baseline
    notes: list[str] = field(default_factory=list)

    @property
    def is_baseline(self) -> bool:
        """Whether these are the scores of a baseline."""
        return not self.file


@dataclass
class EvaluationReport:
    """The result of an evaluation."""

    content: dict[str, Any]  # path, digest, rate and channels
    style: dict[str, Any]
    scores: list[OutputScores] = field(default_factory=list)  # outputs as requested, then baselines
    failed: list[dict[str, str]] = field(default_factory=list)  # path and reason of each
    notes: list[str] = field(default_factory=list)  # about the content and the style

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON, with the versions of the packages."""

        def entry(scores: OutputScores) -> dict[str, Any]:
            about = scores.file or {"name": scores.name}
            excerpt = {"start_sample": scores.start_sample, "samples": scores.samples}
            notes = {} if scores.is_baseline else {"notes": scores.notes}
            return {**about, "compared_to": excerpt, "measures": scores.measures, **notes}

        record = {
            "schema": SCHEMA,
            "audiostyle": audiostyle.__version__,
            "versions": package_versions("librosa", "numpy", "soundfile", "av", "mir_eval"),
            "content": self.content,
            "style": self.style,
            "outputs": [entry(scores) for scores in self.scores if not scores.is_baseline],
            "baselines": [entry(scores) for scores in self.scores if scores.is_baseline],
            "failed": self.failed,
            "notes": self.notes,
        }
        return dict(to_json_value(record))
