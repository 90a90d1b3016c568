"""Pages as a person meets them, in a browser: players, keys, sorting, narrow screens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch import run
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.files import transfer
from audiostyle.report import write
from tests.conftest import SR, make_noise, make_tones
from tests.support.browser import Watched, find_browser, open_browser
from tests.support.report_cases import HOSTILE, make_batch

SECONDS = 2.0
TINY = TransferConfig(
    precision="float32",
    n_fft=1024,
    hop_length=256,
    n_mels=64,
    bands=4,
    iterations=3,
    inversion_iterations=2,
    music_weight=0.0,
    style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@dataclass
class Made:
    """Pages of real runs."""

    pair: str
    linked: str
    batch: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Run a transfer and a batch, with a file of a hostile name, and report on them."""
    find_browser()  # nothing is computed for tests that are skipped
    folder = tmp_path_factory.mktemp("made")
    (folder / "contents").mkdir()
    (folder / "styles").mkdir()
    sf.write(folder / "contents" / HOSTILE, make_tones(SECONDS), SR, format="WAV")
    sf.write(folder / "contents" / "b.wav", make_tones(SECONDS, base=330.0), SR)
    (folder / "contents" / "broken.wav").write_bytes(b"no sound")
    sf.write(folder / "styles" / "style.wav", make_noise(SECONDS), SR)
    output = folder / f"out {HOSTILE}"
    content, style = folder / "contents" / HOSTILE, folder / "styles" / "style.wav"
    transfer.transfer_file(content, style, output, TINY, report=folder / "pair.html")
    write.write_report(output, folder / "linked.html", embed_limit=0)
    run.run_batch(folder / "contents", folder / "styles", folder / "out", TINY)
    write.write_report(folder / "out", folder / "batch.html", embed_limit=0)
    pages = [folder / name for name in ("pair.html", "linked.html", "batch.html")]
    return Made(*(page.as_uri() for page in pages))


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Report on 1,000 pairs that were never computed."""
    find_browser()
    root = tmp_path_factory.mktemp("thousand")
    sounds = {i: root / f"{i}.wav" for i in range(4)}
    for i, path in sounds.items():
        sf.write(path, make_noise(0.6, 8000, seed=i), 8000)
    write.write_report(make_batch(root / "out", 1000, 25, sounds), root / "page.html")
    return (root / "page.html").as_uri()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    page = Watched(browser)
    yield page
    page.close()


def player(page: Any) -> dict[str, Any]:
    """Ask a page what it plays, and where."""
    found: dict[str, Any] = page.evaluate(
        """() => ({position: player.position, playing: player.playing, heard: player.current.role,
        time: player.current.audio.currentTime, going: player.sounds.filter(
        (one) => one.audio && !one.audio.paused).map((one) => one.role)})"""
    )
    return found


def heads(page: Any) -> list[float]:
    """Measure where the play heads are, as shares of their boxes."""
    found: list[float] = page.evaluate(
        """() => [...document.querySelectorAll('.head')].map((head) => {
        const box = head.ownerSVGElement.getBoundingClientRect();
        const own = head.getBoundingClientRect();
        return (own.left + own.width / 2 - box.left) / box.width; })"""
    )
    return found


def wait_until(page: Any, seconds: float) -> None:
    """Wait until a player is there."""
    for _ in range(200):
        if player(page)["position"] >= seconds:
            return
        page.wait_for_timeout(20)
    pytest.fail(f"not there: {player(page)}")


@pytest.mark.parametrize("kind", ["pair", "linked"])
def test_the_sounds_switch_at_the_same_position(kind: str, made: Made, watched: Watched) -> None:
    page = watched.open(getattr(made, kind))
    assert player(page)["heard"] == "result"
    page.keyboard.press(" ")
    wait_until(page, 0.3)
    for key, role in (("1", "content"), ("2", "style"), ("3", "result")):
        before = player(page)["position"]
        page.keyboard.press(key)
        page.wait_for_timeout(120)
        now = player(page)
        assert (now["heard"], now["going"]) == (role, [role])
        assert now["time"] == pytest.approx(now["position"], abs=0.1)
        assert before <= now["position"] < before + 0.6
    page.keyboard.press(" ")
    stopped = player(page)
    assert (stopped["playing"], stopped["going"]) == (False, [])
    page.wait_for_timeout(100)
    assert player(page)["position"] == stopped["position"]


def test_the_play_head_moves_over_all_pictures_and_a_click_seeks(
    made: Made, watched: Watched
) -> None:
    page = watched.open(made.pair)
    assert heads(page) == pytest.approx([0] * 6, abs=0.01)
    page.keyboard.press(" ")
    wait_until(page, 0.5)
    page.keyboard.press(" ")
    position = player(page)["position"]
    assert heads(page) == pytest.approx([position / SECONDS] * 6, abs=0.01)
    box = page.locator(".picture").first.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    assert player(page)["position"] == pytest.approx(0.75 * SECONDS, abs=0.02)
    assert heads(page) == pytest.approx([0.75] * 6, abs=0.01)
    assert float(page.locator(".seek").input_value()) == pytest.approx(1.5, abs=0.02)
    assert page.locator(".time").inner_text() == "0:01.5 / 0:02.0"


def test_the_keyboard_is_enough(made: Made, watched: Watched) -> None:
    page = watched.open(made.pair)
    page.keyboard.press("Shift+ArrowRight")
    assert player(page)["position"] == pytest.approx(1.0)
    page.keyboard.press("ArrowLeft")
    assert player(page)["position"] == 0
    page.keyboard.press("ArrowRight")
    assert player(page)["position"] == pytest.approx(SECONDS, abs=0.01)
    page.keyboard.press("Home")
    for _ in range(3):  # past the link that skips, to the radio buttons
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.role") == "result"
    page.keyboard.press("ArrowLeft")
    assert player(page)["heard"] == "style"
    checked = page.locator("[role=radio][aria-checked=true]")
    assert checked.get_attribute("data-role") == "style"
    assert "Style, 0:00.0" in page.locator("[aria-live]").inner_text()


def test_a_click_on_a_button_leaves_the_space_bar_to_the_player(
    made: Made, watched: Watched
) -> None:
    page = watched.open(made.pair)
    page.locator(".switch [data-role=content]").click()
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    assert (player(page)["heard"], player(page)["playing"]) == ("content", True)
    page.locator(".play").click()
    assert not player(page)["playing"]


def test_a_sound_ends_where_its_axis_ends(made: Made, watched: Watched) -> None:
    page = watched.open(made.pair)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press(" ")
    wait_until(page, SECONDS)
    assert not player(page)["playing"]
    page.keyboard.press(" ")  # begins anew
    wait_until(page, 0.1)
    assert player(page)["position"] < 1.0


def test_the_hostile_name_is_text_and_nothing_runs(made: Made, watched: Watched) -> None:
    page = watched.open(made.pair)
    assert page.locator("h1").inner_text() == f"out {HOSTILE}"
    assert HOSTILE in page.locator(".lead").inner_text()
    assert page.locator("img[src=x]").count() == 0
    page = watched.open(made.batch)
    names = page.locator(".pairs .about").all_inner_texts()
    assert any(HOSTILE in name for name in names)
    page.get_by_role("button", name=re.compile("img src")).first.click()
    page.locator("dialog .picture image").first.wait_for()
    assert HOSTILE in page.locator("dialog .track .name").first.inner_text()
    assert page.locator("img[src=x]").count() == 0


def test_a_batch_shows_what_failed_and_plays_what_is_linked(made: Made, watched: Watched) -> None:
    page = watched.open(made.batch)
    assert page.locator(".pairs tbody tr").count() == 3
    assert "is not an audio file" in page.locator(".failures").inner_text()
    page.locator(".pairs tbody tr", has_text="b__style.wav").locator(".open").click()
    page.keyboard.press("2")
    page.keyboard.press(" ")
    wait_until(page, 0.2)
    assert player(page)["going"] == ["style"]
    sizes = page.evaluate(
        "[...document.querySelectorAll('dialog image')].map((i) => i.href.baseVal.length)"
    )
    assert min(sizes) > 200
    page.get_by_role("button", name="Previous").click()
    assert player(page)["position"] == 0
    page.keyboard.press(" ")  # goes on to mean "play"
    wait_until(page, 0.1)
    page.get_by_role("button", name="Next").click()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "b__style.wav"


def shown(page: Any) -> list[str]:
    """Read the names of the rows that are shown, in their order."""
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('.pairs tbody tr:not([hidden]) .open')]"
        ".map((one) => one.textContent)"
    )
    return names


def column(page: Any, index: int) -> list[str]:
    cells: list[str] = page.evaluate(
        f"""() => [...document.querySelectorAll('.pairs tbody tr:not([hidden])')]
        .map((row) => row.cells[{index}].dataset.value ?? row.cells[{index}].textContent)"""
    )
    return cells


def test_a_thousand_rows_sort_both_ways_with_the_unknown_last(
    thousand: str, watched: Watched
) -> None:
    page = watched.open(thousand)
    assert len(shown(page)) == 1000
    head = page.locator("th[data-key=score]")
    for order in ("descending", "ascending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == order
        values = column(page, 5)
        known = [float(value) for value in values if value]
        assert len(known) == 980
        assert values[980:] == [""] * 20
        assert known == sorted(known, reverse=order == "descending")
    page.locator("th[data-key=name]").get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert shown(page) == sorted(shown(page))


def test_filters_narrow_the_rows_down_together(thousand: str, watched: Watched) -> None:
    page = watched.open(thousand)
    page.locator("[data-filter=status]").select_option("failed")
    assert len(shown(page)) == 20
    assert page.locator(".count").inner_text() == "20 of 1000 pairs"
    page.locator("[data-filter=text]").fill("<EMPTY>")
    assert len(shown(page)) == 20
    page.get_by_role("button", name="Clear").click()
    page.locator("[data-filter=score]").fill("0.9")
    assert all(float(value) >= 0.9 for value in column(page, 5))
    few = len(shown(page))
    page.locator("[data-filter=style_genre]").select_option("blues")
    assert 0 < len(shown(page)) < few
    assert set(column(page, 3)) == {"blues"}
    page.get_by_role("button", name="Clear").click()
    page.locator(".matrix button").first.click()
    assert (set(column(page, 2)), set(column(page, 3))) == ({"classical"}, {"blues"})


def test_pictures_are_made_as_they_come_into_sight(thousand: str, watched: Watched) -> None:
    page = watched.open(thousand)
    page.locator(".thumb img").first.scroll_into_view_if_needed()
    page.locator(".thumb img[src]").first.wait_for()
    made = page.locator(".thumb img[src]").count()
    assert 0 < made < 100
    page.locator(".thumb img").nth(900).scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    assert page.locator(".thumb img").nth(900).get_attribute("src").startswith("data:image/")
    assert page.locator(".thumb img[src]").count() < 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["pair", "batch", "thousand"])
def test_a_narrow_screen_needs_no_scrolling_sideways(
    kind: str, scheme: str, made: Made, thousand: str, browser: Any
) -> None:
    watched = Watched(browser, 400, 800, color_scheme=scheme)
    page = watched.open(thousand if kind == "thousand" else getattr(made, kind))
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    for opened in (False, True):
        if opened and kind != "pair":
            page.locator(".open").first.click()
        widths = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1] == 400
    watched.close()


# Of every element that holds text and is seen; disabled ones need no contrast.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3);
    const style = getComputedStyle(element);
    if (!texts.some((node) => node.textContent.trim())) continue;
    if (element.matches("script, template, :disabled")) continue;
    if (!element.getClientRects().length) continue;
    const fore = parse(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(fore), light(behind(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(element.outerHTML.slice(0, 120));
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["pair", "batch", "thousand"])
def test_text_can_be_told_from_what_is_behind_it(
    kind: str, scheme: str, made: Made, thousand: str, browser: Any
) -> None:
    watched = Watched(browser, color_scheme=scheme)
    page = watched.open(thousand if kind == "thousand" else getattr(made, kind))
    assert page.evaluate(CONTRAST) == []
    watched.close()


def test_without_scripts_the_sounds_can_be_played_all_the_same(made: Made, browser: Any) -> None:
    watched = Watched(browser, java_script_enabled=False)
    page = watched.open(made.pair)
    assert page.locator("audio[controls]").count() == 3
    assert page.locator("audio").first.is_visible()
    watched.close()


def test_a_sound_that_was_moved_is_said_not_to_play(made: Made, browser: Any) -> None:
    """The page that links it is older than the move."""
    path = Path(made.linked.removeprefix("file://"))
    moved = path.with_name("moved") / "page.html"
    moved.parent.mkdir(exist_ok=True)
    moved.write_bytes(path.read_bytes())
    watched = Watched(browser)
    page = watched.open(moved.as_uri())
    page.locator(".reason:visible").nth(2).wait_for()
    reasons = page.locator(".reason:visible").all_inner_texts()
    assert [reason.split(",")[0] for reason in reasons] == ["This browser cannot play the file"] * 3
    assert page.locator(".switch button:enabled").count() == 0
    watched.complaints = [c for c in watched.complaints if "ERR_FILE_NOT_FOUND" not in c]
    watched.close()
