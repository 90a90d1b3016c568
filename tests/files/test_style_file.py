"""Styles in files, with the real analysis: small spectrograms, and seconds of sound."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.cli.main import main
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files import style_file
from audiostyle.files.transfer import make_style_file, transfer_file
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import journal_lines, sounds

TINY = TransferConfig(
    precision="float32",
    n_fft=1024,
    hop_length=256,
    n_mels=64,
    bands=4,
    iterations=2,
    inversion_iterations=2,
    style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
)


@pytest.fixture(scope="module")
def genre(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the style of a folder of three clips, one of them broken, beside a content."""
    root = tmp_path_factory.mktemp("style")
    (root / "genre").mkdir()
    sf.write(root / "genre" / "a.wav", make_noise(1.2), SR)
    sf.write(root / "genre" / "b.wav", make_noise(0.8, 16_000, seed=1), 16_000)
    (root / "genre" / "c.wav").write_text("no sound")
    for i, base in enumerate((220.0, 330.0)):
        sf.write(root / f"content{i}.wav", make_tones(1.0, base=base), SR)
    make_style_file(root / "genre", root / "genre.style.npz", TINY)
    return root


def test_a_style_file_gives_what_its_folder_gives(genre: Path, tmp_path: Path) -> None:
    made = []
    for i, style in enumerate((genre / "genre", genre / "genre.style.npz")):
        _, record = transfer_file(genre / "content0.wav", style, tmp_path / f"{i}.wav", TINY)
        made.append(record)
    folder, saved = (tmp_path / f"{i}.wav" for i in range(2))
    assert folder.read_bytes() == saved.read_bytes()
    clips = [[Path(c["path"]).name for c in r["styles"][0]["clips"]] for r in made]
    assert clips == [["a.wav", "b.wav"]] * 2
    assert [c["path"] for c in made[1]["styles"][0]["skipped"]] == [str(genre / "genre" / "c.wav")]
    assert len(made[1]["styles"][0]["sha256"]) == 64


def test_what_was_saved_is_what_is_restored(genre: Path) -> None:
    saved = style_file.load_style(genre / "genre.style.npz", TINY)
    heard = saved.restore()
    for part, start in ((heard.statistics, "statistics"), (heard.samples, "samples")):
        for field in dataclasses.fields(part):
            if field.metadata.get("derived"):  # computed where they are needed
                continue
            value = getattr(part, field.name)
            stored = saved.arrays
            if isinstance(value, dict):
                assert set(value) >= {"block1_conv1", "block2_conv1"}
                pairs = [(v, stored[f"{start}/{field.name}/{k}"]) for k, v in value.items()]
            else:
                pairs = [(value, stored[f"{start}/{field.name}"])]
            for ours, theirs in pairs:
                np.testing.assert_array_equal(np.asarray(ours), theirs)
    assert isinstance(heard.statistics.n_frames, int)
    assert saved.about["audiostyle"] == audiostyle.__version__
    assert saved.about["seconds"] == pytest.approx(2.0)


def test_the_same_clips_make_the_same_file(genre: Path, tmp_path: Path) -> None:
    make_style_file(genre / "genre", tmp_path / "again.style.npz", TINY)
    assert (tmp_path / "again.style.npz").read_bytes() == (genre / "genre.style.npz").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_mels": 80}, "made with n_mels=64, which does not fit n_mels=80 here; use --n-mels 64"),
        ({"sr": 16000}, "made with sr=22050"),
        ({"hop_length": 128}, "made with hop_length=256"),
        ({"bands": 2}, "made with bands=4"),
        ({"pooling": "average"}, "made with pooling=max"),
        ({"music_weight": 0.0}, "made with music_weight=above 0, which does not fit"),
        ({"texture_weight": 0.0}, "made with texture_weight=above 0, which does not fit"),
        ({"top_db": 60.0}, "made with top_db=80"),
        (
            {"style_layers": "block1_conv1"},
            "made with style_layers=block1_conv1,block2_conv1, which does not fit "
            "style_layers=block1_conv1 here",
        ),
        (
            {"network": "musicnn-vgg", "style_layers": "conv1", "content_layers": "conv1"},
            "made with network=vgg19",
        ),
    ],
)
def test_a_style_that_does_not_fit_is_refused(
    change: dict[str, Any], message: str, genre: Path
) -> None:
    config = dataclasses.replace(TINY, **change)
    with pytest.raises(ConfigError, match=re.escape(message)):
        style_file.load_style(genre / "genre.style.npz", config)


def test_what_a_style_does_not_depend_on_fits(genre: Path) -> None:
    config = dataclasses.replace(
        TINY,
        strength=0.3,
        iterations=99,
        seed=7,
        content_layers=(("block4_conv1", 1.0),),
        style_layers=(("block2_conv1", 3.0), ("block1_conv1", 0.5)),
    )
    style_file.load_style(genre / "genre.style.npz", config)


def test_damaged_bytes_are_refused_and_pickles_are_never_run(genre: Path, tmp_path: Path) -> None:
    data = (genre / "genre.style.npz").read_bytes()
    path = tmp_path / "x.style.npz"
    for broken in (b"", b"PK", data[: len(data) // 2], b"x" * 100):
        path.write_bytes(broken)
        with pytest.raises(AudioFileError, match="is damaged or not a style file"):
            style_file.load_style(path, TINY)
    np.savez(path, about=np.array([{"made_with": 1}], dtype=object))
    with pytest.raises(AudioFileError, match="is damaged or not a style file"):
        style_file.load_style(path, TINY)
    with pytest.raises(AudioFileError, match="cannot be read"):
        style_file.load_style(tmp_path / "none.style.npz", TINY)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    return int(exit_info.value.code or 0)


def test_the_command_makes_it_once_and_says_so(
    genre: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["style", str(genre / "genre"), "-o", str(tmp_path / "g.style.npz"), *TINY_OPTIONS]
    assert call(*arguments, "--precision=float32", "--json") == 0
    out, err = capsys.readouterr()
    about = json.loads(out)
    assert [Path(c["path"]).name for c in about["clips"]] == ["a.wav", "b.wav"]
    assert "skipped" in err and f"{tmp_path / 'g.style.npz'} (2 clips, 2 s, " in err
    assert call(*arguments) == 1
    assert "exists already; use --force" in capsys.readouterr().err
    assert call("style", str(genre / "genre"), "-o", str(tmp_path / "g.npz"), *TINY_OPTIONS) == 2
    assert "must end in .style.npz" in capsys.readouterr().err


def test_a_batch_gives_byte_for_byte_what_single_transfers_give(
    genre: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process, one network and one analysis of the style: nothing of it can be heard."""
    monkeypatch.chdir(genre)
    sides = (str(genre / "content*.wav"), str(genre / "genre"))
    by_folder = audiostyle.run_batch(*sides, tmp_path / "f", TINY, by="genre")
    assert (by_folder.exit_code, by_folder.count("done")) == (0, 2)
    by_file = audiostyle.run_batch(sides[0], genre / "genre.style.npz", tmp_path / "s", TINY)
    assert by_file.exit_code == 0
    assert sounds(tmp_path / "f") == sounds(tmp_path / "s")
    assert len(journal_lines(tmp_path / "f")) > 6
    for i in range(2):
        transfer_file(genre / f"content{i}.wav", genre / "genre", tmp_path / "one.wav", TINY,
                      force=True)  # fmt: skip
        made = sounds(tmp_path / "f")[f"content{i}__genre.wav"]
        assert (tmp_path / "one.wav").read_bytes() == made
    row = by_folder.rows[0]
    assert row["loss_total"] < row["start_loss_total"]
    assert row["seconds_style"] < 0.1  # it was heard before the transfer began
