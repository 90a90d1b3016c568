from __future__ import annotations

import contextlib
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

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.events import TERMS, Iteration, Stage
from audiostyle.report import live_server
from audiostyle.report.live_server import LivePage
from audiostyle.utils import interrupts
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import call

CONFIG = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4, music_weight=0.0)


def make_iteration(
    number: int, total: float = 1.0, look: Callable[[], Any] | None = None
) -> Iteration:
    terms = {term: total / 10 for term in TERMS}
    iteration = Iteration(number, 10, total, **terms, layers={}, seconds=0.0)
    return iteration.with_spectrogram(look or (lambda: spectrogram(number)))


def spectrogram(number: int) -> np.ndarray:
    return np.full((1, 64, 50), -80 + 5 * number, np.float32)


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "SNAPSHOT_SECONDS", 0.0)
    monkeypatch.setattr(live_server, "SNAPSHOT_SHARE", float("inf"))
    monkeypatch.setattr(live_server, "FAREWELL_SECONDS", 0.3)


@pytest.fixture
def stops() -> list[str]:
    return []


@pytest.fixture
def page(stops: list[str]) -> Iterator[LivePage]:
    def stop() -> bool:
        stops.append("stop")
        return True

    with LivePage("a in the style of <b>", CONFIG, stop) as opened:
        yield opened


def request(
    address: str, path: str = "", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Send a request for a path below an address; return status, headers and body."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(str(url.hostname), url.port or 0, timeout=10)
    connection.request(method, url.path + path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def state(address: str, first: int = 0) -> dict[str, Any]:
    code, _, body = request(address, f"state?{first}")
    assert code == 200
    found: dict[str, Any] = json.loads(body)
    return found


def test_the_address_is_local_and_contains_a_secret(page: LivePage) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d{4,5}/[\w-]{32}/", page.address)
    with LivePage("b", CONFIG, bool) as other:
        assert urlsplit(other.address).path != urlsplit(page.address).path
        assert urlsplit(other.address).port != urlsplit(page.address).port


def test_the_page_may_not_be_framed_or_cached(page: LivePage) -> None:
    code, headers, body = request(page.address)
    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert b"a in the style of &lt;b&gt;" in body
    assert b"connect-src &#39;self&#39;" in body


@pytest.mark.parametrize("what", ["", "state", "now", "stop"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token_gets_no_answer(
    what: str, method: str, page: LivePage, stops: list[str]
) -> None:
    url = urlsplit(page.address)
    page(make_iteration(0))
    for token in ("", "x", url.path[1:-2], url.path[1:-1] + "x", "%00", "\xff"):
        wrong = f"http://{url.netloc}/{token}/"
        try:
            assert request(wrong, what, method)[0] == 404
        except UnicodeEncodeError:
            continue  # clients refuse to send it
    assert stops == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "0.0.0.0:1", ""])
def test_a_foreign_host_name_gets_no_answer(host: str, page: LivePage, stops: list[str]) -> None:
    assert request(page.address, Host=host)[0] == 404
    assert request(page.address, "stop", "POST", Host=host)[0] == 404
    assert stops == []
    port = urlsplit(page.address).port
    assert request(page.address, Host=f"localhost:{port}")[0] == 200


def test_only_the_page_itself_may_stop(page: LivePage, stops: list[str]) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert request(page.address, "stop", "POST", Origin=origin)[0] == 404
    assert request(page.address, "stop")[0] == 404  # by GET
    assert stops == []
    own = "http://" + urlsplit(page.address).netloc
    code, _, body = request(page.address, "stop", "POST", Origin=own)
    assert (code, json.loads(body), stops) == (200, {"stopping": True}, ["stop"])
    assert state(page.address)["stopping"]


def test_the_state_holds_the_stage_and_the_new_losses(page: LivePage) -> None:
    assert state(page.address)["detail"] == "Starting"
    page(Stage("style", "clip.wav"))
    assert state(page.address)["detail"] == "Analysing the style: clip.wav"
    page(Stage("optimization", "CPU"))
    for number in range(4):
        page(make_iteration(number, 2.0 - number / 4))
    found = state(page.address)
    assert (found["stage"], found["iteration"], found["iterations"]) == ("optimization", 3, 10)
    assert [row[:2] for row in found["losses"]] == [[0, 2.0], [1, 1.75], [2, 1.5], [3, 1.25]]
    row = dict(zip(TERMS, found["losses"][0][2:], strict=True))
    assert row["content"] == pytest.approx(0.2 * CONFIG.content_weight)
    assert row["music"] == 0
    assert [row[0] for row in state(page.address, 2)["losses"]] == [2, 3]
    assert state(page.address, 99)["first"] == 0
    page(make_iteration(0, float("nan")))  # the next window
    assert state(page.address, 4)["losses"][0][:2] == [0, None]


def test_snapshots_share_one_scale(page: LivePage) -> None:
    assert request(page.address, "now")[0] == 404
    state(page.address)  # the page is open
    for number in (0, 4):
        page(make_iteration(number))
    assert state(page.address)["version"] == 2
    pixels = {}
    for name in ("start", "now"):
        code, headers, body = request(page.address, f"{name}?2")
        assert (code, headers["content-type"][:6]) == (200, "image/")
        image = Image.open(io.BytesIO(body)).convert("RGB")
        assert image.size == (50, 64)
        pixels[name] = np.asarray(image).mean(axis=(0, 1))
    # The scale is that of the start: its loudest value is the brightest.
    np.testing.assert_allclose(pixels["start"], plots.colors()[255], atol=6)
    np.testing.assert_allclose(pixels["now"], plots.colors()[255], atol=6)


def test_no_snapshots_are_taken_unless_the_page_is_open(page: LivePage) -> None:
    looks: list[int] = []

    def look(number: int) -> Callable[[], Any]:
        return lambda: looks.append(number) or spectrogram(number)

    for number in range(3):
        page(make_iteration(number, look=look(number)))
    assert looks == [0]
    state(page.address)
    page(make_iteration(3, look=look(3)))
    assert looks == [0, 3]


def test_snapshots_take_a_bounded_share_of_the_time(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_server, "SNAPSHOT_SHARE", 0.1)
    state(page.address)
    looks: list[int] = []

    def look() -> Any:
        looks.append(1)
        time.sleep(0.02)
        return spectrogram(0)

    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        page(make_iteration(1, look=look))
        time.sleep(0.001)
    assert 1 <= len(looks) <= 4  # 20 ms every 220 ms


def test_the_server_ends_with_the_run() -> None:
    threads = threading.active_count()
    with pytest.raises(ValueError, match="boom"), LivePage("t", CONFIG, bool) as page:
        address = page.address
        state(address)
        raise ValueError("boom")
    with pytest.raises(OSError):
        request(address)
    time.sleep(0.1)
    assert threading.active_count() <= threads


def test_an_open_page_learns_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_server, "FAREWELL_SECONDS", 10.0)
    answers: list[dict[str, Any]] = []

    def poll(address: str) -> None:
        while not (answers and answers[-1]["ended"]):
            answers.append(state(address))
            time.sleep(0.05)

    with LivePage("t", CONFIG, bool) as page:
        thread = threading.Thread(target=poll, args=(page.address,))
        thread.start()
        time.sleep(0.2)
        page.end("Done: out.wav")
        began = time.monotonic()
    thread.join(5)
    assert answers[-1]["detail"] == "Done: out.wav"
    assert time.monotonic() - began < 5


def test_a_stop_on_the_page_acts_like_the_first_signal() -> None:
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
    assert said == ["stopping, as requested on the page; the best result so far will be written"]


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    sf.write(tmp_path / "c.wav", make_tones(), SR)
    sf.write(tmp_path / "s.wav", make_noise(), SR)
    return tmp_path


def run_transfer(output: str, *options: str) -> int:
    fixed = ("--precision=float32", "--music-weight=0", "--tolerance=0")
    return call("transfer", "c.wav", "s.wav", "-o", output, *TINY_OPTIONS, *fixed, *options)


def poll_page(
    monkeypatch: pytest.MonkeyPatch, on_state: Callable[[str, dict[str, Any]], None]
) -> None:
    """Poll every live page that is opened until its run ends."""
    enter = LivePage.__enter__

    def poll(address: str) -> None:
        with contextlib.suppress(OSError):
            found: dict[str, Any] = {"ended": False}
            while not found["ended"]:
                found = state(address)
                on_state(address, found)
                time.sleep(0.01)

    def enter_and_poll(page: LivePage) -> LivePage:
        enter(page)
        threading.Thread(target=poll, args=(page.address,)).start()
        return page

    monkeypatch.setattr(LivePage, "__enter__", enter_and_poll)


@pytest.mark.slow
def test_the_live_page_does_not_change_the_output(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions, n_losses, codes = set(), set(), set()

    def on_state(address: str, found: dict[str, Any]) -> None:
        versions.add(found["version"])
        n_losses.add(len(found["losses"]))
        codes.add(request(address, "now")[0])

    poll_page(monkeypatch, on_state)
    assert run_transfer("alone.wav") == 0
    capsys.readouterr()
    assert run_transfer("live.wav", "--live") == 0
    assert capsys.readouterr().err.startswith("live at http://127.0.0.1:")
    assert (max(n_losses), 200 in codes, max(versions) > 0) == (4, True, True)
    assert (clips / "alone.wav").read_bytes() == (clips / "live.wav").read_bytes()
    records = [json.loads((clips / f"{n}.wav.json").read_text()) for n in ("alone", "live")]
    for record in records:
        for one in record["losses"]:
            del one["seconds"]
    assert records[0]["losses"] == records[1]["losses"]


@pytest.mark.slow
def test_stop_on_the_page_keeps_the_best_result(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def on_state(address: str, found: dict[str, Any]) -> None:
        if found["iteration"] > 3:
            request(address, "stop", "POST")

    poll_page(monkeypatch, on_state)
    assert run_transfer("out.wav", "--live", "--iterations=50000", "--optimizer=adam") == 130
    assert "stopping, as requested on the page" in capsys.readouterr().err
    record = json.loads((clips / "out.wav.json").read_text())
    assert record["status"] == "interrupted"
    assert 3 < len(record["losses"]) < 50_000
    assert len(sf.read(clips / "out.wav")[0]) == SR


@pytest.mark.slow
def test_an_iteration_gives_its_spectrogram_only_during_the_callback() -> None:
    from audiostyle.nn import optimizer

    def square(x: Any, data: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.square(x), axis=1)
        terms = tf.zeros((1, len(TERMS)))
        return total, tape.gradient(total, x), terms

    import tensorflow as tf

    events: list[Iteration] = []
    values: list[float] = []

    def callback(event: Any) -> None:
        events.append(event)
        values.append(float(event.spectrogram()[0, 0]))

    minimizer = optimizer.Optimizer(
        square, [], optimizer="lbfgs", learning_rate=0.1, compiled=False
    )
    result = minimizer.minimize(
        tf.constant([[0.5]]), None, 0.0, 1.0, n_steps=3, tolerance=0.0, callback=callback
    )
    totals = [iteration.total for iteration in result.history]
    assert [x**2 for x in values] == pytest.approx(totals, abs=1e-6)
    assert [event.spectrogram() for event in events] == [None] * len(events)
    assert events == result.history
    assert [iteration.spectrogram() for iteration in result.history] == [None] * len(events)
