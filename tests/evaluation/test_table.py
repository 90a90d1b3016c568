"""The table of an evaluation: many columns, equal names, small and missing numbers."""

from __future__ import annotations

import re

import pytest

from audiostyle.evaluation import table
from audiostyle.evaluation.types import EvaluationReport, OutputScores
from tests.conftest import SR


def scores_of(name: str, value: float, is_file: bool = True) -> OutputScores:
    measures = {row[0]: value for section in table.SECTIONS for row in section[2]}
    return OutputScores(
        name, 0, 100, {**measures, "sound_consistency": None}, {"a": 1} if is_file else {}
    )


def test_many_outputs_stay_readable() -> None:
    columns = [scores_of(f"takes/take{i}.wav", i / 100) for i in range(30)]
    columns.append(scores_of("identity", 0.0, is_file=False))
    report = EvaluationReport({"path": "c.wav", "sr": SR}, {"path": "s.wav"}, columns)
    text = table.render_table(report)
    assert max(map(len, text.splitlines())) <= table.WIDTH
    headers = re.findall(r"^ {10,}(take.*|identity)$", text, re.MULTILINE)
    assert " ".join(headers).split() == [*(f"take{i}.wav" for i in range(30)), "identity"]
    totals = re.findall(r"^  score +(.*)$", text, re.MULTILINE)
    assert " ".join(totals).split() == [*(f"{i / 100:.2f}" for i in range(30)), "0.00"]


@pytest.mark.parametrize(
    "names", [("a/out.wav", "b/out.wav"), ("x" * 30 + ".wav", "y.wav"), ("identity", "y.wav")]
)
def test_columns_are_numbered_where_names_do_not_tell_them_apart(names: tuple[str, ...]) -> None:
    columns = [scores_of(name, 0.5) for name in names] + [scores_of("identity", 0.0, is_file=False)]
    report = EvaluationReport({"path": "c.wav", "sr": SR}, {"path": "s.wav"}, columns)
    lines = table.render_table(report).splitlines()
    assert lines[2:4] == [f"1        {names[0]}", f"2        {names[1]}"]
    assert lines[5].split() == ["1", "2", "identity"]


def test_numbers_that_are_small_or_not_known() -> None:
    assert table.format_value(-0.004, 1, 2) == "0.00"
    assert table.format_value(0.0123, 100, 2) == "1.23"
    assert table.format_value(None, 1, 1) == "-"
