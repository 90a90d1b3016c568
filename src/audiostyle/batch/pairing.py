"""Pairing: which contents a batch pairs with which styles, and the names of the outputs.

A pair is identified by the name of its output relative to the output folder. The name does not
depend on the order of the pairs, on a limit, or on the notation of the inputs, so it is the same in
every run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import random
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from audiostyle.audio.reader import FORMATS
from audiostyle.batch.inputs import BatchInput, InputIndex, fold, real_path
from audiostyle.batch.pair_table import read_table
from audiostyle.config.variants import NAMES, Variant, Variants, format_parameter
from audiostyle.errors import AudioFileError, ConfigError, OutputError
from audiostyle.utils.suggestions import check_choice

INPUT_FIELDS = ("content", "style", "content_genre", "style_genre", "content_id", "style_id")
FIELDS = (*INPUT_FIELDS, *NAMES)
MAX_NAME_BYTES = 240  # most file systems take 255, and ".json" is appended

InputPair = tuple[BatchInput, BatchInput, Variant]  # content, style, parameters


@dataclass(frozen=True)
class Pair:
    """A content, a style, the parameters, and the output made from them."""

    id: str  # name of the output relative to the output folder, with "/"
    content: BatchInput
    style: BatchInput
    variant: Variant = field(default_factory=Variant)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files that are read."""
        return (*self.content.clips, *self.style.clips)


def pair_inputs(
    contents: Sequence[BatchInput],
    styles: Sequence[BatchInput],
    how: str,
    seed: int = 0,
    limit: int | None = None,
    shuffle: bool = False,
    variants: Variants | None = None,
) -> list[InputPair]:
    """Pair contents with styles, which are sorted, as ``--pair`` says; at most `limit` pairs.

    Each variant makes a pair of its own.
    ``product`` and ``random`` pair no clip with itself. The styles that ``random:N`` draws for a
    content do not depend on the other contents. A limit takes the first pairs in the order in
    which they are computed, or random ones if `shuffle`; a larger one keeps those of a smaller.
    """
    if limit is None and shuffle:
        raise ConfigError("shuffle selects the pairs of a limit: give --limit too")
    if limit is not None and limit < 1:
        raise ConfigError(f"limit={limit} must be at least 1")
    kind, _, value = how.partition(":")
    variants = variants or Variants()
    pairs: list[InputPair] = []
    plain: list[tuple[BatchInput, BatchInput]] = []
    if check_choice("pair", kind, ("product", "zip", "random", "csv")) == "csv":
        pairs = _read_pairs(Path(value), contents, styles, variants)
    elif kind == "random":
        plain = _draw_pairs(contents, styles, how, seed)
    elif value:
        raise ConfigError(f"pair={how!r}: {kind} takes no value")
    elif kind == "zip":
        if len(contents) != len(styles):
            raise ConfigError(
                f"pair=zip: {len(contents)} contents do not fit {len(styles)} styles; use product, "
                "or lists of equal length"
            )
        plain = list(zip(contents, styles, strict=True))
    if kind == "product":  # made one by one: a limit costs no more than its pairs
        n = len(contents) * len(styles) * len(variants.all)
        found = _product(contents, styles, variants.all)
    else:
        pairs += [(*pair, variant) for pair in plain for variant in variants.all]
        pairs.sort(key=lambda pair: (pair[1].key, pair[0].key))
        n, found = len(pairs), lambda i: pairs[i]
    order = _shuffled(n, seed) if shuffle else range(n)
    usable = (pair for pair in map(found, order) if pair is not None)
    return list(itertools.islice(usable, limit))


def _product(
    contents: Sequence[BatchInput], styles: Sequence[BatchInput], variants: Sequence[Variant]
) -> Callable[[int], InputPair | None]:
    """Return a function that makes one of all pairs by number; None for a clip with itself."""
    paths = [*map(_absolute, contents)], [*map(_absolute, styles)]

    def make(i: int) -> InputPair | None:
        i, variant = divmod(i, len(variants))
        style, content = divmod(i, len(contents))
        same = paths[0][content] == paths[1][style]
        return None if same else (contents[content], styles[style], variants[variant])

    return make


def _absolute(found: BatchInput) -> str:
    return os.path.abspath(found.path)


def _shuffled(n: int, seed: int) -> Iterator[int]:
    """Yield the numbers below `n` in random order, with memory only for those that were taken."""
    rng = random.Random(seed)
    moved: dict[int, int] = {}
    for i in range(n):
        j = rng.randrange(i, n)
        yield moved.get(j, j)
        moved[j] = moved.pop(i, i)


def _draw_pairs(
    contents: Sequence[BatchInput], styles: Sequence[BatchInput], how: str, seed: int
) -> list[tuple[BatchInput, BatchInput]]:
    number = how.partition(":")[2]
    if not number.isdecimal() or int(number) < 1:
        raise ConfigError(
            f"pair={how!r} must give the number of styles per content, such as random:3"
        )
    positions = {_absolute(style): i for i, style in enumerate(styles)}
    if set(map(_absolute, contents)) == set(positions) and len(styles) == 1:
        return []  # a clip and itself
    pairs = []
    for content in contents:
        own = positions.get(_absolute(content), len(styles))
        n_others = len(styles) - (own < len(styles))
        if int(number) > n_others:
            raise ConfigError(f"pair={how!r}: only {n_others} styles for {content.key}")
        drawn = random.Random(f"{seed}/{content.key}").sample(range(n_others), int(number))
        pairs += [(content, styles[i + (i >= own)]) for i in drawn]
    return pairs


def _read_pairs(
    file: Path,
    contents: Sequence[BatchInput],
    styles: Sequence[BatchInput],
    variants: Variants,
) -> list[InputPair]:
    """Read the pairs of a table; columns named like parameters apply to their rows."""
    content_index, style_index = InputIndex(contents), InputIndex(styles)
    pairs: list[InputPair] = []
    rows: dict[object, int] = {}
    for number, cells in read_table(file):
        content = content_index.find(cells.pop("content"), file, number)
        style = style_index.find(cells.pop("style"), file, number)
        try:
            made = variants.make(cells)
        except ConfigError as error:
            raise ConfigError(f"{file}, row {number}: {error}") from None
        first = rows.setdefault((content.key, style.key, made[0].values), number)
        if first != number:
            raise ConfigError(
                f"{file}, row {number}: is the same pair as row {first}, {content.key} with "
                f"{style.key}; remove one of them"
            )
        pairs += [(content, style, variant) for variant in made]
    if not pairs:
        raise AudioFileError(f"{file}: lists no pairs")
    return pairs


class OutputNames:
    """Names of outputs by a template.

    Inputs whose names, as far as the template shows them, are the same get an id, which depends on
    their paths alone: a name does not depend on which pairs are selected. `notes` say so. What
    varies is added at the end unless the template shows it.
    """

    def __init__(
        self, template: str, contents: Sequence[BatchInput], styles: Sequence[BatchInput]
    ) -> None:
        self.notes: list[str] = []
        self.template = template
        self._used = {name for _, name, _, _ in string.Formatter().parse(template) if name}
        self._contents = self._fields("content", contents)
        self._styles = self._fields("style", styles)

    def make(self, content: BatchInput, style: BatchInput, variant: Variant) -> str:
        """Make the name of an output."""
        plain = variant.parameters if self._used & {*NAMES} else {}
        shown = {name: _for_name(format_parameter(plain[name])) for name in plain}
        name = self.template.format(
            **self._contents[content.key], **self._styles[style.key], **shown
        )
        added = [f"__{n}={_for_name(text)}" for n, text in variant.values if n not in self._used]
        if added:
            suffix = PurePosixPath(self.template).suffix
            name = name.removesuffix(suffix) + "".join(added) + suffix
        return name if len(name) < MAX_NAME_BYTES // 4 else _shorten(name)

    def _fields(self, side: str, inputs: Sequence[BatchInput]) -> dict[str, dict[str, str]]:
        """Return the fields of the template by the keys of inputs."""
        used = self._used
        fields = {found.key: {side: found.name, f"{side}_genre": found.genre} for found in inputs}
        groups: dict[tuple[str, ...], list[BatchInput]] = {}
        if side in used and f"{side}_id" not in used:
            for found in inputs:
                values = (value for name, value in fields[found.key].items() if name in used)
                groups.setdefault(tuple(map(fold, values)), []).append(found)
        shared = [found for group in groups.values() if len(group) > 1 for found in group]
        for found in shared:
            fields[found.key][side] = f"{found.name}-{_make_id(found)}"
        if f"{side}_id" in used:
            for found in inputs:
                fields[found.key][f"{side}_id"] = _make_id(found)
        if shared:
            shown = ", ".join(f"{fields[f.key][side]} is {f.key}" for f in shared[:3])
            self.notes.append(
                f"{len(shared)} {side}s share their names with others, so outputs have an id: "
                f"{shown}{', ...' if len(shared) > 3 else ''}"
            )
        return fields


def _for_name(text: str) -> str:
    """Write the value of a parameter as a part of a file name on any system."""
    return re.sub(r"[^\w.+=,-]+", "-", text) or "none"


def _make_id(found: BatchInput) -> str:
    """Hash the path of an input, and its name: a folder may hold several genres."""
    path = os.fsencode(f"{_absolute(found)}\0{found.name}")
    return hashlib.sha256(path).hexdigest()[:10]


def _shorten(name: str) -> str:
    """Replace the middle of parts that are longer than file systems allow by a digest."""
    mark = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:10]}~"
    parts = []
    for part in name.split("/"):
        if len(os.fsencode(part)) <= MAX_NAME_BYTES:
            parts.append(part)
            continue
        left, right = part[: len(part) // 2], part[len(part) // 2 :]
        while len(os.fsencode(left + mark + right)) > MAX_NAME_BYTES:
            left, right = left[:-1], right[1:]
        parts.append(left + mark + right)
    return "/".join(parts)


def name_pairs(pairs: Iterable[InputPair], names: OutputNames) -> list[Pair]:
    """Name the outputs; sort them by style, networks and content.

    So each style is analysed once, and few networks need to stay loaded.

    Raises an `OutputError` if two pairs would have one output, on any file system.
    """
    named: dict[str, Pair] = {}
    for content, style, variant in pairs:
        name = names.make(content, style, variant)
        if name.startswith((".", "/")) or "/." in name or "//" in name:
            raise OutputError(
                f"{name}: is not a name for an output, as a part of it is hidden or empty; use "
                f'--name "_{{content}}__{{style}}{PurePosixPath(name).suffix}"'
            )
        pair = Pair(name, content, style, variant)
        # Some file systems ignore case, some normalise Unicode.
        other = named.setdefault(fold(name), pair)
        if other is not pair and other != pair:
            raise OutputError(
                f"{name}: would be written for {content.key} with {style.key} and for "
                f"{other.content.key} with {other.style.key}; tell them apart with --name "
                f'"{{content}}-{{content_id}}__{{style}}-{{style_id}}{PurePosixPath(name).suffix}"'
            )
    return sorted(named.values(), key=_order)


def _order(pair: Pair) -> tuple[str, ...]:
    return pair.style.key, pair.variant.networks, pair.content.key, pair.id


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


def check_output_paths(pairs: Sequence[Pair], folder: Path, sources: Sequence[str] = ()) -> None:
    """Raise an `OutputError` if an output is an input, by any link, or would become one.

    `sources` are CONTENT and STYLE: if one is a folder, no output may lie among its clips.
    """
    paths = {path for pair in pairs for path in pair.inputs}
    inputs = {identity: path for path in paths for identity in _identities(path)}
    real_folder = functools.cache(os.path.realpath)
    for pair in pairs:
        output = os.path.join(folder, pair.id)
        parent, name = os.path.split(output)
        identities: set[object] = {os.path.join(real_folder(parent), name)}
        if os.path.lexists(output):
            identities |= _identities(Path(output))
        for identity in identities & inputs.keys():
            raise OutputError(
                f"{output}: is the same file as the input {inputs[identity]}; choose another "
                "folder or --name"
            )
    out_dir = real_path(folder)
    below = {os.path.dirname(pair.id): pair.id for pair in reversed(pairs)}  # the first of each
    for source in filter(os.path.isdir, sources):
        root = real_path(source)
        among = [one for one in below.values() if root in (out_dir / one).parents]
        if among and root not in out_dir.parents:
            raise OutputError(
                f"{folder / among[-1]}: would lie among the inputs of {source} and be an input "
                "of the next run; choose another output folder"
            )


def _identities(path: Path) -> set[object]:
    """Return what a file is known by, through any symbolic or hard link."""
    found: set[object] = {os.path.realpath(path)}
    with contextlib.suppress(OSError):
        status = path.stat()
        found.add((status.st_dev, status.st_ino))
    return found
