"""Page of several takes of one content: one player, what differs, ratings, and a blind test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from audiostyle.report import sounds
from audiostyle.report.pair_page import make_player
from audiostyle.report.records import PairCollection, PairRecord, as_dict, as_list
from audiostyle.report.settings import differing_settings, repeat_command

MAX_TAKES = 32  # on one page; the player holds them all at once
SCORES = ("score", "style", "content", "copying")
STARS = 5
SCRIPTS = ("player.js", "copy.js", "takes.js")


def are_takes(pairs: Sequence[PairRecord]) -> bool:
    """Check whether pairs are several takes of the same excerpt of one content."""
    made = [pair for pair in pairs if pair.record]
    contents = {_content_key(pair) for pair in made}
    names = {pair.content for pair in pairs}
    outputs = {pair.sounds["result"].name for pair in made}
    return 2 <= len(outputs) == len(made) <= MAX_TAKES and len(contents) == len(names) == 1


def _content_key(pair: PairRecord) -> tuple[Any, ...]:
    content = pair.record["content"]
    name = content.get("sha256") or content["path"]
    return str(name), content.get("start_sample"), content.get("samples")


def takes_values(
    collection: PairCollection,
    page: Path,
    max_bytes: int,
    callback: Callable[[int, PairRecord], Any],
) -> dict[str, Any]:
    """Return the values of ``takes.html.j2``, with at most `max_bytes` of sound in them.

    `callback` is called before each take is drawn.
    """
    pairs = [pair for pair in collection.pairs if pair.record]
    config = pairs[0].config
    loaded = {"content": sounds.load_sound(pairs[0].sounds["content"], config)}
    for i, pair in enumerate(pairs):
        callback(i, pair)
        loaded[f"take{i + 1}"] = sounds.load_sound(pair.sounds["result"], config)
    view = make_player(loaded, page, max_bytes, config)
    styles = [_style_names(pair) for pair in pairs]
    settings = {"style": styles} if len(set(styles)) > 1 else {}
    settings |= differing_settings(pairs)
    scores = [name for name in SCORES if any(pair.measures.get(name) is not None for pair in pairs)]
    takes = [
        {
            "id": pair.sounds["result"].sha256 or pair.name,
            "name": pair.name,
            "status": pair.status,
            "settings": {name: texts[i] for name, texts in settings.items()},
            "scores": {name: pair.measures.get(name) for name in scores},
            "command": repeat_command(pair.record),
        }
        for i, pair in enumerate(pairs)
    ]
    notes = [*_notes(collection), *(note for one in loaded.values() for note in one.notes)]
    content = pairs[0].content
    identity = hashlib.sha256(repr(_content_key(pairs[0])).encode()).hexdigest()[:16]
    return dict(
        title=content,
        player=view,
        content=content,
        style=styles[0] if "style" not in settings else "",
        settings=list(settings),
        scores=scores,
        takes=takes,
        stars=range(1, STARS + 1),
        notes=notes,
        data={
            "id": identity,
            "content": {"name": content, "id": pairs[0].sounds["content"].sha256},
            "takes": takes,
            "pictures": {
                track.role: [track.image, track.width, track.wave] for track in view.tracks
            },
        },
    )


def _notes(collection: PairCollection) -> list[str]:
    """List what is to be noted, each with the takes that it is about unless these are all."""
    about: dict[str, list[str]] = {}
    for pair in collection.pairs:
        for note in pair.notes:
            about.setdefault(note, []).append(pair.name)
        if not pair.record:
            reason = f"{pair.status}: {pair.reason}" if pair.reason else pair.status
            about.setdefault(reason, []).append(pair.name)
    n = len(collection.pairs)
    return collection.notes + [
        note if len(names) == n else f"{', '.join(names)}: {note}" for note, names in about.items()
    ]


def _style_names(pair: PairRecord) -> str:
    styles = [as_dict(style) for style in as_list(pair.record.get("styles"))]
    names = [Path(str(style.get("path"))).name for style in styles]
    if len({style.get("weight") for style in styles}) > 1:
        names = [f"{n} {s.get('weight'):g}" for n, s in zip(names, styles, strict=True)]
    return " + ".join(names)
