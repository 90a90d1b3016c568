"""Page of a batch: a table of pairs, a matrix of scores, failures, and details on demand."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiostyle.core import plots
from audiostyle.evaluation import table
from audiostyle.report import charts, sounds
from audiostyle.report.charts import Tick
from audiostyle.report.pair_page import PlayerView, Track
from audiostyle.report.records import ROLES, PairCollection, PairRecord, SoundFile, is_number
from audiostyle.report.settings import describe_settings, differing_settings
from audiostyle.report.sounds import LoadedSound

SMALL_IMAGE, LARGE_IMAGE = (256, 64), (640, 128)  # columns and bands of a spectrogram
MAX_LARGE = 100  # pairs whose spectrograms may be large
MAX_DB = 15.0  # all sounds have the same level: hardly any band is louder
MAX_POINTS = 40  # of a loss curve
MAX_MATRIX_ROWS, MAX_MATRIX_COLUMNS = 60, 24
LEVELS = 10  # shades of the matrix
MEASURES = [row[0] for _, _, rows in table.SECTIONS for row in rows]


Cell = tuple[str, int, str]  # mean score as text, shade (-1 without a pair), and description


@dataclass(frozen=True)
class Matrix:
    """Mean scores by content and style."""

    by: tuple[str, str]  # attributes of PairRecord that make rows and columns
    rows: list[str]
    columns: list[str]
    cells: list[list[Cell]]


class BatchPageBuilder:
    """Collects pairs one by one, and keeps only what the page needs.

    Sounds that several pairs share are stored once.
    """

    def __init__(self, collection: PairCollection) -> None:
        self._collection = collection
        pairs = collection.pairs
        self._config = next((pair for pair in pairs if pair.record), pairs[0]).config
        self._scale = MAX_DB - self._config.top_db, MAX_DB
        self._size = LARGE_IMAGE if len(pairs) <= MAX_LARGE else SMALL_IMAGE
        self._media_type = "image/webp"
        self._loaded: list[LoadedSound] = []  # without arrays
        self._images: list[str] = []  # one per loaded sound
        # Each with its index in these lists, or -1.
        self._tracks: dict[Any, tuple[LoadedSound, int]] = {}
        self._rows: list[tuple[PairRecord, int]] = []  # with the index of the result
        self._details: list[dict[str, Any]] = []
        self._axes: dict[str, list[Tick]] = {}

    def add(self, pair: PairRecord) -> None:
        """Load and draw the sounds of a pair."""
        tracks = {role: self._track(pair.sounds[role], None) for role in ("content", "result")}
        seconds = max(loaded.seconds for loaded, _ in tracks.values())
        tracks["style"] = self._track(pair.sounds["style"], seconds or None)
        seconds = seconds or tracks["style"][0].seconds
        self._rows.append((pair, tracks["result"][1]))
        self._details.append(self._detail(pair, tracks, seconds))

    def _track(self, sound: SoundFile, max_seconds: float | None) -> tuple[LoadedSound, int]:
        key = (sound.path, sound.start, sound.seconds, max_seconds)
        if sound.path is None or key not in self._tracks:
            self._tracks[key] = self._load(sound, max_seconds)
        return self._tracks[key]

    def _load(self, sound: SoundFile, max_seconds: float | None) -> tuple[LoadedSound, int]:
        loaded = sounds.load_sound(
            sound,
            self._config,
            max_seconds=max_seconds,
            columns=self._size[0],
            check_digest=False,
        )
        if loaded.reason or not loaded.S.size:
            return loaded, -1
        self._media_type, data = plots.spectrogram_image(loaded.S, self._scale, self._size)
        self._images.append(base64.b64encode(data).decode())
        del loaded.S, loaded.wave
        self._loaded.append(loaded)
        return loaded, len(self._loaded) - 1

    def _detail(
        self, pair: PairRecord, tracks: Mapping[str, tuple[LoadedSound, int]], seconds: float
    ) -> dict[str, Any]:
        """Put together what the dialog of a pair shows, as batch.js reads it."""
        axis = f"{seconds:.3f}"
        if seconds and axis not in self._axes:
            self._axes[axis] = charts.time_ticks(seconds)
        rows = []
        for role in ROLES:
            loaded, index = tracks[role]
            width = round(100 * loaded.S_seconds / seconds, 2) if seconds else 0
            about = [pair.sounds[role].name, loaded.about, loaded.reason]
            rows.append([index, width, round(loaded.seconds, 3), *about])
        detail: dict[str, Any] = {"axis": axis, "tracks": rows, "losses": _losses(pair)}
        if pair.measures:
            detail["measures"] = [_rounded(pair.measures.get(name)) for name in MEASURES]
        notes = [f"{pair.kind}: {pair.reason}"] if pair.reason else []
        return {**detail, "notes": notes + pair.notes}

    def values(self, page: Path, max_bytes: int) -> dict[str, Any]:
        """Return the values of ``batch.html.j2``, with at most `max_bytes` of sound in them."""
        pairs = self._collection.pairs
        settings = differing_settings(pairs)
        described = describe_settings(settings, len(pairs))
        ticks = charts.frequency_ticks(self._config), charts.decibel_ticks(self._scale)
        sources = sounds.make_player_sources(self._loaded, page, max_bytes)
        names = ("content_genre", "style_genre", "style", "status")
        choices = {name: sorted({str(getattr(p, name)) for p in pairs}) for name in names}
        choices["setting"] = list(dict.fromkeys(filter(None, described)))
        return dict(
            title=self._collection.title,
            facts=_facts(pairs, described),
            notes=self._collection.notes,
            rows=self._rows,
            settings=[(name, texts, _are_numbers(texts)) for name, texts in settings.items()],
            described=described,
            choices=choices,
            matrices=[
                (setting, matrix)
                for setting, same in _by_setting(pairs, described).items()
                if (matrix := make_matrix(same)) is not None
            ],
            failures=_failures(pairs),
            player=PlayerView([Track(role) for role in ROLES], *ticks),
            sections=table.SECTIONS,
            images={"type": self._media_type, "data": self._images},
            details={"pairs": self._details, "sources": sources, "axes": self._axes},
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


def _by_setting(
    pairs: Sequence[PairRecord], described: Sequence[str]
) -> dict[str, list[PairRecord]]:
    """Group pairs by their settings: a mean over several settings says nothing."""
    found: dict[str, list[PairRecord]] = {}
    for pair, setting in zip(pairs, described, strict=True):
        found.setdefault(setting, []).append(pair)
    return found


def _are_numbers(texts: Sequence[str]) -> bool:
    return all(is_number(text) for text in texts if text)


def _facts(pairs: Sequence[PairRecord], described: Sequence[str]) -> list[tuple[str, str, str]]:
    """List the main numbers: name, value, and meaning; means are of one setting each."""
    counts = {
        s: sum(pair.status == s for pair in pairs) for s in ("failed", "pending", "interrupted")
    }
    done = len(pairs) - sum(counts.values())
    facts = [("Pairs", str(len(pairs)), ""), ("Done", str(done), "")]
    facts += [(status.capitalize(), str(n), "") for status, n in counts.items() if n]
    by_setting = _by_setting(pairs, described)
    for setting, same in by_setting.items():
        scores = sorted(score for _, score in _scored(same))
        if scores:
            mean = f"{sum(scores) / len(scores):.2f}"
            of = f", {setting}" if setting else ""
            facts.append(("Mean score", mean, f"of {len(scores)} evaluated{of}"))
    if len(by_setting) > 1:
        return facts
    if scores:
        score_range = f"{scores[0]:.2f}\u2013{scores[-1]:.2f}"
        facts.append(("Range", score_range, "lowest and highest score"))
    seconds = [pair.seconds for pair in pairs if pair.seconds is not None]
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


def _scored(pairs: Sequence[PairRecord]) -> list[tuple[PairRecord, float]]:
    scores = ((pair, pair.measures.get("score")) for pair in pairs)
    return [(pair, score) for pair, score in scores if score is not None]


def make_matrix(pairs: Sequence[PairRecord]) -> Matrix | None:
    """Average scores by content and style.

    Contents and styles are grouped by genre if there are several, else they are single clips. The
    result is None if there are too many of them, fewer than two cells, or no score.
    """
    scored = _scored(pairs)
    by_row, by_column = (
        f"{side}_genre" if len({getattr(p, f"{side}_genre") for p, _ in scored}) > 1 else side
        for side in ("content", "style")
    )
    scores: dict[tuple[str, str], list[float]] = {}
    for pair, score in scored:
        scores.setdefault((getattr(pair, by_row), getattr(pair, by_column)), []).append(score)
    heads, columns = (sorted({key[i] for key in scores}) for i in (0, 1))
    if len(heads) * len(columns) < 2:
        return None
    if len(heads) > MAX_MATRIX_ROWS or len(columns) > MAX_MATRIX_COLUMNS:
        return None
    cells = [
        [_cell(head, column, scores.get((head, column), [])) for column in columns]
        for head in heads
    ]
    return Matrix((by_row, by_column), heads, columns, cells)


def _cell(head: str, column: str, scores: Sequence[float]) -> Cell:
    title = f"{head} in the style of {column}"
    if not scores:
        return "\u2013", -1, f"{title}: no pair was evaluated"
    mean = sum(scores) / len(scores)
    pairs = "1 pair" if len(scores) == 1 else f"{len(scores)} pairs"
    level = round(LEVELS * min(max(mean, 0.0), 1.0))
    return f"{mean:.2f}", level, f"{title}: mean score of {pairs}"
