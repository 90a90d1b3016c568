from __future__ import annotations

from pathlib import Path

from audiostyle.report import write
from bench import report
from tests.support.pages import Page


def test_the_report_of_a_batch_that_was_never_computed_is_complete(tmp_path: Path) -> None:
    folder = report.write_batch(tmp_path, 3, 0.5)
    write.write_report(folder, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(list(folder.glob("*.wav"))) == 3
    assert "jazz.00002__classical.00000.wav" in text


def test_the_takes_of_the_benchmark_differ_in_strength(tmp_path: Path) -> None:
    report.write_sounds(tmp_path, 1.0)
    write.write_report(report.write_takes(tmp_path, 1.0), tmp_path / "page.html")
    data = Page(tmp_path / "page.html").data("data")
    assert [take["settings"] for take in data["takes"]] == [
        {"strength": f"0.{i}"} for i in range(1, 10)
    ]


def test_the_table_has_a_column_per_page() -> None:
    text = report.format_pages({"pair": {"made_s": 1.5}, "3 pairs": {"made_s": 2, "sort_ms": 80}})
    assert "| made s | 1.5 | 2 |" in text and "| sort ms |  | 80 |" in text
