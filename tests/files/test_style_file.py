"""Style files, with the real analysis: small spectrograms, seconds of sound."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiostyle
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import StyleTransfer
from audiostyle.errors import AudioFileError, ConfigError
from audiostyle.files import style_file
from audiostyle.files.request import TransferRequest
from audiostyle.files.transfer import make_style_file, run_transfer, transfer_file
from tests.conftest import TINY_OPTIONS
from tests.support.fakes import call, journal_lines, sounds


def test_a_style_file_gives_the_same_result_as_its_folder(
    genre: Path, tmp_path: Path, tiny: TransferConfig, tiny_transfer: StyleTransfer
) -> None:
    records = []
    for i, style in enumerate((genre / "genre", genre / "genre.style.npz")):
        request = TransferRequest(genre / "content0.wav", [style], tmp_path / f"{i}.wav", [1.0])
        records.append(run_transfer(request, tiny, style_transfer=tiny_transfer)[1])
    assert (tmp_path / "0.wav").read_bytes() == (tmp_path / "1.wav").read_bytes()
    clips = [[Path(c["path"]).name for c in r["styles"][0]["clips"]] for r in records]
    assert clips == [["a.wav", "b.wav"]] * 2
    skipped = records[1]["styles"][0]["skipped"]
    assert skipped == records[0]["styles"][0]["skipped"]
    assert [Path(c["path"]).name for c in skipped] == ["notes.txt", "c.wav"]
    assert len(records[1]["styles"][0]["sha256"]) == 64


def test_the_style_is_restored_as_it_was_saved(genre: Path, tiny: TransferConfig) -> None:
    saved = style_file.load_style(genre / "genre.style.npz", tiny)
    style = saved.restore()
    for part, start in ((style.statistics, "statistics"), (style.levels, "levels")):
        for field in dataclasses.fields(part):
            if field.metadata.get("derived"):
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
    for name in ("y", "S"):
        np.testing.assert_array_equal(getattr(style, name), saved.arrays[name])
    assert isinstance(style.statistics.n_frames, int)
    assert saved.about["audiostyle"] == audiostyle.__version__
    assert saved.about["seconds"] == pytest.approx(2.0)


def test_the_same_clips_make_the_same_file(
    genre: Path, tmp_path: Path, tiny: TransferConfig
) -> None:
    make_style_file(genre / "genre", tmp_path / "again.style.npz", tiny)
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
        ({"init": "content"}, "made with init=notes, which does not fit init=not notes here"),
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
    change: dict[str, Any], message: str, genre: Path, tiny: TransferConfig
) -> None:
    config = dataclasses.replace(tiny, **change)
    with pytest.raises(ConfigError, match=re.escape(message)):
        style_file.load_style(genre / "genre.style.npz", config)


def test_parameters_that_the_analysis_does_not_use_may_differ(
    genre: Path, tiny: TransferConfig
) -> None:
    config = dataclasses.replace(
        tiny,
        strength=0.3,
        iterations=99,
        seed=7,
        content_layers=(("block4_conv1", 1.0),),
        style_layers=(("block2_conv1", 3.0), ("block1_conv1", 0.5)),
    )
    style_file.load_style(genre / "genre.style.npz", config)


def test_damaged_files_are_refused_and_pickles_are_not_loaded(
    genre: Path, tmp_path: Path, tiny: TransferConfig
) -> None:
    data = (genre / "genre.style.npz").read_bytes()
    path = tmp_path / "x.style.npz"
    for broken in (b"", b"PK", data[: len(data) // 2], b"x" * 100):
        path.write_bytes(broken)
        with pytest.raises(AudioFileError, match="is damaged or not a style file"):
            style_file.load_style(path, tiny)
    np.savez(path, about=np.array([{"made_with": 1}], dtype=object))
    with pytest.raises(AudioFileError, match="is damaged or not a style file"):
        style_file.load_style(path, tiny)
    with pytest.raises(AudioFileError, match="cannot be read"):
        style_file.load_style(tmp_path / "none.style.npz", tiny)


def test_the_command_writes_the_file_once(
    genre: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [name for name in TINY_OPTIONS if "iterations" not in name]
    arguments = ["style", str(genre / "genre"), "-o", str(tmp_path / "g.style.npz"), *options]
    assert call(*arguments, "--precision=float32", "--json") == 0
    out, err = capsys.readouterr()
    about = json.loads(out)
    assert [Path(c["path"]).name for c in about["clips"]] == ["a.wav", "b.wav"]
    assert "genre: left out 1 file: 1 unknown format (notes.txt)\nskipped " in err
    assert about["skipped"][0]["reason"] == "unknown format"
    assert f"{tmp_path / 'g.style.npz'} (2 clips, 2.0 s, " in err
    assert call(*arguments) == 1
    assert "exists already; use --force" in capsys.readouterr().err
    assert call("style", str(genre / "genre"), "-o", str(tmp_path / "g.npz"), *options) == 2
    assert "must end in .style.npz" in capsys.readouterr().err


@pytest.mark.slow
def test_a_batch_gives_the_same_bytes_as_single_transfers(
    genre: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: TransferConfig
) -> None:
    """A batch shares one process, one network and one analysis of the style."""
    monkeypatch.chdir(genre)
    inputs = (str(genre / "content*.wav"), str(genre / "genre"))
    by_folder = audiostyle.run_batch(*inputs, tmp_path / "f", tiny, by="genre")
    assert (by_folder.exit_code, by_folder.count("done")) == (0, 2)
    by_file = audiostyle.run_batch(inputs[0], genre / "genre.style.npz", tmp_path / "s", tiny)
    assert by_file.exit_code == 0
    assert sounds(tmp_path / "f") == sounds(tmp_path / "s")
    assert len(journal_lines(tmp_path / "f")) > 6
    for i in range(2):
        output = tmp_path / f"{i}.wav"
        transfer_file(genre / f"content{i}.wav", genre / "genre", output, tiny)
        assert output.read_bytes() == sounds(tmp_path / "f")[f"content{i}__genre.wav"]
    row = by_folder.rows[0]
    assert row["loss_total"] < row["start_loss_total"]
    assert row["seconds_style"] < 0.1  # it was analysed before the transfer
