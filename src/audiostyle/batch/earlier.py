"""Finished outputs: what they were made with, so that none is replaced without a word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.batch.journal import PairState, inputs_digest
from audiostyle.batch.request import BatchRequest
from audiostyle.batch.tables import Settings
from audiostyle.config.record_file import EXCERPT, input_digests
from audiostyle.config.registry import loss_digests
from audiostyle.config.transfer_config import (
    TransferConfig,
    changed_parameters,
    preset_parameters,
)
from audiostyle.config.variants import Variant
from audiostyle.nn import weights
from audiostyle.utils.atomic_files import record_path
from audiostyle.utils.times import format_span

Difference = tuple[str, str]  # settings of an output, and those asked for
UNKNOWN = ("other settings", "these")


def find_difference(
    output: Path,
    known: PairState | None,
    digests: Sequence[str],
    request: BatchRequest,
    variant: Variant,
) -> Difference | None:
    """Return how the settings of an output differ from those asked for; None if they do not.

    `known` is what the journal holds about it, which counts if its record cannot be read; None
    means that the journal does not know it: then it is of this batch if it has the same inputs.
    """
    if not output.exists():
        return None
    asked = variant.config.to_dict()
    try:
        record = json.loads(record_path(output).read_bytes())
        used = {digest for _, clips in input_digests(record) for digest in clips}
        preset, made = record["preset"], record["parameters"] | _others_of(record)
        asked |= _others_asked(request, variant.config)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        facts = known.facts if known is not None and known.status == "done" else {}
        if "parameters" not in facts:
            return None
        preset, used = facts["preset"], set(digests)
        made = preset_parameters(preset) | facts["parameters"]
        if made == asked and facts.get("inputs") == inputs_digest(digests):
            return UNKNOWN
    if (known is None and used != set(digests)) or made == asked:
        return None
    return _describe((made, preset), (asked, variant.preset))


def _describe(*sides: tuple[Mapping[str, Any], str | None]) -> Difference:
    """Write what differs between two sets of parameters, each with its preset."""
    rows = [
        {"preset": preset, "parameters": changed_parameters(parameters, preset)}
        for parameters, preset in sides
    ]
    settings = Settings(rows)
    made, asked = (
        {name: value or "none" for name, value in settings.of(row).items()} for row in rows
    )
    first, second = (", ".join(f"{n}={v}" for n, v in side.items()) for side in (made, asked))
    return first, second if len(asked) > 1 else "".join(asked.values())


def kept_line(number: int, difference: Difference) -> str:
    """Say that finished outputs stay as they are, and what can be done."""
    made = "output was" if number == 1 else "outputs were"
    stay = "it stays as it is" if number == 1 else "they stay as they are"
    return (
        f"{number} finished {made} made with {difference[0]}, not {difference[1]}; {stay}: use "
        "another folder or, for parameters, --vary to have both, or --force to replace"
    )


def _others_of(record: Mapping[str, Any]) -> dict[str, Any]:
    losses = {name: one.get("sha256", "") for name, one in record["loss_sources"].items()}
    return _others(record["request"] | record, record["weights"], losses, record["audiostyle"])


def _others_asked(request: BatchRequest, config: TransferConfig) -> dict[str, Any]:
    source = weights.provenance(config.network, config.weights)
    return _others(vars(request), source, loss_digests(config.losses), audiostyle.__version__)


def _others(
    options: Mapping[str, Any], source: Mapping[str, str], losses: Mapping[str, str], version: str
) -> dict[str, Any]:
    """Return what determines the sound of an output besides inputs and parameters."""
    spans = sorted(options.get("only") or ())  # older records have no "only"
    return {
        **{name: options.get(name) or None for name in (*EXCERPT, "subtype")},
        "only": ", ".join(map(format_span, spans)) or None,  # a record holds lists, not tuples
        "deterministic": f"{options['threads']} threads" if options["deterministic"] else "no",
        "audiostyle": version,
        "SHA-256 of weights": source.get("sha256", "")[:12],
        "SHA-256 of losses": ", ".join(digest[:12] for digest in losses.values()),
    }
