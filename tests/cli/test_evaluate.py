"""The command ``evaluate``: table, JSON, notes and errors."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audiostyle
from audiostyle.audio.resampling import resample
from audiostyle.cli.main import main
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.evaluation import evaluate_files, scores
from audiostyle.utils import atomic_files
from tests.conftest import SR
from tests.support.evaluation_data import CONTENT, STYLE, record_for, write, write_clips

Call = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_clips(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(*arguments: str) -> tuple[int, str, list[str]]:
        with pytest.raises(SystemExit) as exit_info:
            main(["evaluate", *arguments])
        out, err = capsys.readouterr()
        assert isinstance(exit_info.value.code, int)
        return exit_info.value.code, out, err.splitlines()

    return run


def measures_of(out: str, group: str = "outputs") -> list[dict[str, Any]]:
    return [entry["measures"] for entry in json.loads(out)[group]]


def test_the_table_names_the_pair_and_nothing_else_is_printed(call: Call) -> None:
    code, out, err = call("content.wav", "style.wav", "mixed.wav")
    assert code == 0
    assert out.splitlines()[:3] == [
        "content  content.wav", "style    style.wav", ""
    ]  # fmt: skip
    assert "0 the content itself, 1 as close as two halves of the style" in out
    assert err == [
        "step 1/3: reading style.wav",
        "step 2/3: analysing content and style",
        "step 3/3: evaluating mixed.wav",
    ]


def test_json_names_the_files_that_were_compared(call: Call, folder: Path) -> None:
    code, out, err = call("content.wav", "style.wav", "mixed.wav", "--json", "--quiet")
    assert (code, err) == (0, [])
    record = json.loads(out)
    assert record["audiostyle"] == audiostyle.__version__
    assert {"python", "tensorflow", "librosa", "mir_eval"} <= set(record["versions"])
    for entry in (record["content"], record["outputs"][0], record["style"]["clips"][0]):
        assert entry["sha256"] == atomic_files.file_digest(entry["path"])
        assert entry["sr"] == SR
    assert record["outputs"][0]["compared_to"] == {"start_sample": 0, "samples": CONTENT.size}
    assert record["style"]["seconds"] == pytest.approx(3.5)
    assert (record["baselines"], record["failed"], record["notes"]) == ([], [], [])


@pytest.mark.slow
def test_an_output_is_compared_to_the_excerpt_in_its_record(call: Call, folder: Path) -> None:
    start, samples = round(1.1 * SR), round(1.2 * SR)
    write(folder / "part.wav", CONTENT[start : start + samples])
    record_for(folder / "part.wav", folder / "content.wav", start, samples)
    write(folder / "bare.wav", CONTENT[start : start + samples])
    code, out, err = call("content.wav", "style.wav", "part.wav", "bare.wav", "--json")
    assert code == 0
    part, bare = measures_of(out)
    assert part["content"] == pytest.approx(1.0, abs=1e-6)
    assert part["style"] == pytest.approx(0.0, abs=1e-6)
    assert part["sound_consistency"] == -12.34
    assert bare["content"] < 0.7
    assert bare["sound_consistency"] is None
    assert json.loads(out)["outputs"][0]["compared_to"] == {
        "start_sample": start, "samples": samples
    }  # fmt: skip
    assert any("part.wav: compared to 1.2 s of the content from 1.10 s on" in e for e in err)
    assert any("padded with silence from 1.200 s to the content's 3.000 s" in e for e in err)

    _, out, _ = call("content.wav", "style.wav", "part.wav", "bare.wav", "--baselines", "-q")
    first, second = out.split("against the content from ")[1:]
    assert first.startswith("1.10 s to 2.30 s")
    assert second.startswith("0.00 s to 3.00 s")
    assert "-12.3" in first
    assert first.count("identity") == second.count("identity") == 1

    options = ["--start=1.1", "--duration=1.2"]
    _, out, _ = call("content.wav", "style.wav", "bare.wav", "--json", *options)
    assert measures_of(out)[0]["content"] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
def test_the_record_of_a_transfer_names_the_excerpt(
    call: Call, folder: Path, tiny_config: TransferConfig
) -> None:
    config = dataclasses.replace(tiny_config, strength=0.0)  # the result is the content
    audiostyle.transfer_file(
        "content.wav", "style.wav", "try.wav", config, preview=1.0, device="cpu"
    )
    record = json.loads(Path("try.wav.json").read_text())
    assert record["content"]["start_sample"] > 0
    code, out, err = call("content.wav", "style.wav", "try.wav", "--json")
    assert code == 0
    (entry,) = json.loads(out)["outputs"]
    assert entry["compared_to"] == {
        "start_sample": record["content"]["start_sample"], "samples": SR
    }  # fmt: skip
    assert entry["measures"]["sound_consistency"] == record["inversion_convergence_db"]
    assert entry["measures"]["content"] == pytest.approx(1.0, abs=0.01)
    assert entry["measures"]["style"] == pytest.approx(0.0, abs=0.01)
    assert not any("lasts" in line for line in err)


@pytest.mark.slow
def test_rates_channels_and_lengths_may_differ(call: Call, folder: Path) -> None:
    faster = resample(CONTENT[None], SR, 44_100)
    write(
        folder / "stereo.wav", np.repeat(np.pad(faster, ((0, 0), (0, 44_100))), 2, axis=0), 44_100
    )
    write(folder / "slow.wav", resample(STYLE[None], SR, 16_000), 16_000)
    code, out, err = call("content.wav", "slow.wav", "stereo.wav", "--json")
    assert code == 0
    (measures,) = measures_of(out)
    assert measures["content"] == pytest.approx(1.0, abs=0.02)
    assert measures["style"] == pytest.approx(0.0, abs=0.02)
    assert measures["sound_loudness"] == pytest.approx(0.0, abs=0.05)
    assert "stereo.wav: resampled from 44100 Hz to the content's 22050 Hz, without what" in err[3]
    assert err[4].endswith("cut from 4.000 s to the content's 3.000 s")


def test_a_broken_output_does_not_hide_the_others(call: Call, folder: Path) -> None:
    (folder / "broken.wav").write_text("no sound")
    # Silent where it is compared: that shows only later.
    write(folder / "late.wav", np.concatenate([np.zeros_like(CONTENT), CONTENT]))
    code, out, err = call("content.wav", "style.wav", "broken.wav", "late.wav", "mixed.wav", "-q")
    assert code == 1
    assert out.splitlines()[3].split() == ["mixed.wav"]
    assert [line.split(": ")[:3] for line in err] == [
        ["audiostyle", "error", "broken.wav"],
        ["audiostyle", "error", "late.wav"],
    ]
    code, out, _ = call("content.wav", "style.wav", "broken.wav", "mixed.wav", "--json")
    assert code == 1
    assert [entry["path"] for entry in json.loads(out)["failed"]] == ["broken.wav"]
    assert len(measures_of(out)) == 1


def must_not_run(*_: Any, **__: Any) -> None:
    raise AssertionError("the slow part has started")


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        ("none.wav style.wav mixed.wav", 1, r"none\.wav: no such file"),
        ("content.wav none.wav mixed.wav", 1, r"none\.wav: no such file"),
        ("content.wav style.wav none.wav", 1, r"none\.wav: no such file"),
        ("content.wav style.wav .", 1, r"\.: is a folder; name an audio file"),
        ("content.wav style.wav mixed.wav --start 9", 1, r"content\.wav: start=9 s lies beyond"),
        ("content.wav style.wav mixed.wav --start -1", 2, r"start=-1 must be at least 0 seconds"),
        ("content.wav style.wav mixed.wav --duration 0.1", 2, r"duration=0\.1 must be at least"),
        ("content.wav style.wav", 2, r"Missing argument 'OUTPUT...'"),
    ],
)
def test_errors_are_one_line_and_come_before_the_evaluation(
    arguments: str, expected: int, message: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scores, "PairEvaluator", must_not_run)
    code, out, err = call(*arguments.split())
    assert (code, out) == (expected, "")
    (line,) = err
    assert re.match(f"audiostyle: error: {message}", line)


def test_without_mir_eval_nothing_is_read(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mir_eval", None)
    monkeypatch.setattr(evaluate_files, "_load", must_not_run)
    code, out, err = call("content.wav", "style.wav", "mixed.wav")
    assert (code, out) == (1, "")
    assert err == [
        "audiostyle: error: the evaluation needs mir_eval, which is not installed; "
        "run: pip install 'audiostyle[evaluate]'"
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_ctrl_c_stops_at_once(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(scores, "PairEvaluator", interrupt)
    code, out, err = call("content.wav", "style.wav", "mixed.wav", "--quiet")
    assert (code, out) == (130, "")
    assert err == ["audiostyle: error: interrupted; nothing was written"]


def test_the_help_names_the_limit_of_the_style(call: Call) -> None:
    _, out, _ = call("--help")
    assert f"first {evaluate_files.STYLE_SECONDS:g} s count" in " ".join(out.split())
