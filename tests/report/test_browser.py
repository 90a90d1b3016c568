from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch import results, run
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import Stage
from audiostyle.files import transfer
from audiostyle.report import live_server
from audiostyle.report.charts import frequency_ticks
from audiostyle.report.live_server import LivePage
from audiostyle.report.write import write_report
from tests.conftest import SR, make_noise, make_tones
from tests.report.test_live_server import CONFIG, make_iteration
from tests.support.browser import MonitoredPage, find_browser, open_browser
from tests.support.report_data import HOSTILE, change_record, make_batch, make_pair, make_row

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
class Pages:
    """URLs of pages of real runs."""

    pair: str
    linked: str
    batch: str


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Run a transfer and a batch, with a file of a hostile name, and report on them."""
    find_browser()  # skip before any computation
    folder = tmp_path_factory.mktemp("pages")
    (folder / "contents").mkdir()
    (folder / "styles").mkdir()
    sf.write(folder / "contents" / HOSTILE, make_tones(SECONDS), SR, format="WAV")
    sf.write(folder / "contents" / "b.wav", make_tones(SECONDS, base=330.0), SR)
    (folder / "contents" / "broken.wav").write_bytes(b"no sound")
    sf.write(folder / "styles" / "style.wav", make_noise(SECONDS), SR)
    output = folder / f"out {HOSTILE}"
    content, style = folder / "contents" / HOSTILE, folder / "styles" / "style.wav"
    transfer.transfer_file(content, style, output, TINY)
    write_report(output, folder / "pair.html")
    write_report(output, folder / "linked.html", embed_limit=0)
    run.run_batch(folder / "contents", folder / "styles", folder / "out", TINY)
    write_report(folder / "out", folder / "batch.html", embed_limit=0)
    names = ("pair.html", "linked.html", "batch.html")
    return Pages(*((folder / name).as_uri() for name in names))


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Report on 1,000 synthetic pairs."""
    find_browser()
    root = tmp_path_factory.mktemp("thousand")
    sounds = {i: root / f"{i}.wav" for i in range(4)}
    for i, path in sounds.items():
        sf.write(path, make_noise(0.6, 8000, seed=i), 8000)
    write_report(make_batch(root / "out", 1000, 25, sounds), root / "page.html")
    return (root / "page.html").as_uri()


@pytest.fixture
def monitored(browser: Any) -> Iterator[MonitoredPage]:
    page = MonitoredPage(browser)
    yield page
    page.close()


def player(page: Any) -> dict[str, Any]:
    """Return the state of the player of a page."""
    found: dict[str, Any] = page.evaluate(
        """() => ({position: player.position, playing: player.playing, role: player.current.role,
        time: player.output.position(), audible: player.output.audible().map((one) => one.role)})"""
    )
    return found


def heads(page: Any) -> list[float]:
    """Return the positions of the play heads, as shares of their boxes."""
    found: list[float] = page.evaluate(
        """() => [...document.querySelectorAll('.head')].map((head) => {
        const box = head.ownerSVGElement.getBoundingClientRect();
        const own = head.getBoundingClientRect();
        return (own.left + own.width / 2 - box.left) / box.width; })"""
    )
    return found


def wait_until(page: Any, seconds: float) -> None:
    """Wait until the player has reached a position."""
    for _ in range(200):
        if player(page)["position"] >= seconds:
            return
        page.wait_for_timeout(20)
    pytest.fail(f"position not reached: {player(page)}")


def visible_names(page: Any) -> list[str]:
    """Return the names of the visible rows, in order."""
    names: list[str] = page.evaluate(
        "[...document.querySelectorAll('.pairs tbody tr:not([hidden]) .open')]"
        ".map((one) => one.textContent)"
    )
    return names


def test_a_pair_page_plays_and_switches(monitored: MonitoredPage, tmp_path: Path) -> None:
    write_report(make_pair(tmp_path), tmp_path / "page.html")
    page = monitored.open((tmp_path / "page.html").as_uri())
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    page.keyboard.press("1")
    page.wait_for_timeout(50)
    found = player(page)
    assert (found["role"], found["audible"]) == ("content", ["content"])


def test_a_batch_page_filters_and_plays(monitored: MonitoredPage, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    sf.write(clip, make_noise(0.6), SR)
    folder = make_batch(tmp_path / "out", 6, 2, {0: clip})
    write_report(folder, tmp_path / "page.html")
    page = monitored.open((tmp_path / "page.html").as_uri())
    page.locator("[data-filter=text]").fill("001__")
    assert visible_names(page) == ["001__000.wav", "001__001.wav", "001__002.wav"]
    page.locator("tr:not([hidden]) .open").first.click()
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    page.get_by_role("button", name="Next").click()
    assert page.locator("dialog h2").inner_text() == "001__001.wav"
    assert player(page)["playing"]


def test_next_keeps_sound_position_and_playing_across_a_failed_pair(
    monitored: MonitoredPage, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.wav"
    sf.write(clip, make_noise(30.0, 8000), 8000)
    rows = [make_row(i, 3) for i in range(3)]
    rows[1] |= {"status": "failed", "kind": "silent", "reason": "is silent"}
    folder = make_batch(tmp_path / "out", 3, 3, {0: clip})
    for path in folder.glob("001__*"):
        path.unlink()
    results.write_results(folder, rows)
    for output in (folder / "000__000.wav", folder / "002__000.wav"):
        shutil.copyfile(clip, output)
        change_record(output, content={"samples": 240_000, "sr": 8000})
    write_report(folder, tmp_path / "page.html")
    page = monitored.open((tmp_path / "page.html").as_uri())
    page.locator(".open").first.click()
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    wait_until(page, 5.2)
    page.get_by_role("button", name="Next").click()
    assert page.locator("dialog h2").inner_text() == "001__000.wav"
    page.get_by_role("button", name="Next").click()
    assert page.locator("dialog h2").inner_text() == "002__000.wav"
    found = player(page)
    assert (found["role"], found["playing"]) == ("content", True)
    wait_until(page, found["position"] + 0.1)
    assert 5.2 < player(page)["position"] < 15


def test_the_live_page_shows_an_optimization_and_stops_it(
    browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SNAPSHOT_SECONDS", "FAREWELL_SECONDS"):
        monkeypatch.setattr(live_server, name, 0.0)
    monkeypatch.setattr(live_server, "SNAPSHOT_SHARE", float("inf"))
    stops: list[bool] = []
    with LivePage("<i>t</i>", CONFIG, lambda: not stops.append(True)) as run:
        monitored = MonitoredPage(browser, 400, 800)
        run(Stage("features"))
        page = monitored.open(run.address)
        page.get_by_text("Analysing the content").wait_for()
        assert page.locator("h1").inner_text() == "<i>t</i>"
        assert page.locator(".stop").is_disabled()
        run(Stage("optimization", "CPU"))
        for number in range(5):
            run(make_iteration(number, 1 / (number + 1)))
        page.get_by_text("iteration 4 of 10").wait_for()
        points = page.locator("polyline").first.get_attribute("points")
        assert len(points.split()) == 5
        assert page.locator(".chart .y-axis text").count() == 3
        labels = page.locator("figure .y-axis.left").first.locator("text").all_text_contents()
        assert labels == [tick.text for tick in frequency_ticks(CONFIG)]
        boxes = page.evaluate(
            """() => [".chart .y-axis text", ".live-spectrograms img"]
            .map((css) => [...document.querySelectorAll(css)])
            .map((all) => all.map((one) => one.getBoundingClientRect().toJSON()))"""
        )
        for label in boxes[0]:  # beside the losses, on the page, and on no spectrogram
            assert label["left"] >= 0
            assert all(label["top"] > image["bottom"] for image in boxes[1])
        for name in ("start", "now"):
            page.wait_for_timeout(200)
            assert page.locator(f"#{name}").evaluate("image => image.naturalWidth") == 50
        widths = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1]
        page.locator(".stop").click()
        page.get_by_text("Stopping; the best result will be written").wait_for()
        assert stops == [True]
        run.end("Done: out.wav")
        run._state["ended"] = True
        page.get_by_text("Done: out.wav").wait_for()
        assert page.locator(".stop").is_disabled()
        monitored.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pair", "linked"])
def test_the_sounds_switch_at_the_same_position(
    kind: str, pages: Pages, monitored: MonitoredPage
) -> None:
    page = monitored.open(getattr(pages, kind))
    assert player(page)["role"] == "result"
    page.keyboard.press(" ")
    wait_until(page, 0.3)
    for key, role in (("1", "content"), ("2", "style"), ("3", "result")):
        before = player(page)["position"]
        page.keyboard.press(key)
        page.wait_for_timeout(120)
        now = player(page)
        assert (now["role"], now["audible"]) == (role, [role])
        assert now["time"] == pytest.approx(now["position"], abs=0.1)
        assert before <= now["position"] < before + 0.6
    page.keyboard.press(" ")
    stopped = player(page)
    assert (stopped["playing"], stopped["audible"]) == (False, [])
    page.wait_for_timeout(100)
    assert player(page)["position"] == stopped["position"]


@pytest.mark.slow
def test_the_play_heads_move_together_and_a_click_seeks(
    pages: Pages, monitored: MonitoredPage
) -> None:
    page = monitored.open(pages.pair)
    assert heads(page) == pytest.approx([0] * 6, abs=0.01)
    page.keyboard.press(" ")
    wait_until(page, 0.5)
    page.keyboard.press(" ")
    position = player(page)["position"]
    assert heads(page) == pytest.approx([position / SECONDS] * 6, abs=0.01)
    box = page.locator(".spectrogram").first.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    assert player(page)["position"] == pytest.approx(0.75 * SECONDS, abs=0.02)
    assert heads(page) == pytest.approx([0.75] * 6, abs=0.01)
    assert float(page.locator(".seek").input_value()) == pytest.approx(1.5, abs=0.02)
    assert page.locator(".time").inner_text() == "0:01.5 / 0:02.0"


@pytest.mark.slow
def test_the_player_can_be_used_with_the_keyboard_alone(
    pages: Pages, monitored: MonitoredPage
) -> None:
    page = monitored.open(pages.pair)
    page.keyboard.press("Shift+ArrowRight")
    assert player(page)["position"] == pytest.approx(1.0)
    page.keyboard.press("ArrowLeft")
    assert player(page)["position"] == 0
    page.keyboard.press("ArrowRight")
    assert player(page)["position"] == pytest.approx(SECONDS, abs=0.01)
    page.keyboard.press("Home")
    for _ in range(3):  # past the skip link, to the radio buttons
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.role") == "result"
    page.keyboard.press("ArrowLeft")
    assert player(page)["role"] == "style"
    checked = page.locator("[role=radio][aria-checked=true]")
    assert checked.get_attribute("data-role") == "style"
    assert "Style, 0:00.0" in page.locator("[aria-live]").inner_text()


@pytest.mark.slow
def test_the_space_bar_plays_after_a_click_on_a_button(
    pages: Pages, monitored: MonitoredPage
) -> None:
    page = monitored.open(pages.pair)
    page.locator(".switch [data-role=content]").click()
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    assert (player(page)["role"], player(page)["playing"]) == ("content", True)
    page.locator(".play").click()
    assert not player(page)["playing"]


@pytest.mark.slow
def test_playing_stops_at_the_end_of_the_axis(pages: Pages, monitored: MonitoredPage) -> None:
    page = monitored.open(pages.pair)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press(" ")
    wait_until(page, SECONDS)
    assert not player(page)["playing"]
    page.keyboard.press(" ")  # starts again
    wait_until(page, 0.1)
    assert player(page)["position"] < 1.0


@pytest.mark.slow
def test_a_hostile_name_is_shown_as_text_and_not_run(
    pages: Pages, monitored: MonitoredPage
) -> None:
    page = monitored.open(pages.pair)
    assert page.locator("h1").inner_text() == f"out {HOSTILE}"
    assert HOSTILE in page.locator(".lead").inner_text()
    assert page.locator("img[src=x]").count() == 0
    page = monitored.open(pages.batch)
    names = page.locator(".pairs .about").all_inner_texts()
    assert any(HOSTILE in name for name in names)
    page.get_by_role("button", name=re.compile("img src")).first.click()
    page.locator("dialog .spectrogram image").first.wait_for()
    assert HOSTILE in page.locator("dialog .track .name").first.inner_text()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.slow
def test_a_batch_shows_failures_and_plays_linked_sounds(
    pages: Pages, monitored: MonitoredPage
) -> None:
    page = monitored.open(pages.batch)
    assert page.locator(".pairs tbody tr").count() == 3
    assert "is not an audio file" in page.locator(".failures").inner_text()
    page.locator(".pairs tbody tr", has_text="b__style.wav").locator(".open").click()
    page.keyboard.press("2")
    page.keyboard.press(" ")
    wait_until(page, 0.2)
    assert player(page)["audible"] == ["style"]
    sizes = page.evaluate(
        "[...document.querySelectorAll('dialog image')].map((i) => i.href.baseVal.length)"
    )
    assert min(sizes) > 200
    position = player(page)["position"]
    page.get_by_role("button", name="Next").click()
    assert page.get_by_role("button", name="Next").is_disabled()
    found = player(page)
    assert (found["role"], found["playing"]) == ("style", True)
    assert position <= found["position"] < position + 0.6
    wait_until(page, found["position"] + 0.1)
    page.keyboard.press(" ")
    position = player(page)["position"]
    page.get_by_role("button", name="Previous").click()
    found = player(page)
    assert (found["role"], found["playing"], found["position"]) == ("style", False, position)
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "b__style.wav"


def column(page: Any, index: int) -> list[str]:
    cells: list[str] = page.evaluate(
        f"""() => [...document.querySelectorAll('.pairs tbody tr:not([hidden])')]
        .map((row) => row.cells[{index}].dataset.value ?? row.cells[{index}].textContent)"""
    )
    return cells


@pytest.mark.slow
def test_a_thousand_rows_sort_both_ways_with_unknown_values_last(
    thousand: str, monitored: MonitoredPage
) -> None:
    page = monitored.open(thousand)
    assert len(visible_names(page)) == 1000
    head = page.locator("th[data-key=score]")
    for direction in ("descending", "ascending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        values = column(page, 5)
        known = [float(value) for value in values if value]
        assert len(known) == 980
        assert values[980:] == [""] * 20
        assert known == sorted(known, reverse=direction == "descending")
    page.locator("th[data-key=name]").get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"
    assert visible_names(page) == sorted(visible_names(page))


@pytest.mark.slow
def test_filters_combine(thousand: str, monitored: MonitoredPage) -> None:
    page = monitored.open(thousand)
    page.locator("[data-filter=status]").select_option("failed")
    assert len(visible_names(page)) == 20
    assert page.locator(".count").inner_text() == "20 of 1000 pairs"
    page.locator("[data-filter=text]").fill("<EMPTY>")
    assert len(visible_names(page)) == 20
    page.get_by_role("button", name="Clear").click()
    page.locator("[data-filter=score]").fill("0.9")
    assert all(float(value) >= 0.9 for value in column(page, 5))
    few = len(visible_names(page))
    page.locator("[data-filter=style_genre]").select_option("blues")
    assert 0 < len(visible_names(page)) < few
    assert set(column(page, 3)) == {"blues"}
    page.get_by_role("button", name="Clear").click()
    page.locator(".matrix button").first.click()
    assert (set(column(page, 2)), set(column(page, 3))) == ({"classical"}, {"blues"})


@pytest.mark.slow
def test_images_are_created_when_they_become_visible(
    thousand: str, monitored: MonitoredPage
) -> None:
    page = monitored.open(thousand)
    page.locator(".thumb img").first.scroll_into_view_if_needed()
    page.locator(".thumb img[src]").first.wait_for()
    created = page.locator(".thumb img[src]").count()
    assert 0 < created < 100
    page.locator(".thumb img").nth(900).scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    assert page.locator(".thumb img").nth(900).get_attribute("src").startswith("data:image/")
    assert page.locator(".thumb img[src]").count() < 200


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["pair", "batch", "thousand"])
def test_a_narrow_screen_needs_no_horizontal_scrolling(
    kind: str, scheme: str, pages: Pages, thousand: str, browser: Any
) -> None:
    monitored = MonitoredPage(browser, 400, 800, color_scheme=scheme)
    page = monitored.open(thousand if kind == "thousand" else getattr(pages, kind))
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    for opened in (False, True):
        if opened and kind != "pair":
            page.locator(".open").first.click()
        widths = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1] == 400
    monitored.close()


# Lists visible text with too little contrast; disabled elements need none.
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
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


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["pair", "batch", "thousand"])
def test_text_has_enough_contrast(
    kind: str, scheme: str, pages: Pages, thousand: str, browser: Any
) -> None:
    # Colors must not be in a transition.
    monitored = MonitoredPage(browser, color_scheme=scheme, reduced_motion="reduce")
    page = monitored.open(thousand if kind == "thousand" else getattr(pages, kind))
    assert page.evaluate(CONTRAST) == []
    monitored.close()


@pytest.mark.slow
def test_sounds_can_be_played_without_scripts(pages: Pages, browser: Any) -> None:
    monitored = MonitoredPage(browser, java_script_enabled=False)
    page = monitored.open(pages.pair)
    assert page.locator("audio[controls]").count() == 3
    assert page.locator("audio").first.is_visible()
    monitored.close()


@pytest.mark.slow
def test_a_linked_sound_that_was_moved_is_reported(pages: Pages, browser: Any) -> None:
    path = Path(pages.linked.removeprefix("file://"))
    moved = path.with_name("moved") / "page.html"
    moved.parent.mkdir(exist_ok=True)
    moved.write_bytes(path.read_bytes())
    monitored = MonitoredPage(browser)
    page = monitored.open(moved.as_uri())
    page.locator(".reason:visible").nth(2).wait_for()
    reasons = page.locator(".reason:visible").all_inner_texts()
    assert [reason.split(",")[0] for reason in reasons] == ["This browser cannot play the file"] * 3
    assert page.locator(".switch button:enabled").count() == 0
    monitored.messages = [c for c in monitored.messages if "ERR_FILE_NOT_FOUND" not in c]
    monitored.close()
