"""Which pairs a batch consists of, and what their outputs are called. Nothing is computed here.

A pair is known by the name of its output below the folder of the batch. The name does not depend on
order, on a limit, or on how the sides were written, so it is stable over any number of runs.
"""

from __future__ import annotations

import csv
import io
import os
import random
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from audiostyle.audio import reader as audio_reader
from audiostyle.batch.inputs import BatchInput, find_input
from audiostyle.errors import ConfigError, OutputError
from audiostyle.utils import safe_read
from audiostyle.utils.suggestions import check_choice

FIELDS = ("content", "style", "content_genre", "style_genre")
MAX_NAME_BYTES = 240  # of a file name: most file systems take 255, and ".json" is appended

Couple = tuple[BatchInput, BatchInput]


@dataclass(frozen=True)
class Pair:
    """A content, a style, and the output that they make.

    Attributes
    ----------
    id : str
        The name of the output below the folder of the batch, with ``/``.
    content, style : Source
    """

    id: str
    content: BatchInput
    style: BatchInput

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return (*self.content.clips, *self.style.clips)


def pair_inputs(
    contents: Sequence[BatchInput], styles: Sequence[BatchInput], how: str, seed: int = 0
) -> list[Couple]:
    """Say which content meets which style.

    Parameters
    ----------
    contents, styles : sequence of Source
        Sorted.
    how : str
        ``product``: each content with each style. ``zip``: the first with the first, and so on.
        ``random:N``: each content with N styles drawn for it. ``csv:FILE``: what the columns
        ``content`` and ``style`` of a table say. No clip meets itself in a product or by chance.
    seed : int
        Of the drawing. What is drawn for a content does not depend on the other contents.

    Returns
    -------
    list of (Source, Source)

    Raises
    ------
    ConfigError
    """
    kind, _, value = how.partition(":")
    if check_choice("pair", kind, ("product", "zip", "random", "csv")) == "csv":
        return _read_couples(Path(value), contents, styles)
    if kind == "random":
        return _draw(contents, styles, how, seed)
    if value:
        raise ConfigError(f"pair={how!r}: {kind} takes no value")
    if kind == "product":
        return [(c, s) for c in contents for s in styles if not _same(c, s)]
    if len(contents) != len(styles):
        raise ConfigError(
            f"pair=zip: {len(contents)} contents do not fit {len(styles)} styles; use product, or "
            "lists of equal length"
        )
    return list(zip(contents, styles, strict=True))


def _same(content: BatchInput, style: BatchInput) -> bool:
    return os.path.abspath(content.path) == os.path.abspath(style.path)


def _draw(
    contents: Sequence[BatchInput], styles: Sequence[BatchInput], how: str, seed: int
) -> list[Couple]:
    number = how.partition(":")[2]
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"pair={how!r} must say how many styles a content gets, as random:3")
    couples = []
    for content in contents:
        others = [style for style in styles if not _same(content, style)]
        if int(number) > len(others):
            raise ConfigError(f"pair={how!r}: only {len(others)} styles for {content.key}")
        drawn = random.Random(f"{seed}/{content.key}").sample(others, int(number))
        couples += [(content, style) for style in drawn]
    return couples


def _read_couples(
    file: Path, contents: Sequence[BatchInput], styles: Sequence[BatchInput]
) -> list[Couple]:
    try:
        text = safe_read.read_file(file).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"pair=csv:{file}: cannot be read ({reason})") from None
    if not {"content", "style"} <= set(reader.fieldnames or ()):
        raise ConfigError(f"{file}: its first line must name the columns content and style")
    couples = [
        (
            find_input(contents, row["content"] or "", f"{file}, row {number}"),
            find_input(styles, row["style"] or "", f"{file}, row {number}"),
        )
        for number, row in enumerate(rows, 2)
    ]
    if not couples:
        raise ConfigError(f"{file}: names no pairs")
    return couples


def name_pairs(couples: Sequence[Couple], template: str) -> list[Pair]:
    """Name the outputs, sorted by style so that each is analysed once, then by content.

    Parameters
    ----------
    couples : sequence of (Source, Source)
    template : str
        With ``{content}``, ``{style}``, ``{content_genre}`` and ``{style_genre}``; its extension
        says the format.

    Returns
    -------
    list of Pair

    Raises
    ------
    ConfigError
        If the template is wrong.
    OutputError
        If two pairs would be written to one file, on any file system.
    """
    check_template(template)
    pairs: dict[str, Pair] = {}
    for content, style in couples:
        name = template.format(
            content=content.name,
            style=style.name,
            content_genre=content.genre,
            style_genre=style.genre,
        )
        _check_name(name)
        pair = Pair(name, content, style)
        # Some file systems take Ä and ä for one letter, some take two ways to write Ä for one.
        other = pairs.setdefault(unicodedata.normalize("NFC", name).casefold(), pair)
        if other != pair:
            raise OutputError(
                f"{name}: would be written for {content.key} with {style.key} and for "
                f"{other.content.key} with {other.style.key}; tell them apart with --name, as "
                '"{content_genre}/{content}__{style_genre}-{style}.wav"'
            )
    return sorted(pairs.values(), key=lambda pair: (pair.style.key, pair.content.key, pair.id))


def check_template(template: str) -> None:
    """Raise a `ConfigError` if a template cannot name an output.

    Parameters
    ----------
    template : str

    Raises
    ------
    ConfigError
        If it cannot name an output.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"name={template!r} is no template ({error})") from None
    for _, name, form, conversion in parts:
        if name is not None:
            check_choice("field of --name", name, FIELDS)
            if form or conversion:
                raise ConfigError(f"name={template!r}: {{{name}}} takes no format")
    path = PurePosixPath(template)
    if path.suffix.lower() not in audio_reader.FORMATS:
        raise ConfigError(
            f"name={template!r} must end in the extension of a format: "
            + ", ".join(audio_reader.FORMATS)
        )
    if path.is_absolute() or os.path.isabs(template) or {"..", "."} & set(template.split("/")):
        raise ConfigError(f"name={template!r} must stay below the folder of the outputs")


def _check_name(name: str) -> None:
    for part in name.split("/"):
        if not part or part.startswith(".") or len(os.fsencode(part)) > MAX_NAME_BYTES:
            raise OutputError(
                f"{name}: is not a name for an output (hidden, empty, or longer than "
                f"{MAX_NAME_BYTES} bytes); change --name, or rename the clip"
            )


def select_pairs(pairs: Sequence[Pair], limit: int | None, shuffle: bool, seed: int) -> list[Pair]:
    """Take a part of the pairs, in the order that they have.

    Parameters
    ----------
    pairs : sequence of Pair
    limit : int or None
        At most so many.
    shuffle : bool
        Draw them in place of taking the first. A larger limit keeps what a smaller one took.
    seed : int

    Returns
    -------
    list of Pair

    Raises
    ------
    ConfigError
    """
    if limit is None:
        if shuffle:
            raise ConfigError("shuffle says which pairs a limit takes: give --limit too")
        return list(pairs)
    if limit < 1:
        raise ConfigError(f"limit={limit} must be at least 1")
    taken = list(pairs)
    if shuffle:
        taken.sort(key=lambda pair: pair.id)
        random.Random(seed).shuffle(taken)
    chosen = {pair.id for pair in taken[:limit]}
    return [pair for pair in pairs if pair.id in chosen]


def check_output_paths(pairs: Sequence[Pair], folder: Path, searched: Sequence[str] = ()) -> None:
    """Refuse to write on an input, by whatever name or link, or where it would become an input.

    Parameters
    ----------
    pairs : sequence of Pair
    folder : Path
        Of the outputs.
    searched : sequence of str
        Sides that may be folders.

    Raises
    ------
    OutputError
    """
    inputs: dict[object, Path] = {}
    for path in {path for pair in pairs for path in pair.inputs}:
        inputs[os.path.realpath(path)] = path
        inputs[_identity(path)] = path
    for pair in pairs:
        output = folder / pair.id
        for mark in (os.path.realpath(output), _identity(output)):
            if mark is not None and mark in inputs:
                raise OutputError(
                    f"{output}: is the same file as the input {inputs[mark]}; choose another "
                    "folder or --name"
                )
    out_dir = Path(os.path.realpath(folder))  # Path.resolve raises at a loop of links
    for side in filter(os.path.isdir, searched):
        root = Path(os.path.realpath(side))
        among = [p for p in pairs if root in (out_dir / p.id).parents]
        if among and root not in out_dir.parents:
            raise OutputError(
                f"{folder / among[0].id}: would lie among the inputs of {side}, and be one of them "
                "at the next run; choose another folder for the outputs"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
