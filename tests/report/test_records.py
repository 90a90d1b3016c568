from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import audiostyle
from audiostyle.errors import AudioFileError
from audiostyle.report.records import ROLES, collect
from audiostyle.utils.atomic_files import record_path
from tests.support.report_data import change_record, make_pair


def test_inputs_are_found_beside_an_output_that_was_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    output = make_pair(old)
    change_record(output, content={"path": "content.wav"})
    old.rename(new)
    pair = collect([new / "out.wav"]).pairs[0]
    assert pair.sounds["content"].path == new / "content.wav"
    assert pair.sounds["style"].path is None


def test_a_batch_without_results_is_read_from_its_records(tmp_path: Path) -> None:
    make_pair(tmp_path / "out", output="b.wav")
    make_pair(tmp_path / "out" / "deep", output="a.wav")
    found = collect([tmp_path / "out"])
    assert sorted(pair.name for pair in found.pairs) == ["a.wav", "b.wav"]
    assert found.is_folder


def test_a_real_batch_is_found_from_another_folder(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = audiostyle.run_batch("genres/jazz", "genres/classical", "out", limit=4)
    (gtzan_folder / "elsewhere").mkdir()
    monkeypatch.chdir(gtzan_folder / "elsewhere")
    found = collect([gtzan_folder / "out"])
    assert [pair.name for pair in found.pairs] == [row["pair"] for row in result.rows]
    for pair in found.pairs:
        assert all(pair.sounds[role].path is not None for role in ROLES)
        assert (pair.status, pair.content_genre) == ("done", "jazz")
    os.remove(gtzan_folder / "out" / "results.jsonl")  # as after a kill
    again = collect([gtzan_folder / "out"])
    assert [pair.status for pair in again.pairs] == ["done"] * 4


def test_a_saved_evaluation_needs_a_transfer(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(json.dumps({"outputs": [], "baselines": []}))
    with pytest.raises(AudioFileError, match="holds an evaluation but no transfer"):
        collect([tmp_path / "scores.json"])


def test_a_record_of_schema_1_is_read_like_one_of_schema_2(tmp_path: Path) -> None:
    old = {"to command": 9.0, "style": 0.5, "descent": 1.5}
    output = make_pair(tmp_path, schema=1, timings=old)
    pair = collect([output]).pairs[0]
    assert pair.record["timings"] == {"to command": 9.0, "style": 0.5, "optimization": 1.5}
    assert pair.seconds == 2.0
    assert json.loads(record_path(output).read_text())["timings"] == old


@pytest.mark.parametrize("text", ["{no json", "[]", "{}", '{"output": {}, "content": 3}'])
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(AudioFileError, match=r"bad\.json: is not the record of a transfer"):
        collect([tmp_path / "bad.json"])


@pytest.mark.parametrize("clips", [[], [3], None])
def test_a_style_without_clips_is_found_by_its_path(clips: Any, tmp_path: Path) -> None:
    style = {"path": str(tmp_path / "style.wav"), "weight": 1.0, "clips": clips}
    sound = collect([make_pair(tmp_path, styles=[style])]).pairs[0].sounds["style"]
    assert (sound.path, sound.sha256) == (tmp_path / "style.wav", "")


def test_several_clips_and_styles_are_named(tmp_path: Path) -> None:
    clip = {"path": str(tmp_path / "style.wav"), "sha256": "0" * 64}
    styles = [{"path": "a", "weight": 1.0, "clips": [clip, clip]}, {"path": "b"}, {"path": "c"}]
    sound = collect([make_pair(tmp_path, styles=styles)]).pairs[0].sounds["style"]
    assert sound.about == "the first of 2 clips; blended with b, c"
