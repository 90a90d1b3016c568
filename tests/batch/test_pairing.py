"""Pairing: laws that hold for any inputs, output names, and every refusal."""

from __future__ import annotations

import csv
import itertools
import os
import random
from pathlib import Path

import pytest

from audiostyle.batch import pairing
from audiostyle.batch.inputs import BatchInput
from audiostyle.errors import ConfigError, OutputError

TEMPLATE = "{content}__{style}.wav"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def source(key: str) -> BatchInput:
    path = Path("/inputs") / key
    return BatchInput(path.stem, path.parent.name, key, path, (path,))


def test_pairing_laws_hold_for_random_inputs() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        clips = [source(f"g/{i}.wav") for i in range(rng.randint(2, 9))]
        contents = rng.sample(clips, rng.randint(1, len(clips)))
        styles = rng.sample(clips, rng.randint(2, len(clips)))
        product = pairing.pair_inputs(contents, styles, "product")
        expected = {(c.key, s.key) for c in contents for s in styles if c.key != s.key}
        assert {(c.key, s.key) for c, s in product} == expected
        assert len(product) == len(expected)
        n = rng.randint(1, len(styles) - 1)
        drawn = pairing.pair_inputs(contents, styles, f"random:{n}", seed)
        assert {(c.key, s.key) for c, s in drawn} <= expected
        assert len(set(drawn)) == len(drawn) == n * len(contents)
        alone = pairing.pair_inputs(contents[:1], styles, f"random:{n}", seed)
        assert alone == [pair for pair in drawn if pair[0] == contents[0]]


def test_names_do_not_depend_on_order_and_limits_are_nested() -> None:
    contents = [source(f"jazz/j{i}.wav") for i in range(5)]
    styles = [source(f"classical/c{i}.wav") for i in range(4)]
    matched = pairing.pair_inputs(contents, styles, "product")
    pairs = pairing.name_pairs(matched, TEMPLATE)
    for seed in range(5):
        shuffled = random.Random(seed).sample(matched, len(matched))
        assert pairing.name_pairs(shuffled, TEMPLATE) == pairs
        taken = [
            {p.id for p in pairing.select_pairs(pairs, n, shuffle, seed)}
            for shuffle in (False, True)
            for n in range(1, 21)
        ]
        for smaller, larger in itertools.pairwise(taken):
            assert smaller < larger or len(larger) == 1
    assert pairing.select_pairs(pairs, 99, False, 0) == pairs
    in_order = [p.style.key for p in pairs]
    assert in_order == sorted(in_order)  # so that each style is analysed once


def test_zip_pairs_in_order_and_refuses_unequal_lengths() -> None:
    contents = [source(f"a/{i}.wav") for i in range(3)]
    styles = [source(f"b/{i}.wav") for i in range(3)]
    assert pairing.pair_inputs(contents, styles, "zip") == list(zip(contents, styles, strict=True))
    with pytest.raises(ConfigError, match="3 contents do not fit 2 styles"):
        pairing.pair_inputs(contents, styles[:2], "zip")


def test_pairs_from_a_table(tmp_path: Path) -> None:
    contents = [source("jazz/a.wav"), source("rock/a.wav"), source("jazz/b.wav")]
    styles = [source("x/c.wav")]
    table = tmp_path / "pairs.csv"

    def read_pairs(*rows: tuple[str, str]) -> list[tuple[str, str]]:
        with table.open("w", newline="") as stream:
            csv.writer(stream).writerows([("content", "style"), *rows])
        found = pairing.pair_inputs(contents, styles, f"csv:{table}")
        return [(c.key, s.key) for c, s in found]

    assert read_pairs(("b", "c.wav"), ("rock/a.wav", "x/c.wav"), ("jazz\\a.wav", "c")) == [
        ("jazz/b.wav", "x/c.wav"),
        ("rock/a.wav", "x/c.wav"),
        ("jazz/a.wav", "x/c.wav"),
    ]
    with pytest.raises(ConfigError, match=r"row 2: 'a' matches jazz/a.wav and rock/a.wav"):
        read_pairs(("a", "c"))
    with pytest.raises(ConfigError, match=r"row 3: clip 'z' is not known"):
        read_pairs(("b", "c"), ("z", "c"))
    with pytest.raises(ConfigError, match="lists no pairs"):
        read_pairs()
    table.write_text("a,b\n")
    with pytest.raises(ConfigError, match="must name the columns content and style"):
        pairing.pair_inputs(contents, styles, f"csv:{table}")


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
        pairing.pair_inputs([source("a/0.wav")], [source("b/0.wav"), source("b/1.wav")], how)


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
def test_equal_names_are_refused_on_any_file_system(first: str, second: str) -> None:
    matched = [(source(first), source("s/s.wav")), (source(second), source("s/s.wav"))]
    with pytest.raises(OutputError, match=r"would be written for .* tell them apart with --name"):
        pairing.name_pairs(matched, TEMPLATE)


def test_folders_in_a_template_distinguish_pairs() -> None:
    matched = [(source(f"{g}/x.wav"), source("s/s.wav")) for g in ("a", "b")]
    pairs = pairing.name_pairs(matched, "{content_genre}/{content}__{style_genre}.flac")
    assert [p.id for p in pairs] == ["a/x__s.flac", "b/x__s.flac"]


def test_long_names_are_refused() -> None:
    with pytest.raises(OutputError, match="longer than 240 bytes"):
        pairing.name_pairs([(source("a/" + "ä" * 120 + ".wav"), source("b/s.wav"))], TEMPLATE)


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_an_output_is_never_an_input(link: str, tmp_path: Path) -> None:
    touch(tmp_path, "in/x.wav", "in/s.wav")
    out = tmp_path / "out"
    out.mkdir()
    clip, style = (
        BatchInput(n, "in", f"{n}.wav", tmp_path / f"in/{n}.wav", (tmp_path / f"in/{n}.wav",))
        for n in ("x", "s")
    )
    pairs = pairing.name_pairs([(clip, style)], "{content}.wav")
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
    pairs = pairing.name_pairs([(source("a/0.wav"), source("b/0.wav"))], TEMPLATE)
    with pytest.raises(ConfigError, match="limit=0 must be at least 1"):
        pairing.select_pairs(pairs, 0, False, 0)
    with pytest.raises(ConfigError, match="give --limit too"):
        pairing.select_pairs(pairs, None, True, 0)
