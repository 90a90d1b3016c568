"""The page of takes in a real browser: what is heard, stored, exported, and hidden."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal

from audiostyle.report.write import write_report
from tests.conftest import SR
from tests.report.test_browser import CONTRAST, player, wait_until
from tests.support.browser import MonitoredPage, find_browser, open_browser
from tests.support.report_data import HOSTILE, change_record, make_takes, take_level, take_noise

SECONDS = 4.0
N_TAKES = 5
NAMES = [f"song__strings-strength-{0.2 * (i + 1):.1g}.wav" for i in range(N_TAKES)]

# Renders what the player sends to the loudspeaker, and presses a key after every GAP seconds: an
# offline context makes the time of a key exact, however busy the machine is.
RENDER = """async ([keys, gap]) => {
  const context = new OfflineAudioContext(1, (keys.length + 1) * gap * DECODED_RATE, DECODED_RATE);
  const goOn = () => OfflineAudioContext.prototype.resume.call(context);
  context.resume = async () => {};
  DecodedOutput.context = context;
  player.toggle(true);
  while (!player.output.running.size) await new Promise((done) => setTimeout(done, 10));
  [...keys].forEach((key, i) => context.suspend((i + 1) * gap).then(() => {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    goOn();
  }));
  const heard = await context.startRendering();
  player.toggle(false);
  DecodedOutput.context = undefined;
  return [...heard.getChannelData(0)];
}"""
RATE = 48_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a page of five takes with embedded sounds, and one that links them."""
    find_browser()
    folder = tmp_path_factory.mktemp("takes")
    make_takes(folder, N_TAKES, SECONDS)
    write_report(folder / "takes", folder / "page.html")
    write_report(folder / "takes", folder / "linked.html", embed_limit=0)
    return folder


@pytest.fixture
def monitored(browser: Any) -> Iterator[MonitoredPage]:
    page = MonitoredPage(browser, accept_downloads=True)
    yield page
    page.close()


@pytest.fixture
def page(folder: Path, monitored: MonitoredPage) -> Any:
    return monitored.open((folder / "page.html").as_uri())


def row(page: Any, number: int) -> Any:
    """Return the row of the sound with this number."""
    return page.locator(".takes tbody tr:not([hidden])").nth(number)


def rate(page: Any, number: int, stars: int, note: str = "") -> None:
    row(page, number).locator(".stars input").nth(stars - 1).click()
    if note:
        row(page, number).locator("textarea").fill(note)


def export(page: Any, kind: str) -> str:
    with page.expect_download() as found:
        page.locator(f"[data-action={kind}]").click()
    assert found.value.suggested_filename == f"song-ratings.{kind}"
    return Path(found.value.path()).read_bytes().decode()


def export_csv(page: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export(page, "csv"), newline="")))


def drag(page: Any, first: float, last: float) -> None:
    """Drag over the spectrogram between two shares of its width."""
    box = page.locator(".spectrogram").bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 2
    page.mouse.move(x + first * box["width"], y)
    page.mouse.down()
    page.mouse.move(x + last * box["width"], y, steps=3)
    page.mouse.up()


def render(page: Any, keys: str) -> np.ndarray:
    """Play from the position, and press a key after every 0.3 s; return what is heard."""
    y = np.array(page.evaluate(RENDER, [keys, 0.3]))
    return y[np.flatnonzero(y)[0] :]


def locate(y: np.ndarray, block_s: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Find each block in the noise of the takes: its lag in seconds, and its level."""
    x = scipy.signal.resample_poly(take_noise(SECONDS), RATE, SR)
    n = round(block_s * RATE)
    lags, levels = [], []
    for first in range(0, len(y) - n, n):
        block = y[first : first + n]
        products = scipy.signal.correlate(x, block, "valid", method="fft")
        at = int(np.argmax(products))
        lags.append((at - first) / RATE)
        levels.append(products[at] / np.sum(x[at : at + n] ** 2))
    return np.array(lags), np.array(levels)


def test_a_switch_keeps_the_position_and_leaves_no_gap(page: Any) -> None:
    """What is heard is one passage of the noise, at the level of one take after the other."""
    page.keyboard.press("1")
    y = render(page, "524")
    lags, levels = locate(y)
    assert np.ptp(lags) < 0.001
    levels *= take_level(4) / levels.max()  # MP3 takes a little from all
    for i in (0, 4, 1, 3):
        assert np.min(np.abs(levels - take_level(i))) < 0.02
    rms = np.sqrt(np.mean(y[: len(y) // 240 * 240].reshape(-1, 240) ** 2, axis=1))
    assert rms.min() > 0.5 * take_level(0) * np.std(take_noise(SECONDS))
    assert player(page)["role"] == "take4"


@pytest.mark.slow
def test_a_switch_while_playing_keeps_the_position(page: Any) -> None:
    page.keyboard.press(" ")
    wait_until(page, 0.2)
    for key, role in (("3", "take3"), ("0", "content")):
        times = page.evaluate(
            """(key) => {
            const before = player.output.position();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            return [before, player.output.position()]; }""",
            key,
        )
        assert times[1] == pytest.approx(times[0], abs=0.02)
        page.wait_for_timeout(50)
        assert player(page)["audible"] == [role]


@pytest.mark.slow
def test_a_loop_repeats_its_region(page: Any) -> None:
    drag(page, 0.25, 0.4)  # 1.0 to 1.6 s
    assert player(page)["position"] == pytest.approx(1.0, abs=0.02)
    assert "Loop 0:01.0\u20130:01.6" in page.locator(".clear-loop").inner_text()
    lags, _ = locate(render(page, "12345"))
    at = lags + 0.05 * np.arange(len(lags))
    assert np.all((at > 0.93) & (at < 1.63))
    steps = np.diff(lags)[np.abs(np.diff(lags)) > 0.001]
    assert steps == pytest.approx([-0.6] * 2, abs=0.005)  # 1.8 s, and three rounds
    page.keyboard.press("Escape")
    assert page.locator(".clear-loop").is_hidden()
    page.keyboard.press(" ")
    wait_until(page, 1.7)


@pytest.mark.slow
def test_the_keys_i_and_o_set_a_loop(page: Any) -> None:
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("i")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("o")
    found = page.evaluate("[player.loop.start, player.loop.end]")
    assert found == pytest.approx([1.0, 2.0])
    assert player(page)["position"] == pytest.approx(1.0)
    assert page.locator("[aria-live]").first.inner_text() == "Loop from 0:01.0 to 0:02.0"


@pytest.mark.slow
def test_linked_sounds_stay_together(folder: Path, monitored: MonitoredPage) -> None:
    page = monitored.open((folder / "linked.html").as_uri())
    page.keyboard.press(" ")
    wait_until(page, 1.5)
    page.wait_for_function(
        """() => {
        const times = player.output.sounds.map((one) => one.audio.currentTime);
        return player.playing && Math.max(...times) - Math.min(...times) < 0.02; }"""
    )
    for key, role in (("3", "take3"), ("0", "content"), ("5", "take5")):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
        assert player(page)["audible"] == [role]


@pytest.mark.slow
def test_takes_are_chosen_by_click_and_by_key(page: Any) -> None:
    row(page, 3).locator(".position").click()
    assert player(page)["role"] == "take3"
    page.get_by_role("radio", name=f"2: {NAMES[1]}", exact=True).click()
    assert player(page)["role"] == "take2"
    page.keyboard.press("0")
    assert player(page)["role"] == "content"
    assert page.locator(".picture b").inner_text() == "Content"
    page.keyboard.press("5")
    assert page.locator(".picture b").inner_text() == NAMES[4]
    assert row(page, 5).evaluate("row => row.classList.contains('audible')")


@pytest.mark.slow
def test_the_page_can_be_used_with_the_keyboard_alone(page: Any) -> None:
    for _ in range(3):  # past the skip link and the button that plays, to the sounds
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert player(page)["role"] == "take1"
    while page.evaluate("!document.activeElement.matches('tr[data-role=take1] .stars input')"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    stars = page.evaluate("Number(document.activeElement.value)")
    assert export_csv(page)[0]["stars"] == str(stars)
    row(page, 1).locator(".stars input").nth(stars - 1).focus()
    page.keyboard.press("4")  # switches from here too
    assert player(page)["role"] == "take4"
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    page.keyboard.press("Delete")
    assert export_csv(page)[0]["stars"] == ""
    field = row(page, 2).locator("textarea")
    field.focus()
    page.keyboard.type("3 is fine")
    assert (field.input_value(), player(page)["role"]) == ("3 is fine", "take4")


@pytest.mark.slow
def test_ratings_are_kept_and_exported(page: Any) -> None:
    note = 'bright, but "thin"\nat 0:02 äöü'
    rate(page, 2, 4, note)
    rate(page, 5, 1)
    rate(page, 3, 3)
    rate(page, 3, 3)  # takes it back
    page.reload()
    rows = export_csv(page)
    assert [line["take"] for line in rows] == NAMES
    assert [line["stars"] for line in rows] == ["", "4", "", "", "1"]
    assert [line["note"] for line in rows] == ["", note, "", "", ""]
    assert [line["strength"] for line in rows] == ["0.2", "0.4", "0.6", "0.8", "1"]
    assert {line["blind"] for line in rows} == {"false"}
    document = json.loads(export(page, "json"))
    assert (document["content"], document["blind"]) == ("song.wav", None)
    assert [take["stars"] for take in document["takes"]] == [0, 4, 0, 0, 1]
    assert document["takes"][1]["note"] == note
    assert document["takes"][1]["command"].startswith("audiostyle transfer ")


def leaks(page: Any) -> list[str]:
    """List the names and settings that the document holds anywhere: text, attributes, scripts."""
    text = page.evaluate("document.body.innerText + document.documentElement.outerHTML")
    words = [*NAMES, *(name.removesuffix(".wav") for name in NAMES), "strings", "strength"]
    return [word for word in words if word in text]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["page", "linked"])
def test_a_blind_test_hides_all_names_until_it_ends(
    kind: str, folder: Path, monitored: MonitoredPage
) -> None:
    page = monitored.open((folder / f"{kind}.html").as_uri())
    assert set(leaks(page)) >= {*NAMES, "strength"}
    rate(page, 1, 5)
    page.get_by_role("button", name="Start").click()
    for _ in range(2):
        assert leaks(page) == []
        for key in "12345":
            page.keyboard.press(key)
            assert page.locator("[aria-live]").first.inner_text().startswith(f"Take {key},")
        assert leaks(page) == []
        page.reload()  # the test goes on
    assert [row(page, i).locator("b").inner_text() for i in range(1, 6)] == [
        f"Take {i}" for i in range(1, 6)
    ]
    assert all(line["stars"] == "" for line in export_csv(page))  # not those from before
    rate(page, 1, 2, "first")
    rate(page, 4, 5)
    rows = export_csv(page)
    assert sorted(line["take"] for line in rows) == NAMES
    assert [line["stars"] for line in rows] == ["2", "", "", "5", ""]
    assert {line["blind"] for line in rows} == {"true"}
    assert len({line["seed"] for line in rows}) == 1
    page.keyboard.press("4")
    heard = page.evaluate("player.current.role")
    assert rows[3]["take"] == NAMES[int(heard.removeprefix("take")) - 1]
    page.get_by_role("button", name="Reveal").click()
    shown = [row(page, i).locator("b").inner_text() for i in range(1, 6)]
    assert shown == [line["take"] for line in rows]
    assert row(page, 1).locator("textarea").is_disabled()
    assert export_csv(page) == rows
    page.get_by_role("button", name="End").click()
    assert [line["take"] for line in export_csv(page)] == NAMES
    assert [line["stars"] for line in export_csv(page)] == ["5", "", "", "", ""]


@pytest.mark.slow
def test_the_order_follows_from_the_seed_and_every_order_occurs(page: Any) -> None:
    orders = page.evaluate("Array.from({ length: 600 }, (_, i) => shuffled([0, 1, 2], i).join(''))")
    assert page.evaluate("shuffled([0, 1, 2], 17).join('')") == orders[17]
    counts = {order: orders.count(order) for order in set(orders)}
    assert len(counts) == 6
    assert min(counts.values()) > 60  # 100 on average, with a deviation of 9


@pytest.mark.slow
def test_the_content_can_be_hidden_among_the_takes(page: Any) -> None:
    page.locator("[data-action=reference] input").check()
    page.get_by_role("button", name="Start").click()
    assert leaks(page) == []
    rows = export_csv(page)
    assert sorted(line["take"] for line in rows) == ["song.wav (the content)", *NAMES]
    (number,) = [line["position"] for line in rows if line["take"].startswith("song.wav")]
    page.keyboard.press(number)
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    assert player(page)["audible"] == ["reference"]
    page.get_by_role("button", name="End").click()
    assert len(export_csv(page)) == N_TAKES


@pytest.mark.slow
def test_the_space_bar_never_reveals_and_ratings_are_not_lost_unasked(
    page: Any, monitored: MonitoredPage
) -> None:
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    page.keyboard.press(" ")
    wait_until(page, 0.1)
    assert leaks(page) == []
    rate(page, 1, 3)
    page.get_by_role("button", name="End").click()  # the question is answered with no
    assert leaks(page) == []
    asked = "dialog: The ratings of this test were not exported. End it and drop them?"
    assert monitored.messages.pop() == asked
    export_csv(page)
    page.get_by_role("button", name="End").click()
    assert leaks(page) != []


@pytest.mark.slow
def test_a_command_is_copied(folder: Path, browser: Any) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    monitored = MonitoredPage(browser, permissions=permissions)
    page = monitored.open((folder / "page.html").as_uri())
    row(page, 2).locator("summary").click()
    code = row(page, 2).locator("code").inner_text()
    assert "--strength 0.4" in code
    row(page, 2).locator(".copy").click()
    page.get_by_text("Copied").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == code
    monitored.close()


@pytest.mark.slow
def test_more_than_nine_takes_are_chosen_by_click(tmp_path: Path, monitored: MonitoredPage) -> None:
    takes = make_takes(tmp_path, 12, 0.6)
    change_record(takes[11], notes=[HOSTILE])
    write_report(takes, tmp_path / "page.html")
    page = monitored.open((tmp_path / "page.html").as_uri())
    page.keyboard.press("9")
    assert player(page)["role"] == "take9"
    page.get_by_role("radio", name="12: ").click()
    assert player(page)["role"] == "take12"
    assert HOSTILE in page.locator(".notes").inner_text()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_narrow_screen_and_has_enough_contrast(
    scheme: str, folder: Path, browser: Any
) -> None:
    options = {"color_scheme": scheme, "reduced_motion": "reduce"}
    monitored = MonitoredPage(browser, 400, 800, **options)
    page = monitored.open((folder / "page.html").as_uri())
    drag(page, 0.2, 0.5)
    for blind in (False, True):
        if blind:
            page.get_by_role("button", name="Start").click()
        page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
        widths = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1] == 400
        assert page.evaluate(CONTRAST) == []
    monitored.close()


@pytest.mark.slow
def test_sounds_can_be_played_without_scripts(folder: Path, browser: Any) -> None:
    monitored = MonitoredPage(browser, java_script_enabled=False)
    page = monitored.open((folder / "page.html").as_uri())
    assert page.locator("audio[controls]").count() == N_TAKES + 1
    assert page.locator("audio").nth(3).is_visible()
    monitored.close()
