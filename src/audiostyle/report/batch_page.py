"""Page of a batch: a table of pairs, a matrix of scores, failures, and details on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.core import plots
from audiostyle.evaluation import table
from audiostyle.report import charts, sounds
from audiostyle.report.pair_page import LABELS, PlayerView, Track, color_bar
from audiostyle.report.records import ROLES, PairCollection, PairRecord, SoundFile, as_number
from audiostyle.report.sounds import LoadedSound, PlayerSource

SMALL_IMAGE, LARGE_IMAGE = (256, 64), (640, 128)  # columns and bands of a spectrogram
MAX_LARGE = 100  # pairs whose spectrograms may be large
MAX_DB = 15.0  # all sounds have the same level: hardly any band is louder
MAX_POINTS = 40  # of a loss curve
MAX_MATRIX_ROWS, MAX_MATRIX_COLUMNS = 60, 24
LEVELS = 10  # shades of the matrix
MEASURES = [row[0] for _, _, rows in table.SECTIONS for row in rows]


@dataclass(frozen=True)
class Row:
    """A pair in the table; unknown numbers are None."""

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
    picture: int  # index; -1 if there is none


Cell = tuple[str, int, str]  # mean score as text, shade (-1 without a pair), and description


@dataclass(frozen=True)
class Matrix:
    """Mean scores by content and style."""

    by: tuple[str, str]  # fields of Row that make rows and columns
    rows: list[str]
    columns: list[str]
    cells: list[list[Cell]]


@dataclass(frozen=True)
class _TrackData:
    """A sound of the page, and the indices of its picture and source."""

    picture: int = -1
    S_seconds: float = 0.0
    source: int = -1
    seconds: float = 0.0
    about: str = ""
    reason: str = ""


class BatchPageBuilder:
    """Collects pairs one by one, and keeps only what the page needs.

    Pictures and sources that several pairs share are stored once. If the sounds together take more
    than `max_bytes`, all of them are linked.
    """

    def __init__(self, collection: PairCollection, page: Path, max_bytes: int) -> None:
        self._collection = collection
        self._page = page
        pairs = collection.pairs
        self._config = next((pair for pair in pairs if pair.record), pairs[0]).config
        self._scale = MAX_DB - self._config.top_db, MAX_DB
        self._size = LARGE_IMAGE if len(pairs) <= MAX_LARGE else SMALL_IMAGE
        self._bytes_left = max_bytes
        self._embeds = max_bytes > 0
        self._media_type = "image/webp"
        self._pictures: list[str] = []
        self._loaded: list[LoadedSound] = []  # one per source, without arrays
        self._sources: list[PlayerSource | None] = []
        self._tracks: dict[Any, _TrackData] = {}
        self._rows: list[Row] = []
        self._details: list[dict[str, Any]] = []
        self._axes: dict[str, list[tuple[float, str]]] = {}

    def add(self, pair: PairRecord) -> None:
        """Load and draw the sounds of a pair."""
        tracks = {role: self._track(pair.sounds[role], None) for role in ("content", "result")}
        seconds = max(track.seconds for track in tracks.values())
        tracks["style"] = self._track(pair.sounds["style"], seconds or None)
        seconds = seconds or tracks["style"].seconds
        self._rows.append(_row(pair, tracks["result"].picture))
        self._details.append(self._detail(pair, tracks, seconds))

    def _track(self, sound: SoundFile, max_seconds: float | None) -> _TrackData:
        key = (sound.path, sound.start, sound.seconds, max_seconds)
        if sound.path is None or key not in self._tracks:
            self._tracks[key] = self._load(sound, max_seconds)
        return self._tracks[key]

    def _load(self, sound: SoundFile, max_seconds: float | None) -> _TrackData:
        loaded = sounds.load_sound(
            sound,
            self._config,
            max_seconds=max_seconds,
            columns=self._size[0],
            check_digest=False,
        )
        if loaded.reason or not loaded.S.size:
            return _TrackData(about=sound.about, reason=loaded.reason)
        self._media_type, data = plots.spectrogram_image(loaded.S, self._scale, self._size)
        self._pictures.append(sounds.data_uri("", data).partition(",")[2])
        track = _TrackData(
            len(self._pictures) - 1,
            loaded.S_seconds,
            len(self._loaded),
            round(loaded.seconds, 3),
            ", ".join(part for part in (loaded.about, sound.about) if part),
        )
        del loaded.S, loaded.wave
        self._loaded.append(loaded)
        self._sources.append(self._embed(loaded) if self._embeds else None)
        return track

    def _embed(self, loaded: LoadedSound) -> PlayerSource | None:
        source = sounds.embed(loaded, self._bytes_left)
        if source is None:
            self._embeds = False
        else:
            self._bytes_left -= source.n_bytes
        return source

    def _detail(
        self, pair: PairRecord, tracks: Mapping[str, _TrackData], seconds: float
    ) -> dict[str, Any]:
        """Put together what the dialog of a pair shows, as batch.js reads it."""
        axis = f"{seconds:.3f}"
        if seconds and axis not in self._axes:
            self._axes[axis] = [(tick.at, tick.text) for tick in charts.time_ticks(seconds)]
        rows = []
        for role in ROLES:
            track, name = tracks[role], pair.sounds[role].name
            width = round(100 * track.S_seconds / seconds, 2) if seconds else 0
            length = charts.format_time(track.seconds, True) if track.seconds else ""
            about = ", ".join(part for part in (track.about, length) if part)
            row = [track.picture, width, track.source, track.seconds, name, about, track.reason]
            rows.append(row)
        detail: dict[str, Any] = {"axis": axis, "tracks": rows, "losses": _losses(pair)}
        if pair.measures:
            detail["measures"] = [_rounded(pair.measures.get(name)) for name in MEASURES]
        notes = [f"{pair.kind}: {pair.reason}"] if pair.reason else []
        return {**detail, "notes": notes + pair.notes}

    def values(self) -> dict[str, Any]:
        """Return the values of ``batch.html.j2`` for the pairs that were added."""
        if not self._embeds:
            self._sources = [sounds.link(loaded, self._page) for loaded in self._loaded]
        sources = [(s.url, s.offset) if s is not None else None for s in self._sources]
        player = PlayerView(
            [Track(role, LABELS[role], i) for i, role in enumerate(ROLES, 1)],
            0.0,
            [],
            charts.frequency_ticks(self._config),
            charts.decibel_ticks(self._scale),
            color_bar(),
        )
        names = ("content_genre", "style_genre", "style", "status")
        return dict(
            title=self._collection.title,
            facts=_facts(self._rows),
            notes=self._collection.notes,
            rows=self._rows,
            choices={name: sorted({str(getattr(r, name)) for r in self._rows}) for name in names},
            matrix=make_matrix(self._rows),
            failures=_failures(self._collection.pairs),
            player=player,
            sections=table.SECTIONS,
            pictures={"type": self._media_type, "data": self._pictures},
            details={"pairs": self._details, "sources": sources, "axes": self._axes},
        )


def _row(pair: PairRecord, picture: int) -> Row:
    return Row(
        name=pair.name,
        content=Path(pair.sounds["content"].name).name,
        style=Path(pair.sounds["style"].name).name,
        content_genre=pair.content_genre,
        style_genre=pair.style_genre,
        status=pair.status,
        reason=pair.reason,
        score=pair.measures.get("score"),
        loss=as_number(pair.losses[-1].get("total")) if pair.losses else None,
        seconds=pair.seconds,
        picture=picture,
    )


def _losses(pair: PairRecord) -> dict[str, list[float | None]]:
    """Thin out the loss curves: iterations, then weighted values to four digits."""
    if not pair.losses:
        return {}
    last = len(pair.losses) - 1
    chosen = [*range(0, last, -(-len(pair.losses) // MAX_POINTS)), last]
    curves = plots.loss_curves(pair.losses, pair.record.get("parameters") or {})
    kept = {name: [_rounded(values[i]) for i in chosen] for name, values in curves.items()}
    return {"iteration": [float(i) for i in chosen], **kept}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _facts(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """List the main numbers: name, value, and meaning."""
    counts = {s: sum(row.status == s for row in rows) for s in ("failed", "pending", "interrupted")}
    done = len(rows) - sum(counts.values())
    facts = [("Pairs", str(len(rows)), ""), ("Done", str(done), "")]
    facts += [(status.capitalize(), str(n), "") for status, n in counts.items() if n]
    scores = sorted(row.score for row in rows if row.score is not None)
    if scores:
        mean = f"{sum(scores) / len(scores):.2f}"
        facts.append(("Mean score", mean, f"of {len(scores)} evaluated"))
        score_range = f"{scores[0]:.2f}\u2013{scores[-1]:.2f}"
        facts.append(("Range", score_range, "lowest and highest score"))
    seconds = [row.seconds for row in rows if row.seconds is not None]
    if seconds:
        facts.append(("Time per pair", f"{sum(seconds) / len(seconds):.1f} s", "mean"))
    return facts


def _failures(pairs: Sequence[PairRecord]) -> list[tuple[str, str, list[str]]]:
    """Group pairs that failed for the same reason: kind, reason, and names."""
    found: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        if pair.status == "failed":
            found.setdefault((pair.kind, pair.reason), []).append(pair.name)
    return [(kind, reason, names) for (kind, reason), names in sorted(found.items())]


def make_matrix(rows: Sequence[Row]) -> Matrix | None:
    """Average scores by content and style.

    Contents and styles are grouped by genre if there are several, else they are single clips. The
    result is None if there are too many of them, fewer than two cells, or no score.
    """
    scored = [row for row in rows if row.score is not None]
    row_field, column_field = (
        f"{side}_genre" if len({getattr(r, f"{side}_genre") for r in scored}) > 1 else side
        for side in ("content", "style")
    )
    scores: dict[tuple[str, str], list[float]] = {}
    for row in scored:
        assert row.score is not None
        key = str(getattr(row, row_field)), str(getattr(row, column_field))
        scores.setdefault(key, []).append(row.score)
    heads, columns = (sorted({key[i] for key in scores}) for i in (0, 1))
    if len(heads) * len(columns) < 2:
        return None
    if len(heads) > MAX_MATRIX_ROWS or len(columns) > MAX_MATRIX_COLUMNS:
        return None
    cells = [
        [_cell(head, column, scores.get((head, column), [])) for column in columns]
        for head in heads
    ]
    return Matrix((row_field, column_field), heads, columns, cells)


def _cell(head: str, column: str, scores: Sequence[float]) -> Cell:
    title = f"{head} in the style of {column}"
    if not scores:
        return "\u2013", -1, f"{title}: no pair was evaluated"
    mean = sum(scores) / len(scores)
    pairs = "1 pair" if len(scores) == 1 else f"{len(scores)} pairs"
    level = round(LEVELS * min(max(mean, 0.0), 1.0))
    return f"{mean:.2f}", level, f"{title}: mean score of {pairs}"
