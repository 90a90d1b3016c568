"""A part of a batch, for machines that share nothing but a folder: which pairs are whose."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audiostyle.batch.pairing import Pair
from audiostyle.errors import ConfigError

MAX_SHARDS = 100_000
SLURM = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """One of several parts that together are the whole.

    Attributes
    ----------
    number : int
        From 1 on.
    of : int
        How many there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        """Write it as ``--shard`` takes it."""
        return f"{self.number}/{self.of}"

    def takes(self, name: str) -> bool:
        """Tell whether a pair is in this part; that depends on the name of the pair alone.

        Parameters
        ----------
        name : str

        Returns
        -------
        bool
        """
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1


def parse_shard(text: str | None) -> Shard | None:
    """Read what ``--shard`` was given.

    Parameters
    ----------
    text : str or None
        As ``2/8``.

    Returns
    -------
    Shard or None
        None stands for the whole: nothing was given, or ``1/1``.

    Raises
    ------
    ConfigError
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise ConfigError(f"shard={text!r} must be I/N, as 2/8")
    number, of = int(match[1]), int(match[2])
    if not 1 <= of <= MAX_SHARDS:
        raise ConfigError(f"shard={text!r}: the number of shards must be from 1 to {MAX_SHARDS}")
    if not 1 <= number <= of:
        raise ConfigError(f"shard={text!r}: the first number must be from 1 to {of}")
    return Shard(number, of) if of > 1 else None


def shard_of_slurm(environment: Mapping[str, str]) -> str | None:
    """Say which shard a task of a Slurm job array is.

    Parameters
    ----------
    environment : mapping of str to str

    Returns
    -------
    str or None
        As ``2/8``; None outside of an array.

    Raises
    ------
    ConfigError
        If the indices of the array are not evenly spaced, so that nothing says which comes first.
    """
    if not environment.get(f"{SLURM}ID"):
        return None
    values = {}
    for name, default in (("ID", ""), ("COUNT", ""), ("MIN", ""), ("MAX", ""), ("STEP", "1")):
        text = environment.get(SLURM + name, default)
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
            raise ConfigError(f"{SLURM}{name}={text!r} is not a number; give --shard I/N")
        values[name] = int(text)
    step, span = values["STEP"], values["MAX"] - values["MIN"]
    index = values["ID"] - values["MIN"]
    even = step > 0 and span == (values["COUNT"] - 1) * step
    if not even or not 0 <= index <= span or index % step:
        listed = ", ".join(f"{SLURM}{name}={value}" for name, value in values.items())
        raise ConfigError(
            f"{listed}: an array whose indices are not evenly spaced cannot be mapped to shards; "
            "use --array=0-N, or give --shard I/N"
        )
    return f"{index // step + 1}/{values['COUNT']}"


def select_shard(pairs: Sequence[Pair], shard: Shard | None) -> list[Pair]:
    """Take the pairs of a shard, in the order that they have.

    Parameters
    ----------
    pairs : sequence of Pair
    shard : Shard or None
        None takes all.

    Returns
    -------
    list of Pair
    """
    return [pair for pair in pairs if shard is None or shard.takes(pair.id)]
