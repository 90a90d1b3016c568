"""Results: a row per pair, with its scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import worker
from tests.support.fakes import computed, rows, run


def test_scores_are_added_to_finished_pairs(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[str] = []

    def evaluate(self: Any, job: Any) -> dict[str, Any]:
        evaluated.append(job.pair.id)
        if len(evaluated) == 2:
            raise ValueError("no scores")
        return {"style_mean": 0.25, "content_mean": None}

    monkeypatch.setattr(worker.PairWorker, "evaluate", evaluate)
    monkeypatch.setattr("audiostyle.evaluation.content_metrics.require_mir_eval", lambda: None)
    assert run("--limit=2") == 0
    assert evaluated == []
    assert run("--limit=3", "--evaluate") == 1
    assert len(evaluated) == 3 and len(computed()) == 3
    assert run("--limit=3", "--evaluate") == 0
    assert len(evaluated) == 4 and evaluated[1] == evaluated[3] and len(computed()) == 3
    assert [row["score_style_mean"] for row in rows().values()] == [0.25] * 3
    with Path("out/results.csv").open(newline="") as stream:
        assert [row["style_mean"] for row in csv.DictReader(stream)] == ["0.25"] * 3
