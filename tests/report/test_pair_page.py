from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import scipy.signal
import soundfile as sf

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.report import html
from audiostyle.report.write import write_report
from audiostyle.utils.atomic_files import record_path
from tests.conftest import SR, make_noise, make_tones
from tests.support.pages import Page, decode
from tests.support.report_data import HOSTILE, SMALL, change_record, make_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("pair")
    write_report(make_pair(folder), folder / "page.html")
    return Page(folder / "page.html")


def test_a_page_has_no_external_links(pair: Page) -> None:
    assert all(url.startswith(("data:", "#")) for url in pair.urls())
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", pair.raw)
    assert not any("style" in attributes for _, attributes in pair.elements)
    assert not any(name.startswith("on") for _, a in pair.elements for name in a)


def test_the_policy_allows_only_the_script_and_the_style_of_the_page(pair: Page) -> None:
    (policy,) = [a["content"] for a in pair.all("meta") if "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (code,) = [text for attributes, text in pair.scripts if "type" not in attributes]
    for rule, text in (("script-src", code), ("style-src", pair.styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["connect-src"]) == ("'none'", "'none'")


def test_the_sounds_are_embedded(pair: Page) -> None:
    sources = [a["src"] for a in pair.all("audio")]
    assert len(sources) == 3
    expected = [make_tones(), make_noise(), (make_tones() + make_noise()) / 2]
    for source, y in zip(sources, expected, strict=True):
        assert source.startswith(("data:audio/mpeg;", "data:audio/ogg;"))
        decoded, sr = sf.read(io.BytesIO(decode(source)))
        assert sr == SR
        # The codec may add a delay and is lossy.
        lags = scipy.signal.correlate(decoded[:SR], y[: SR // 2], "valid", method="fft")
        peak = lags.max() / np.sum(y[: SR // 2].astype(float) ** 2)
        assert peak > 0.8


def test_losses_parameters_digests_and_notes_are_shown(pair: Page) -> None:
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
    preset = TransferConfig.from_preset("balanced").to_dict()
    small = SMALL.to_dict()
    assert len(changed) == sum(small[name] != preset[name] for name in small)


def test_controls_and_images_have_accessible_names(pair: Page) -> None:
    for tag in ("svg", "input", "audio", "button"):
        for attributes in pair.all(tag):
            hidden = attributes.get("aria-hidden") == "true"
            named = "aria-label" in attributes or "data-role" in attributes
            assert hidden or named, attributes
    assert [a["lang"] for a in pair.all("html")] == ["en"]
    assert len(pair.all("h1")) == 1


def test_a_short_style_covers_its_share_of_the_common_time_axis(tmp_path: Path) -> None:
    output = make_pair(tmp_path, seconds=2.0)
    sf.write(tmp_path / "style.wav", make_noise(1.0), SR)
    page = tmp_path / "page.html"
    write_report(output, page)
    widths = [float(a["width"].rstrip("%")) for a in Page(page).all("image")]
    assert widths == pytest.approx([100, 50, 100], abs=2)
    assert Page(page).text.count("has changed since") == 1  # the style


def test_a_long_style_is_cut_to_the_length_of_the_content(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    sf.write(tmp_path / "style.wav", make_noise(5.0), SR)
    write_report(output, tmp_path / "page.html")
    style = Page(tmp_path / "page.html").all("audio")[1]
    assert len(sf.read(io.BytesIO(decode(style["src"])))[0]) < 1.2 * SR


ODD = [
    "a#b?c%20d.wav",
    "new\nline.wav",
    "ü 音.wav",
    "javascript:alert(1).wav",
    "a&b\"'`{{7*7}}.wav",
]


@pytest.mark.parametrize("name", [HOSTILE, *ODD])
@pytest.mark.parametrize("embed_limit", [4.0, 0.0])
def test_any_file_name_is_shown_as_text_and_linked_correctly(
    name: str, embed_limit: float, tmp_path: Path
) -> None:
    name = name.replace("/", "_")
    try:
        output = make_pair(tmp_path / "in", content=name, output=f"out {name}")
    except (OSError, UnicodeEncodeError):
        pytest.skip("the file system does not allow the name")
    page = tmp_path / "page.html"
    write_report(output, page, embed_limit=embed_limit)
    found = Page(page)
    assert len(found.all("img")) == 3  # the color bars
    assert found.all("script") == [{}]
    assert "onerror=alert" not in "".join(str(a) for _, a in found.elements if "alt" in a)
    assert html.valid_text(name) in found.text.replace("\r", "")
    sources = [a["src"] for a in found.all("audio")]
    if embed_limit:
        assert all(source.startswith("data:audio/") for source in sources)
        return
    expected = [tmp_path / "in" / n for n in (name, "style.wav", f"out {name}")]
    for source, path in zip(sources, expected, strict=True):
        assert re.fullmatch(r"\./[\w%./~-]+", source)
        assert os.fsencode(page.parent / path) == os.path.join(
            os.fsencode(page.parent), os.path.normpath(unquote_to_bytes(source))
        )


def test_a_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    """Soundfile may not open such a file; then the page says so."""
    output, name = make_pair(tmp_path), os.fsdecode(b"\xff\xfe.wav")
    try:
        (tmp_path / "content.wav").rename(tmp_path / name)
    except OSError:
        pytest.skip("the file system does not allow the name")
    change_record(output, content={"path": str(tmp_path / name)})
    write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.text.count(r"\xff\xfe.wav") >= 3
    assert len(page.all("audio")) in (2, 3)
    write_report([output, output], tmp_path / "page.html", force=True, embed_limit=0)
    tracks = Page(tmp_path / "page.html").data("details")["pairs"][0]["tracks"]
    assert tracks[0][3].endswith(r"\xff\xfe.wav")


def test_missing_and_unreadable_inputs_are_reported(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    (tmp_path / "content.wav").unlink()
    (tmp_path / "style.wav").write_bytes(b"no sound")
    write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    reasons = [a for a in page.all("p") if a.get("class") == "reason" and "hidden" not in a]
    assert len(reasons) == 2
    assert "not found" in page.text
    assert "is not an audio file" in page.text
    assert len(page.all("audio")) == 1
    output.unlink()
    write_report(record_path(output), tmp_path / "page.html", force=True)
    assert Page(tmp_path / "page.html").all("audio") == []


def test_an_excerpt_is_played_from_its_start(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    change_record(output, content={"samples": SR, "start_sample": 2 * SR})
    sf.write(tmp_path / "content.wav", np.concatenate([make_noise(2.0), make_tones(1.0)]), SR)
    write_report(output, tmp_path / "page.html", embed_limit=0)
    track = Page(tmp_path / "page.html").all("figure", "track")[0]
    assert (float(track["data-offset"]), float(track["data-seconds"])) == (2.0, 1.0)
    write_report(output, tmp_path / "page.html", force=True)
    embedded, _ = sf.read(io.BytesIO(decode(Page(tmp_path / "page.html").all("audio")[0]["src"])))
    assert abs(len(embedded) - SR) < 0.2 * SR


def test_a_style_file_has_no_sound(tmp_path: Path) -> None:
    style = {"path": "jazz.style.npz", "weight": 1.0, "clips": [], "sha256": "f" * 64}
    write_report(make_pair(tmp_path, styles=[style]), tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert "a style file holds statistics, not sound" in page.text
    assert "f" * 64 in page.text


@pytest.mark.parametrize(("change", "value"), [("weights", 7), ("notes", None)])
@pytest.mark.parametrize(
    ("other", "odd"),
    [("parameters", {"n_mels": -3}), ("parameters", None), ("losses", None), ("losses", [{}, 3])],
)
def test_a_record_with_odd_values_is_shown(
    change: str, value: Any, other: str, odd: Any, tmp_path: Path
) -> None:
    output = make_pair(tmp_path, **{change: value, other: odd}, timings=[], versions=None)
    write_report(output, tmp_path / "page.html")
    assert len(Page(tmp_path / "page.html").all("audio")) == 3


def test_a_record_of_schema_1_names_its_timings_as_today(tmp_path: Path) -> None:
    output = make_pair(tmp_path, schema=1, timings={"style": 0.5, "descent": 1.5})
    write_report(output, tmp_path / "page.html")
    text = Page(tmp_path / "page.html").text
    assert re.search(r"time: optimization\s+1\.50 s", text)
    assert "descent" not in text


@pytest.mark.slow
def test_the_page_of_30_s_of_stereo_stays_below_6_mb(tmp_path: Path) -> None:
    output = make_pair(tmp_path, seconds=1.0, parameters=TransferConfig().to_dict())
    rng = np.random.default_rng(0)
    for name in ("content.wav", "style.wav", "out.wav"):
        sf.write(tmp_path / name, 0.2 * rng.standard_normal((30 * 44_100, 2)), 44_100)
    change_record(output, content={"sr": 44_100, "samples": 30 * 44_100})
    write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert [a["src"][:10] for a in page.all("audio")] == ["data:audio"] * 3
    assert os.path.getsize(tmp_path / "page.html") <= 6_000_000
