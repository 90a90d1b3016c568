"""Pages of pairs and batches: what is on them, how large they are, what nobody can inject."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

import audiostyle
from audiostyle import (
    plots,
    report,
    report_batch,
    report_charts,
    report_data,
    report_page,
    report_runner,
    report_sounds,
    spectral,
)
from audiostyle.config import TransferConfig
from audiostyle.errors import AudioFileError, ConfigError, Interrupted, OutputError
from audiostyle.outputs import record_path
from audiostyle.report_data import Sound
from tests import report_cases
from tests.conftest import SR, make_noise, make_tones
from tests.fakes import call
from tests.report_cases import HOSTILE, make_batch, make_pair, white_spectrogram
from tests.test_cli import modules_after


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, scripts, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.raw = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.styles: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(self.raw)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        self.text += " "

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append((self.elements[-1][1], data))
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.text += data

    def all(self, tag: str, css: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and css in a.get("class", "")]

    def data(self, name: str) -> Any:
        return next(json.loads(text) for a, text in self.scripts if a.get("id") == name)

    def urls(self) -> list[str]:
        return [a[n] for _, a in self.elements for n in ("src", "href") if n in a]


def decode(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("pair")
    report.write_report(make_pair(folder), folder / "page.html")
    return Page(folder / "page.html")


# --- the page of a pair ------------------------------------------------------------------------


def test_nothing_on_the_page_leads_elsewhere(pair: Page) -> None:
    assert all(url.startswith(("data:", "#")) for url in pair.urls())
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", pair.raw)
    assert not any("style" in attributes for _, attributes in pair.elements)
    assert not any(name.startswith("on") for _, a in pair.elements for name in a)


def test_the_policy_allows_this_script_and_this_style_and_no_other(pair: Page) -> None:
    (policy,) = [a["content"] for a in pair.all("meta") if "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (code,) = [text for attributes, text in pair.scripts if "type" not in attributes]
    for rule, text in (("script-src", code), ("style-src", pair.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["connect-src"]) == ("'none'", "'none'")


def test_the_sounds_are_embedded_as_they_are(pair: Page) -> None:
    sources = [a["src"] for a in pair.all("audio")]
    assert len(sources) == 3
    wanted = [make_tones(), make_noise(), (make_tones() + make_noise()) / 2]
    for source, y in zip(sources, wanted, strict=True):
        assert source.startswith(("data:audio/mpeg;", "data:audio/ogg;"))
        decoded, sr = sf.read(io.BytesIO(decode(source)))
        assert sr == SR
        # A decoder may shift by its delay, and what is lost is not heard.
        lags = np.correlate(decoded[:SR], y[: SR // 2], "valid")
        peak = lags.max() / np.sum(y[: SR // 2].astype(float) ** 2)
        assert peak > 0.8


def test_every_loss_parameter_digest_and_note_is_there(pair: Page) -> None:
    for name in ("total", "content", "style", "texture", "rhythm", "block1_conv1", "block2_conv1"):
        assert name in pair.text
    for name, value in (
        ("n_mels", "64 bands"),
        ("optimizer", "lbfgs"),
        ("weights: sha256", "abc123"),
    ):
        assert re.search(rf"{re.escape(name)}\s+{value}", pair.text)
    assert len(re.findall(r"\b[0-9a-f]{64}\b", pair.text)) == 3
    assert "a note of the run" in pair.text
    assert "has changed since" not in pair.text
    changed = [a for a in pair.all("div") if a.get("class") == "changed"]
    usual = TransferConfig.from_preset("balanced").to_dict()
    small = report_cases.SMALL.to_dict()
    assert len(changed) == sum(small[name] != usual[name] for name in small)


def test_all_that_is_pressed_or_looked_at_has_a_name(pair: Page) -> None:
    for tag in ("svg", "input", "audio", "button"):
        for attributes in pair.all(tag):
            hidden = attributes.get("aria-hidden") == "true"
            named = "aria-label" in attributes or "data-role" in attributes
            assert hidden or named, attributes
    assert [a["lang"] for a in pair.all("html")] == ["en"]
    assert len(pair.all("h1")) == 1


def test_the_time_axis_is_one_and_a_short_style_takes_its_share(tmp_path: Path) -> None:
    output = make_pair(tmp_path, seconds=2.0)
    sf.write(tmp_path / "style.wav", make_noise(1.0), SR)
    page = tmp_path / "page.html"
    report.write_report(output, page)
    widths = [float(a["width"].rstrip("%")) for a in Page(page).all("image")]
    assert widths == pytest.approx([100, 50, 100], abs=2)
    assert Page(page).text.count("has changed since") == 1  # the style is another now


def test_a_style_is_shown_for_as_long_as_the_content_lasts(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    sf.write(tmp_path / "style.wav", make_noise(5.0), SR)
    report.write_report(output, tmp_path / "page.html")
    style = Page(tmp_path / "page.html").all("audio")[1]
    assert len(sf.read(io.BytesIO(decode(style["src"])))[0]) < 1.2 * SR


# --- names are hostile -------------------------------------------------------------------------

ODD = [
    "a#b?c%20d.wav",
    "new\nline.wav",
    "ü 音.wav",
    "javascript:alert(1).wav",
    "a&b\"'`{{7*7}}.wav",
]


@pytest.mark.parametrize("name", [HOSTILE, *ODD])
@pytest.mark.parametrize("limit", [4.0, 0.0])
def test_any_name_is_text_and_its_link_leads_to_the_file(
    name: str, limit: float, tmp_path: Path
) -> None:
    name = name.replace("/", "_")
    try:
        output = make_pair(tmp_path / "in", content=name, output=f"out {name}")
    except (OSError, UnicodeEncodeError):
        pytest.skip("the file system takes no such name")
    page = tmp_path / "page.html"
    report.write_report(output, page, embed_limit=limit)
    found = Page(page)
    assert len(found.all("img")) == 3  # the colour bars
    assert found.all("script") == [{}]
    assert "onerror=alert" not in "".join(str(a) for _, a in found.elements if "alt" in a)
    assert report_page.shown(name) in found.text.replace("\r", "")
    sources = [a["src"] for a in found.all("audio")]
    if limit:
        assert all(source.startswith("data:audio/") for source in sources)
        return
    wanted = [tmp_path / "in" / n for n in (name, "style.wav", f"out {name}")]
    for source, path in zip(sources, wanted, strict=True):
        assert re.fullmatch(r"\./[\w%./~-]+", source)
        assert os.fsencode(page.parent / path) == os.path.join(
            os.fsencode(page.parent), os.path.normpath(unquote_to_bytes(source))
        )


def test_a_name_of_any_bytes_is_written_out(tmp_path: Path) -> None:
    """Soundfile opens no such file: the page says so, and is made all the same."""
    output, name = make_pair(tmp_path), os.fsdecode(b"\xff\xfe.wav")
    try:
        (tmp_path / "content.wav").rename(tmp_path / name)
    except OSError:
        pytest.skip("the file system takes no such name")
    record = json.loads(record_path(output).read_text())
    record["content"]["path"] = str(tmp_path / name)
    record_path(output).write_text(json.dumps(record))
    report.write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.text.count(r"\xff\xfe.wav") >= 3
    assert len(page.all("audio")) in (2, 3)
    report.write_report([output, output], tmp_path / "page.html", force=True, embed_limit=0)
    tracks = Page(tmp_path / "page.html").data("details")["pairs"][0]["tracks"]
    assert tracks[0][4].endswith(r"\xff\xfe.wav")


@pytest.mark.parametrize(
    "value",
    [
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "\u2028\u2029 & > <",
        "\udcff\ud800",
        1.5,
    ],
)
def test_json_stays_inside_its_element(value: Any) -> None:
    text = str(report_page.inert_json({"key": [value, {"k</": None}]}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    back = json.loads(text)["key"][0]
    assert back == (report_page.shown(value) if isinstance(value, str) else value)
    str(back).encode()


@pytest.mark.parametrize(
    ("start", "expected"), [("in/a.wav", "./in/a.wav"), ("../b c.wav", "../b%20c.wav")]
)
def test_links_are_relative_to_the_page(start: str, expected: str, tmp_path: Path) -> None:
    page = tmp_path / "sub" / "page.html"
    assert report_sounds.relative_url(page.parent / start, page) == expected


# --- what is not there -------------------------------------------------------------------------


def test_inputs_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    (tmp_path / "content.wav").unlink()
    (tmp_path / "style.wav").write_bytes(b"no sound")
    report.write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    reasons = [a for a in page.all("p") if a.get("class") == "reason" and "hidden" not in a]
    assert len(reasons) == 2
    assert "not found" in page.text
    assert "is not an audio file" in page.text
    assert len(page.all("audio")) == 1
    output.unlink()
    report.write_report(record_path(output), tmp_path / "page.html", force=True)
    assert Page(tmp_path / "page.html").all("audio") == []


def test_inputs_are_found_beside_an_output_that_was_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    record = json.loads(record_path(make_pair(old)).read_text())
    record["content"]["path"] = "content.wav"
    old.rename(new)
    record_path(new / "out.wav").write_text(json.dumps(record))
    case = report_data.collect([new / "out.wav"]).cases[0]
    assert case.sounds["content"].path == new / "content.wav"
    assert case.sounds["style"].path is None


def test_an_excerpt_is_played_from_where_it_begins(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    record = json.loads(record_path(output).read_text())
    record["content"] |= {"samples": SR, "start_sample": 2 * SR}
    record_path(output).write_text(json.dumps(record))
    sf.write(tmp_path / "content.wav", np.concatenate([make_noise(2.0), make_tones(1.0)]), SR)
    report.write_report(output, tmp_path / "page.html", embed_limit=0)
    track = Page(tmp_path / "page.html").all("figure", "track")[0]
    assert (float(track["data-offset"]), float(track["data-seconds"])) == (2.0, 1.0)
    report.write_report(output, tmp_path / "page.html", force=True)
    embedded, _ = sf.read(io.BytesIO(decode(Page(tmp_path / "page.html").all("audio")[0]["src"])))
    assert abs(len(embedded) - SR) < 0.2 * SR


def test_a_style_file_has_nothing_to_hear(tmp_path: Path) -> None:
    style = {"path": "jazz.style.npz", "weight": 1.0, "clips": [], "sha256": "f" * 64}
    report.write_report(make_pair(tmp_path, styles=[style]), tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert "a style file holds statistics, and no sound" in page.text
    assert "f" * 64 in page.text


@pytest.mark.parametrize(("change", "value"), [("weights", 7), ("notes", None)])
@pytest.mark.parametrize(
    ("other", "odd"),
    [("parameters", {"n_mels": -3}), ("parameters", None), ("losses", None), ("losses", [{}, 3])],
)
def test_a_record_of_another_version_is_shown_as_far_as_it_goes(
    change: str, value: Any, other: str, odd: Any, tmp_path: Path
) -> None:
    output = make_pair(tmp_path, **{change: value, other: odd}, timings=[], versions=None)
    report.write_report(output, tmp_path / "page.html")
    assert len(Page(tmp_path / "page.html").all("audio")) == 3


# --- pictures, waves and axes ------------------------------------------------------------------


def test_a_picture_has_a_pixel_a_bin_and_low_frequencies_at_the_bottom() -> None:
    S = np.linspace(-80, 0, 64 * 100, dtype=np.float32).reshape(64, 100)
    kind, data = plots.spectrogram_image(S, (-80.0, 0.0))
    picture = Image.open(io.BytesIO(data))
    assert (kind, picture.size) == ("image/png", (100, 64))
    colours = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(colours[-1, 0], plots.colours()[0])
    np.testing.assert_array_equal(colours[0, -1], plots.colours()[255])
    kind, data = plots.spectrogram_image(S, (-80.0, 0.0), (50, 16))
    assert Image.open(io.BytesIO(data)).size == (50, 16)


@pytest.mark.parametrize("hertz", [500, 1000, 5000])
def test_frequencies_are_where_the_axis_says(hertz: int, tmp_path: Path) -> None:
    config = TransferConfig()
    t = np.arange(SR) / SR
    sf.write(tmp_path / "sine.wav", 0.3 * np.sin(2 * np.pi * hertz * t), SR)
    heard = report_sounds.listen(Sound("content", tmp_path / "sine.wav", "sine"), config)
    row = config.n_mels - 1 - int(heard.S.mean(axis=1).argmax())
    label = f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)
    (tick,) = [t for t in report_charts.frequency_ticks(config) if t.text == label]
    assert tick.at == pytest.approx(100 * (row + 0.5) / config.n_mels, abs=0.8)


def test_a_long_file_has_few_columns_and_every_moment_at_its_place(tmp_path: Path) -> None:
    sr, seconds, clicks = 8000, 400, (100, 390)
    y = make_noise(seconds, sr) * 1e-3
    for at in clicks:
        y[at * sr : at * sr + sr] = make_noise(1.0, sr, seed=1)
    sf.write(tmp_path / "long.wav", y, sr)
    sound = Sound("content", tmp_path / "long.wav", "long")
    heard = report_sounds.listen(sound, TransferConfig())
    assert 1000 <= heard.S.shape[1] <= 2000
    assert heard.seconds == seconds
    loud = heard.S.mean(axis=0)
    for at in clicks:
        column = round((at + 0.5) / heard.S_seconds * heard.S.shape[1])
        around = loud[max(0, column - 40) : column + 40]
        assert abs(int(around.argmax()) - min(column, 40)) <= 3
    assert heard.wave.shape[1] <= report_sounds.WAVE_BINS


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 54_321])
@pytest.mark.parametrize("size", [100, 7777])
def test_a_wave_is_made_of_the_extremes(n: int, size: int) -> None:
    y = np.random.default_rng(n).uniform(-1, 1, (2, n)).astype(np.float32)
    wave = report_sounds._wave(iter([y[:, i : i + size] for i in range(0, n, size)]), n)
    width = -(-n // report_sounds.WAVE_BINS)
    parts = [y[:, i : i + width] for i in range(0, n, width)]
    np.testing.assert_array_equal(wave[0], [min(0, part.min()) for part in parts])
    np.testing.assert_array_equal(wave[1], [max(0, part.max()) for part in parts])


@pytest.mark.parametrize(
    ("seconds", "exact", "text"),
    [
        (0, False, "0:00"),
        (29.999, True, "0:30.0"),
        (65.25, True, "1:05.2"),
        (3725, False, "1:02:05"),
    ],
)
def test_times_are_written_as_people_do(seconds: float, exact: bool, text: str) -> None:
    assert report_charts.clock(seconds, exact) == text


@pytest.mark.parametrize("seconds", [0.5, 1, 4, 29.99, 30, 61, 600, 3600, 20_000])
def test_a_time_axis_has_few_round_labels(seconds: float) -> None:
    ticks = report_charts.time_ticks(seconds)
    assert 2 <= len(ticks) <= 11
    assert ticks[0].at == 0
    assert ticks[0].text in ("0:00", "0:00.0")
    assert all(0 <= tick.at <= 100 for tick in ticks)


def test_losses_are_drawn_as_the_total_weighs_them() -> None:
    losses = report_cases.losses(3, 4.0)
    config = TransferConfig(content_weight=0.5, style_weight=2.0, music_weight=0.0)
    curves = plots.loss_curves(losses, config.to_dict())
    assert next(iter(curves)) == "total"
    assert "music" not in curves
    assert curves["content"] == [0.5, 0.25, 0.125]
    assert curves["style"] == [2.0, 1.0, 0.5]
    chart = report_charts.step_chart("t", {"a": [1.0, 0.1, 0.01], "b": [0.1, 0.0, float("nan")]})
    assert chart is not None
    a, b = ([tuple(map(float, p.split(","))) for p in c.points.split()] for c in chart.curves)
    assert a[1][1] - a[0][1] == pytest.approx(a[2][1] - a[1][1], abs=0.02)  # logarithmic
    assert b[1][1] == b[2][1] == 100.0
    assert report_charts.step_chart("t", {"a": [0.0]}) is None


# --- evaluations -------------------------------------------------------------------------------


def verdict(score: float) -> dict[str, float | None]:
    return dict.fromkeys(report_batch.MEASURES, score) | {"sound_consistency": None}


def test_an_evaluation_that_was_saved_is_shown_with_its_baselines(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    digest = json.loads(record_path(output).read_text())["output"]["sha256"]
    saved = {
        "outputs": [
            {"sha256": name, "measures": verdict(score)}
            for name, score in (("another", 0.4321), (digest, 0.83))
        ],
        "baselines": [{"name": "identity", "measures": verdict(0.27)}],
    }
    (tmp_path / "scores.json").write_text(json.dumps(saved))
    report.write_report([output, tmp_path / "scores.json"], tmp_path / "page.html")
    text = Page(tmp_path / "page.html").text
    assert re.search(r"this pair\s*identity", text)
    assert re.search(r"score\s*0\.83\s*0\.27", text)
    assert "0.43" not in text
    with pytest.raises(AudioFileError, match="holds an evaluation and no transfer"):
        report_data.collect([tmp_path / "scores.json"])


def test_evaluate_judges_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiostyle import judging

    asked: list[Any] = []

    def judge(question: Any) -> Any:
        asked.append(question)
        found = [SimpleNamespace(name="out", measures=verdict(0.5), is_baseline=False)]
        found += [SimpleNamespace(name="mix", measures=verdict(0.2), is_baseline=True)]
        return SimpleNamespace(verdicts=found, failed=[])

    monkeypatch.setattr(judging, "run", judge)
    output = make_pair(tmp_path)
    options: dict[str, Any] = {"evaluate": True, "baselines": True}
    found = report.write_report(output, tmp_path / "page.html", **options)
    (question,) = asked
    assert (question.outputs, question.baselines) == ([output], True)
    assert found.cases[0].measures["score"] == 0.5
    assert list(found.cases[0].baselines) == ["mix"]
    (tmp_path / "content.wav").unlink()
    found = report.write_report(output, tmp_path / "page.html", force=True, **options)
    assert "not judged: a sound is missing" in found.cases[0].notes
    assert len(asked) == 1


# --- batches -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("batch")
    sounds = {}
    for i in range(3):
        sounds[i] = root / f"{i}.wav"
        sf.write(sounds[i], make_noise(0.6, seed=i), SR)
    folder = make_batch(root / "out", 60, 6, sounds)
    events: list[report.Drawn] = []
    report.write_report(folder, root / "page.html", events.append)
    assert [event.done for event in events] == list(range(61))
    assert (events[0].name, events[-1].stage) == ("000__000.wav", "writing")
    return Page(root / "page.html")


def test_a_row_a_pair_with_its_numbers(batch: Page) -> None:
    rows = [a for a in batch.all("tr") if "data-i" in a]
    assert len(rows) == 60
    row = report_cases.make_row(7, 6)
    assert f"{row['pair']}" in batch.text
    values = [a["data-value"] for a in batch.all("td", "number") if "data-value" in a]
    assert len(values) == 3 * 60
    scores = sorted(float(v) for v in values[::3] if v)
    wanted = [report_cases.make_row(i, 6)["score_score"] for i in range(60) if i % 50 != 49]
    assert scores == pytest.approx(sorted(wanted))


def test_failures_are_gathered_by_reason_and_escaped(batch: Page) -> None:
    assert re.search(r"silent\s+is silent & <empty>\s+1 pair\b", batch.text)
    assert "is silent &amp; &lt;empty&gt;" in batch.raw


def test_the_matrix_holds_means_by_genre(batch: Page) -> None:
    cells = {a["aria-label"] for a in batch.all("button") if "data-row" in a}
    rows = [report_cases.make_row(i, 6) for i in range(60)]
    genre = [r for r in rows if (r["content_genre"], r["style_genre"]) == ("jazz", "blues")]
    scores = [r["score_score"] for r in genre if r["score_score"] is not None]
    title = f"jazz in the style of blues: mean score of {len(scores)} pairs: "
    assert f"{title}{np.mean(scores):.2f}" in cells
    assert len(cells) == 4


def test_every_picture_and_every_sound_is_kept_once(batch: Page) -> None:
    pictures, details = batch.data("pictures"), batch.data("details")
    pairs = len([i for i in range(60) if i % 50 != 49])
    assert (
        len(pictures["data"]) == pairs + 6 + 1 + 10
    )  # a failed pair has no record to say how long
    assert len(details["sources"]) == len(pictures["data"])
    for data in pictures["data"]:
        Image.open(io.BytesIO(base64.b64decode(data))).verify()
    assert all(url.startswith("data:audio/") for url, _ in details["sources"])


def test_sounds_of_a_batch_are_all_linked_where_they_are_too_much(tmp_path: Path) -> None:
    outputs = [make_pair(tmp_path / str(i)) for i in range(3)]
    report.write_report(outputs, tmp_path / "page.html", embed_limit=0.05)
    details = Page(tmp_path / "page.html").data("details")
    assert details["sources"][0] == ["./0/content.wav", 0.0]
    assert len(details["sources"]) == 9
    assert [track[2] for track in details["pairs"][2]["tracks"]] == [6, 8, 7]


def test_a_batch_without_results_is_read_from_its_records(tmp_path: Path) -> None:
    make_pair(tmp_path / "out", output="b.wav")
    make_pair(tmp_path / "out" / "deep", output="a.wav")
    found = report_data.collect([tmp_path / "out"])
    assert sorted(case.name for case in found.cases) == ["a.wav", "b.wav"]
    assert found.whole


def test_a_matrix_is_by_clip_where_there_is_one_genre_and_none_where_it_is_too_large() -> None:
    row = report_batch.Row("n", "c", "s", "jazz", "pop", "done", "", 0.5, 1.0, 1.0, -1)
    rows = [dataclasses.replace(row, content=c, style=s) for c in "ab" for s in "xyz"]
    matrix = report_batch.make_matrix(rows)
    assert matrix is not None
    assert (matrix.by, matrix.rows, matrix.columns) == (
        ("content", "style"),
        ["a", "b"],
        list("xyz"),
    )
    assert report_batch.make_matrix(rows[:1]) is None
    many = [dataclasses.replace(row, content=str(i), style=str(i)) for i in range(100)]
    assert report_batch.make_matrix(many) is None
    assert report_batch.make_matrix([dataclasses.replace(row, score=None)] * 3) is None


def test_a_real_batch_that_was_run_is_found_again_from_elsewhere(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = audiostyle.run_batch("genres/jazz", "genres/classical", "out", limit=4)
    (gtzan_folder / "elsewhere").mkdir()
    monkeypatch.chdir(gtzan_folder / "elsewhere")
    found = report_data.collect([gtzan_folder / "out"])
    assert [case.name for case in found.cases] == [row["pair"] for row in result.rows]
    for case in found.cases:
        assert all(case.sounds[role].path is not None for role in report_data.ROLES)
        assert (case.status, case.content_genre) == ("done", "jazz")
    os.remove(gtzan_folder / "out" / "results.jsonl")  # as where it was killed
    again = report_data.collect([gtzan_folder / "out"])
    assert [case.status for case in again.cases] == ["done"] * 4


# --- sizes -------------------------------------------------------------------------------------


def test_the_page_of_30_s_of_stereo_stays_below_6_mb(tmp_path: Path) -> None:
    output = make_pair(tmp_path, seconds=1.0, parameters=TransferConfig().to_dict())
    rng = np.random.default_rng(0)
    for name in ("content.wav", "style.wav", "out.wav"):
        sf.write(tmp_path / name, 0.2 * rng.standard_normal((30 * 44_100, 2)), 44_100)
    record = json.loads(record_path(output).read_text())
    record["content"] |= {"sr": 44_100, "samples": 30 * 44_100}
    record_path(output).write_text(json.dumps(record))
    report.write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert [a["src"][:10] for a in page.all("audio")] == ["data:audio"] * 3
    assert os.path.getsize(tmp_path / "page.html") <= 6_000_000


def test_a_thousand_pairs_of_noise_take_less_than_30_mb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    some = [white_spectrogram(rng) for _ in range(8)]

    def listen(sound: Sound, *_: Any, **__: Any) -> Any:
        S = some[len(sound.name) % 8]
        return report_sounds.Heard(Sound("x", None, "x", reason=""), 30.0, S, 30.0, about="noise")

    monkeypatch.setattr(report_sounds, "listen", listen)
    monkeypatch.setattr(report_sounds, "link", lambda heard, page: None)
    folder = make_batch(tmp_path / "out", 1000, 1000)  # nothing is shared
    report.write_report(folder, tmp_path / "page.html", embed_limit=0)
    page = Page(tmp_path / "page.html")
    assert len(page.data("pictures")["data"]) >= 2 * 980
    assert os.path.getsize(tmp_path / "page.html") <= 30_000_000


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("none.wav -o p.html", 1, r"none\.wav: no such file or folder; check the name"),
        ("none.wav.json -o p.html", 1, r"none\.wav\.json: no such file"),
        ("plain.wav -o p.html", 1, r"plain\.wav: has no record plain\.wav\.json beside it"),
        ("bad.json -o p.html", 1, r"bad\.json: is no record of a transfer"),
        ("list.json -o p.html", 1, r"list\.json: is no record of a transfer"),
        ("empty -o p.html", 1, r"empty: holds neither a batch nor outputs"),
        ("out.wav -o p.txt", 2, r"report=p\.txt must end in \.html"),
        ("out.wav -o old.html", 1, r"old\.html: exists already; use --force"),
        ("out.wav -o none/p.html", 1, r"none/p\.html: there is no folder none"),
        ("out.wav -o p.html --embed-limit -1", 2, r"embed_limit=-1 must be from 0 to 1000 MB"),
        ("out.wav -o p.html --baselines", 2, r"baselines are judged by --evaluate"),
        ("-o p.html", 2, r"Missing argument"),
        ("out.wav", 2, r"Missing option '-o'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(make_pair(tmp_path).parent)
    Path("bad.json").write_text("{no json")
    Path("list.json").write_text("[]")
    Path("plain.wav").write_bytes(b"x")
    Path("old.html").write_text("old")
    Path("empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert call("report", *arguments.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"audiostyle: error: .*{message}.*\n", err)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("old.html").read_text() == "old"


def test_the_command_says_where_the_page_is_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page = make_pair(tmp_path), tmp_path / "p.html"
    assert call("report", str(output), "-o", str(page)) == 0
    assert re.fullmatch(r".*p\.html \(1 pair, 0\.\d MB\)\n", capsys.readouterr().err)
    assert call("report", str(output), "-o", str(page), "--force", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_progress_of_many_pairs_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    progress = report_runner.Progress(said.append, quiet=False)
    for i in range(1000):
        progress(report.Drawn(i, 1000, f"p\n{i}.wav", "drawing"))
    progress(report.Drawn(1000, 1000, "page.html", "writing"))
    assert len(said) == 20
    assert said[0] == "drawing 1/1000: p 0.wav"


def test_a_report_needs_no_tensorflow(tmp_path: Path) -> None:
    make_pair(tmp_path)
    code, modules = modules_after("report", "out.wav", "-o", "p.html", folder=tmp_path)
    assert code == 0
    assert modules.isdisjoint({"tensorflow", "keras", "mir_eval", "matplotlib.pyplot"})
    code, modules = modules_after("report", "none.wav", "-o", "q.html", folder=tmp_path)
    assert code == 1
    assert modules.isdisjoint({"tensorflow", "librosa", "jinja2", "matplotlib"})


def test_a_transfer_writes_its_report(gtzan_folder: Path, fake: Any, monkeypatch: Any) -> None:
    from audiostyle import files

    monkeypatch.setattr(files, "Stylist", fake)
    clips = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    with pytest.raises(ConfigError, match=r"report=p\.txt must end in \.html"):
        audiostyle.transfer_file(*clips, "out.wav", report="p.txt")
    audiostyle.transfer_file(*clips, "out.wav", callback=print, report="p.html")
    assert len(Page(Path("p.html")).all("audio")) == 3
    Path("out.wav").unlink()
    Path("out.wav.json").unlink()
    with pytest.raises(OutputError, match=r"p\.html: exists already"):
        audiostyle.transfer_file(*clips, "out.wav", report="p.html")
    assert not Path("out.wav").exists()


def test_a_signal_while_the_report_is_made_keeps_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Interrupted(143)

    monkeypatch.setattr(report, "write_report", stop)
    said: list[str] = []
    output = tmp_path / "o.wav"
    assert report_runner.report_transfer(output, output, echo=said.append, quiet=True) == 143
    assert said == [f"interrupted; {output} is there, its report is not"]


def test_the_same_spectrogram_as_that_of_the_transfer(tmp_path: Path) -> None:
    """A short clip is neither folded nor cut: the page shows what the descent sees."""
    output = make_pair(tmp_path)
    case = report_data.collect([output]).cases[0]
    heard = report_sounds.listen(case.sounds["content"], case.config)
    from audiostyle.audio import FileSource
    from audiostyle.recording import Recording

    recording = Recording(FileSource(tmp_path / "content.wav"), case.config)
    y = np.concatenate(list(recording.levelled()), axis=1)
    S = spectral.mel_spectrogram(y, case.config)
    np.testing.assert_allclose(heard.S, S, atol=1e-3)
