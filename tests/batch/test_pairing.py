"""Pairing: laws that hold for any inputs, output names, and every refusal."""

from __future__ import annotations

import csv
import itertools
import os
import random
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import pairing
from audiostyle.batch.inputs import BatchInput
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.config.variants import Variant, Variants
from audiostyle.errors import AudioFileError, ConfigError, OutputError

TEMPLATE = "{content}__{style}.wav"
VARIANT = Variant()
Inputs = tuple[BatchInput, BatchInput]


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def source(key: str) -> BatchInput:
    path = Path("/inputs") / key
    return BatchInput(path.stem, path.parent.name, key, path, (path,))


def pair_inputs(*arguments: Any, **options: Any) -> list[Inputs]:
    """Pair without variants."""
    return [(content, style) for content, style, _ in pairing.pair_inputs(*arguments, **options)]


def name_pairs(
    pairs: list[Inputs], template: str = TEMPLATE, names: pairing.OutputNames | None = None
) -> list[pairing.Pair]:
    contents = {content.key: content for content, _ in pairs}
    styles = {style.key: style for _, style in pairs}
    names = names or pairing.OutputNames(template, [*contents.values()], [*styles.values()])
    return pairing.name_pairs([(*pair, VARIANT) for pair in pairs], names)


def test_pairing_laws_hold_for_random_inputs() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        clips = [source(f"g/{i}.wav") for i in range(rng.randint(2, 9))]
        contents = rng.sample(clips, rng.randint(1, len(clips)))
        styles = rng.sample(clips, rng.randint(2, len(clips)))
        product = pair_inputs(contents, styles, "product")
        expected = {(c.key, s.key) for c in contents for s in styles if c.key != s.key}
        assert {(c.key, s.key) for c, s in product} == expected
        assert len(product) == len(expected)
        n = rng.randint(1, len(styles) - 1)
        drawn = pair_inputs(contents, styles, f"random:{n}", seed)
        assert {(c.key, s.key) for c, s in drawn} <= expected
        assert len(set(drawn)) == len(drawn) == n * len(contents)
        alone = pair_inputs(contents[:1], styles, f"random:{n}", seed)
        assert alone == [pair for pair in drawn if pair[0] == contents[0]]


def test_names_do_not_depend_on_order_and_limits_are_nested() -> None:
    contents = [source(f"jazz/j{i}.wav") for i in range(5)]
    styles = [source(f"classical/c{i}.wav") for i in range(4)]
    matched = pair_inputs(contents, styles, "product")
    pairs = name_pairs(matched, TEMPLATE)
    for seed in range(5):
        shuffled = random.Random(seed).sample(matched, len(matched))
        assert name_pairs(shuffled, TEMPLATE) == pairs
    for how in ("product", "random:3"):
        whole = pair_inputs(contents, styles, how)
        for shuffle in (False, True):
            taken = [
                pair_inputs(contents, styles, how, 0, n, shuffle) for n in range(1, len(whole) + 1)
            ]
            for n, (smaller, larger) in enumerate(itertools.pairwise(taken), 1):
                assert len(smaller) == n and smaller == larger[:n]
            assert {(c.key, s.key) for c, s in taken[-1]} == {(c.key, s.key) for c, s in whole}
            assert shuffle or taken[-1] == whole
    drawn = pair_inputs(contents, styles, "product", 0, 10, True)
    assert drawn != pair_inputs(contents, styles, "product", 1, 10, True)
    in_order = [p.style.key for p in pairs]
    assert in_order == sorted(in_order)  # so that each style is analysed once


def test_zip_pairs_in_order_and_refuses_unequal_lengths() -> None:
    contents = [source(f"a/{i}.wav") for i in range(3)]
    styles = [source(f"b/{i}.wav") for i in range(3)]
    assert pair_inputs(contents, styles, "zip") == list(zip(contents, styles, strict=True))
    with pytest.raises(ConfigError, match="3 contents do not fit 2 styles"):
        pair_inputs(contents, styles[:2], "zip")


def test_pairs_from_a_table(tmp_path: Path) -> None:
    contents = [source("jazz/a.wav"), source("rock/a.wav"), source("jazz/b.wav")]
    styles = [source("x/c.wav")]
    table = tmp_path / "pairs.csv"

    def read_pairs(*rows: tuple[str, str]) -> list[tuple[str, str]]:
        with table.open("w", newline="") as stream:
            csv.writer(stream).writerows([("content", "style"), *rows])
        found = pair_inputs(contents, styles, f"csv:{table}")
        return [(c.key, s.key) for c, s in found]

    assert read_pairs(("b", "c.wav"), ("rock/a.wav", "x/c.wav"), ("jazz\\a.wav", "c")) == [
        ("jazz/a.wav", "x/c.wav"),
        ("jazz/b.wav", "x/c.wav"),
        ("rock/a.wav", "x/c.wav"),
    ]
    with pytest.raises(ConfigError, match=r"row 2: 'a' matches jazz/a.wav and rock/a.wav"):
        read_pairs(("a", "c"))
    with pytest.raises(ConfigError, match=r"row 3: clip 'z' is not known"):
        read_pairs(("b", "c"), ("z", "c"))
    with pytest.raises(ConfigError, match="row 3: content or style is empty"):
        read_pairs(("b", "c"), ("b", ""))
    with pytest.raises(AudioFileError, match="lists no pairs"):
        read_pairs()
    table.write_text("a,b\n")
    with pytest.raises(ConfigError, match="must name the columns content and style"):
        pair_inputs(contents, styles, f"csv:{table}")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", ", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_as_spreadsheets_write_them(
    delimiter: str, encoding: str, end: str, tmp_path: Path
) -> None:
    contents = [source("jazz/caf\u00e9.wav"), source("jazz/a;b.wav"), source("jazz/b.wav")]
    styles = [source("x/c.wav")]
    rows = [
        ["Seed", " Style", "CONTENT "],
        ["1", "c.wav", "caf\u00e9"],
        [],
        ["", "", ""],
        ["2", "x/c.wav", '"a;b.wav"'],
        ["3", str(styles[0].path), str(contents[2].path)],
        [" 4 ", "C", "Jazz/B.wav", ""],
    ]
    table = tmp_path / "pairs.csv"
    table.write_bytes("".join(delimiter.join(row) + end for row in rows).encode(encoding))
    found = pairing.pair_inputs(contents, styles, f"csv:{table}")
    assert [c.key for c, _, _ in found] == [
        *("jazz/a;b.wav", *["jazz/b.wav"] * 2, "jazz/caf\u00e9.wav")
    ]
    assert [variant.config.seed for *_, variant in found] == [2, 3, 4, 1]
    table.write_bytes(f"sep=;{end}content;style{end}b;c{end}".encode(encoding))
    assert len(pair_inputs(contents, styles, f"csv:{table}")) == 1


def test_cells_may_be_relative_to_the_table(tmp_path: Path) -> None:
    touch(tmp_path, "songs/a.wav")
    clip = tmp_path / "songs/a.wav"
    contents = [BatchInput("a", "songs", "a.wav", clip, (clip,)), source("b/a.wav")]
    (tmp_path / "pairs.csv").write_text("content,style\nsongs/a.wav,c\n")
    how = f"csv:{tmp_path / 'pairs.csv'}"
    assert pair_inputs(contents, [source("x/c.wav")], how)[0][0] is contents[0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("products", "pair 'products' is not known"),
        ("product:3", "product takes no value"),
        ("random", "must give the number of styles"),
        ("random:0", "must give the number of styles"),
        ("random:9", "only 2 styles for a/0.wav"),
        ("csv:none.csv", "none.csv: cannot be read"),
    ],
)
def test_invalid_pairings_are_refused(how: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pair_inputs([source("a/0.wav")], [source("b/0.wav"), source("b/1.wav")], how)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{content}.txt", "must end in the extension"),
        ("{content}", "must end in the extension"),
        ("{contents}.wav", "field of --name 'contents' is not known"),
        ("{content!r}.wav", "takes no format"),
        ("{content:>9}.wav", "takes no format"),
        ("{content.wav", "is not a valid template"),
        ("../{content}.wav", "must stay below"),
        ("/tmp/{content}.wav", "must stay below"),
    ],
)
def test_invalid_templates_are_refused(template: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pairing.check_template(template)


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/x.wav", "b/x.wav"), ("a/x.wav", "a/X.wav"), ("a/\u00e9.wav", "a/e\u0301.wav")],
)
def test_inputs_of_one_name_get_an_id_on_any_file_system(first: str, second: str) -> None:
    contents, style = [source(first), source(second), source("a/other.wav")], source("s/s.wav")
    pairs = name_pairs([(content, style) for content in contents])
    ids = {pair.content.key: pair.id for pair in pairs}
    assert ids["a/other.wav"] == "other__s.wav"
    for content in contents[:2]:
        assert re.fullmatch(f"{content.name}-[0-9a-f]{{10}}__s\\.wav", ids[content.key])
    names = pairing.OutputNames(TEMPLATE, contents, [style])
    (note,) = names.notes
    assert note.startswith("2 contents share their names") and ids[first][:-7] in note
    # A name depends on all inputs, and not on the pairs that are selected.
    assert [p.id for p in name_pairs([(contents[1], style)], names=names)] == [ids[second]]


def test_every_collision_has_a_way_out_that_its_message_names() -> None:
    ambiguous = [
        (source("a/x__y.wav"), source("s/z.wav")),
        (source("a/x.wav"), source("s/y__z.wav")),
    ]
    same = [(source("a/x.wav"), source("s/s.wav")), (source("a/y.wav"), source("s/s.wav"))]
    for matched, template in ((ambiguous, TEMPLATE), (same, "{style}.flac"), (same, "one.wav")):
        with pytest.raises(OutputError, match=r"would be written for .* tell them") as error:
            name_pairs(matched, template)
        (advice,) = re.findall(r'--name "(.*)"', str(error.value))
        pairing.check_template(advice)
        assert len({pair.id for pair in name_pairs(matched, advice)}) == 2
    hidden = [(source("a/.x.wav"), source("s/s.wav"))]
    with pytest.raises(OutputError, match="hidden or empty") as error:
        name_pairs(hidden)
    (advice,) = re.findall(r'--name "(.*)"', str(error.value))
    assert [pair.id for pair in name_pairs(hidden, advice)] == ["_.x__s.wav"]


def test_folders_in_a_template_distinguish_pairs() -> None:
    matched = [(source(f"{g}/x.wav"), source("s/s.wav")) for g in ("a", "b")]
    pairs = name_pairs(matched, "{content_genre}/{content}__{style_genre}.flac")
    assert [p.id for p in pairs] == ["a/x__s.flac", "b/x__s.flac"]


@pytest.mark.parametrize("letter", ["x", "ä", "音", "\udcff"])
def test_long_names_are_shortened_and_stay_distinct(letter: str) -> None:
    n = 230 // len(os.fsencode(letter))
    styles = [source(f"b/{letter * n}{i}.wav") for i in range(3)]
    matched = [(source(f"a/{letter * n}.wav"), style) for style in styles]
    names = [pair.id for pair in name_pairs(matched)]
    assert len(set(names)) == 3
    for name in names:
        assert 230 < len(os.fsencode(name)) <= 240
        assert name.endswith(".wav") and re.search("~[0-9a-f]{10}~", name)
    assert name_pairs(matched[:1])[0].id == names[0]
    (folder,) = name_pairs(matched[:1], "{content}{style}/{content_genre}.wav")
    assert len(os.fsencode(folder.id.partition("/")[0])) <= 240 and folder.id.endswith("/a.wav")


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_an_output_is_never_an_input(link: str, tmp_path: Path) -> None:
    touch(tmp_path, "in/x.wav", "in/s.wav")
    out = tmp_path / "out"
    out.mkdir()
    clip, style = (
        BatchInput(n, "in", f"{n}.wav", tmp_path / f"in/{n}.wav", (tmp_path / f"in/{n}.wav",))
        for n in ("x", "s")
    )
    pairs = name_pairs([(clip, style)], "{content}.wav")
    pairing.check_output_paths(pairs, out)
    if link == "same":
        out = tmp_path / "in"
    elif link == "symbolic":
        (out / "x.wav").symlink_to(tmp_path / "in" / "s.wav")
    else:
        os.link(tmp_path / "in" / "s.wav", out / "x.wav")
    with pytest.raises(OutputError, match="is the same file as the input"):
        pairing.check_output_paths(pairs, out)


def test_a_limit_is_positive_and_shuffle_needs_one() -> None:
    sides = [source("a/0.wav")], [source("b/0.wav")]
    with pytest.raises(ConfigError, match="limit=0 must be at least 1"):
        pair_inputs(*sides, "product", limit=0)
    with pytest.raises(ConfigError, match="give --limit too"):
        pair_inputs(*sides, "product", shuffle=True)


def test_a_limit_makes_no_more_pairs_than_it_takes() -> None:
    """The inputs are so many that all of their pairs would fill the memory."""
    clips = [source(f"a/{i}.wav") for i in range(20_000)]
    for shuffle in (False, True):
        tracemalloc.start()
        pairs = pair_inputs(clips, clips, "product", 0, 5, shuffle)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(pairs) == 5 and all(c != s for c, s in pairs)
        assert peak < 20e6  # a list of all pairs takes 25 GB


def test_random_styles_are_those_of_a_draw_from_the_others() -> None:
    """The draw is that of a list without the clip itself, which is not made."""
    clips = [source(f"a/{i}.wav") for i in range(9)]
    for content, style in pair_inputs(clips, clips, "random:1", 4):
        others = [clip for clip in clips if clip != content]
        assert style == random.Random(f"4/{content.key}").sample(others, 1)[0]


def test_a_clip_and_itself_leave_no_pair() -> None:
    clips = [source("a/0.wav")]
    for how in ("product", "random:1"):
        assert pair_inputs(clips, clips, how) == []


def test_variants_are_pairs_of_their_own(tmp_path: Path) -> None:
    contents, styles = [source(f"a/{i}.wav") for i in range(3)], [source("b/s.wav")]
    variants = Variants(vary={"strength": ["1", "0.5"], "preset": ["fast", "balanced"]})
    names = pairing.OutputNames(TEMPLATE, contents, styles)
    for how in ("product", "random:1"):
        matched = pairing.pair_inputs(contents, styles, how, 0, None, False, variants)
        pairs = pairing.name_pairs(matched, names)
        assert {pair.id for pair in pairs} == {
            f"{i}__s__strength={s}__preset={p}.wav"
            for i, s, p in itertools.product(range(3), ("1", "0.5"), ("fast", "balanced"))
        }
        for pair in pairs:
            assert f"strength={pair.variant.config.strength:g}_" in pair.id
            assert f"preset={pair.variant.preset}." in pair.id
        for n, shuffle in itertools.product(range(1, 12), (False, True)):
            limited = pairing.pair_inputs(contents, styles, how, 0, n, shuffle, variants)
            assert len({pair.id for pair in pairing.name_pairs(limited, names)}) == n
    networks = [pair.variant.networks for pair in pairs]
    assert len([*itertools.groupby(networks)]) == len({*networks})  # each is loaded once
    folders = pairing.OutputNames("{strength}/{content}-{n_fft}.wav", contents, styles)
    named = {pair.id for pair in pairing.name_pairs(matched, folders)}
    assert "0.5/0-2048__preset=fast.wav" in named and len(named) == 12


def test_columns_of_a_table_are_parameters_of_their_rows(tmp_path: Path) -> None:
    contents, styles = [source("a/0.wav"), source("a/1.wav")], [source("b/s.wav")]
    table = tmp_path / "pairs.csv"

    def read(text: str, **vary: Any) -> list[pairing.Pair]:
        table.write_text(text)
        variants = Variants(TransferConfig(strength=0.9), None, vary)
        how = f"csv:{table}"
        matched = pairing.pair_inputs(contents, styles, how, 0, None, False, variants)
        return pairing.name_pairs(matched, pairing.OutputNames(TEMPLATE, contents, styles))

    text = 'content,style,strength,Content-Layers\n0,s,.5,"block1_conv1=1,block2_conv1"\n1,s,,\n'
    first, second = read(text, seed=[3])
    assert first.id == (
        "0__s__strength=0.5__content_layers=block1_conv1=1,block2_conv1=1__seed=3.wav"
    )
    assert first.variant.config == TransferConfig(
        strength=0.5, content_layers=(("block1_conv1", 1), ("block2_conv1", 1)), seed=3
    )
    assert second.variant.config == TransferConfig(strength=0.9, seed=3)
    for text, vary, message in (
        ("content,style,strenght\n0,s,1\n", {}, "row 1: column 'strenght' .* mean strength"),
        ("content,style,note\n0,s,1\n", {}, "row 1: column 'note' is not known"),
        ("content,style,style\n0,s,s\n", {}, "row 1: names the column style twice"),
        ("content,style\n0,s,1\n", {}, "row 2: has more cells than the first line has names"),
        ("content,style,\n0,s,1\n", {}, "row 2: has more cells than the first line has names"),
        ("content,style,strength\n0,s,2\n", {}, r"row 2: strength=2 must be from 0 to 1"),
        ("content,style,seed\n0,s,2\n", {"seed": [1]}, "row 2: seed is a column and varies too"),
        ("content,style\n0,s\n1,s\n0.wav,s\n", {}, "row 4: is the same pair as row 2, a/0.wav"),
        ("content,style,strength\n0,s,.5\n0,s,0.50\n", {}, "row 3: is the same pair as row 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(text, **vary)
