"""Pairing: which contents a batch pairs with which styles, and the names of the outputs.

A pair is identified by the name of its output relative to the output folder. The name does not
depend on the order of the pairs, on a limit, or on the notation of the inputs, so it is the same in
every run.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import random
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from audiostyle.audio.reader import FORMATS
from audiostyle.batch.inputs import BatchInput, match_input, real_path
from audiostyle.errors import ConfigError, OutputError
from audiostyle.utils import safe_read
from audiostyle.utils.suggestions import check_choice

FIELDS = ("content", "style", "content_genre", "style_genre")
MAX_NAME_BYTES = 240  # most file systems take 255, and ".json" is appended

InputPair = tuple[BatchInput, BatchInput]  # content, style


@dataclass(frozen=True)
class Pair:
    """A content, a style, and the output made from them."""

    id: str  # name of the output relative to the output folder, with "/"
    content: BatchInput
    style: BatchInput

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (*self.content.clips, *self.style.clips)


def pair_inputs(
    contents: Sequence[BatchInput], styles: Sequence[BatchInput], how: str, seed: int = 0
) -> list[InputPair]:
    """Pair contents with styles, which are sorted, as ``--pair`` says.

    ``product`` and ``random`` pair no clip with itself. The styles that ``random:N`` draws for a
    content do not depend on the other contents.
    """
    kind, _, value = how.partition(":")
    if check_choice("pair", kind, ("product", "zip", "random", "csv")) == "csv":
        return _read_pairs(Path(value), contents, styles)
    if kind == "random":
        return _draw_pairs(contents, styles, how, seed)
    if value:
        raise ConfigError(f"pair={how!r}: {kind} takes no value")
    if kind == "product":
        return [(c, s) for c in contents for s in styles if not _is_same(c, s)]
    if len(contents) != len(styles):
        raise ConfigError(
            f"pair=zip: {len(contents)} contents do not fit {len(styles)} styles; use product, or "
            "lists of equal length"
        )
    return list(zip(contents, styles, strict=True))


def _is_same(content: BatchInput, style: BatchInput) -> bool:
    return os.path.abspath(content.path) == os.path.abspath(style.path)


def _draw_pairs(
    contents: Sequence[BatchInput], styles: Sequence[BatchInput], how: str, seed: int
) -> list[InputPair]:
    number = how.partition(":")[2]
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(
            f"pair={how!r} must give the number of styles per content, such as random:3"
        )
    pairs = []
    for content in contents:
        others = [style for style in styles if not _is_same(content, style)]
        if int(number) > len(others):
            raise ConfigError(f"pair={how!r}: only {len(others)} styles for {content.key}")
        drawn = random.Random(f"{seed}/{content.key}").sample(others, int(number))
        pairs += [(content, style) for style in drawn]
    return pairs


def _read_pairs(
    file: Path, contents: Sequence[BatchInput], styles: Sequence[BatchInput]
) -> list[InputPair]:
    try:
        text = safe_read.read_file(file).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"pair=csv:{file}: cannot be read ({reason})") from None
    if not {"content", "style"} <= set(reader.fieldnames or ()):
        raise ConfigError(f"{file}: its first line must name the columns content and style")
    pairs = [
        (
            match_input(contents, row["content"] or "", f"{file}, row {number}"),
            match_input(styles, row["style"] or "", f"{file}, row {number}"),
        )
        for number, row in enumerate(rows, 2)
    ]
    if not pairs:
        raise ConfigError(f"{file}: lists no pairs")
    return pairs


def name_pairs(pairs: Sequence[InputPair], template: str) -> list[Pair]:
    """Name the outputs; sort by style, so that each style is analysed once, then by content.

    Raises an `OutputError` if two pairs would have one output, on any file system.
    """
    named: dict[str, Pair] = {}
    for content, style in pairs:
        name = template.format(
            content=content.name,
            style=style.name,
            content_genre=content.genre,
            style_genre=style.genre,
        )
        for part in name.split("/"):
            if not part or part.startswith(".") or len(os.fsencode(part)) > MAX_NAME_BYTES:
                raise OutputError(
                    f"{name}: is not a name for an output (hidden, empty, or longer than "
                    f"{MAX_NAME_BYTES} bytes); change --name, or rename the clip"
                )
        pair = Pair(name, content, style)
        # Some file systems ignore case, some normalise Unicode.
        other = named.setdefault(unicodedata.normalize("NFC", name).casefold(), pair)
        if other != pair:
            raise OutputError(
                f"{name}: would be written for {content.key} with {style.key} and for "
                f"{other.content.key} with {other.style.key}; tell them apart with --name, such as "
                '"{content_genre}/{content}__{style_genre}-{style}.wav"'
            )
    return sorted(named.values(), key=lambda pair: (pair.style.key, pair.content.key, pair.id))


def check_template(template: str) -> None:
    """Raise a `ConfigError` if a template cannot name outputs."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"name={template!r} is not a valid template ({error})") from None
    for _, name, form, conversion in parts:
        if name is not None:
            check_choice("field of --name", name, FIELDS)
            if form or conversion:
                raise ConfigError(f"name={template!r}: {{{name}}} takes no format")
    path = PurePosixPath(template)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"name={template!r} must end in the extension of a format: " + ", ".join(FORMATS)
        )
    if path.is_absolute() or os.path.isabs(template) or {"..", "."} & set(template.split("/")):
        raise ConfigError(f"name={template!r} must stay below the output folder")


def select_pairs(pairs: Sequence[Pair], limit: int | None, shuffle: bool, seed: int) -> list[Pair]:
    """Return at most `limit` pairs in their order: the first, or random ones if `shuffle`.

    A larger limit keeps all pairs that a smaller one selects.
    """
    if limit is None:
        if shuffle:
            raise ConfigError("shuffle selects the pairs of a limit: give --limit too")
        return list(pairs)
    if limit < 1:
        raise ConfigError(f"limit={limit} must be at least 1")
    if not shuffle:
        return list(pairs[:limit])
    ids = sorted(pair.id for pair in pairs)
    random.Random(seed).shuffle(ids)
    selected = set(ids[:limit])
    return [pair for pair in pairs if pair.id in selected]


def check_output_paths(pairs: Sequence[Pair], folder: Path, sources: Sequence[str] = ()) -> None:
    """Raise an `OutputError` if an output is an input, by any link, or would become one.

    `sources` are CONTENT and STYLE: if one is a folder, no output may lie among its clips.
    """
    paths = {path for pair in pairs for path in pair.inputs}
    inputs = {identity: path for path in paths for identity in _identities(path)}
    for pair in pairs:
        output = folder / pair.id
        for identity in _identities(output):
            if identity in inputs:
                raise OutputError(
                    f"{output}: is the same file as the input {inputs[identity]}; choose another "
                    "folder or --name"
                )
    out_dir = real_path(folder)
    for source in filter(os.path.isdir, sources):
        root = real_path(source)
        among = [pair for pair in pairs if root in (out_dir / pair.id).parents]
        if among and root not in out_dir.parents:
            raise OutputError(
                f"{folder / among[0].id}: would lie among the inputs of {source} and be an input "
                "of the next run; choose another output folder"
            )


def _identities(path: Path) -> set[object]:
    """Return what a file is known by, through any symbolic or hard link."""
    found: set[object] = {os.path.realpath(path)}
    with contextlib.suppress(OSError):
        status = path.stat()
        found.add((status.st_dev, status.st_ino))
    return found
