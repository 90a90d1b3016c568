"""Page of a pair: player, losses, evaluation, parameters and provenance, ready for a template."""

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
from audiostyle.evaluation import table
from audiostyle.report import charts, sounds
from audiostyle.report.charts import Chart, Tick
from audiostyle.report.records import ROLES, PairRecord, as_dict, as_list, as_number
from audiostyle.report.sounds import LoadedSound, PlayerSource

LABELS = {"content": "Content", "style": "Style", "result": "Generated"}
MAX_TABLE_ROWS = 400  # of the losses as numbers


@dataclass(frozen=True)
class Track:
    """One of the three sounds of a player."""

    role: str
    label: str
    key: int  # that selects it
    name: str = ""
    about: str = ""
    reason: str = ""
    picture: str = ""  # URI of the spectrogram
    width: float = 0.0  # percent of the time axis that the spectrogram covers
    wave: str = ""  # SVG path in a box of 1000 x 2
    source: PlayerSource | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class PlayerView:
    """Three tracks on common axes."""

    tracks: list[Track]
    seconds: float  # length of the time axis
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)
    db_ticks: list[Tick] = field(default_factory=list)
    color_bar: str = ""  # URI


Parameter = tuple[str, str, str, bool]  # name, value, help, and whether it differs from its preset


def pair_values(pair: PairRecord, page: Path, max_bytes: int) -> dict[str, Any]:
    """Return the values of ``pair.html.j2``, with at most `max_bytes` of sound in them."""
    config = pair.config
    loaded = sounds.load_sounds(pair, config)
    sources = sounds.make_player_sources(loaded, page, max_bytes)
    curves = plots.loss_curves(pair.losses, pair.record.get("parameters") or {})
    return dict(
        title=pair.name,
        content=Path(pair.sounds["content"].name).name,
        style=Path(pair.sounds["style"].name).name,
        status=pair.status,
        facts=_facts(pair),
        player=_player(loaded, sources, config),
        charts=_charts(pair.losses, curves),
        losses=_loss_table(len(pair.losses), curves),
        evaluation=_evaluation_table(pair),
        parameters=_parameters(pair.record),
        provenance=_provenance(pair.record),
        inputs=_inputs(pair),
        notes=[*pair.notes, *(note for one in loaded.values() for note in one.notes)],
    )


def _facts(pair: PairRecord) -> list[tuple[str, str, str]]:
    """List the main numbers: name, value, and meaning."""
    facts = []
    for name, label, meaning in (
        ("score", "Score", "sqrt(style x content) x (1 - copied), from 0 to 1"),
        ("style", "Style taken", "0 the content itself, 1 like the style itself"),
        ("content", "Content kept", "0 an unrelated clip, 1 the content itself"),
        ("copying", "Copied", "0 nothing, 1 all of it is taken from the style"),
    ):
        value = pair.measures.get(name)
        if value is not None:
            facts.append((label, f"{value:.2f}", meaning))
    totals = [as_number(step.get("total")) for step in pair.losses]
    if totals and totals[0] and totals[-1]:
        facts.append(("Loss", f"{totals[-1] / totals[0]:.0%}", "of the initial loss"))
        stopped = str(pair.record.get("stopped") or "")
        facts.append(("Iterations", str(len(totals) - 1), f"stopped by: {stopped}"))
    if pair.seconds is not None:
        facts.append(("Time", f"{pair.seconds:.1f} s", "for the transfer"))
    return facts


def _player(
    loaded: Mapping[str, LoadedSound],
    sources: Mapping[str, PlayerSource | None],
    config: TransferConfig,
) -> PlayerView:
    spectrograms = [one.S for one in loaded.values() if one.S.size]
    if not spectrograms:
        empty = [_track(role, loaded[role], None, "", 1.0) for role in ROLES]
        return PlayerView(empty, 0.0)
    seconds = max(one.seconds for one in loaded.values())
    scale = plots.shared_range(spectrograms, config)
    tracks = []
    for role in ROLES:
        S = loaded[role].S
        picture = sounds.data_uri(*plots.spectrogram_image(S, scale)) if S.size else ""
        tracks.append(_track(role, loaded[role], sources[role], picture, seconds))
    return PlayerView(
        tracks,
        seconds,
        charts.time_ticks(seconds),
        charts.frequency_ticks(config),
        charts.decibel_ticks(scale),
        color_bar(),
    )


def _track(
    role: str, loaded: LoadedSound, source: PlayerSource | None, picture: str, seconds: float
) -> Track:
    length = charts.format_time(loaded.seconds, exact=True) if loaded.seconds else ""
    return Track(
        role,
        LABELS[role],
        ROLES.index(role) + 1,
        name=loaded.sound.name,
        about=", ".join(part for part in (loaded.about, length, loaded.sound.about) if part),
        reason=loaded.reason,
        picture=picture,
        width=round(100 * loaded.S_seconds / seconds, 3),
        wave=charts.wave_path(loaded.wave, loaded.seconds / seconds),
        source=source,
        seconds=loaded.seconds,
    )


def color_bar() -> str:
    """Draw the color map as a narrow image, high on top, and return its URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.flipud(plots.colors())[:, None]).save(buffer, "png")
    return sounds.data_uri("image/png", buffer.getvalue())


def _charts(losses: Sequence[dict[str, Any]], curves: Mapping[str, list[float]]) -> list[Chart]:
    layers = as_dict(losses[0].get("layers")) if losses else {}
    by_layer = {
        str(name): [as_number(as_dict(step.get("layers")).get(name)) or 0.0 for step in losses]
        for name in layers
    }
    found = (
        charts.loss_chart("Losses, weighted", curves if losses else {}),
        charts.loss_chart("Style loss per layer", by_layer),
    )
    return [chart for chart in found if chart is not None]


def _loss_table(
    n_losses: int, curves: Mapping[str, list[float]]
) -> tuple[list[str], list[list[str]]]:
    every = -(-n_losses // MAX_TABLE_ROWS) or 1
    rows = [
        [str(i), *(f"{values[i]:.4g}" for values in curves.values())]
        for i in range(0, n_losses, every)
    ]
    return ["iteration", *curves], rows


def _evaluation_table(pair: PairRecord) -> dict[str, Any]:
    """Lay out an evaluation as ``audiostyle evaluate`` does; empty without one."""
    if not pair.measures:
        return {}
    columns = {"this pair": pair.measures, **pair.baselines}

    def cells(name: str, factor: float, decimals: int) -> list[str]:
        values = [measures.get(name) for measures in columns.values()]
        return [table.format_value(value, factor, decimals) for value in values]

    sections = [
        (heading, meaning, [(label, cells(name, *scale)) for name, label, *scale in rows])
        for heading, meaning, rows in table.SECTIONS
    ]
    return {"columns": list(columns), "sections": sections}


def _parameters(record: Mapping[str, Any]) -> list[tuple[str, list[Parameter]]]:
    """Group parameters as ``--help`` does; unknown ones of another version come last."""
    values = dict(as_dict(record.get("parameters")))
    try:
        preset = TransferConfig.from_preset(str(record.get("preset"))).to_dict()
    except AudioStyleError:
        preset = {}
    groups: dict[str, list[Parameter]] = {}
    for about in dataclasses.fields(TransferConfig):
        if about.name in values:
            value = values.pop(about.name)
            changed = bool(preset) and value != preset[about.name]
            unit = about.metadata["unit"]
            text = _value_text(value) + (f" {unit}" if unit else "")
            parameter = (about.name, text, about.metadata["help"], changed)
            groups.setdefault(about.metadata["group"], []).append(parameter)
    if values:
        groups["Other"] = [(str(k), _value_text(v), "", False) for k, v in values.items()]
    return list(groups.items())


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {v:g}" if as_number(v) is not None else str(k) for k, v in value.items()
        )
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _provenance(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List what a pair was computed with."""
    keys = ("audiostyle", "preset", "seed", "device", "precision")
    rows: list[tuple[str, Any]] = [(key, record.get(key)) for key in keys]
    rows += as_dict(record.get("versions")).items()
    weights = record.get("weights")
    networks = weights if isinstance(weights, list) else [weights]
    for i, network in enumerate(networks, 1):
        number = f"{i} " if len(networks) > 1 else ""
        rows += [(f"weights: {number}{name}", value) for name, value in as_dict(network).items()]
    for loss, source in as_dict(record.get("loss_sources")).items():
        rows += [(f"loss {loss}: {name}", value) for name, value in as_dict(source).items()]
    for name, lap in as_dict(record.get("timings")).items():
        rows.append((f"time: {name}", f"{as_number(lap) or 0.0:.2f} s"))
    return [(name, _value_text(value)) for name, value in rows if value is not None]


def _inputs(pair: PairRecord) -> list[tuple[str, str, str]]:
    """List every file of a pair: role, path, and SHA-256."""
    content, result = pair.sounds["content"], pair.sounds["result"]
    rows = [("content", content.name, content.sha256)]
    for style in map(as_dict, as_list(pair.record.get("styles"))):
        clips = [clip for clip in as_list(style.get("clips")) if isinstance(clip, dict)]
        if style.get("sha256"):
            clips = [style]
        rows += [("style", str(c.get("path")), str(c.get("sha256") or "")) for c in clips]
    return [*rows, ("generated", result.name, result.sha256)]
