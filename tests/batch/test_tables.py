"""Tables for data analysis: columns and their order, none empty, settings kept apart."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiostyle.batch.results import write_results
from audiostyle.batch.tables import Settings
from audiostyle.config.transfer_config import TransferConfig, changed_parameters


def make_row(i: int, score: float | None, **changes: Any) -> dict[str, Any]:
    row = {
        **{"pair": f"{i}.wav", "status": "done", "kind": "", "reason": ""},
        **{"content": f"c{i}.wav", "style": "s.wav", "content_genre": "jazz"},
        **{"style_genre": "classical", "seconds": 1.0 + i, "steps": 10, "notes": []},
        **{"preset": "fast", "parameters": {}, "restarts": 0},
        **{"loss_style": 0.5, "loss_total": 2.0, "loss_music": 0.0, "start_loss_total": 4.0},
        **{"score_content": 0.5, "score_mfcc": 0.25, "score_style": None, "score_score": score},
    }
    return {**row, **changes}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_columns_have_an_order_and_none_is_empty(tmp_path: Path) -> None:
    rows = [make_row(0, 0.25), make_row(1, 0.75, parameters={"strength": 0.4})]
    write_results(tmp_path, rows)
    table = read(tmp_path / "results.csv")
    assert list(table[0]) == [
        *("pair", "status", "content_genre", "style_genre", "strength", "score", "content", "mfcc"),
        *("loss_total", "loss_style", "start_loss_total", "seconds", "iterations"),
        *("content_file", "style_file"),
    ]
    default = TransferConfig.from_preset("fast").strength
    assert [row["strength"] for row in table] == [f"{default:g}", "0.4"]
    assert [float(row["score"]) for row in table] == [0.25, 0.75]
    assert table[0]["content"] == "0.5" and table[0]["content_file"] == "c0.wav"


def test_failures_have_columns(tmp_path: Path) -> None:
    failed = {"status": "failed", "kind": "silent", "reason": "a, b: is silent"}
    keep = ("pair", "content", "style", "content_genre", "style_genre")
    full = make_row(1, None)
    write_results(tmp_path, [make_row(0, 0.5), {**{k: full[k] for k in keep}, **failed}])
    table = read(tmp_path / "results.csv")
    assert [row["failure"] for row in table] == ["", "silent"]
    assert table[1]["reason"] == failed["reason"] and table[1]["score"] == ""
    (summary,) = read(tmp_path / "summary.csv")
    assert [summary[name] for name in ("pairs", "done", "failed")] == ["2", "1", "1"]
    assert (summary["score"], summary["score_low"]) == ("0.5", "")


def test_the_summary_is_per_genres_and_setting(tmp_path: Path) -> None:
    scores = np.random.default_rng(2).uniform(size=(2, 12))
    rows = [
        make_row(i + 100 * side, float(score), preset=("fast", "balanced")[side])
        for side in (0, 1)
        for i, score in enumerate(scores[side])
    ]
    write_results(tmp_path, [*rows, make_row(200, 0.5, style_genre="blues")])
    table = read(tmp_path / "summary.csv")
    keys = [(row["style_genre"], row["preset"], row["pairs"]) for row in table]
    assert keys == [
        ("blues", "fast", "1"),
        ("classical", "balanced", "12"),
        ("classical", "fast", "12"),
    ]
    index = np.random.default_rng(0).integers(12, size=(2000, 12))
    for row, values in zip(table[1:], scores[::-1], strict=True):
        expected = [values.mean(), *np.percentile(values[index].mean(axis=1), (2.5, 97.5))]
        found = [float(row[name]) for name in ("score", "score_low", "score_high")]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_settings_that_only_presets_change_are_left_out() -> None:
    rows = [make_row(0, 0.5, preset="fast"), make_row(1, 0.5, preset="balanced")]
    assert Settings(rows).values == {"preset": ["balanced", "fast"]}
    assert Settings(rows[:1]).values == {}


@pytest.mark.parametrize("preset", ["fast", "classic", None])
def test_changed_parameters(preset: str | None) -> None:
    config = TransferConfig.from_preset(preset or "balanced", strength=0.3, hop_length=256)
    expected = {"strength": 0.3, "hop_length": 256}
    assert changed_parameters(config.to_dict(), preset) == expected
