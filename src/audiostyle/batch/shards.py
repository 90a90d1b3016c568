"""Shards of a batch: parts for machines that share nothing but the output folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from audiostyle.errors import ConfigError

MAX_SHARDS = 100_000
SLURM = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of the `of` parts of a batch."""

    number: int
    of: int

    def __str__(self) -> str:
        """Write it as ``--shard`` takes it."""
        return f"{self.number}/{self.of}"

    def contains(self, pair_id: str) -> bool:
        """Tell whether a pair is in this shard; that depends on its name alone."""
        digest = hashlib.sha256(pair_id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


def parse_shard(text: str | None) -> Shard | None:
    """Parse the value of ``--shard``, such as ``2/8``; None stands for the whole batch."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise ConfigError(f"shard={text!r} must be I/N, such as 2/8")
    number, of = int(match[1]), int(match[2])
    if not 1 <= of <= MAX_SHARDS:
        raise ConfigError(f"shard={text!r}: the number of shards must be from 1 to {MAX_SHARDS}")
    if not 1 <= number <= of:
        raise ConfigError(f"shard={text!r}: the first number must be from 1 to {of}")
    return Shard(number, of) if of > 1 else None


def shard_of_slurm(environment: Mapping[str, str]) -> str | None:
    """Return the shard of a task of a Slurm job array, such as ``2/8``; None outside an array."""
    if not environment.get(f"{SLURM}ID"):
        return None
    defaults = {"ID": "", "COUNT": "", "MIN": "", "MAX": "", "STEP": "1"}
    values = {SLURM + name: environment.get(SLURM + name, text) for name, text in defaults.items()}
    if all(re.fullmatch(r"\d{1,18}", text, re.ASCII) for text in values.values()):
        number, count, low, high, step = map(int, values.values())
        index, span = number - low, high - low
        even = step > 0 and span == (count - 1) * step
        if even and 0 <= index <= span and index % step == 0:
            return f"{index // step + 1}/{count}"
    listed = ", ".join(f"{name}={text}" for name, text in values.items())
    raise ConfigError(
        f"{listed}: an array whose indices are not evenly spaced cannot be mapped to shards; use "
        "--array=0-N, or give --shard I/N"
    )
