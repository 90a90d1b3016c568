"""Figures of README and docs: one source, and nothing written by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools import figures
from tools.try_recipes import PAGES

MACHINE = {"cpu": "X", "cores_usable": 4, "flags": [], "date": "2026-01-02T03:04:05+00:00"}


def test_every_table_is_used_and_every_region_is_closed() -> None:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    names = [name for text in texts for _, name, _ in figures.REGION.findall(text)]
    assert set(names) == set(figures.TABLES)
    starts, ends = (
        sum(len(re.findall(f"^<!-- {mark}", text, re.MULTILINE)) for text in texts)
        for mark in ("figures: ", "end -->")
    )
    assert starts == ends == len(names)


def test_a_table_has_the_means_and_intervals_of_its_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(figures, "SOURCE", tmp_path)
    scores = {"score": [0.5, 0.25, 0.75], "copying": [0.126, 0.1, 0.2]}
    run = {"command": "python -m bench.quality", "machine": MACHINE}
    methods = {name: scores for name in ("mix", "eq_match", "classic", "balanced")}
    found = {"recordings": {**run, "methods": methods}}
    (tmp_path / "quality.json").write_text(json.dumps(found))
    page = "before\n<!-- figures: recordings -->\nof yesterday\n<!-- end -->\nafter\n"
    filled = figures.fill(page)
    assert "| `balanced` | 0.50 [0.25, 0.75] |  |  |  |  | 0.13 |\n" in filled
    assert "(X, 4 cores; 2026-01-02)" in filled
    assert filled.startswith("before\n") and filled.endswith("<!-- end -->\nafter\n")
    assert "yesterday" not in filled
    assert figures.fill(filled) == filled


def test_a_page_that_was_edited_by_hand_is_out_of_date(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    readme = tmp_path / "README.md"
    readme.write_text("<!-- figures: install -->\n5 MB\n<!-- end -->\n")
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    assert figures.main(["--check"]) == 1
    assert "README.md" in capsys.readouterr().out
    assert figures.main([]) == 0
    assert figures.main(["--check"]) == 0
    size: dict[str, Any] = figures.load("install.json")
    assert f"{size['download_mb']} MB" in readme.read_text()


def test_readme_and_evaluation_page_show_the_same_run() -> None:
    output = figures.load("evaluate.json")["output"]
    assert output in figures.evaluation()
    score = re.search(r"^  score +(.+)$", output, re.MULTILINE)
    assert score is not None
    assert f"| score | {' | '.join(score[1].split())} |" in figures.evaluation_short()
