"""Pages of pairs: what is on them, how large they are, what nobody can inject."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.report import charts, html, records, sounds, write
from audiostyle.report.records import SoundFile
from audiostyle.utils.atomic_files import record_path
from tests.conftest import SR, make_noise, make_tones
from tests.support import report_cases
from tests.support.pages import Page, decode
from tests.support.report_cases import HOSTILE, make_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("pair")
    write.write_report(make_pair(folder), folder / "page.html")
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
    write.write_report(output, page)
    widths = [float(a["width"].rstrip("%")) for a in Page(page).all("image")]
    assert widths == pytest.approx([100, 50, 100], abs=2)
    assert Page(page).text.count("has changed since") == 1  # the style is another now


def test_a_style_is_shown_for_as_long_as_the_content_lasts(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    sf.write(tmp_path / "style.wav", make_noise(5.0), SR)
    write.write_report(output, tmp_path / "page.html")
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
    write.write_report(output, page, embed_limit=limit)
    found = Page(page)
    assert len(found.all("img")) == 3  # the colour bars
    assert found.all("script") == [{}]
    assert "onerror=alert" not in "".join(str(a) for _, a in found.elements if "alt" in a)
    assert html.shown(name) in found.text.replace("\r", "")
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
    write.write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.text.count(r"\xff\xfe.wav") >= 3
    assert len(page.all("audio")) in (2, 3)
    write.write_report([output, output], tmp_path / "page.html", force=True, embed_limit=0)
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
    text = str(html.inert_json({"key": [value, {"k</": None}]}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    back = json.loads(text)["key"][0]
    assert back == (html.shown(value) if isinstance(value, str) else value)
    str(back).encode()


@pytest.mark.parametrize(
    ("start", "expected"), [("in/a.wav", "./in/a.wav"), ("../b c.wav", "../b%20c.wav")]
)
def test_links_are_relative_to_the_page(start: str, expected: str, tmp_path: Path) -> None:
    page = tmp_path / "sub" / "page.html"
    assert sounds.relative_url(page.parent / start, page) == expected


# --- what is not there -------------------------------------------------------------------------


def test_inputs_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    (tmp_path / "content.wav").unlink()
    (tmp_path / "style.wav").write_bytes(b"no sound")
    write.write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    reasons = [a for a in page.all("p") if a.get("class") == "reason" and "hidden" not in a]
    assert len(reasons) == 2
    assert "not found" in page.text
    assert "is not an audio file" in page.text
    assert len(page.all("audio")) == 1
    output.unlink()
    write.write_report(record_path(output), tmp_path / "page.html", force=True)
    assert Page(tmp_path / "page.html").all("audio") == []


def test_inputs_are_found_beside_an_output_that_was_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    record = json.loads(record_path(make_pair(old)).read_text())
    record["content"]["path"] = "content.wav"
    old.rename(new)
    record_path(new / "out.wav").write_text(json.dumps(record))
    case = records.collect([new / "out.wav"]).cases[0]
    assert case.sounds["content"].path == new / "content.wav"
    assert case.sounds["style"].path is None


def test_an_excerpt_is_played_from_where_it_begins(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    record = json.loads(record_path(output).read_text())
    record["content"] |= {"samples": SR, "start_sample": 2 * SR}
    record_path(output).write_text(json.dumps(record))
    sf.write(tmp_path / "content.wav", np.concatenate([make_noise(2.0), make_tones(1.0)]), SR)
    write.write_report(output, tmp_path / "page.html", embed_limit=0)
    track = Page(tmp_path / "page.html").all("figure", "track")[0]
    assert (float(track["data-offset"]), float(track["data-seconds"])) == (2.0, 1.0)
    write.write_report(output, tmp_path / "page.html", force=True)
    embedded, _ = sf.read(io.BytesIO(decode(Page(tmp_path / "page.html").all("audio")[0]["src"])))
    assert abs(len(embedded) - SR) < 0.2 * SR


def test_a_style_file_has_nothing_to_hear(tmp_path: Path) -> None:
    style = {"path": "jazz.style.npz", "weight": 1.0, "clips": [], "sha256": "f" * 64}
    write.write_report(make_pair(tmp_path, styles=[style]), tmp_path / "page.html")
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
    write.write_report(output, tmp_path / "page.html")
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
    heard = sounds.load_sound(SoundFile("content", tmp_path / "sine.wav", "sine"), config)
    row = config.n_mels - 1 - int(heard.S.mean(axis=1).argmax())
    label = f"{hertz // 1000}k" if hertz >= 1000 else str(hertz)
    (tick,) = [t for t in charts.frequency_ticks(config) if t.text == label]
    assert tick.at == pytest.approx(100 * (row + 0.5) / config.n_mels, abs=0.8)


def test_a_long_file_has_few_columns_and_every_moment_at_its_place(tmp_path: Path) -> None:
    sr, seconds, clicks = 8000, 400, (100, 390)
    y = make_noise(seconds, sr) * 1e-3
    for at in clicks:
        y[at * sr : at * sr + sr] = make_noise(1.0, sr, seed=1)
    sf.write(tmp_path / "long.wav", y, sr)
    sound = SoundFile("content", tmp_path / "long.wav", "long")
    heard = sounds.load_sound(sound, TransferConfig())
    assert 1000 <= heard.S.shape[1] <= 2000
    assert heard.seconds == seconds
    loud = heard.S.mean(axis=0)
    for at in clicks:
        column = round((at + 0.5) / heard.S_seconds * heard.S.shape[1])
        around = loud[max(0, column - 40) : column + 40]
        assert abs(int(around.argmax()) - min(column, 40)) <= 3
    assert heard.wave.shape[1] <= sounds.WAVE_BINS


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 54_321])
@pytest.mark.parametrize("size", [100, 7777])
def test_a_wave_is_made_of_the_extremes(n: int, size: int) -> None:
    y = np.random.default_rng(n).uniform(-1, 1, (2, n)).astype(np.float32)
    wave = sounds._wave(iter([y[:, i : i + size] for i in range(0, n, size)]), n)
    width = -(-n // sounds.WAVE_BINS)
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
    assert charts.clock(seconds, exact) == text


@pytest.mark.parametrize("seconds", [0.5, 1, 4, 29.99, 30, 61, 600, 3600, 20_000])
def test_a_time_axis_has_few_round_labels(seconds: float) -> None:
    ticks = charts.time_ticks(seconds)
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
    chart = charts.step_chart("t", {"a": [1.0, 0.1, 0.01], "b": [0.1, 0.0, float("nan")]})
    assert chart is not None
    a, b = ([tuple(map(float, p.split(","))) for p in c.points.split()] for c in chart.curves)
    assert a[1][1] - a[0][1] == pytest.approx(a[2][1] - a[1][1], abs=0.02)  # logarithmic
    assert b[1][1] == b[2][1] == 100.0
    assert charts.step_chart("t", {"a": [0.0]}) is None
