"""What stands where on the page of a pair: plain dataclasses, ready for a template."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.errors import AudioStyleError
from audiostyle.evaluation import table as evaluation_table
from audiostyle.report import sounds
from audiostyle.report.charts import (
    Chart,
    Tick,
    clock,
    decibel_ticks,
    frequency_ticks,
    step_chart,
    time_ticks,
    wave_path,
)
from audiostyle.report.records import ROLES, PairRecord, number
from audiostyle.report.sounds import LoadedSound, PlayerSource

LABELS = {"content": "Content", "style": "Style", "result": "Generated"}
MOST_STEPS = 400  # of a descent, in the table beside its curves


@dataclass(frozen=True)
class Track:
    """One of the three sounds of a pair.

    Attributes
    ----------
    role, label : str
    key : int
        That switches to it.
    name, about, reason : str
    picture : str
        URI of the spectrogram.
    width : float
        Percent of the time axis that it takes.
    wave : str
        Path in a box of 1000 x 2.
    source : Source or None
    seconds : float
    """

    role: str
    label: str
    key: int
    name: str = ""
    about: str = ""
    reason: str = ""
    picture: str = ""
    width: float = 0.0
    wave: str = ""
    source: PlayerSource | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class PlayerView:
    """The three tracks on their common axes.

    Attributes
    ----------
    tracks : list of Track
    seconds : float
        Of the time axis.
    x_ticks, y_ticks, db_ticks : list of Tick
    colour_bar : str
        URI.
    """

    tracks: list[Track]
    seconds: float
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)
    db_ticks: list[Tick] = field(default_factory=list)
    colour_bar: str = ""


@dataclass(frozen=True)
class Table:
    """An evaluation: measures as rows, the output and baselines as columns.

    Attributes
    ----------
    columns : list of str
    sections : list of (str, str, list of (str, list of str))
        Heading, what its numbers mean, and rows of a label and cells.
    """

    columns: list[str]
    sections: list[tuple[str, str, list[tuple[str, list[str]]]]]


@dataclass(frozen=True)
class Parameter:
    """A parameter of the run.

    Attributes
    ----------
    name, value, help : str
    changed : bool
        Whether it is not what its preset says.
    """

    name: str
    value: str
    help: str
    changed: bool


@dataclass(frozen=True)
class PairView:
    """The page of a pair, from top to bottom."""

    title: str
    content: str
    style: str
    status: str
    facts: list[tuple[str, str, str]]
    stage: PlayerView
    charts: list[Chart]
    steps: tuple[list[str], list[list[str]]]
    table: Table | None
    parameters: list[tuple[str, list[Parameter]]]
    provenance: list[tuple[str, str]]
    inputs: list[tuple[str, str, str]]
    notes: list[str]


def pair_view(case: PairRecord, page: Path, limit: int) -> PairView:
    """Put a pair in the order of its page.

    Parameters
    ----------
    case : Case
    page : Path
        Where the page will lie.
    limit : int, in bytes
        So much of it may be sound.

    Returns
    -------
    PairView
    """
    config = case.config
    heard = sounds.load_sounds(case, config, sounds.PICTURE_COLUMNS)
    sources = sounds.make_player_sources(heard, page, limit)
    curves = plots.loss_curves(case.losses, case.record.get("parameters") or {})
    return PairView(
        title=case.name,
        content=Path(case.sounds["content"].name).name,
        style=Path(case.sounds["style"].name).name,
        status=case.status,
        facts=facts(case),
        stage=_stage(heard, sources, config),
        charts=_charts(case.losses, curves),
        steps=_steps(case.losses, curves),
        table=make_table(case),
        parameters=_parameters(case),
        provenance=_provenance(case.record),
        inputs=_inputs(case),
        notes=[*case.notes, *(note for one in heard.values() for note in one.notes)],
    )


def facts(case: PairRecord) -> list[tuple[str, str, str]]:
    """List the few numbers that come first: name, value, and what it means.

    Parameters
    ----------
    case : Case

    Returns
    -------
    list of tuple[str, str, str]
    """
    found = []
    for name, label, meaning in (
        ("score", "Score", "sqrt(style x content) x (1 - copied), from 0 to 1"),
        ("style", "Style taken", "0 the content itself, 1 as the style itself"),
        ("content", "Content kept", "0 an unrelated clip, 1 the content itself"),
        ("copying", "Copied", "0 nothing, 1 all of it is the style's own"),
    ):
        value = case.measures.get(name)
        if value is not None:
            found.append((label, f"{value:.2f}", meaning))
    losses = [number(step.get("total")) for step in case.losses]
    if losses and losses[0] and losses[-1]:
        found.append(("Loss", f"{losses[-1] / losses[0]:.0%}", "of that at the start"))
        stopped = str(case.record.get("stopped") or "")
        found.append(("Steps", str(len(losses) - 1), f"stopped by: {stopped}"))
    if case.seconds is not None:
        found.append(("Time", f"{case.seconds:.1f} s", "for the transfer"))
    return found


def _stage(
    heard: Mapping[str, LoadedSound],
    sources: Mapping[str, PlayerSource | None],
    config: TransferConfig,
) -> PlayerView:
    pictures = [one.S for one in heard.values() if one.S.size]
    seconds = max([one.seconds for one in heard.values()] + [0.0])
    if not pictures:
        blank = [_track(i, role, heard[role], None, "", 1.0) for i, role in enumerate(ROLES, 1)]
        return PlayerView(blank, 0.0)
    scale = plots.shared_range(pictures, config)
    tracks = []
    for i, role in enumerate(ROLES, 1):
        one = heard[role]
        picture = ""
        if one.S.size:
            picture = sounds.data_uri(*plots.spectrogram_image(one.S, scale))
        tracks.append(_track(i, role, one, sources[role], picture, seconds))
    return PlayerView(
        tracks,
        seconds,
        time_ticks(seconds),
        frequency_ticks(config),
        decibel_ticks(scale),
        colour_bar(),
    )


def _track(
    key: int, role: str, one: LoadedSound, source: PlayerSource | None, picture: str, seconds: float
) -> Track:
    about = [one.about, clock(one.seconds, exact=True) if one.seconds else "", one.sound.about]
    return Track(
        role,
        LABELS[role],
        key,
        name=one.sound.name,
        about=", ".join(part for part in about if part),
        reason=one.reason,
        picture=picture,
        width=round(100 * one.S_seconds / seconds, 3),
        wave=wave_path(one.wave, one.seconds / seconds),
        source=source,
        seconds=one.seconds,
    )


def colour_bar() -> str:
    """Draw the colour map as a narrow picture, high on top; return its URI.

    Returns
    -------
    str
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.flipud(plots.colours())[:, None]).save(buffer, "png")
    return sounds.data_uri("image/png", buffer.getvalue())


def _charts(losses: Sequence[dict[str, Any]], curves: Mapping[str, list[float]]) -> list[Chart]:
    layers = losses[0].get("layers") if losses else None
    by_layer = {
        str(name): [number((step.get("layers") or {}).get(name)) or 0.0 for step in losses]
        for name in (layers if isinstance(layers, dict) else {})
    }
    charts = (
        step_chart("Losses, weighted", curves if losses else {}),
        step_chart("Style loss of each layer", by_layer),
    )
    return [chart for chart in charts if chart is not None]


def _steps(
    losses: Sequence[dict[str, Any]], curves: Mapping[str, list[float]]
) -> tuple[list[str], list[list[str]]]:
    every = -(-len(losses) // MOST_STEPS) or 1
    rows = [
        [str(i), *(f"{values[i]:.4g}" for values in curves.values())]
        for i in range(0, len(losses), every)
    ]
    return ["step", *curves], rows


def make_table(case: PairRecord) -> Table | None:
    """Lay out an evaluation as `audiostyle evaluate` does; None without one.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Table or None
    """
    if not case.measures:
        return None
    columns = {"this pair": case.measures, **case.baselines}
    sections = []
    for heading, meaning, rows in evaluation_table.SECTIONS:
        lines = [
            (
                label,
                [
                    evaluation_table.format_value(measures.get(name), factor, decimals)
                    for measures in columns.values()
                ],
            )
            for name, label, factor, decimals in rows
        ]
        sections.append((heading, meaning, lines))
    return Table(list(columns), sections)


def _parameters(case: PairRecord) -> list[tuple[str, list[Parameter]]]:
    """Group parameters as ``--help`` does; those of another version follow without one."""
    given = case.record.get("parameters")
    values = dict(given) if isinstance(given, dict) else {}
    try:
        usual = TransferConfig.from_preset(str(case.record.get("preset"))).to_dict()
    except AudioStyleError:
        usual = {}
    groups: dict[str, list[Parameter]] = {}
    for about in dataclasses.fields(TransferConfig):
        if about.name in values:
            value = values.pop(about.name)
            changed = bool(usual) and value != usual[about.name]
            shown = _value_text(value) + (
                f" {about.metadata['unit']}" if about.metadata["unit"] else ""
            )
            parameter = Parameter(about.name, shown, about.metadata["help"], changed)
            groups.setdefault(about.metadata["group"], []).append(parameter)
    rest = [Parameter(str(name), _value_text(value), "", False) for name, value in values.items()]
    return list(groups.items()) + ([("Other", rest)] if rest else [])


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {v:g}" if number(v) is not None else str(k) for k, v in value.items()
        )
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _provenance(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List with what a pair was computed."""
    rows: list[tuple[str, Any]] = [
        ("audiostyle", record.get("audiostyle")),
        ("preset", record.get("preset")),
        ("seed", record.get("seed")),
        ("device", record.get("device")),
        ("precision", record.get("precision")),
    ]
    for key, prefix in (("versions", ""), ("weights", "weights: ")):
        found = record.get(key)
        for i, part in enumerate(found if isinstance(found, list) else [found]):
            number_of = f"{i + 1} " if isinstance(found, list) and len(found) > 1 else ""
            for name, value in (part if isinstance(part, dict) else {}).items():
                rows.append((f"{prefix}{number_of}{name}", value))
    sources = record.get("loss_sources")
    for loss, found in (sources if isinstance(sources, dict) else {}).items():
        for name, value in (found if isinstance(found, dict) else {}).items():
            rows.append((f"loss {loss}: {name}", value))
    timings = record.get("timings")
    for name, lap in (timings if isinstance(timings, dict) else {}).items():
        rows.append((f"time: {name}", f"{number(lap) or 0.0:.2f} s"))
    return [(name, _value_text(value)) for name, value in rows if value is not None]


def _inputs(case: PairRecord) -> list[tuple[str, str, str]]:
    """List every file that took part: what it is, its path, and its SHA-256."""
    record = case.record
    rows = [("content", case.sounds["content"].name, case.sounds["content"].sha256)]
    for style in record.get("styles") or []:
        clips = [clip for clip in style.get("clips") or [] if isinstance(clip, dict)]
        if style.get("sha256"):
            clips = [style]
        rows += [("style", str(c.get("path")), str(c.get("sha256") or "")) for c in clips]
    return [*rows, ("generated", case.sounds["result"].name, case.sounds["result"].sha256)]
