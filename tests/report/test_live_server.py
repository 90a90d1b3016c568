"""The page of a run: who gets an answer, what it says, and that it changes nothing."""

from __future__ import annotations

import http.client
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from audiostyle.cli.progress import Console
from audiostyle.cli.transfer import run_transfer_command
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.events import TERMS, Iteration, Stage
from audiostyle.files.request import TransferRequest
from audiostyle.report import live_server
from audiostyle.report.live_server import LivePage
from audiostyle.utils import interrupts
from tests.conftest import SR, make_noise, make_tones
from tests.support.browser import Watched, open_browser

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4, music_weight=0.0)


def step(number: int, total: float = 1.0, look: Callable[[], Any] | None = None) -> Iteration:
    terms = {term: total / 10 for term in TERMS}
    iterate = Iteration(number, 10, total, **terms, layers={}, seconds=0.0)
    return iterate.showing(look or (lambda: spectrogram(number)))


def spectrogram(number: int) -> np.ndarray:
    return np.full((1, 64, 50), -80 + 5 * number, np.float32)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(live_server, "LOOK_SHARE", float("inf"))
    monkeypatch.setattr(live_server, "FAREWELL_SECONDS", 0.3)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def page(asked: list[str]) -> Iterator[LivePage]:
    def stop() -> bool:
        asked.append("stop")
        return True

    with LivePage("a in the style of <b>", CONFIG, stop) as opened:
        yield opened


def ask(
    address: str, path: str = "", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask for what lies below an address; headers replace those that a browser sends."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(str(url.hostname), url.port or 0, timeout=10)
    connection.request(method, url.path + path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def state(address: str, first: int = 0) -> dict[str, Any]:
    code, _, body = ask(address, f"state?{first}")
    assert code == 200
    found: dict[str, Any] = json.loads(body)
    return found


def test_the_address_is_local_and_cannot_be_guessed(page: LivePage) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d{4,5}/[\w-]{32}/", page.address)
    with LivePage("b", CONFIG, bool) as other:
        assert urlsplit(other.address).path != urlsplit(page.address).path
        assert urlsplit(other.address).port != urlsplit(page.address).port


def test_the_page_is_whole_and_may_not_be_framed_or_kept(page: LivePage) -> None:
    code, headers, body = ask(page.address)
    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert b"a in the style of &lt;b&gt;" in body
    assert b"connect-src &#39;self&#39;" in body


@pytest.mark.parametrize("what", ["", "state", "now", "stop"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token_gets_nothing(
    what: str, method: str, page: LivePage, asked: list[str]
) -> None:
    url = urlsplit(page.address)
    page(step(0))
    for token in ("", "x", url.path[1:-2], url.path[1:-1] + "x", "%00", "\xff"):
        wrong = f"http://{url.netloc}/{token}/"
        try:
            assert ask(wrong, what, method)[0] == 404
        except UnicodeEncodeError:
            continue  # no client sends it
    assert asked == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:1", ""])
def test_a_name_that_was_made_to_lead_here_gets_nothing(
    host: str, page: LivePage, asked: list[str]
) -> None:
    assert ask(page.address, Host=host)[0] == 404
    assert ask(page.address, "stop", "POST", Host=host)[0] == 404
    assert asked == []
    port = urlsplit(page.address).port
    assert ask(page.address, Host=f"localhost:{port}")[0] == 200


def test_only_this_page_may_stop(page: LivePage, asked: list[str]) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert ask(page.address, "stop", "POST", Origin=origin)[0] == 404
    assert ask(page.address, "stop")[0] == 404  # by GET
    assert asked == []
    own = "http://" + urlsplit(page.address).netloc
    code, _, body = ask(page.address, "stop", "POST", Origin=own)
    assert (code, json.loads(body), asked) == (200, {"stopping": True}, ["stop"])
    assert state(page.address)["stopping"]


def test_it_tells_the_stage_and_the_losses_that_are_new(page: LivePage) -> None:
    assert state(page.address)["detail"] == "Starting"
    page(Stage("style", "clip.wav"))
    assert state(page.address)["detail"] == "Listening to the style: clip.wav"
    page(Stage("optimization", "CPU"))
    for number in range(4):
        page(step(number, 2.0 - number / 4))
    found = state(page.address)
    assert (found["stage"], found["step"], found["steps"]) == ("optimization", 3, 10)
    assert [row[:2] for row in found["losses"]] == [[0, 2.0], [1, 1.75], [2, 1.5], [3, 1.25]]
    row = dict(zip(TERMS, found["losses"][0][2:], strict=True))
    assert row["content"] == pytest.approx(0.2 * CONFIG.content_weight)
    assert row["music"] == 0
    assert [row[0] for row in state(page.address, 2)["losses"]] == [2, 3]
    assert state(page.address, 99)["first"] == 0
    page(step(0, float("nan")))  # the next window
    assert state(page.address, 4)["losses"][0][:2] == [0, None]


def test_pictures_are_those_of_the_steps_on_one_scale(page: LivePage) -> None:
    assert ask(page.address, "now")[0] == 404
    state(page.address)  # somebody looks
    for number in (0, 4):
        page(step(number))
    assert state(page.address)["version"] == 2
    pixels = {}
    for name in ("start", "now"):
        code, headers, body = ask(page.address, f"{name}?2")
        assert (code, headers["content-type"][:6]) == (200, "image/")
        picture = Image.open(io.BytesIO(body)).convert("RGB")
        assert picture.size == (50, 64)
        pixels[name] = np.asarray(picture).mean(axis=(0, 1))
    # The scale is that of the start: its loudest is the brightest.
    np.testing.assert_allclose(pixels["start"], plots.colours()[255], atol=6)
    np.testing.assert_allclose(pixels["now"], plots.colours()[255], atol=6)


def test_nothing_is_fetched_while_nobody_looks(page: LivePage) -> None:
    looks: list[int] = []

    def look(number: int) -> Callable[[], Any]:
        return lambda: looks.append(number) or spectrogram(number)

    for number in range(3):
        page(step(number, look=look(number)))
    assert looks == [0]
    state(page.address)
    page(step(3, look=look(3)))
    assert looks == [0, 3]


def test_looks_take_a_bounded_share_of_the_time(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_server, "LOOK_SHARE", 0.1)
    state(page.address)
    looks: list[int] = []

    def look() -> Any:
        looks.append(1)
        time.sleep(0.02)
        return spectrogram(0)

    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        page(step(1, look=look))
        time.sleep(0.001)
    assert 1 <= len(looks) <= 4  # 20 ms every 220 ms


def test_the_server_ends_with_the_run(asked: list[str]) -> None:
    threads = threading.active_count()
    with pytest.raises(ValueError, match="boom"), LivePage("t", CONFIG, bool) as page:
        address = page.address
        state(address)
        raise ValueError("boom")
    with pytest.raises(OSError):
        ask(address)
    time.sleep(0.1)
    assert threading.active_count() <= threads


def test_an_open_page_learns_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "FAREWELL_SECONDS", 10.0)
    heard: list[dict[str, Any]] = []

    def poll(address: str) -> None:
        while not (heard and heard[-1]["ended"]):
            heard.append(state(address))
            time.sleep(0.05)

    with LivePage("t", CONFIG, bool) as page:
        thread = threading.Thread(target=poll, args=(page.address,))
        thread.start()
        time.sleep(0.2)
        page.end("Done: out.wav")
        began = time.monotonic()
    thread.join(5)
    assert heard[-1]["detail"] == "Done: out.wav"
    assert time.monotonic() - began < 5


def test_a_stop_does_what_the_first_signal_does() -> None:
    said: list[str] = []
    interrupt = interrupts.Interrupt(said.append)
    for stage in ("", "style", "inversion", "done"):
        interrupt.stage = stage
        assert not interrupt.ask()
    assert (interrupt.signals, said) == (0, [])
    interrupt.stage = "optimization"
    assert interrupt.ask()
    assert not interrupt.ask()
    assert interrupt.signals == 1
    assert said == ["stopping, as asked on the page; the best so far will be written"]


def make_run(folder: Path, name: str, watch: bool, steps: int = 3) -> tuple[int, list[str], Any]:
    """Run a transfer, with somebody who looks at it all the time or without; what was seen."""
    config = TransferConfig(
        **{"precision": "float32", "n_fft": 1024, "hop_length": 256, "n_mels": 64, "bands": 4},
        **{"iterations": steps, "inversion_iterations": 2, "music_weight": 0.0, "tolerance": 0.0},
        style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
        optimizer="lbfgs" if steps < 100 else "adam",
    )
    said: list[str] = []
    seen: dict[str, Any] = {"versions": set(), "pictures": 0, "losses": 0}

    def look(address: str) -> None:
        while True:
            try:
                found = state(address)
                seen["versions"].add(found["version"])
                seen["losses"] = max(seen["losses"], len(found["losses"]))
                seen["pictures"] += ask(address, "now")[0] == 200
                if steps > 100 and found["step"] > 3:
                    ask(address, "stop", "POST")
                if found["ended"]:
                    return
            except OSError:
                return
            time.sleep(0.01)

    class Watcher(Console):
        def echo(self, text: str, always: bool = False) -> None:
            said.append(text)
            if text.startswith("live at "):
                threading.Thread(target=look, args=(text.removeprefix("live at "),)).start()

    code = run_transfer_command(
        TransferRequest(folder / "c.wav", [folder / "s.wav"], folder / name, [1.0]),
        config,
        Watcher(),
        as_json=False,
        live=watch,
    )
    return code, said, seen


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    sf.write(tmp_path / "c.wav", make_tones(), SR)
    sf.write(tmp_path / "s.wav", make_noise(), SR)
    return tmp_path


def test_who_is_watched_makes_the_same_bytes(clips: Path) -> None:
    assert make_run(clips, "alone.wav", watch=False)[0] == 0
    code, said, seen = make_run(clips, "watched.wav", watch=True)
    assert (code, said[0][:25]) == (0, "live at http://127.0.0.1:")
    assert (seen["losses"], seen["pictures"] > 0, max(seen["versions"]) > 0) == (4, True, True)
    assert (clips / "alone.wav").read_bytes() == (clips / "watched.wav").read_bytes()
    records = [json.loads((clips / f"{n}.wav.json").read_text()) for n in ("alone", "watched")]
    for record in records:
        for one in record["losses"]:
            del one["seconds"]
    assert records[0]["losses"] == records[1]["losses"]


def test_stop_and_keep_this_writes_what_there_is(clips: Path) -> None:
    code, said, _ = make_run(clips, "out.wav", watch=True, steps=50_000)
    assert code == 130
    assert "stopping, as asked on the page; the best so far will be written" in said
    record = json.loads((clips / "out.wav.json").read_text())
    assert record["status"] == "interrupted"
    assert 3 < len(record["losses"]) < 50_000
    assert len(sf.read(clips / "out.wav")[0]) == SR


def test_an_event_shows_its_spectrogram_only_while_it_is_reported() -> None:
    from audiostyle.nn import optimizer

    def square(x: Any, data: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.square(x), axis=1)
        terms = tf.zeros((1, len(TERMS)))
        return total, tape.gradient(total, x), terms

    import tensorflow as tf

    kept: list[Iteration] = []
    seen: list[float] = []

    def callback(event: Any) -> None:
        kept.append(event)
        seen.append(float(event.look()[0, 0]))

    minimizer = optimizer.Optimizer(
        square, [], optimizer="lbfgs", learning_rate=0.1, compiled=False
    )
    descent = minimizer.minimize(
        tf.constant([[0.5]]), None, 0.0, 1.0, n_steps=3, tolerance=0.0, callback=callback
    )
    totals = [iterate.total for iterate in descent.history]
    assert [x**2 for x in seen] == pytest.approx(totals, abs=1e-6)
    assert [event.look() for event in kept] == [None] * len(kept)
    assert kept == descent.history
    assert [iterate.look() for iterate in descent.history] == [None] * len(kept)


def test_a_browser_shows_the_descent_and_stops_it() -> None:
    asked: list[bool] = []
    with (
        open_browser() as browser,
        LivePage("<i>t</i>", CONFIG, lambda: not asked.append(True)) as run,
    ):
        watched = Watched(browser, 400, 800)
        run(Stage("features"))
        page = watched.open(run.address)
        page.get_by_text("Analysing the content").wait_for()
        assert page.locator("h1").inner_text() == "<i>t</i>"
        assert page.locator(".stop").is_disabled()
        run(Stage("optimization", "CPU"))
        for number in range(5):
            run(step(number, 1 / (number + 1)))
        page.get_by_text("step 4 of 10").wait_for()
        points = page.locator("polyline").first.get_attribute("points")
        assert len(points.split()) == 5
        for name in ("start", "now"):
            page.wait_for_timeout(200)
            assert page.locator(f"#{name}").evaluate("image => image.naturalWidth") == 50
        widths = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1]
        page.locator(".stop").click()
        page.get_by_text("Stopping; the best so far will be written").wait_for()
        assert asked == [True]
        run.end("Done: out.wav")
        run._state.ended = True
        page.get_by_text("Done: out.wav").wait_for()
        assert page.locator(".stop").is_disabled()
        watched.close()
