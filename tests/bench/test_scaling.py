from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import scaling


def test_empty_outputs_are_measured_and_tabulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found"
    scaling.main(["--pairs", "7", "20", "--engine", "local", "-o", str(output)])
    rows = json.loads(output.with_suffix(".json").read_text())["rows"]
    assert [row["pairs"] for row in rows] == [7, 20]
    for row in rows:
        samples = [int(key) for key in row["memory_mb"] if key not in ("before", "end")]
        assert samples[-1] == row["pairs"] and len(samples) <= row["pairs"]
        assert row["ms_per_pair"] > 0 and row["journal_mb"] > 0.001 * row["pairs"]
    table = capsys.readouterr().out
    assert table == output.with_suffix(".md").read_text()
    widths = {line.count("|") for line in table.splitlines()}
    assert len(table.splitlines()) == 4 and len(widths) == 1
