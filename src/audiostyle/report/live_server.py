"""Live page: a local web server that shows an optimisation while it runs, and can stop it.

The server listens on 127.0.0.1 only and answers only requests that contain a secret token. Against
other web pages in the same browser, the ``Host`` of each request must be this address, and so must
the ``Origin`` of a request that changes something. The page reads the optimisation and never
changes its result.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import plots
from audiostyle.events import Iteration, Stage
from audiostyle.report import html
from audiostyle.report.charts import frequency_ticks

Array = npt.NDArray[Any]

HOST = "127.0.0.1"
SNAPSHOT_SECONDS = 0.5  # at least, between two snapshots of the spectrogram
SNAPSHOT_SHARE = 0.03  # of the time of an optimisation, at most
VIEWER_SECONDS = 5.0  # a page that has not asked for this long counts as closed
FAREWELL_SECONDS = 2.0  # at most, for an open page to learn of the end
REQUEST_SECONDS = 5.0  # in which a request has to arrive
COLUMNS, BANDS = 1000, 256  # of a spectrogram

STAGE_LABELS = {
    "style": "Analysing the style",
    "features": "Analysing the content",
    "estimate": "Analysing the content",
    "optimization": "Optimising",
    "inversion": "Reconstructing the sound",
    "done": "Done",
}


@dataclass
class LiveState:
    """The state of a run, as the page asks for it."""

    stage: str = "start"
    detail: str = "Starting"
    # Of this window: iteration, total, and the terms of the total, weighted.
    losses: list[list[float]] = field(default_factory=list)
    iteration: int = 0
    iterations: int = 0
    window: int = 1
    windows: int = 1
    version: int = 0  # rises with every snapshot
    snapshots: dict[str, Array] = field(default_factory=dict)  # start and now: (n_mels, t), dB
    scale: tuple[float, float] = (-80.0, 0.0)  # in dB
    ended: bool = False
    stopping: bool = False


class LivePage:
    """The page of one run: a context manager, called with every event.

    `stop` asks the optimisation to stop and returns whether it will; `address` is the URL once the
    server is open.
    """

    def __init__(self, title: str, config: TransferConfig, stop: Callable[[], bool]) -> None:
        self._title = title
        self._config = config
        self._stop = stop
        self._token = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        self._state = LiveState()
        self._last_request = float("-inf")
        self._end_was_sent = False
        self._next_snapshot = 0.0
        self._weights = {"total": 1.0, **config.loss_weights}
        self.address = ""
        self.hosts: set[str] = set()

    def __enter__(self) -> LivePage:
        """Start the server unless it runs already."""
        self.open()
        return self

    def open(self) -> str:
        """Start the server on a free port unless it runs already, and return its address."""
        if self.address:
            return self.address
        page = self

        class Handler(_Handler):
            live = page

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self.address = f"http://{HOST}:{port}/{self._token}/"
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        return self.address

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until an open page has learned of the end, then shut the server down."""
        with self._lock:
            self._state.ended = True
            if error is not None:
                self._state.detail = f"Ended: {error or type(error).__name__}"
        until = time.monotonic() + FAREWELL_SECONDS
        while self._is_watched() and not self._end_was_sent and time.monotonic() < until:
            time.sleep(0.05)
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, event: Stage | Iteration) -> None:
        """Follow an event; take a snapshot of the spectrogram if it is due and the page is open."""
        if isinstance(event, Stage):
            with self._lock:
                self._state.stage = event.name
                self._state.detail = STAGE_LABELS.get(event.name, event.name)
                if event.name in ("style", "estimate"):
                    self._state.detail += f": {event.detail}"
            return
        snapshot = self._snapshot(event)
        with self._lock:
            state = self._state
            if event.step == 0:
                state.losses = []
            values = [event.total, *event.terms.values()]
            weighted = [w * v for w, v in zip(self._weights.values(), values, strict=True)]
            state.losses.append([event.step, *weighted])
            state.iteration, state.iterations = event.step, event.n_steps
            state.window, state.windows = event.window, event.n_windows
            if snapshot is not None:
                if event.step == 0:
                    state.snapshots["start"] = snapshot
                if not state.version:
                    state.scale = plots.shared_range([snapshot], self._config)
                state.snapshots["now"] = snapshot
                state.version += 1

    def end(self, text: str) -> None:
        """Show the outcome of the run."""
        with self._lock:
            self._state.detail = text

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

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Return media type and body for a requested path; None if there is no such page."""
        path, _, query = path.partition("?")
        name = self.name_of(path)
        if name == "":
            return "text/html; charset=utf-8", self._page()
        if name == "state":
            first = int(query) if query.isdecimal() and len(query) < 9 else 0
            return "application/json", self._state_json(first)
        if name in ("start", "now"):
            with self._lock:
                S, scale = self._state.snapshots.get(name), self._state.scale
            return None if S is None else plots.spectrogram_image(S, scale, (COLUMNS, BANDS))
        return None

    def name_of(self, path: str) -> str | None:
        """Return the part of a path that follows the token; None if the token is wrong."""
        token, slash, name = path.removeprefix("/").partition("/")
        right = secrets.compare_digest(token.encode("utf-8", "replace"), self._token.encode())
        return name if right and slash else None

    def stop(self) -> bool:
        """Ask the optimisation to stop; return whether it will."""
        stopping = self._stop()
        with self._lock:
            self._state.stopping = self._state.stopping or stopping
        return stopping

    def _page(self) -> bytes:
        return html.render_page(
            "live.html.j2",
            ("live.js",),
            live=True,
            title=self._title,
            names=[name for name, weight in self._weights.items() if weight > 0],
            y_ticks=frequency_ticks(self._config),
            columns=[i for i, weight in enumerate(self._weights.values(), 1) if weight > 0],
        )

    def _state_json(self, first: int) -> bytes:
        """Write the state with the losses from the `first` on, or all if there are fewer."""
        with self._lock:
            self._last_request = time.monotonic()
            state = self._state
            self._end_was_sent = self._end_was_sent or state.ended
            first = first if first <= len(state.losses) else 0
            answer = {k: v for k, v in vars(state).items() if k not in ("snapshots", "scale")}
            losses = state.losses[first:]
        rows = [[v if np.isfinite(v) else None for v in row] for row in losses]
        answer |= {"detail": html.valid_text(state.detail), "first": first, "losses": rows}
        return json.dumps(answer).encode()


class _Handler(BaseHTTPRequestHandler):
    """Answers requests that contain the token."""

    live: LivePage
    timeout = REQUEST_SECONDS
    server_version = "audiostyle"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page, its state, or a spectrogram."""
        found = self.live.answer(self.path) if self._is_local() else None
        if found is None:
            self._send(404, "text/plain; charset=utf-8", b"no such page\n")
        else:
            self._send(200, *found)

    def do_POST(self) -> None:
        """Stop the optimisation, if this is what is asked."""
        origin = self.headers.get("Origin")
        is_own = origin is None or origin in {f"http://{host}" for host in self.live.hosts}
        if not (self._is_local() and is_own and self.live.name_of(self.path) == "stop"):
            self._send(404, "text/plain; charset=utf-8", b"no such page\n")
            return
        body = json.dumps({"stopping": self.live.stop()}).encode()
        self._send(200, "application/json", body)

    def _is_local(self) -> bool:
        """Tell whether the request names this address: a foreign name may resolve to it."""
        return self.headers.get("Host", "").lower() in self.live.hosts

    def _send(self, code: int, media_type: str, body: bytes) -> None:
        try:
            self.send_response(code)
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
