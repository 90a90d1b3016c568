"""Evaluation of files: compared with arrays, on known outputs, with records of all versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.audio.resampling import resample
from audiostyle.evaluation import evaluate_files, scores, table
from audiostyle.evaluation.types import EvaluationReport
from audiostyle.utils.atomic_files import file_digest
from tests.conftest import SR, make_noise, make_tones
from tests.support.evaluation_data import CONTENT, STYLE, record_for, write, write_clips


class FakeEvaluator:
    """Keeps the content that outputs are compared to."""

    def __init__(self, content: Any, style: Any, sr: float) -> None:
        assert content.shape == (1, SR)

    def evaluate(self, output: Any) -> dict[str, float]:
        return {"score": 0.5}


@pytest.mark.parametrize(("schema", "timing"), [(1, "descent"), (2, "optimization")])
def test_records_of_both_layouts_are_used(
    schema: int, timing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scores, "PairEvaluator", FakeEvaluator)
    monkeypatch.setattr(evaluate_files.device, "load_tensorflow", lambda quiet: None)
    sf.write("content.wav", make_tones(3.0), SR)
    sf.write("style.wav", make_noise(), SR)
    sf.write("out.wav", make_tones(), SR)
    content = {"path": "content.wav", "sha256": file_digest("content.wav"), "sr": SR}
    record = {
        "schema": schema,
        "output": {"sha256": file_digest("out.wav")},
        "content": {**content, "start_sample": SR, "samples": SR},
        "request": {"start": 1.0, "duration": 1.0, "preview": None},
        "inversion_convergence_db": -12.5,
        "timings": {timing: 1.0},
    }
    Path("out.wav.json").write_text(json.dumps(record))
    report = evaluate_files.evaluate_files("content.wav", "style.wav", "out.wav")
    (output,) = report.scores
    assert (output.start_sample, output.samples) == (SR, SR)
    assert output.measures["sound_consistency"] == -12.5
    assert output.measures["score"] == 0.5
    (note,) = output.notes
    assert "compared to 1 s of the content from 1.00 s on" in note


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_clips(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def everything(clips: Path) -> EvaluationReport:
    paths = [clips / "content.wav", clips / "mixed.wav"]
    return evaluate_files.evaluate_files(
        clips / "content.wav", clips / "style.wav", paths, baselines=True
    )


def test_the_measures_are_those_of_evaluate_on_the_loaded_arrays(
    everything: EvaluationReport, clips: Path
) -> None:
    expected = audiostyle.evaluate(CONTENT, STYLE, sf.read(clips / "mixed.wav")[0], SR)
    measures = dict(everything.scores[1].measures)
    assert measures.pop("sound_consistency") is None
    assert measures == pytest.approx(expected, abs=1e-5)


def test_the_ends_of_the_scale_are_where_the_legend_says(everything: EvaluationReport) -> None:
    measures = {scores.name: scores.measures for scores in everything.scores[2:]}
    assert list(measures) == ["identity", "style_copy", "mix", "eq_match"]
    identity, copy = measures["identity"], measures["style_copy"]
    for name in measures_of_sections("style", "copying", "score"):
        assert identity[name] == pytest.approx(0.0, abs=1e-6), name
    for name in measures_of_sections("content"):
        assert identity[name] == pytest.approx(1.0, abs=1e-6), name
    assert copy["style"] == pytest.approx(1.0, abs=0.05)
    assert copy["content"] == pytest.approx(0.0, abs=0.05)
    assert copy["copying"] == pytest.approx(1.0, abs=0.05)
    assert copy["score"] == pytest.approx(0.0, abs=0.05)
    assert everything.scores[0].measures == pytest.approx(identity, abs=1e-5, nan_ok=True)


def measures_of_sections(*headings: str) -> list[str]:
    return [row[0] for section in table.SECTIONS if section[0] in headings for row in section[2]]


def test_the_table_holds_every_number_of_the_record(everything: EvaluationReport) -> None:
    record = everything.to_record()
    assert {row for s in table.SECTIONS for row, *_ in s[2]} == set(
        record["outputs"][0]["measures"]
    )
    lines = table.render_table(everything).splitlines()
    header = next(line for line in lines if "identity" in line)
    assert header.split() == [
        "content.wav", "mixed.wav", "identity", "style_copy", "mix", "eq_match"
    ]  # fmt: skip
    columns = [entry["measures"] for entry in record["outputs"] + record["baselines"]]
    at = lines.index(header) + 1
    for _, _, rows in table.SECTIONS:
        for offset, (measure, label, factor, decimals) in enumerate(rows, 1):
            line = lines[at + offset]
            assert line[: table.LABEL_WIDTH].strip() == label
            for cell, column in zip(line[table.LABEL_WIDTH :].split(), columns, strict=True):
                if column[measure] is None:
                    assert cell == "-"
                else:
                    error = abs(float(cell) - factor * column[measure])
                    assert error <= 0.5 * 10**-decimals + 1e-9, measure
        at += 1 + len(rows)
    assert at == len(lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": {"sha256": "0" * 64}}, "mixed.wav.json: is the record of another file; ignor"),
        pytest.param(
            *({"output": None}, "mixed.wav.json: is no record of a transfer; ignored"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *({"content": {"sr": 0}}, "mixed.wav.json: is no record of a transfer; ignored"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_record_that_does_not_fit_is_ignored_with_a_note(
    changes: dict[str, Any], message: str, folder: Path
) -> None:
    record_for(folder / "mixed.wav", folder / "content.wav", SR, SR, **changes)
    report = evaluate_files.evaluate_files("content.wav", "style.wav", "mixed.wav")
    (found,) = report.scores
    assert (found.start_sample, found.samples) == (0, CONTENT.size)
    assert found.measures["sound_consistency"] is None
    (note,) = found.notes
    assert note.startswith(message)


@pytest.mark.slow
def test_an_output_of_another_content_is_compared_with_a_note(folder: Path) -> None:
    record_for(folder / "mixed.wav", folder / "style.wav", SR, SR)
    (found,) = evaluate_files.evaluate_files("content.wav", "style.wav", "mixed.wav").scores
    assert found.start_sample == 0
    assert "was made from another content" in found.notes[0]


@pytest.mark.slow
def test_clipping_is_counted_in_the_samples_that_the_file_holds(folder: Path) -> None:
    loud = np.clip(20.0 * resample(CONTENT[None], SR, 44_100), -1.0, 1.0)
    write(folder / "loud.wav", loud, 44_100)
    (found,) = evaluate_files.evaluate_files("content.wav", "style.wav", "loud.wav").scores
    assert found.measures["sound_clipping"] == np.mean(np.abs(loud) >= scores.FULL_SCALE)


@pytest.mark.slow
def test_a_folder_is_one_style_up_to_a_limit_in_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "genre").mkdir()
    (folder / "genre" / "a.wav").write_text("no sound")
    parts = [STYLE[: 2 * SR], STYLE[2 * SR :], STYLE]
    for name, part in zip("bcd", parts, strict=True):
        write(folder / "genre" / f"{name}.wav", part)
    monkeypatch.setattr(evaluate_files, "STYLE_SECONDS", 3.0)
    report = evaluate_files.evaluate_files("content.wav", "genre", "mixed.wav")
    assert report.style["cut"] is True
    assert report.style["seconds"] == 3.0
    assert [Path(clip["path"]).name for clip in report.style["clips"]] == ["b.wav", "c.wav"]
    assert report.notes[0] == "genre: only its first 3 s count (2 of 4 clips)"
    assert report.notes[1].startswith("skipped genre/a.wav: is not an audio file")
    levelled = [part / np.sqrt(np.mean(part**2)) for part in parts[:2]]
    expected = audiostyle.evaluate(
        CONTENT, np.concatenate(levelled)[: 3 * SR], sf.read("mixed.wav")[0], SR
    )
    assert report.scores[0].measures == pytest.approx(
        {"sound_consistency": None, **expected}, abs=1e-4
    )
