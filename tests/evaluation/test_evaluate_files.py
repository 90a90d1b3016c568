"""Records that older versions wrote beside the outputs that are evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.evaluation import evaluate_files, scores
from audiostyle.utils.atomic_files import file_digest
from tests.conftest import SR, make_noise, make_tones


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
