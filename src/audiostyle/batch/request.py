"""What a batch is asked to do, checked before any of it is done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from audiostyle.config.transfer_config import MIN_SECONDS
from audiostyle.errors import ConfigError
from audiostyle.nn import device as nn_device
from audiostyle.utils.suggestions import check_choice


@dataclass
class BatchRequest:
    """What to do with which folders.

    Attributes
    ----------
    content, style : str
        A folder, a glob, ``@FILE`` or a file; see `audiostyle.batch.inputs.find_inputs`.
    out_dir : Path
    pair : str
        ``product``, ``zip``, ``random:N`` or ``csv:FILE``.
    by : str
        ``clip``, or ``genre``: the clips of a genre are one style.
    content_genre, style_genre : str or None
        Take only this genre of the side.
    limit : int or None
        At most so many pairs.
    shuffle : bool
        Draw the pairs that the limit takes.
    name : str
        Template of the outputs' names.
    start : float, in seconds
    duration, preview : float or None, in seconds
    subtype : str or None
    evaluate : bool
        Judge every output.
    retry_failed : bool
        Try those again, too, that would fail again.
    force : bool
        Do everything again, and replace what is there.
    device : str
    threads : int
        How many may compute; 0 stands for all cores, or for one if `deterministic`.
    deterministic : bool
        Give the same bytes each time, at some cost.
    shard : str or None
        Do only this part, as ``2/8``; see `audiostyle.batch.shards`.
    preset : str or None
        For the records only.
    verbose : bool
    """

    content: str
    style: str
    out_dir: Path
    pair: str = "product"
    by: str = "clip"
    content_genre: str | None = None
    style_genre: str | None = None
    limit: int | None = None
    shuffle: bool = False
    name: str = "{content}__{style}.wav"
    start: float = 0.0
    duration: float | None = None
    preview: float | None = None
    subtype: str | None = None
    evaluate: bool = False
    retry_failed: bool = False
    force: bool = False
    device: str = "auto"
    threads: int = 0
    deterministic: bool = False
    shard: str | None = None
    preset: str | None = None
    verbose: bool = False

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
        from audiostyle.batch.pairing import check_template
        from audiostyle.batch.shards import parse_shard

        parse_shard(self.shard)
        check_choice("by", self.by, ("clip", "genre"))
        check_template(self.name)
        nn_device.parse_device(self.device)
        nn_device.check_threads(self.threads)
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ConfigError(f"start={self.start:g} must be at least 0 seconds")
        for name in ("duration", "preview"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= MIN_SECONDS):
                raise ConfigError(f"{name}={value:g} must be at least {MIN_SECONDS} seconds")
        if self.evaluate and self.style.lower().endswith(".npz"):
            raise ConfigError(
                "evaluate: a style file holds statistics, and no sound to compare to; give the "
                "folder, or leave out --evaluate"
            )
