"""Batch request: what to compute from which folders, checked before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.errors import ConfigError
from audiostyle.files.request import TransferRequest
from audiostyle.utils.suggestions import check_choice

SHARED_OPTIONS = (  # of a batch and of each of its transfers
    *("start", "duration", "preview", "only", "subtype", "device", "preset", "threads"),
    *("deterministic", "command", "verbose"),
)


@dataclass
class BatchRequest:
    """The options of a batch; `audiostyle.run_batch` describes them."""

    content: str
    style: str
    out_dir: Path
    pair: str = "product"
    by: str = "clip"
    content_genre: str | None = None
    style_genre: str | None = None
    exclude: tuple[str, ...] = ()  # patterns
    limit: int | None = None
    shuffle: bool = False
    name: str = "{content}__{style}.wav"
    vary: Mapping[str, Iterable[Any]] | None = None  # values by parameter, or "preset"
    # Given apart from the preset; None: those in which the configuration differs from it.
    overrides: Mapping[str, Any] | None = None
    start: float = 0.0
    duration: float | None = None
    preview: float | None = None
    only: Sequence[tuple[float, float]] = ()
    subtype: str | None = None
    evaluate: bool = False
    allow_failed: bool = False
    retry_failed: bool = False
    force: bool = False
    device: str = "auto"
    threads: int = 0
    deterministic: bool = False
    shard: str | None = None
    preset: str | None = None  # only for the records
    command: list[str] | None = None  # only for the records: the command line
    verbose: bool = False

    def __post_init__(self) -> None:
        """Use one thread if results must be the same wherever they are computed."""
        self.exclude = tuple(self.exclude)  # a list, if it was in JSON
        if self.deterministic and not self.threads:
            self.threads = 1

    def transfer_request(
        self, content: Path, style: Path, output: Path, preset: str | None = None
    ) -> TransferRequest:
        """Return the request of a single transfer; the plan checks what it may replace."""
        options = {**{name: getattr(self, name) for name in SHARED_OPTIONS}, "preset": preset}
        return TransferRequest(content, [style], output, [1.0], force=True, **options)

    def check(self) -> None:
        """Raise a `ConfigError` if a value is not valid, whatever the files hold."""
        # These import the audio libraries, which `audiostyle --help` does not need.
        from audiostyle.batch.pairing import check_template
        from audiostyle.batch.shards import parse_shard

        parse_shard(self.shard)
        check_choice("by", self.by, ("clip", "genre"))
        check_template(self.name)
        self.transfer_request(Path("content"), Path("style"), Path("output")).check()
        if self.evaluate and self.style.lower().endswith(".npz"):
            raise ConfigError(
                "evaluate: a style file holds statistics and no sound to compare with; give the "
                "folder, or omit --evaluate"
            )
