"""Page of a pair: player, losses, evaluation, parameters and provenance, ready for a template."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.evaluation import table
from audiostyle.report import charts, sounds
from audiostyle.report.charts import Chart, Tick
from audiostyle.report.records import PairRecord, SoundFile, as_dict, as_list, as_number
from audiostyle.report.settings import format_setting, preset_values
from audiostyle.report.sounds import LoadedSound, PlayerSource

MAX_TABLE_ROWS = 400  # of the losses as numbers


def _color_bar() -> str:
    """Draw the color map as an image of one column, high on top."""
    levels = np.arange(256.0)[:, None]
    return sounds.data_uri(*plots.spectrogram_image(levels, (0.0, 255.0)))


@dataclass(frozen=True)
class Track:
    """One of the sounds of a player."""

    role: str
    loaded: LoadedSound = field(default_factory=lambda: LoadedSound(SoundFile(None, "")))
    image: str = ""  # URI of the spectrogram
    width: float = 0.0  # percent of the time axis that the spectrogram covers
    wave: str = ""  # SVG path in a box of 1000 x 2
    source: PlayerSource | None = None

    @property
    def label(self) -> str:
        """The name of the role on the page."""
        return {"result": "Generated"}.get(self.role, self.role.capitalize())


@dataclass(frozen=True)
class PlayerView:
    """Tracks on common axes."""

    tracks: list[Track]
    y_ticks: list[Tick] = field(default_factory=list)
    db_ticks: list[Tick] = field(default_factory=list)
    seconds: float = 0.0  # length of the time axis
    x_ticks: list[Tick] = field(default_factory=list)
    color_bar: str = field(default_factory=_color_bar)  # URI


Parameter = tuple[str, str, str, bool]  # name, value, help, and whether it differs from its preset


def pair_values(pair: PairRecord, page: Path, max_bytes: int) -> dict[str, Any]:
    """Return the values of ``pair.html.j2``, with at most `max_bytes` of sound in them."""
    config = pair.config
    loaded = sounds.load_sounds(pair, config)
    curves = plots.loss_curves(pair.losses, pair.record.get("parameters") or {})
    return dict(
        title=pair.name,
        content=pair.content,
        style=pair.style,
        status=pair.status,
        facts=_facts(pair),
        player=make_player(loaded, page, max_bytes, config),
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


def make_player(
    loaded: Mapping[str, LoadedSound],
    page: Path,
    max_bytes: int,
    config: TransferConfig,
    image_size: tuple[int, int] | None = None,
) -> PlayerView:
    """Lay out sounds, by role, on one time axis and one dB scale.

    With `image_size`, the spectrograms are lossy images of at most so many columns and bands.
    """
    spectrograms = [one.S for one in loaded.values() if one.S.size]
    scale = plots.shared_range(spectrograms, config) if spectrograms else (0.0, 0.0)
    seconds = max(one.seconds for one in loaded.values())
    sources = sounds.make_player_sources(list(loaded.values()), page, max_bytes)
    tracks = [
        Track(
            role,
            one,
            image=_image(one, scale, image_size),
            width=round(100 * one.S_seconds / (seconds or 1.0), 3),
            wave=charts.wave_path(one.wave, one.seconds / (seconds or 1.0)),
            source=source,
        )
        for (role, one), source in zip(loaded.items(), sources, strict=True)
    ]
    if not spectrograms:
        return PlayerView(tracks)
    ticks = charts.frequency_ticks(config), charts.decibel_ticks(scale)
    return PlayerView(tracks, *ticks, seconds, charts.time_ticks(seconds))


def _image(loaded: LoadedSound, scale: tuple[float, float], size: tuple[int, int] | None) -> str:
    if not loaded.S.size:
        return ""
    return sounds.data_uri(*plots.spectrogram_image(loaded.S, scale, size))


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
    preset = preset_values(record)
    groups: dict[str, list[Parameter]] = {}
    for about in dataclasses.fields(TransferConfig):
        if about.name in values:
            value = values.pop(about.name)
            changed = bool(preset) and value != preset[about.name]
            unit = about.metadata["unit"]
            text = format_setting(value) + (f" {unit}" if unit else "")
            parameter = (about.name, text, about.metadata["help"], changed)
            groups.setdefault(about.metadata["group"], []).append(parameter)
    if values:
        groups["Other"] = [(str(k), format_setting(v), "", False) for k, v in values.items()]
    return list(groups.items())


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
    return [(name, format_setting(value)) for name, value in rows if value is not None]


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
