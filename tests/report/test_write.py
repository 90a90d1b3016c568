from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiostyle.evaluation import evaluate_files
from audiostyle.report.batch_page import MEASURES
from audiostyle.report.write import write_report
from audiostyle.utils.atomic_files import record_path
from tests.support.pages import Page
from tests.support.report_data import make_pair


def make_measures(score: float) -> dict[str, float | None]:
    return dict.fromkeys(MEASURES, score) | {"sound_consistency": None}


def test_a_saved_evaluation_is_shown_with_its_baselines(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    digest = json.loads(record_path(output).read_text())["output"]["sha256"]
    saved = {
        "outputs": [
            {"sha256": name, "measures": make_measures(score)}
            for name, score in (("another", 0.4321), (digest, 0.83))
        ],
        "baselines": [{"name": "identity", "measures": make_measures(0.27)}],
    }
    (tmp_path / "scores.json").write_text(json.dumps(saved))
    write_report([output, tmp_path / "scores.json"], tmp_path / "page.html")
    text = Page(tmp_path / "page.html").text
    assert re.search(r"this pair\s*identity", text)
    assert re.search(r"score\s*0\.83\s*0\.27", text)
    assert "0.43" not in text


def test_evaluate_adds_measures_unless_a_sound_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[Any] = []

    def run_evaluation(request: Any) -> Any:
        requests.append(request)
        found = [SimpleNamespace(name="out", measures=make_measures(0.5), is_baseline=False)]
        found += [SimpleNamespace(name="mix", measures=make_measures(0.2), is_baseline=True)]
        return SimpleNamespace(scores=found, failed=[])

    monkeypatch.setattr(evaluate_files, "run_evaluation", run_evaluation)
    output = make_pair(tmp_path)
    options: dict[str, Any] = {"evaluate": True, "baselines": True}
    found = write_report(output, tmp_path / "page.html", **options)
    (request,) = requests
    assert (request.outputs, request.baselines) == ([output], True)
    assert found.pairs[0].measures["score"] == 0.5
    assert list(found.pairs[0].baselines) == ["mix"]
    (tmp_path / "content.wav").unlink()
    found = write_report(output, tmp_path / "page.html", force=True, **options)
    assert "not evaluated: a sound is missing" in found.pairs[0].notes
    assert len(requests) == 1


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    options: Any = {"embed": 1}
    with pytest.raises(TypeError, match="embed"):
        write_report(make_pair(tmp_path), tmp_path / "page.html", **options)
