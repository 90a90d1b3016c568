"""Inputs: folders, globs, lists and genres."""

from __future__ import annotations

from pathlib import Path

import pytest

from audiostyle.batch import inputs
from audiostyle.batch.inputs import BatchInput
from audiostyle.errors import AudioFileError, ConfigError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def keys(found: list[BatchInput]) -> list[str]:
    return [s.key for s in found]


@pytest.fixture
def genres(tmp_path: Path) -> Path:
    names = [f"{g}/{g}.{i:05d}.wav" for g in ("jazz", "classical") for i in range(3)]
    touch(tmp_path / "genres", *names, "jazz/._jazz.00000.wav", ".hidden/x.wav", "jazz/notes.txt")
    return tmp_path / "genres"


def test_a_folder_is_searched_recursively_without_hidden_files(genres: Path) -> None:
    found = inputs.find_inputs(str(genres))
    assert keys(found) == [f"{g}/{g}.{i:05d}.wav" for g in ("classical", "jazz") for i in range(3)]
    assert {(s.name, s.genre) for s in found[:1]} == {("classical.00000", "classical")}


def test_all_notations_find_the_same_clips(genres: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (genres.parent / "list.txt").write_text(
        "# a comment\n\n" + "\n".join(f"genres/jazz/jazz.{i:05d}.wav" for i in (2, 0, 1))
    )
    monkeypatch.chdir(genres.parent)
    wanted = [(genres / "jazz" / f"jazz.{i:05d}.wav") for i in range(3)]
    for source in ("genres/jazz", "genres/jazz/*", "genres/jaz?", "**/jazz.*.wav", "@list.txt"):
        found = inputs.find_inputs(source)
        assert [s.path.absolute() for s in found] == wanted, source
        assert keys(found) == [path.name for path in wanted], source
        assert {s.genre for s in found} == {"jazz"}
    whole = inputs.find_inputs("genres", genre="jazz")
    assert [s.path.absolute() for s in whole] == wanted


def test_a_glob_of_folders_skips_those_without_clips(genres: Path) -> None:
    (genres / "papers").mkdir()
    assert len(inputs.find_inputs(f"{genres}/*")) == 6


def test_genres_of_a_flat_gtzan(tmp_path: Path) -> None:
    touch(tmp_path, "jazz.00001.wav", "rock.00001.wav", "song.wav")
    found = inputs.find_inputs(str(tmp_path))
    assert [s.genre for s in found] == ["jazz", "rock", tmp_path.name]
    assert keys(inputs.join_genres(found)) == sorted([tmp_path.name, "jazz", "rock"])


def test_joined_genres_hold_every_clip_once(genres: Path) -> None:
    clips = inputs.find_inputs(str(genres))
    joined = inputs.join_genres(reversed(clips))
    assert [(s.name, s.key, s.path) for s in joined] == [
        (g, g, genres / g) for g in ("classical", "jazz")
    ]
    assert [path for s in joined for path in s.clips] == [s.path for s in clips]


def test_outputs_below_the_inputs_are_excluded(genres: Path) -> None:
    touch(genres / "out", "jazz.00000__classical.00000.wav")
    found = inputs.find_inputs(str(genres), exclude=genres / "out")
    assert len(found) == 6


def test_style_files_are_styles_but_not_contents(tmp_path: Path) -> None:
    touch(tmp_path, "genre.style.npz")
    (found,) = inputs.find_inputs(str(tmp_path / "genre.style.npz"), styles=True)
    assert (found.name, found.genre) == ("genre", "genre")
    assert inputs.join_genres([found]) == [found]
    with pytest.raises(AudioFileError, match="holds no audio files"):
        inputs.find_inputs(str(tmp_path / "genre.style.npz"))


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
        inputs.find_inputs(source, genre=genre)
