from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from audiostyle.report import batch_page, sounds
from audiostyle.report.records import PairRecord, SoundFile
from audiostyle.report.write import PageProgress, write_report
from tests.conftest import SR, make_noise
from tests.support.pages import Page
from tests.support.report_data import (
    change_record,
    make_batch,
    make_pair,
    make_row,
    white_spectrogram,
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("batch")
    clips = {i: root / f"{i}.wav" for i in range(3)}
    for i, path in clips.items():
        sf.write(path, make_noise(0.6, seed=i), SR)
    folder = make_batch(root / "out", 60, 6, clips)
    events: list[PageProgress] = []
    write_report(folder, root / "page.html", events.append)
    assert [event.done for event in events] == list(range(61))
    assert (events[0].name, events[-1].stage) == ("000__000.wav", "writing")
    return Page(root / "page.html")


def test_each_pair_has_a_row_with_its_numbers(batch: Page) -> None:
    rows = [a for a in batch.all("tr") if "data-i" in a]
    assert len(rows) == 60
    row = make_row(7, 6)
    assert f"{row['pair']}" in batch.text
    values = [a["data-value"] for a in batch.all("td", "number") if "data-value" in a]
    assert len(values) == 3 * 60
    scores = sorted(float(v) for v in values[::3] if v)
    expected = [make_row(i, 6)["score_score"] for i in range(60) if i % 50 != 49]
    assert scores == pytest.approx(sorted(expected))


def test_failures_are_grouped_by_reason_and_escaped(batch: Page) -> None:
    assert re.search(r"silent\s+is silent & <empty>\s+1 pair\b", batch.text)
    assert "is silent &amp; &lt;empty&gt;" in batch.raw


def test_the_matrix_holds_means_by_genre(batch: Page) -> None:
    cells = {a["aria-label"] for a in batch.all("button") if "data-row" in a}
    rows = [make_row(i, 6) for i in range(60)]
    genre = [r for r in rows if (r["content_genre"], r["style_genre"]) == ("jazz", "blues")]
    scores = [r["score_score"] for r in genre if r["score_score"] is not None]
    title = f"jazz in the style of blues: mean score of {len(scores)} pairs: "
    assert f"{title}{np.mean(scores):.2f}" in cells
    assert len(cells) == 4


def test_shared_images_and_sounds_are_stored_once(batch: Page) -> None:
    images, details = batch.data("images"), batch.data("details")
    pairs = len([i for i in range(60) if i % 50 != 49])
    # A failed pair has no record that tells the length of its style.
    assert len(images["data"]) == pairs + 6 + 1 + 10
    assert len(details["sources"]) == len(images["data"])
    for data in images["data"]:
        Image.open(io.BytesIO(base64.b64decode(data))).verify()
    assert all(url.startswith("data:audio/") for url, _ in details["sources"])


def test_all_sounds_are_linked_if_they_exceed_the_limit(tmp_path: Path) -> None:
    outputs = [make_pair(tmp_path / str(i), f"content{i}.wav") for i in range(3)]
    write_report(outputs, tmp_path / "page.html", embed_limit=0.05)
    details = Page(tmp_path / "page.html").data("details")
    assert details["sources"][0] == ["./0/content0.wav", 0.0]
    assert len(details["sources"]) == 9
    assert [track[0] for track in details["pairs"][2]["tracks"]] == [6, 8, 7]


def make_scored(content: str, style: str, score: float | None = 0.5) -> PairRecord:
    names = {"content": content, "style": style}
    found = {role: SoundFile(None, name) for role, name in names.items()}
    return PairRecord("n", "done", found, measures={"score": score})


def test_a_matrix_is_by_clip_for_a_single_genre_and_omitted_if_too_large() -> None:
    pairs = [make_scored(content, style) for content in "ab" for style in "xyz"]
    matrix = batch_page.make_matrix(pairs)
    assert matrix is not None
    assert (matrix.by, matrix.rows, matrix.columns) == (
        ("content", "style"),
        ["a", "b"],
        list("xyz"),
    )
    assert batch_page.make_matrix(pairs[:1]) is None
    assert batch_page.make_matrix([make_scored(str(i), str(i)) for i in range(100)]) is None
    assert batch_page.make_matrix([make_scored(c, "x", None) for c in "abc"]) is None


def make_sweep(folder: Path) -> list[Path]:
    """Write two strengths of two contents; return the outputs."""
    takes = []
    for content in ("a.wav", "b.wav"):
        for strength in (0.2, 0.8):
            output = make_pair(folder / content[0], content, output=f"{content[0]}{strength}.wav")
            change_record(output, parameters={"strength": strength})
            takes.append(output)
    return takes


def save_scores(takes: list[Path], scores: list[float], path: Path) -> None:
    """Save an evaluation of the takes."""
    for i, take in enumerate(takes):
        change_record(take, output={"sha256": f"{i:064d}"})
    outputs = [{"sha256": f"{i:064d}", "measures": {"score": s}} for i, s in enumerate(scores)]
    path.write_text(json.dumps({"outputs": outputs, "baselines": []}))


def test_settings_are_columns_and_never_share_a_mean(tmp_path: Path) -> None:
    takes = make_sweep(tmp_path)
    save_scores(takes, [0.1, 0.5, 0.2, 0.9], tmp_path / "scores.json")
    write_report([*takes, tmp_path / "scores.json"], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    heads = [a["data-key"] for a in page.all("th") if "data-key" in a]
    assert heads[-1] == "setting strength"
    assert [a["data-setting"] for a in page.all("tr") if "data-i" in a] == [
        "strength=0.2",
        "strength=0.8",
    ] * 2
    assert [a["data-setting"] for a in page.all("table", "matrix")] == [
        "=strength=0.2",
        "=strength=0.8",
    ]
    cells = [a["aria-label"].rpartition(" ")[2] for a in page.all("button") if "data-row" in a]
    assert cells == ["0.10", "0.20", "0.50", "0.90"]
    for mean, setting in (("0.15", "strength=0.2"), ("0.70", "strength=0.8")):
        assert re.search(rf"Mean score\s*{mean}\s*of 2 evaluated, {setting}", page.text)
    assert page.text.count("Mean score") == 2 + page.text.count("Mean scores")


@pytest.mark.slow
def test_a_thousand_pairs_of_noise_take_less_than_30_mb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    spectrograms = [white_spectrogram(rng) for _ in range(8)]

    def load_sound(sound: SoundFile, *_: Any, **__: Any) -> Any:
        S = spectrograms[len(sound.name) % 8]
        return sounds.LoadedSound(SoundFile(None, "x", reason=""), 30.0, S, 30.0, about="noise")

    monkeypatch.setattr(sounds, "load_sound", load_sound)
    monkeypatch.setattr(sounds, "link", lambda loaded, page: None)
    folder = make_batch(tmp_path / "out", 1000, 1000)  # no sounds are shared
    write_report(folder, tmp_path / "page.html", embed_limit=0)
    page = Page(tmp_path / "page.html")
    assert len(page.data("images")["data"]) >= 2 * 980
    assert os.path.getsize(tmp_path / "page.html") <= 30_000_000
