"""What stands where on the page of a batch: rows, a matrix, failures, and details on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.core import plots
from audiostyle.evaluation import table
from audiostyle.report import sounds
from audiostyle.report.charts import clock, decibel_ticks, frequency_ticks, time_ticks
from audiostyle.report.pair_page import LABELS, PlayerView, Track, colour_bar
from audiostyle.report.records import ROLES, PairCollection, PairRecord, SoundFile, number
from audiostyle.report.sounds import LoadedSound, PlayerSource

SMALL, LARGE = (256, 64), (640, 128)  # columns and bands of a picture
FEW = 100  # cases whose pictures may be large
HIGH_DB = 15.0  # analysed sounds are of one level: hardly any band is louder
MOST_POINTS = 40  # of a loss curve
MATRIX_ROWS, MATRIX_COLUMNS = 60, 24
LEVELS = 10  # shades of the matrix
MEASURES = [row[0] for _, _, rows in table.SECTIONS for row in rows]


@dataclass(frozen=True)
class Row:
    """A pair as the table shows it; numbers that are not known are None."""

    name: str
    content: str
    style: str
    content_genre: str
    style_genre: str
    status: str
    reason: str
    score: float | None
    loss: float | None
    seconds: float | None
    picture: int


@dataclass(frozen=True)
class Cell:
    """The mean score of some pairs.

    Attributes
    ----------
    text : str
    level : int
        Its shade, from 0 to `LEVELS`; -1 where there is no pair.
    title : str
    """

    text: str
    level: int
    title: str


@dataclass(frozen=True)
class Matrix:
    """Mean scores by content and style.

    Attributes
    ----------
    by : (str, str)
        Fields of `Row` that make rows and columns.
    rows, columns : list of str
    cells : list of list of Cell
    """

    by: tuple[str, str]
    rows: list[str]
    columns: list[str]
    cells: list[list[Cell]]


@dataclass(frozen=True)
class BatchView:
    """The page of a batch, from top to bottom."""

    title: str
    facts: list[tuple[str, str, str]]
    notes: list[str]
    rows: list[Row]
    choices: dict[str, list[str]]
    matrix: Matrix | None
    failures: list[tuple[str, str, list[str]]]
    stage: PlayerView
    sections: tuple[Any, ...]
    kind: str
    pictures: list[str]
    details: dict[str, Any]


@dataclass(frozen=True)
class _Shown:
    """A sound on the page of a batch: where its picture and its source are kept."""

    picture: int
    width_seconds: float
    source: int
    seconds: float
    about: str
    reason: str


class BatchPageBuilder:
    """Takes pairs one by one, and keeps of each no more than the page needs.

    Every picture and every source is kept once, however many pairs share it.

    Parameters
    ----------
    collection : Collection
    page : Path
        Where the page will lie.
    limit : int, in bytes
        So much of it may be sound; if all together are more, all are linked.
    """

    def __init__(self, collection: PairCollection, page: Path, limit: int) -> None:
        self._collection = collection
        self._page = page
        self._config = next((c.config for c in collection.cases if c.record), None)
        self._config = self._config or collection.cases[0].config
        self._size = LARGE if len(collection.cases) <= FEW else SMALL
        self._left = limit
        self._linked = limit <= 0
        self._kind = "image/webp"
        self._pictures: list[str] = []
        self._heard: list[LoadedSound] = []  # of each source, without what was drawn
        self._sources: list[PlayerSource | None] = []
        self._known: dict[Any, _Shown] = {}
        self._rows: list[Row] = []
        self._details: list[dict[str, Any]] = []
        self._axes: dict[str, list[tuple[float, str]]] = {}

    @property
    def _scale(self) -> tuple[float, float]:
        assert self._config is not None
        return HIGH_DB - self._config.top_db, HIGH_DB

    def add(self, case: PairRecord) -> None:
        """Hear and draw a pair.

        Parameters
        ----------
        case : Case
        """
        shown = {role: self._show(case.sounds[role], None) for role in ("content", "result")}
        seconds = max(one.seconds for one in shown.values())
        shown["style"] = self._show(case.sounds["style"], seconds or None)
        seconds = seconds or shown["style"].seconds
        self._rows.append(_row(case, shown["result"].picture))
        self._details.append(self._detail(case, shown, seconds))

    def _show(self, sound: SoundFile, limit: float | None) -> _Shown:
        key = (sound.path, sound.start, sound.seconds, limit) if sound.path else sound.name
        if key not in self._known or not sound.path:
            self._known[key] = self._draw(sound, limit)
        return self._known[key]

    def _draw(self, sound: SoundFile, limit: float | None) -> _Shown:
        assert self._config is not None
        heard = sounds.load_sound(
            sound, self._config, limit=limit, columns=self._size[0], check=False
        )
        if heard.reason or not heard.S.size:
            return _Shown(-1, 0.0, -1, 0.0, sound.about, heard.reason)
        self._kind, data = plots.spectrogram_image(heard.S, self._scale, self._size)
        self._pictures.append(sounds.data_uri("", data).partition(",")[2])
        about = ", ".join(part for part in (heard.about, sound.about) if part)
        shown = _Shown(
            len(self._pictures) - 1,
            heard.S_seconds,
            len(self._heard),
            round(heard.seconds, 3),
            about,
            "",
        )
        del heard.S, heard.wave
        self._heard.append(heard)
        self._sources.append(None if self._linked else self._embed(heard))
        return shown

    def _embed(self, heard: LoadedSound) -> PlayerSource | None:
        source = sounds.embed(heard, self._left)
        if source is None:
            self._linked = True
        else:
            self._left -= source.n_bytes
        return source

    def _detail(
        self, case: PairRecord, shown: Mapping[str, _Shown], seconds: float
    ) -> dict[str, Any]:
        axis = f"{seconds:.3f}"
        if seconds and axis not in self._axes:
            self._axes[axis] = [(tick.at, tick.text) for tick in time_ticks(seconds)]
        tracks = []
        for role in ROLES:
            one = shown[role]
            width = round(100 * one.width_seconds / seconds, 2) if seconds else 0
            about = ", ".join(p for p in (one.about, clock(one.seconds, True)) if p)
            named = [case.sounds[role].name, about if one.seconds else one.about, one.reason]
            tracks.append([one.picture, width, one.source, one.seconds, *named])
        detail: dict[str, Any] = {"axis": axis, "tracks": tracks, "losses": _losses(case)}
        if case.measures:
            cells = [_rounded(case.measures.get(name)) for name in MEASURES]
            detail["measures"] = cells
        notes = [f"{case.kind}: {case.reason}"] if case.reason else []
        return {**detail, "notes": notes + case.notes}

    def view(self) -> BatchView:
        """Put everything in the order of the page.

        Returns
        -------
        BatchView
        """
        assert self._config is not None
        if self._linked:
            self._sources = [sounds.link(heard, self._page) for heard in self._heard]
        sources = [(s.url, s.offset) if s is not None else None for s in self._sources]
        blank = [Track(role, LABELS[role], i) for i, role in enumerate(ROLES, 1)]
        stage = PlayerView(
            blank, 0.0, [], frequency_ticks(self._config), decibel_ticks(self._scale), colour_bar()
        )
        names = ("content_genre", "style_genre", "style", "status")
        return BatchView(
            title=self._collection.title,
            facts=_facts(self._rows),
            notes=self._collection.notes,
            rows=self._rows,
            choices={name: sorted({str(getattr(r, name)) for r in self._rows}) for name in names},
            matrix=make_matrix(self._rows),
            failures=_failures(self._collection.cases),
            stage=stage,
            sections=table.SECTIONS,
            kind=self._kind,
            pictures=self._pictures,
            details={"pairs": self._details, "sources": sources, "axes": self._axes},
        )


def _row(case: PairRecord, picture: int) -> Row:
    losses = [number(step.get("total")) for step in case.losses]
    return Row(
        name=case.name,
        content=Path(case.sounds["content"].name).name,
        style=Path(case.sounds["style"].name).name,
        content_genre=case.content_genre,
        style_genre=case.style_genre,
        status=case.status,
        reason=case.reason,
        score=case.measures.get("score"),
        loss=losses[-1] if losses else None,
        seconds=case.seconds,
        picture=picture,
    )


def _losses(case: PairRecord) -> dict[str, list[float | None]]:
    """Thin the loss curves out: steps, then weighted values to four digits."""
    if not case.losses:
        return {}
    every = -(-len(case.losses) // MOST_POINTS)
    curves = plots.loss_curves(case.losses, case.record.get("parameters") or {})
    chosen = [*range(0, len(case.losses) - 1, every), len(case.losses) - 1]
    kept = {name: [_rounded(values[i]) for i in chosen] for name, values in curves.items()}
    return {"step": [float(i) for i in chosen], **kept}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _facts(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    counts = {s: sum(row.status == s for row in rows) for s in ("failed", "pending", "interrupted")}
    done = len(rows) - sum(counts.values())
    found = [("Pairs", str(len(rows)), ""), ("Done", str(done), "")]
    found += [(status.capitalize(), str(n), "") for status, n in counts.items() if n]
    scores = sorted(row.score for row in rows if row.score is not None)
    if scores:
        found.append(("Mean score", f"{sum(scores) / len(scores):.2f}", f"of {len(scores)} judged"))
        found.append(
            ("Range", f"{scores[0]:.2f}\u2013{scores[-1]:.2f}", "lowest and highest score")
        )
    seconds = [row.seconds for row in rows if row.seconds is not None]
    if seconds:
        found.append(("Time a pair", f"{sum(seconds) / len(seconds):.1f} s", "mean"))
    return found


def _failures(cases: Sequence[PairRecord]) -> list[tuple[str, str, list[str]]]:
    """Gather pairs that failed for the same reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        if case.status == "failed":
            found.setdefault((case.kind, case.reason), []).append(case.name)
    return [(kind, reason, names) for (kind, reason), names in sorted(found.items())]


def make_matrix(rows: Sequence[Row]) -> Matrix | None:
    """Average scores by content and style.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    Matrix or None
        By genre where a side has several, else by clip; None where a side has too many clips to
        look at, or there is neither more than one cell nor a score.
    """
    judged = [row for row in rows if row.score is not None]
    by = tuple(
        f"{side}_genre" if len({getattr(r, f"{side}_genre") for r in judged}) > 1 else side
        for side in ("content", "style")
    )
    get: list[Callable[[Row], str]] = [lambda r, n=name: str(getattr(r, n)) for name in by]  # type: ignore[misc]
    heads, columns = (sorted({of(row) for row in judged}) for of in get)
    if not judged or len(heads) * len(columns) < 2:
        return None
    if len(heads) > MATRIX_ROWS or len(columns) > MATRIX_COLUMNS:
        return None
    scores: dict[tuple[str, str], list[float]] = {}
    for row in judged:
        assert row.score is not None
        scores.setdefault((get[0](row), get[1](row)), []).append(row.score)
    cells = [
        [_cell(head, column, scores.get((head, column), [])) for column in columns]
        for head in heads
    ]
    return Matrix((by[0], by[1]), heads, columns, cells)


def _cell(head: str, column: str, scores: Sequence[float]) -> Cell:
    if not scores:
        return Cell("\u2013", -1, f"{head} in the style of {column}: no pair was judged")
    mean = sum(scores) / len(scores)
    pairs = "1 pair" if len(scores) == 1 else f"{len(scores)} pairs"
    level = round(LEVELS * min(max(mean, 0.0), 1.0))
    return Cell(f"{mean:.2f}", level, f"{head} in the style of {column}: mean score of {pairs}")
