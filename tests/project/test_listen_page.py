"""The bundled recordings, the page to listen to them, and the demo."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import correlate

from audiostyle.utils.atomic_files import file_digest
from tests.project.test_docs import check
from tests.project.test_examples import load
from tests.support.browser import MonitoredPage, open_browser
from tests.support.pages import Page, decode

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "listen.html"
CLIPS = sorted((ROOT / "examples").glob("*.ogg"))
RESULTS = sorted((ROOT / "examples" / "results").glob("*.ogg"))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(PAGE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture
def monitored(browser: Any) -> Iterator[MonitoredPage]:
    found = MonitoredPage(browser, 400, 800)
    yield found
    found.close()


def test_recordings_are_credited_short_and_small(page: Page) -> None:
    rows = (ROOT / "examples" / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines()
    for clip in CLIPS:
        row = next(row for row in rows if row.startswith(f"| `{clip.name}` "))
        links = re.findall(r"\[(.+?)\]\((https://.+?)\)", row)
        assert len(links) == 2 and "//creativecommons.org/" in links[1][1]
        assert all(title in page.text and url in page.urls() for title, url in links)
        assert 5 <= sf.info(clip).duration <= 10
    files = [*CLIPS, *(ROOT / "examples" / "results").iterdir()]
    assert sum(file.stat().st_size for file in files) <= 700_000


def test_the_page_is_that_of_the_files_in_examples(page: Page) -> None:
    assert len(CLIPS) == len(RESULTS) == 3
    assert [file.name for file in CLIPS + RESULTS if file_digest(file) not in page.text] == []
    assert PAGE.stat().st_size < 1_500_000


def test_each_player_has_the_sounds_that_it_names(page: Page) -> None:
    """MP3 and OGG of one sound differ in delay and rounding, sounds in much more."""
    named = re.findall(r'<span class="name">(examples/\S+)</span>', page.raw)
    embedded = [decode(audio["src"]) for audio in page.all("audio")]
    assert len(named) == len(embedded) == 9
    for name, data in zip(named, embedded, strict=True):
        ours, sr = sf.read(ROOT / name)
        theirs, rate = sf.read(io.BytesIO(data))
        assert rate == sr
        norm = np.linalg.norm(ours) * np.linalg.norm(theirs)
        assert correlate(ours, theirs).max() / norm > 0.97, name


@pytest.mark.slow
def test_the_page_is_what_its_tool_makes(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the scores of the committed page: evaluations take longer, and differ by machine."""
    tool = load(ROOT / "tools" / "listen_page.py")
    row = r'<dt>(.+?)</dt><dd>(.+?)</dd><dd class="note">(.+?)</dd>'
    facts = re.findall(row, page.raw)
    assert len(facts) == 12
    scores = (facts[i : i + 4] for i in range(0, 12, 4))
    monkeypatch.setattr(tool, "evaluate", lambda record: next(scores))
    monkeypatch.chdir(ROOT)
    (tmp_path / "page.html").write_bytes(tool.make_page())
    made = Page(tmp_path / "page.html")
    assert made.text.split() == page.text.split()
    assert made.scripts == page.scripts and made.styles == page.styles


def test_commands_of_page_and_demo_parse_and_name_files_that_exist(page: Page) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    demo = re.findall(r"^\t\S*(audiostyle transfer .*)$", text, re.MULTILINE)
    commands = [*demo, *re.findall(r"<code>(audiostyle transfer [^<]+)</code>", page.raw)]
    assert len(commands) == 4
    for command in commands:
        check(command.replace("$(DEMO)", "demo/result"))
        inputs = re.findall(r" (examples/\S+)", command)
        assert len(inputs) == 2 and all((ROOT / name).is_file() for name in inputs)


def state(page: Any) -> list[tuple[bool, str]]:
    """Return of each player whether it plays, and its sound."""
    found = page.evaluate("players.map((one) => [one.playing, one.current.role])")
    return [(playing, role) for playing, role in found]


def wait_until_playing(page: Any, player: int) -> None:
    """Wait until the position of a player has moved."""
    for _ in range(200):
        if page.evaluate(f"players[{player}].position") > 0.1:
            return
        page.wait_for_timeout(20)
    pytest.fail(f"player {player} does not play")


def test_one_player_plays_at_a_time_by_keyboard_alone(monitored: MonitoredPage) -> None:
    page = monitored.open(PAGE.as_uri())
    page.keyboard.press(" ")
    wait_until_playing(page, 0)
    page.keyboard.press("2")
    assert state(page) == [(True, "style"), (False, "result"), (False, "result")]
    # Both sounds are audible during the cross-fade.
    page.wait_for_function(
        "players[0].output.audible().map((one) => one.role).join() === 'style'", timeout=10_000
    )
    for _ in range(60):  # from the top to the play button of the second player
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === players[1].find('.play')"):
            break
    page.keyboard.press(" ")
    page.keyboard.press("1")
    wait_until_playing(page, 1)
    assert state(page) == [(False, "style"), (True, "content"), (False, "result")]
    assert page.evaluate("players[0].output.audible().length") == 0


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_a_narrow_screen_in_both_schemes(browser: Any, scheme: str) -> None:
    narrow = MonitoredPage(browser, 400, 800, color_scheme=scheme)
    page = narrow.open(PAGE.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(level) for level in re.findall(r"\d+", color)]
    assert max(levels) < 60 if scheme == "dark" else min(levels) > 200
    narrow.close()


def test_without_scripts_each_sound_has_controls(browser: Any) -> None:
    plain = MonitoredPage(browser, java_script_enabled=False)
    page = plain.open(PAGE.as_uri())
    assert page.locator("audio[controls]").count() == 9
    assert page.locator("audio[controls]").first.is_visible()
    plain.close()
