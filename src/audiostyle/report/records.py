"""What a page shows of transfers: records turned into plain dataclasses. Nothing is heard here."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiostyle.batch import journal, results
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, AudioStyleError
from audiostyle.report.finder import Finder
from audiostyle.utils.atomic_files import record_path

ROLES = ("content", "style", "result")
"""What is heard of a pair, in the order of the keys 1, 2 and 3."""


@dataclass(frozen=True)
class SoundFile:
    """A sound of a pair, as its record names it.

    Attributes
    ----------
    role : str
        One of `ROLES`.
    path : Path or None
        Where the file lies now; None where it was not found.
    name : str
        For people: the path of the record.
    sha256 : str
        As recorded; empty where it is not known.
    start, seconds : float or None, in seconds
        The part of the file that is meant; to its end if not known.
    reason : str
        Why there is nothing to hear, if there is nothing.
    about : str
        What else is to be said, as of how many clips a style consists.
    """

    role: str
    path: Path | None
    name: str
    sha256: str = ""
    start: float = 0.0
    seconds: float | None = None
    reason: str = ""
    about: str = ""


@dataclass
class PairRecord:
    """A pair, and what became of it.

    Attributes
    ----------
    name : str
        Of the output.
    status : str
        ``done``, ``interrupted`` (its descent was), ``failed`` or ``pending``.
    kind, reason : str
        Why it failed.
    sounds : dict of str to Sound
        By role.
    content_genre, style_genre : str
    seconds : float or None
        That it took.
    record : dict
        What lies beside the output; empty where there is none.
    measures : dict of str to float or None
        Of an evaluation; empty without one.
    baselines : dict of str to dict
        Measures of the trivial outputs, by name.
    notes : list of str
    """

    name: str
    status: str
    sounds: dict[str, SoundFile]
    kind: str = ""
    reason: str = ""
    content_genre: str = ""
    style_genre: str = ""
    seconds: float | None = None
    record: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, float | None] = field(default_factory=dict)
    baselines: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def config(self) -> TransferConfig:
        """The parameters of the record; the default where it has none that can be used."""
        try:  # a registered loss may not be known here, and changes no axis
            return TransferConfig(**{**self.record["parameters"], "losses": ()})
        except (AudioStyleError, KeyError, TypeError):
            return TransferConfig()

    @property
    def losses(self) -> list[dict[str, Any]]:
        """The descent, as recorded."""
        return [step for step in as_list(self.record.get("losses")) if isinstance(step, dict)]


@dataclass
class PairCollection:
    """The pairs of a page.

    Attributes
    ----------
    title : str
    cases : list of Case
    whole : bool
        Whether they are one batch, or one by one from files.
    notes : list of str
    """

    title: str
    cases: list[PairRecord]
    whole: bool = False
    notes: list[str] = field(default_factory=list)


def collect(paths: Sequence[Path]) -> PairCollection:
    """Find the pairs that folders of batches, outputs or their records stand for.

    Parameters
    ----------
    paths : sequence of Path
        Folders that `audiostyle.run_batch` wrote, or that hold outputs with their records; outputs;
        records; and what ``audiostyle evaluate --json`` printed, saved to a file.

    Returns
    -------
    Collection

    Raises
    ------
    AudioFileError
        If one of them is none of these.
    """
    cases: list[PairRecord] = []
    evaluations: list[dict[str, Any]] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            cases += _from_folder(path, notes)
            continue
        document = _read_document(path)
        if "baselines" in document and "outputs" in document:
            evaluations.append(document)
        else:
            output = path.with_suffix("") if path.suffix == ".json" else path
            cases.append(_from_record(output, document))
    for evaluation in evaluations:
        _add_evaluation(cases, evaluation)
    if not cases:
        what = "an evaluation and no transfer; name its outputs, too" if evaluations else "no pair"
        raise AudioFileError(f"{paths[0]}: holds {what}")
    whole = len(paths) == 1 and paths[0].is_dir()
    title = str(paths[0].resolve().name or paths[0]) if len(paths) == 1 else f"{len(cases)} pairs"
    return PairCollection(title if whole or len(cases) > 1 else cases[0].name, cases, whole, notes)


def _read_document(path: Path) -> dict[str, Any]:
    """Read the record of an output, or the file itself if it is one."""
    record = path if path.suffix == ".json" else record_path(path)
    try:
        document = json.loads(record.read_bytes())
        if not isinstance(document, dict):
            raise ValueError
        if not ("baselines" in document and "outputs" in document):
            document["output"], document["content"]["path"], document["styles"][0]["path"]
    except (FileNotFoundError, NotADirectoryError):
        if path == record or not path.exists():
            raise AudioFileError(f"{path}: no such file or folder; check the name") from None
        raise AudioFileError(
            f"{path}: has no record {record.name} beside it, as audiostyle transfer writes it; a "
            "report needs one"
        ) from None
    except OSError as error:
        raise AudioFileError(f"{record}: cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise AudioFileError(
            f"{record}: is no record of a transfer; name an output, its record, or the folder of a "
            "batch"
        ) from None
    return document


def _from_folder(folder: Path, notes: list[str]) -> list[PairRecord]:
    """Read a batch: its journal knows what was done last, its table what was planned."""
    state = journal.read(folder)
    rows = _read_rows(folder / results.JSONL_NAME)
    known = Finder(entry["path"] for entry in state.inputs.values())
    names = list(rows) if not state.time else sorted(state.planned)
    if not names and not state.time:
        records = sorted(p for p in folder.rglob("*.json") if p.with_suffix("").is_file())
        if not records:
            raise AudioFileError(
                f"{folder}: holds neither a batch nor outputs with their records; name the folder "
                "of audiostyle batch"
            )
        return [_from_record(p.with_suffix(""), _read_document(p)) for p in records]
    if state.time and journal.is_busy(folder):
        notes.append("the batch was running when this page was made")
    cases = []
    for name in names:
        pair = state.pairs.get(name)
        row = rows.get(name, {"pair": name, "status": "pending"})
        if pair is not None and pair.status in ("done", "failed"):
            scores = {f"score_{k}": v for k, v in (pair.scores or {}).items()}
            row = {**row, **pair.facts, **scores, "status": pair.status}
        cases.append(_from_row(folder, name, row, known))
    return cases


def _read_rows(path: Path) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(OSError):
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, LookupError, TypeError):
                row = json.loads(line)
                rows[str(row["pair"])] = row
    return rows


def _from_row(folder: Path, name: str, row: Mapping[str, Any], known: Finder) -> PairRecord:
    """Make a case of a row of a batch and, if it is done, of the record beside its output."""
    output = folder / name
    try:
        case = _from_record(output, _read_document(output), known)
    except AudioFileError as error:
        sounds = {
            role: _sound(role, str(row.get(role) or ""), folder, known)
            for role in ("content", "style")
        }
        sounds["result"] = SoundFile("result", None, str(output), reason="there is no output")
        case = PairRecord(name, "", sounds)
        if row["status"] == "done":
            case.notes.append(str(error))
    status = str(row.get("status"))
    case.name = name
    case.status = case.status if status == "done" and case.status else status
    case.kind, case.reason = (str(row.get(key) or "") for key in ("kind", "reason"))
    case.content_genre, case.style_genre = (
        str(row.get(f"{role}_genre") or "") for role in ("content", "style")
    )
    case.seconds = number(row.get("seconds"))
    case.measures = {
        key.removeprefix("score_"): number(value)
        for key, value in row.items()
        if key.startswith("score_")
    }
    return case


def _from_record(output: Path, record: dict[str, Any], known: Finder | None = None) -> PairRecord:
    """Make a case of what lies beside an output."""
    folder, content, style = output.parent, record["content"], record["styles"][0]
    made = record["output"] if isinstance(record["output"], dict) else {}
    clips = as_list(style.get("clips"))
    first = next((clip for clip in clips if isinstance(clip, dict)), {})
    names = [str(style["path"]) for style in record["styles"]]
    about = []
    if len(clips) > 1:
        about.append(f"the first of {len(clips)} clips")
    if len(names) > 1:
        about.append(f"blended with {', '.join(names[1:])}")
    rate = number(content.get("sr")) or 1.0
    samples = number(content.get("samples"))
    part: dict[str, Any] = {
        "start": (number(content.get("start_sample")) or 0.0) / rate,
        "seconds": samples / rate if samples else None,
    }
    name = str(first.get("path") or names[0])
    sounds = {
        "content": _sound(
            "content", str(content["path"]), folder, known, content.get("sha256"), **part
        ),
        "style": _sound("style", name, folder, known, first.get("sha256")),
        "result": _sound("result", str(output), None, None, made.get("sha256")),
    }
    if style.get("sha256"):
        reason = "a style file holds statistics, and no sound"
        sounds["style"] = SoundFile("style", None, names[0], str(style["sha256"]), reason=reason)
    elif about:
        sounds["style"] = _with(sounds["style"], about="; ".join(about))
    return PairRecord(
        output.name,
        "interrupted" if record.get("status") == "interrupted" else "done",
        sounds,
        seconds=_total(record.get("timings")),
        record=record,
        notes=[str(note) for note in as_list(record.get("notes"))],
    )


def _with(sound: SoundFile, **changes: Any) -> SoundFile:
    return SoundFile(**{**vars(sound), **changes})


def _total(timings: Any) -> float | None:
    if not isinstance(timings, dict) or not timings:
        return None
    laps = {name: number(lap) or 0.0 for name, lap in timings.items()}
    return sum(lap for name, lap in laps.items() if not name.startswith("to "))


def _sound(
    role: str,
    name: str,
    folder: Path | None,
    known: Finder | None,
    sha256: Any = None,
    **part: Any,
) -> SoundFile:
    """Look for a file where its name says, beside the output, and where the batch read it."""
    places = [Path(name)] if folder is None else [Path(name), folder / name, folder.parent / name]
    path = None
    with contextlib.suppress(OSError, ValueError):
        found = next((place for place in places if place.is_file()), None)
        path = found or (known.find(name) if known is not None and name else None)
    reason = ""
    if path is None:
        folder_there = bool(name) and os.path.isdir(name)
        reason = "a folder; no clip of it is recorded" if folder_there else "not found"
    return SoundFile(role, path, name, str(sha256 or ""), reason=reason, **part)


def _add_evaluation(cases: Sequence[PairRecord], evaluation: Mapping[str, Any]) -> None:
    """Give an evaluation to the cases whose outputs it judged."""
    trivial = {
        str(entry.get("name")): _measures(entry)
        for entry in evaluation["baselines"]
        if isinstance(entry, dict)
    }
    for entry in evaluation["outputs"]:
        for case in cases:
            sha256 = case.sounds["result"].sha256
            if isinstance(entry, dict) and sha256 and entry.get("sha256") == sha256:
                case.measures, case.baselines = _measures(entry), trivial


def _measures(entry: Mapping[str, Any]) -> dict[str, float | None]:
    measures = entry.get("measures")
    found = measures if isinstance(measures, dict) else {}
    return {str(name): number(value) for name, value in found.items()}


def number(value: Any) -> float | None:
    """Return a finite number as it is, and None for everything else a file may hold.

    Parameters
    ----------
    value : object

    Returns
    -------
    float or None
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < float("inf") else None


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and an empty one for everything else a file may hold.

    Parameters
    ----------
    value : object

    Returns
    -------
    list of Any
    """
    return value if isinstance(value, list) else []
