from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.report.write import write_report
from audiostyle.utils.atomic_files import record_path
from tests.conftest import SR, make_tones
from tests.support.pages import Page
from tests.support.report_data import change_record, make_pair, make_takes


def write_page(paths: Any, folder: Path, **options: Any) -> Page:
    write_report(paths, folder / "page.html", force=True, **options)
    return Page(folder / "page.html")


def is_takes_page(page: Page) -> bool:
    return "audiostyle takes" in page.text


def test_takes_of_one_content_have_a_row_each_and_columns_for_what_differs(tmp_path: Path) -> None:
    make_takes(tmp_path, 3)
    page = write_page(tmp_path / "takes", tmp_path)
    assert is_takes_page(page)
    heads = [a.get("data-label") for tag, a in page.elements if tag == "td" and "data-label" in a]
    assert heads == ["strength"] * 3
    roles = [a["data-role"] for a in page.all("tr", "track")]
    assert roles == ["content", "take1", "take2", "take3"]
    data = page.data("data")
    assert [take["settings"] for take in data["takes"]] == [
        {"strength": text} for text in ("0.333", "0.667", "1")
    ]
    assert [len(take["id"]) for take in data["takes"]] == [64] * 3
    assert sorted(data["pictures"]) == sorted(roles)
    sources = [a["src"] for a in page.all("audio")]
    assert len(sources) == 4
    assert all(source.startswith("data:audio/") for source in sources)
    assert page.text.count("a note of the run") == 1  # of all takes


def test_the_page_is_chosen_by_the_contents(tmp_path: Path) -> None:
    takes = make_takes(tmp_path, 2)
    other = make_pair(tmp_path / "other", "another.wav")
    assert is_takes_page(write_page(takes, tmp_path))
    assert not is_takes_page(write_page([*takes, other], tmp_path))
    assert not is_takes_page(write_page(takes[0], tmp_path))
    assert not is_takes_page(write_page([takes[0], takes[0]], tmp_path))
    change_record(takes[1], content={"start_sample": 100})  # another excerpt
    assert not is_takes_page(write_page(takes, tmp_path))


def test_too_many_takes_are_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = make_takes(tmp_path, 3, seconds=0.6)
    monkeypatch.setattr("audiostyle.report.takes_page.MAX_TAKES", 2)
    assert not is_takes_page(write_page(takes, tmp_path))


def test_styles_that_differ_are_a_column(tmp_path: Path) -> None:
    takes = make_takes(tmp_path, 2)
    record = json.loads(record_path(takes[1]).read_text())
    sf.write(tmp_path / "brass.wav", make_tones(), SR)
    styles = [{**record["styles"][0], "path": str(tmp_path / "brass.wav"), "weight": 3.0}]
    change_record(takes[1], styles=[*record["styles"], *styles])
    data = write_page(takes, tmp_path).data("data")
    found = [take["settings"]["style"] for take in data["takes"]]
    assert found == ["strings.wav", "strings.wav 1 + brass.wav 3"]


def test_the_identity_of_a_page_is_that_of_its_content(tmp_path: Path) -> None:
    """Ratings are kept when takes are added, and not mixed with those of another content."""
    takes = make_takes(tmp_path, 3)
    identity = write_page(takes, tmp_path).data("data")["id"]
    assert write_page(takes[:2], tmp_path).data("data")["id"] == identity
    for take in takes:
        change_record(take, content={"sha256": "1" * 64})
    assert write_page(takes, tmp_path).data("data")["id"] != identity


def test_a_take_whose_sound_is_missing_is_named(tmp_path: Path) -> None:
    takes = make_takes(tmp_path, 2)
    records = [record_path(take) for take in takes]
    takes[0].unlink()
    page = write_page(records, tmp_path)
    assert is_takes_page(page)
    assert len(page.all("audio")) == 2
    assert "not found" in page.text
