"""Live page: a local web server that shows an optimisation while it runs, and can stop it.

The server listens on 127.0.0.1 only and answers only requests that contain a secret token. Against
other web pages in the same browser, the ``Host`` of each request must be this address, and so must
the ``Origin`` of a request that changes something. The page reads the optimisation and never
changes its result.
"""

from __future__ import annotations

import functools
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np

from audiostyle.arrays import Array
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.events import Iteration, Stage
from audiostyle.report import html
from audiostyle.report.charts import frequency_ticks

HOST = "127.0.0.1"
SNAPSHOT_SECONDS = 0.5  # at least, between two snapshots of the spectrogram
SNAPSHOT_SHARE = 0.03  # of the time of an optimisation, at most
VIEWER_SECONDS = 5.0  # a page that has not asked for this long counts as closed
FAREWELL_SECONDS = 2.0  # at most, for an open page to learn of the end
REQUEST_SECONDS = 5.0  # in which a request has to arrive
COLUMNS, BANDS = 1000, 256  # of a spectrogram

STAGE_LABELS = {
    "loading": "Loading TensorFlow",
    "style": "Analysing the style",
    "features": "Analysing the content",
    "estimate": "Analysing the content",
    "optimization": "Optimising",
    "inversion": "Reconstructing the sound",
    "done": "Done",
}


class LivePage:
    """The page of one run: a context manager, called with every event.

    `stop` asks the optimisation to stop and returns whether it will.
    """

    def __init__(self, title: str, config: TransferConfig, stop: Callable[[], bool]) -> None:
        self._title = title
        self._config = config
        self._stop = stop
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {  # as the page asks for it
            **{"stage": "start", "detail": "Starting", "stopping": False, "ended": False},
            **{"iteration": 0, "iterations": 0, "window": 1, "windows": 1},
            "version": 0,  # rises with every snapshot
        }
        # Of this window: iteration, total, and the terms of the total, weighted.
        self._losses: list[list[float]] = []
        self._snapshots: dict[str, Array] = {}  # start and now: (n_mels, t), dB
        self._scale = (-80.0, 0.0)  # in dB
        self._next_snapshot = 0.0
        self._last_request = float("-inf")
        self._end_was_sent = False
        self._weights = {"total": 1.0, **config.loss_weights}
        self.token = secrets.token_urlsafe(24)
        self.address = ""  # once the server is open
        self.hosts: set[str] = set()

    def __enter__(self) -> LivePage:
        """Start the server on a free port."""
        self._server = ThreadingHTTPServer((HOST, 0), functools.partial(_Handler, self))
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self.address = f"http://{HOST}:{port}/{self.token}/"
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until an open page has learned of the end, then shut the server down."""
        self._update(ended=True)
        if error is not None:
            self.end(f"Ended: {error or type(error).__name__}")
        until = time.monotonic() + FAREWELL_SECONDS
        while self._is_watched() and not self._end_was_sent and time.monotonic() < until:
            time.sleep(0.05)
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, event: Stage | Iteration) -> None:
        """Follow an event; take a snapshot of the spectrogram if it is due and the page is open."""
        if isinstance(event, Stage):
            label = STAGE_LABELS.get(event.name, event.name)
            about = f": {event.detail}" if event.name in ("style", "estimate") else ""
            self._update(stage=event.name, detail=label + about)
            return
        S = self._snapshot(event)
        values = [event.total, *event.terms.values()]
        weighted = [w * v for w, v in zip(self._weights.values(), values, strict=True)]
        with self._lock:
            if event.step == 0:
                self._losses = []
            self._losses.append([event.step, *weighted])
            self._state |= {"iteration": event.step, "iterations": event.n_steps}
            self._state |= {"window": event.window, "windows": event.n_windows}
            if S is None:
                return
            if not self._snapshots:
                self._scale = plots.shared_range([S], self._config)
            if event.step == 0:
                self._snapshots["start"] = S
            self._snapshots["now"] = S
            self._state["version"] += 1

    def end(self, text: str) -> None:
        """Show the outcome of the run."""
        self._update(detail=text)

    def stop(self) -> bool:
        """Ask the optimisation to stop; return whether it will."""
        stopping = self._stop()
        if stopping:
            self._update(stopping=True)
        return stopping

    def _update(self, **changes: Any) -> None:
        with self._lock:
            self._state |= changes

    def _snapshot(self, event: Iteration) -> Array | None:
        began = time.monotonic()
        if event.step > 0 and (began < self._next_snapshot or not self._is_watched()):
            return None
        S = event.spectrogram()
        snapshot = None if S is None else plots.average_columns(np.asarray(S[0]), COLUMNS)[0]
        now = time.monotonic()
        self._next_snapshot = now + max(SNAPSHOT_SECONDS, (now - began) / SNAPSHOT_SHARE)
        return snapshot

    def _is_watched(self) -> bool:
        return time.monotonic() - self._last_request < VIEWER_SECONDS

    # --- answers, from the threads of the server -------------------------------------------------

    def answer(self, name: str, query: str) -> tuple[str, bytes] | None:
        """Return media type and body of a part of the page; None if it does not exist."""
        if name == "":
            return "text/html; charset=utf-8", self._page()
        if name == "state":
            first = int(query) if query.isdecimal() and len(query) < 9 else 0
            return "application/json", self._state_json(first)
        with self._lock:
            S, scale = self._snapshots.get(name), self._scale
        return None if S is None else plots.spectrogram_image(S, scale, (COLUMNS, BANDS))

    def _page(self) -> bytes:
        columns = enumerate(self._weights.items(), 1)
        return html.render_page(
            "live.html.j2",
            ("chart.js", "live.js"),
            live=True,
            title=self._title,
            y_ticks=frequency_ticks(self._config),
            columns={name: i for i, (name, weight) in columns if weight > 0},
        )

    def _state_json(self, first: int) -> bytes:
        """Write the state with the losses from the `first` on, or all if there are fewer."""
        with self._lock:
            self._last_request = time.monotonic()
            state = {**self._state, "detail": html.valid_text(self._state["detail"])}
            self._end_was_sent = self._end_was_sent or state["ended"]
            first = first if first <= len(self._losses) else 0
            losses = self._losses[first:]
        rows = [[v if np.isfinite(v) else None for v in row] for row in losses]
        return json.dumps({**state, "first": first, "losses": rows}).encode()


class _Handler(BaseHTTPRequestHandler):
    """Answers requests that contain the token."""

    timeout = REQUEST_SECONDS
    server_version = "audiostyle"
    sys_version = ""

    def __init__(self, page: LivePage, *args: Any) -> None:
        self._page = page
        super().__init__(*args)  # handles the request

    def do_GET(self) -> None:
        """Send the page, its state, or a spectrogram."""
        path, _, query = self.path.partition("?")
        name = self._requested_name(path)
        self._send(None if name is None else self._page.answer(name, query))

    def do_POST(self) -> None:
        """Stop the optimisation, if this is what is asked."""
        origin = self.headers.get("Origin")
        is_own = origin is None or origin in {f"http://{host}" for host in self._page.hosts}
        if is_own and self._requested_name(self.path) == "stop":
            body = json.dumps({"stopping": self._page.stop()}).encode()
            self._send(("application/json", body))
        else:
            self._send(None)

    def _requested_name(self, path: str) -> str | None:
        """Return what follows the token in a path; None if the token or the host is wrong.

        A foreign host name may resolve to this address.
        """
        token, slash, name = path.removeprefix("/").partition("/")
        right = secrets.compare_digest(token.encode("utf-8", "replace"), self._page.token.encode())
        is_local = self.headers.get("Host", "").lower() in self._page.hosts
        return name if is_local and right and slash else None

    def _send(self, found: tuple[str, bytes] | None) -> None:
        """Send media type and body, or that there is no such page."""
        media_type, body = found or ("text/plain; charset=utf-8", b"no such page\n")
        try:
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log: standard error belongs to the run."""
