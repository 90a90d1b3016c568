"""Comparison of batches, against means, differences and a bootstrap computed here by NumPy."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostyle.batch.journal import Journal
from tests.support.fakes import call

MEASURES = (
    *("style_mfcc", "style_network", "style_texture", "style", "content_pitch", "content_notes"),
    *("content_onsets", "content_envelope", "content", "copying_waveform", "copying_notes"),
    *("copying", "score"),
)


def write_batch(
    folder: Path, scores: dict[str, float | None], parameters: Any = None, **facts: Any
) -> None:
    """Write the journal of a batch in which each pair has one score for all measures."""
    folder.mkdir()
    with Journal(folder) as journal:
        journal.append({"event": "plan", "pairs": sorted(scores)})
        for name, score in scores.items():
            pair = {"pair": name, "fingerprint": "f"}
            done = {"size": 1, "seconds": 1.5, "preset": "fast", "parameters": parameters or {}}
            journal.append({"event": "done", **pair, **done, **facts})
            if score is not None:
                measures = {**dict.fromkeys(MEASURES, score), "content": None}
                journal.append({"event": "scored", "pair": name, "scores": measures, "reason": ""})


def read_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert call("compare", "a", "b", "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_paired_differences(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    a = rng.uniform(0.2, 0.8, 23)
    b = a + rng.normal(0.02, 0.05, 23)
    b[3] = a[3] + 0.004  # a tie
    write_batch(Path("a"), {f"{i:02d}.wav": float(x) for i, x in enumerate(a)})
    write_batch(Path("b"), {f"{i:02d}.flac": float(x) for i, x in enumerate(b)}, {"strength": 0.4})
    found = read_json(capsys)
    assert found["pairs"] == 23 and found["left_out"] == {}
    assert found["settings"] == {"strength": [["1"], ["0.4"]]}
    entries = {entry["measure"]: entry for entry in found["measures"]}
    assert set(entries) == {*MEASURES, "seconds"}
    index = np.random.default_rng(0).integers(23, size=(10_000, 23))
    low, high = np.percentile((b - a)[index].mean(axis=1), (2.5, 97.5))
    score = entries["score"]
    for name, value in (("a", a.mean()), ("b", b.mean()), ("difference", (b - a).mean())):
        assert score[name] == pytest.approx(value, abs=1e-6)
    assert (score["low"], score["high"]) == pytest.approx((low, high), abs=1e-6)
    counts = [int(n) for n in (np.sum(b - a >= 0.005), np.sum(b - a <= -0.005))]
    assert [score["better"], score["worse"], score["tie"]] == [*counts, 23 - sum(counts)]
    copying = entries["copying"]  # less is better
    assert [copying["worse"], copying["better"]] == counts
    assert entries["content"]["pairs"] == 0 and entries["content"]["a"] is None
    assert entries["seconds"]["tie"] == 23


def test_what_is_left_out_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    write_batch(Path("a"), {"1.wav": 0.5, "2.wav": 0.5, "3.wav": None, "4.wav": 0.5}, inputs="x")
    write_batch(Path("b"), {"1.wav": 0.5, "3.wav": 0.5, "5.wav": 0.5}, inputs="x")
    with Journal(Path("b")) as journal:
        journal.append({"event": "plan", "pairs": ["1.wav", "3.wav", "4.wav", "5.wav"]})
        done = {"event": "done", "pair": "4.wav", "fingerprint": "f", "size": 1, "inputs": "y"}
        journal.append(done, {"event": "scored", "pair": "4.wav", "scores": {}, "reason": ""})
    assert read_json(capsys)["left_out"] == {
        **{"made from different inputs": 1, "not evaluated in a": 1},
        **{"only in a": 1, "only in b": 1},
    }


def test_the_table_and_csv_hold_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    write_batch(Path("a"), {"1.wav": 0.25, "2.wav": 0.5})
    write_batch(Path("b"), {"1.wav": 0.75, "2.wav": 0.5})
    assert call("compare", "a", "b", "--csv") == 0
    table = {row["measure"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert table["score"] == {
        **{"measure": "score", "pairs": "2", "a": "0.375", "b": "0.625", "difference": "0.25"},
        **{"low": "0.0", "high": "0.5", "better": "1", "worse": "0", "tie": "1"},
    }
    assert call("compare", "a", "b") == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("  score ")]
    assert line.split()[1:] == ["2", "0.38", "0.62", "+0.25", "+0.00", "+0.50", "1", "0", "1"]


def test_nothing_to_compare(capsys: pytest.CaptureFixture[str]) -> None:
    write_batch(Path("a"), {"1.wav": None})
    write_batch(Path("b"), {"1.wav": 0.5})
    assert call("compare", "a", "b") == 1
    assert "1 not evaluated in a" in capsys.readouterr().err
    assert call("compare", "a", "c") == 1
    assert "c/journal.jsonl: no such file" in capsys.readouterr().err
    assert call("compare", "a", "b", "--csv", "--json") == 2
