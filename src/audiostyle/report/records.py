"""Pairs for a page: records, batch journals and evaluations, read into plain dataclasses.

Only JSON is read here; `audiostyle.report.sounds` reads the audio.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.batch import journal, results
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, AudioStyleError
from audiostyle.utils.atomic_files import record_path

ROLES = ("content", "style", "result")
"""The sounds of a pair, in the order of the keys 1, 2 and 3."""


@dataclass(frozen=True)
class SoundFile:
    """A sound of a pair, as its record names it."""

    path: Path | None  # where the file is now; None if it was not found
    name: str  # the path in the record, for display
    sha256: str = ""  # as recorded; empty if unknown
    start: float = 0.0  # in seconds; where the excerpt begins
    seconds: float | None = None  # length of the excerpt; None reaches to the end
    reason: str = ""  # why there is nothing to play
    about: str = ""  # a remark, such as the number of clips of a style


@dataclass
class PairRecord:
    """A content, a style, and the result of their transfer."""

    name: str  # of the output
    status: str  # done, interrupted, failed or pending
    sounds: dict[str, SoundFile]  # by role
    kind: str = ""  # of the failure
    reason: str = ""  # for the failure
    content_genre: str = ""
    style_genre: str = ""
    seconds: float | None = None  # duration of the transfer
    record: dict[str, Any] = field(default_factory=dict)  # empty if there is none
    measures: dict[str, float | None] = field(default_factory=dict)  # empty without an evaluation
    baselines: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def content(self) -> str:
        """The file name of the content."""
        return Path(self.sounds["content"].name).name

    @property
    def style(self) -> str:
        """The file name of the style."""
        return Path(self.sounds["style"].name).name

    @property
    def loss(self) -> float | None:
        """The total loss of the last iteration."""
        return as_number(self.losses[-1].get("total")) if self.losses else None

    @property
    def config(self) -> TransferConfig:
        """The parameters of the record, or the defaults if they cannot be used."""
        try:  # a plugin loss may be unknown here, and changes no axis
            return TransferConfig(**{**self.record["parameters"], "losses": ()})
        except (AudioStyleError, KeyError, TypeError):
            return TransferConfig()

    @property
    def losses(self) -> list[dict[str, Any]]:
        """The losses of each iteration, as recorded."""
        return [step for step in as_list(self.record.get("losses")) if isinstance(step, dict)]


@dataclass
class PairCollection:
    """The pairs of a page."""

    title: str
    pairs: list[PairRecord]
    is_folder: bool = False  # whether a single folder was given: a table even of one pair
    notes: list[str] = field(default_factory=list)


def collect(paths: Sequence[Path]) -> PairCollection:
    """Find the pairs of batch folders, outputs, records and saved evaluations.

    Raises an `AudioFileError` for a path that is none of these.
    """
    pairs: list[PairRecord] = []
    evaluations: list[dict[str, Any]] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            pairs += _pairs_of_folder(path, notes)
            continue
        document = _read_document(path)
        if _is_evaluation(document):
            evaluations.append(document)
        else:
            output = path.with_suffix("") if path.suffix == ".json" else path
            pairs.append(_pair_of_record(output, document))
    for evaluation in evaluations:
        _add_evaluation(pairs, evaluation)
    if not pairs:
        found = "an evaluation but no transfer; name its outputs too" if evaluations else "no pair"
        raise AudioFileError(f"{paths[0]}: holds {found}")
    is_folder = len(paths) == 1 and paths[0].is_dir()
    title = f"{len(pairs)} pairs" if len(pairs) > 1 else pairs[0].name
    if is_folder:
        title = paths[0].resolve().name
    return PairCollection(title, pairs, is_folder, notes)


def _is_evaluation(document: Mapping[str, Any]) -> bool:
    return "baselines" in document and "outputs" in document


def _read_document(path: Path) -> dict[str, Any]:
    """Read a record or an evaluation: the file itself if it is JSON, else the record beside it."""
    record = path if path.suffix == ".json" else record_path(path)
    try:
        document = json.loads(record.read_bytes())
        if not isinstance(document, dict):
            raise ValueError
        if not _is_evaluation(document):
            document["output"], document["content"]["path"], document["styles"][0]["path"]
    except (FileNotFoundError, NotADirectoryError):
        if path == record or not path.exists():
            raise AudioFileError(f"{path}: no such file or folder; check the name") from None
        raise AudioFileError(
            f"{path}: has no record {record.name} beside it; a report needs the record that "
            "audiostyle transfer writes"
        ) from None
    except OSError as error:
        raise AudioFileError(f"{record}: cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise AudioFileError(
            f"{record}: is not the record of a transfer; name an output, its record, or the folder "
            "of a batch"
        ) from None
    return document


def _pairs_of_folder(folder: Path, notes: list[str]) -> list[PairRecord]:
    """Read a batch from its journal and its table, or a plain folder from its records."""
    state = journal.read(folder)
    rows = _read_rows(folder / results.JSONL_NAME)
    names = list(rows) if not state.time else sorted(state.planned)
    if not names and not state.time:
        records = sorted(p for p in folder.rglob("*.json") if p.with_suffix("").is_file())
        if not records:
            raise AudioFileError(
                f"{folder}: holds neither a batch nor outputs with their records; name the folder "
                "of audiostyle batch"
            )
        return [_pair_of_record(p.with_suffix(""), _read_document(p)) for p in records]
    if state.time and journal.is_busy(folder):
        notes.append("the batch was running when this page was made")
    pairs = []
    for name in names:
        entry = state.pairs.get(name)
        row = rows.get(name, {"pair": name, "status": "pending"})
        if entry is not None and entry.status in ("done", "failed"):  # newer than the table
            scores = {f"score_{k}": v for k, v in (entry.scores or {}).items()}
            row = {**row, **entry.facts, **scores, "status": entry.status}
        pairs.append(_pair_of_row(folder, name, row, state.inputs))
    return pairs


def _read_rows(path: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, LookupError, TypeError):
                row = json.loads(line)
                rows[str(row["pair"])] = row
    return rows


def _pair_of_row(
    folder: Path, name: str, row: Mapping[str, Any], inputs: Collection[str]
) -> PairRecord:
    """Make a pair from a row of a batch and, if it is done, the record beside its output."""
    output = folder / name
    try:
        pair = _pair_of_record(output, _read_document(output), inputs)
    except AudioFileError as error:
        sounds = {
            role: _find_sound(str(row.get(role) or ""), folder, inputs)
            for role in ("content", "style")
        }
        sounds["result"] = SoundFile(None, str(output), reason="there is no output")
        pair = PairRecord(name, "", sounds)
        if row["status"] == "done":
            pair.notes.append(str(error))
    status = str(row.get("status"))
    pair.name = name
    pair.status = pair.status if status == "done" and pair.status else status
    pair.kind, pair.reason = (str(row.get(key) or "") for key in ("kind", "reason"))
    pair.content_genre = str(row.get("content_genre") or "")
    pair.style_genre = str(row.get("style_genre") or "")
    pair.seconds = as_number(row.get("seconds"))
    pair.measures = {
        key.removeprefix("score_"): as_number(value)
        for key, value in row.items()
        if key.startswith("score_")
    }
    return pair


def _pair_of_record(
    output: Path, record: dict[str, Any], inputs: Collection[str] = ()
) -> PairRecord:
    """Make a pair from the record beside an output."""
    folder, content = output.parent, record["content"]
    made = record["output"] if isinstance(record["output"], dict) else {}
    rate = as_number(content.get("sr")) or 1.0
    samples = as_number(content.get("samples"))
    sounds = {
        "content": dataclasses.replace(
            _find_sound(str(content["path"]), folder, inputs, content.get("sha256")),
            start=(as_number(content.get("start_sample")) or 0.0) / rate,
            seconds=samples / rate if samples else None,
        ),
        "style": _find_style(record["styles"], folder, inputs),
        "result": _find_sound(str(output), None, (), made.get("sha256")),
    }
    timings = as_dict(record.get("timings"))
    if "descent" in timings:  # schema 1
        renamed = {"optimization" if k == "descent" else k: v for k, v in timings.items()}
        record = {**record, "timings": renamed}
    laps = {k: as_number(v) or 0.0 for k, v in timings.items() if not k.startswith("to ")}
    return PairRecord(
        output.name,
        "interrupted" if record.get("status") == "interrupted" else "done",
        sounds,
        seconds=sum(laps.values()) if laps else None,
        record=record,
        notes=[str(note) for note in as_list(record.get("notes"))],
    )


def _find_style(styles: list[dict[str, Any]], folder: Path, inputs: Collection[str]) -> SoundFile:
    """Find the first clip of the first style; a remark tells of the others."""
    style, *others = styles
    name = str(style["path"])
    if style.get("sha256"):
        reason = "a style file holds statistics, not sound"
        return SoundFile(None, name, str(style["sha256"]), reason=reason)
    clips = as_list(style.get("clips"))
    first = next((clip for clip in clips if isinstance(clip, dict)), {})
    about = []
    if len(clips) > 1:
        about.append(f"the first of {len(clips)} clips")
    if others:
        names = ", ".join(str(as_dict(other).get("path")) for other in others)
        about.append(f"blended with {names}")
    sound = _find_sound(str(first.get("path") or name), folder, inputs, first.get("sha256"))
    return dataclasses.replace(sound, about="; ".join(about))


def _find_sound(
    name: str, folder: Path | None, inputs: Collection[str], sha256: Any = None
) -> SoundFile:
    """Look for a file at its recorded path, beside the output, and where the batch read it."""
    places = [Path(name)] if folder is None else [Path(name), folder / name, folder.parent / name]
    path = None
    with contextlib.suppress(OSError, ValueError):
        path = next((place for place in places if place.is_file()), None)
        if path is None and name:  # relative to any folder
            end = os.sep + os.path.join("", *(p for p in Path(name).parts if p not in (".", "..")))
            path = next((Path(p) for p in inputs if p.endswith(end) and os.path.isfile(p)), None)
    return SoundFile(path, name, str(sha256 or ""), reason="" if path else "not found")


def _add_evaluation(pairs: Sequence[PairRecord], evaluation: Mapping[str, Any]) -> None:
    """Add an evaluation to the pairs whose outputs it measured."""
    baselines = {
        str(entry.get("name")): _measures(entry)
        for entry in evaluation["baselines"]
        if isinstance(entry, dict)
    }
    for entry in evaluation["outputs"]:
        for pair in pairs:
            sha256 = pair.sounds["result"].sha256
            if isinstance(entry, dict) and sha256 and entry.get("sha256") == sha256:
                pair.measures, pair.baselines = _measures(entry), baselines


def _measures(entry: Mapping[str, Any]) -> dict[str, float | None]:
    return {str(name): as_number(value) for name, value in as_dict(entry.get("measures")).items()}


def as_number(value: Any) -> float | None:
    """Return a finite number as a float, and None for any other JSON value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < float("inf") else None


def is_number(text: str) -> bool:
    """Check whether a text is a finite number."""
    try:
        return as_number(float(text)) is not None
    except ValueError:
        return False


def as_list(value: Any) -> list[Any]:
    """Return a list unchanged, and an empty one for any other JSON value."""
    return value if isinstance(value, list) else []


def as_dict(value: Any) -> dict[str, Any]:
    """Return a dictionary unchanged, and an empty one for any other JSON value."""
    return value if isinstance(value, dict) else {}
