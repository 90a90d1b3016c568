"""Inputs: folders, globs, lists and genres."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import inputs
from audiostyle.batch.inputs import BatchInput
from audiostyle.errors import AudioFileError, ConfigError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def find(source: object, **options: Any) -> list[BatchInput]:
    return inputs.find_inputs(str(source), **options)[0]


def keys(found: list[BatchInput]) -> list[str]:
    return [s.key for s in found]


@pytest.fixture
def genres(tmp_path: Path) -> Path:
    names = [f"{g}/{g}.{i:05d}.wav" for g in ("jazz", "classical") for i in range(3)]
    touch(tmp_path / "genres", *names, "jazz/._jazz.00000.wav", ".hidden/x.wav", "jazz/notes.txt")
    return tmp_path / "genres"


def test_a_folder_is_searched_recursively_without_hidden_files(genres: Path) -> None:
    found = find(str(genres))
    assert keys(found) == [f"{g}/{g}.{i:05d}.wav" for g in ("classical", "jazz") for i in range(3)]
    assert {(s.name, s.genre) for s in found[:1]} == {("classical.00000", "classical")}


def test_all_notations_find_the_same_clips(genres: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (genres.parent / "list.txt").write_text(
        "# a comment\n\n" + "\n".join(f"genres/jazz/jazz.{i:05d}.wav" for i in (2, 0, 1))
    )
    monkeypatch.chdir(genres.parent)
    wanted = [(genres / "jazz" / f"jazz.{i:05d}.wav") for i in range(3)]
    for source in ("genres/jazz", "genres/jazz/*", "genres/jaz?", "**/jazz.*.wav", "@list.txt"):
        found = find(source)
        assert [s.path.absolute() for s in found] == wanted, source
        assert keys(found) == [path.name for path in wanted], source
        assert {s.genre for s in found} == {"jazz"}
    whole = find("genres", genre="jazz")
    assert [s.path.absolute() for s in whole] == wanted


def test_a_glob_of_folders_skips_those_without_clips(genres: Path) -> None:
    (genres / "papers").mkdir()
    assert len(find(f"{genres}/*")) == 6


def test_genres_of_a_flat_gtzan(tmp_path: Path) -> None:
    touch(tmp_path, "jazz.00001.wav", "rock.00001.wav", "song.wav")
    found = find(str(tmp_path))
    assert [s.genre for s in found] == ["jazz", "rock", tmp_path.name]
    assert keys(inputs.join_genres(found)) == sorted([tmp_path.name, "jazz", "rock"])


def test_joined_genres_hold_every_clip_once(genres: Path) -> None:
    clips = find(str(genres))
    joined = inputs.join_genres(reversed(clips))
    assert [(s.name, s.key, s.path) for s in joined] == [
        (g, g, genres / g) for g in ("classical", "jazz")
    ]
    assert [path for s in joined for path in s.clips] == [s.path for s in clips]


def test_outputs_below_the_inputs_are_excluded(genres: Path) -> None:
    touch(genres / "out", "jazz.00000__classical.00000.wav")
    found = find(str(genres), exclude=genres / "out")
    assert len(found) == 6


def test_style_files_are_styles_but_not_contents(tmp_path: Path) -> None:
    touch(tmp_path, "genre.style.npz")
    (found,) = find(str(tmp_path / "genre.style.npz"), styles=True)
    assert (found.name, found.genre) == ("genre", "genre")
    assert inputs.join_genres([found]) == [found]
    with pytest.raises(AudioFileError, match="holds no audio files"):
        find(str(tmp_path / "genre.style.npz"))


@pytest.mark.parametrize(
    ("source", "genre", "error", "message"),
    [
        ("none", None, AudioFileError, "none: no such file or folder"),
        ("*.flac", None, AudioFileError, r"\*.flac: no audio file matches"),
        ("@none.txt", None, AudioFileError, "none.txt: the list cannot be read"),
        ("@list.txt", None, AudioFileError, "gone.wav: no such file, though list.txt lists it"),
        ("@empty.txt", None, AudioFileError, "empty.txt: lists no files"),
        ("genres", "jaz", ConfigError, "genre 'jaz' is not known.*jazz"),
    ],
)
def test_inputs_that_do_not_exist_are_an_error(
    source: str,
    genre: str | None,
    error: type,
    message: str,
    genres: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(genres.parent)
    Path("list.txt").write_text("gone.wav\n")
    Path("empty.txt").write_text("# nothing\n")
    with pytest.raises(error, match=message):
        find(source, genre=genre)


def found_in_list(folder: Path, data: bytes) -> list[str]:
    (folder / "list.txt").write_bytes(data)
    return keys(find(f"@{folder / 'list.txt'}"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_as_people_write_them(encoding: str, end: str, tmp_path: Path) -> None:
    names = ["#1 hit.wav", "caf\xe9.wav", "sub/two  words.wav", "x.wav"]
    touch(tmp_path, *names)
    lines = [
        "# a comment",
        "",
        names[0],
        names[1],
        "  ",
        "sub\\two  words.wav",
        " x.wav ",
        "#no.wav",
    ]
    lines += [f'"{tmp_path / "x.wav"}"']
    assert found_in_list(tmp_path, end.join(lines).encode(encoding)) == names


@pytest.mark.skipif(os.name == "nt", reason="Windows does not allow these names")
def test_names_in_lists_are_cut_only_at_line_breaks(tmp_path: Path) -> None:
    names = ["a\x85b.wav", "a\u2028b.wav", " blank .wav", os.fsdecode(b"caf\xe9.wav")]
    touch(tmp_path, *names)
    data = b"\n".join(map(os.fsencode, names))
    assert sorted(found_in_list(tmp_path, data)) == sorted(names)


def test_a_list_may_name_folders_and_files_twice(genres: Path) -> None:
    data = b"genres/jazz\ngenres/jazz/jazz.00001.wav\n./genres/jazz/jazz.00001.wav\n"
    assert found_in_list(genres.parent, data) == [f"jazz.{i:05d}.wav" for i in range(3)]


@pytest.mark.parametrize("folder", ["a [live]", "[ab]c", "x [1] [2]"])
def test_brackets_are_taken_as_written_if_no_name_matches(folder: str, tmp_path: Path) -> None:
    touch(tmp_path, f"{folder}/a.wav")
    assert keys(find(f"{tmp_path}/{folder}/*.wav")) == ["a.wav"]
    escaped = folder.replace("[", "[[]")
    assert keys(find(f"{tmp_path}/{escaped}/*.wav")) == ["a.wav"]
    with pytest.raises(AudioFileError, match=r"\[\[\] for a bracket"):
        find(f"{tmp_path}/{folder}/*.flac")


def test_a_pattern_comes_before_the_name_with_its_brackets(tmp_path: Path) -> None:
    touch(tmp_path, "[ab]/x.wav", "a/y.wav")
    assert keys(find(f"{tmp_path}/[ab]/*.wav")) == ["y.wav"]


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_patterns_follow_links_and_end_in_loops(genres: Path) -> None:
    (genres / "jazz" / "again").symlink_to("..")
    (genres / "jazz" / "once more").symlink_to("..")
    (genres / "more").symlink_to("jazz")
    found, skipped = inputs.find_inputs(f"{genres}/**/*.wav")
    assert {key.split("/")[0] for key in keys(found)} == {"classical", "jazz", "more"}
    assert len(found) == 9
    assert [e for e in skipped if e["reason"] == "loop of links"] == []  # no name ends in .wav
    _, skipped = inputs.find_inputs(str(genres))
    assert sum(entry["reason"] == "loop of links" for entry in skipped) == 4


def test_every_notation_names_what_it_leaves_out(genres: Path) -> None:
    touch(genres / "jazz", "x.style.npz")
    (genres.parent / "list.txt").write_text("genres/jazz\ngenres/jazz/x.style.npz\n")
    wanted = {"hidden": 1, "unknown format": 1, "style file": 1}
    for source in (f"{genres}/jazz", f"{genres}/jaz?", f"{genres}/jazz/**"):
        _, skipped = inputs.find_inputs(source)
        assert Counter(entry["reason"] for entry in skipped) == wanted, source
    _, skipped = inputs.find_inputs(f"{genres}/jazz/*")  # * stands for no hidden file
    assert {entry["reason"] for entry in skipped} == {"unknown format", "style file"}
    found, _ = inputs.find_inputs(f"{genres}/jazz/*.npz", styles=True)
    assert keys(found) == ["x.style.npz"]
    _, skipped = inputs.find_inputs(f"@{genres.parent / 'list.txt'}")
    assert {entry["reason"] for entry in skipped} == set(wanted)
