"""A page on this machine that shows a descent while it runs, and can ask it to stop.

Only programs of this machine can reach it (it listens on 127.0.0.1), only those that know its
address (a token is part of it) get an answer, and a page from elsewhere cannot borrow a browser's
way to it: the ``Host`` of a request must be this address, and so must the ``Origin`` of whatever
changes something. It looks at the descent and never touches it.
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
LOOK_SECONDS = 0.5  # between two looks at the spectrogram, at least
LOOK_SHARE = 0.03  # of the time of a descent, that looking may take
WATCHED_SECONDS = 5.0  # after its last question a page counts as closed
FAREWELL_SECONDS = 2.0  # to let an open page see the end
CLIENT_SECONDS = 5.0  # that a request may take to arrive
COLUMNS, BANDS = 1000, 256  # of a picture

DOING = {
    "style": "Listening to the style",
    "features": "Analysing the content",
    "estimate": "Analysing the content",
    "optimization": "Descending",
    "inversion": "Turning the spectrogram into sound",
    "done": "Done",
}


@dataclass
class LiveState:
    """What the page asks for.

    Attributes
    ----------
    stage, detail : str
    losses : list of list of float
        Step, total and the losses that make it, weighted, of the window that descends.
    step, n_steps, window, n_windows : int
    version : int
        Rises with every picture.
    pictures : dict of str to np.ndarray [shape=(n_mels, t), dB]
        ``start`` and ``now``.
    scale : (float, float), in dB
    ended, stopping : bool
    """

    stage: str = "start"
    detail: str = "Starting"
    losses: list[list[float]] = field(default_factory=list)
    step: int = 0
    n_steps: int = 0
    window: int = 1
    n_windows: int = 1
    version: int = 0
    pictures: dict[str, Array] = field(default_factory=dict)
    scale: tuple[float, float] = (-80.0, 0.0)
    ended: bool = False
    stopping: bool = False


class LivePage:
    """Serves one run; use it as a context, and give it every event.

    Parameters
    ----------
    title : str
        What runs.
    config : TransferConfig
    stop : callable
        Asks the descent to stop and keep what it has; says whether it will.

    Attributes
    ----------
    address : str
        Where the page is, once the context was entered.
    """

    def __init__(self, title: str, config: TransferConfig, stop: Callable[[], bool]) -> None:
        self._title = title
        self._config = config
        self._stop = stop
        self._token = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        self._state = LiveState()
        self._asked = float("-inf")  # when the page last asked
        self._told = False  # whether it was told of the end
        self._next_look = 0.0
        self._weights = {"total": 1.0, **config.loss_weights}
        self.address = ""

    def __enter__(self) -> LivePage:
        """Begin to listen, if that was not done yet."""
        if not self.address:
            self.open()
        return self

    def open(self) -> str:
        """Begin to listen, on a port that nobody uses, and return the address.

        Returns
        -------
        str
        """
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
        """Say that it is over, wait until an open page knows, and end."""
        with self._lock:
            self._state.ended = True
            if error is not None:
                self._state.detail = f"Ended: {error or type(error).__name__}"
        until = time.monotonic() + FAREWELL_SECONDS
        while self._is_watched() and not self._told and time.monotonic() < until:
            time.sleep(0.05)
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, event: Stage | Iteration) -> None:
        """Take an event in; a look at the spectrogram is taken if the page is open and it is time.

        Parameters
        ----------
        event : Stage or Iteration
        """
        if isinstance(event, Stage):
            with self._lock:
                self._state.stage = event.name
                self._state.detail = f"{DOING.get(event.name, event.name)}"
                if event.name in ("style", "estimate"):
                    self._state.detail += f": {event.detail}"
            return
        picture = self._look(event)
        with self._lock:
            state = self._state
            if event.step == 0:
                state.losses = []
            values = [event.total, *event.terms.values()]
            weighted = [w * v for w, v in zip(self._weights.values(), values, strict=True)]
            state.losses.append([event.step, *weighted])
            state.step, state.n_steps = event.step, event.n_steps
            state.window, state.n_windows = event.window, event.n_windows
            if picture is not None:
                if event.step == 0:
                    state.pictures["start"] = picture
                if not state.version:
                    state.scale = plots.shared_range([picture], self._config)
                state.pictures["now"] = picture
                state.version += 1

    def end(self, text: str) -> None:
        """Say what became of the run.

        Parameters
        ----------
        text : str
        """
        with self._lock:
            self._state.detail = text

    def _look(self, event: Iteration) -> Array | None:
        began = time.monotonic()
        if event.step > 0 and (began < self._next_look or not self._is_watched()):
            return None
        S = event.spectrogram()
        picture = None if S is None else plots.few_columns(np.asarray(S[0]), COLUMNS)[0]
        took = time.monotonic() - began
        self._next_look = time.monotonic() + max(LOOK_SECONDS, took / LOOK_SHARE)
        return picture

    def _is_watched(self) -> bool:
        return time.monotonic() - self._asked < WATCHED_SECONDS

    # --- answers, from the threads of the server -------------------------------------------------

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Answer a request for a path; None if there is no such thing.

        Parameters
        ----------
        path : str
            As it was requested, with the token.

        Returns
        -------
        kind : str
            Media type.
        body : bytes
        """
        path, _, query = path.partition("?")
        what = self.below(path)
        if what == "":
            return "text/html; charset=utf-8", self._page()
        if what == "state":
            first = int(query) if query.isdecimal() and len(query) < 9 else 0
            return "application/json", self._report(first)
        if what in ("start", "now"):
            with self._lock:
                S, scale = self._state.pictures.get(what), self._state.scale
            return None if S is None else plots.spectrogram_image(S, scale, (COLUMNS, BANDS))
        return None

    def below(self, path: str) -> str | None:
        """Return what of a path follows the token; None if the token is another.

        Parameters
        ----------
        path : str

        Returns
        -------
        str or None
        """
        token, slash, what = path.removeprefix("/").partition("/")
        right = secrets.compare_digest(token.encode("utf-8", "replace"), self._token.encode())
        return what if right and slash else None

    def stop(self) -> bool:
        """Ask the descent to stop.

        Returns
        -------
        bool
        """
        done = self._stop()
        with self._lock:
            self._state.stopping = self._state.stopping or done
        return done

    def _page(self) -> bytes:
        return html.render(
            "live.html.j2",
            ("live.js",),
            live=True,
            title=self._title,
            names=[name for name, w in self._weights.items() if w > 0],
            y_ticks=frequency_ticks(self._config),
            columns=[i for i, w in enumerate(self._weights.values(), 1) if w > 0],
        )

    def _report(self, first: int) -> bytes:
        with self._lock:
            self._asked = time.monotonic()
            state = self._state
            self._told = self._told or state.ended
            first = first if first <= len(state.losses) else 0
            answer = {
                "stage": state.stage,
                "detail": html.shown(state.detail),
                "step": state.step,
                "steps": state.n_steps,
                "window": state.window,
                "windows": state.n_windows,
                "version": state.version,
                "first": first,
                "ended": state.ended,
                "stopping": state.stopping,
            }
            losses = state.losses[first:]
        rows = [[v if np.isfinite(v) else None for v in row] for row in losses]
        return json.dumps({**answer, "losses": rows}).encode()


class _Handler(BaseHTTPRequestHandler):
    """Answers whoever knows the address."""

    live: LivePage
    timeout = CLIENT_SECONDS
    server_version = "audiostyle"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page, its state, or a picture."""
        found = self.live.answer(self.path) if self._is_local() else None
        if found is None:
            self._send(404, "text/plain; charset=utf-8", b"no such page\n")
        else:
            self._send(200, *found)

    def do_POST(self) -> None:
        """Stop, if that is what is asked."""
        origin = self.headers.get("Origin")
        ours = origin is None or origin in {f"http://{host}" for host in self.live.hosts}
        if not (self._is_local() and ours and self.live.below(self.path) == "stop"):
            self._send(404, "text/plain; charset=utf-8", b"no such page\n")
            return
        body = json.dumps({"stopping": self.live.stop()}).encode()
        self._send(200, "application/json", body)

    def _is_local(self) -> bool:
        """Tell whether the request names this address: not one that was made to lead here."""
        return self.headers.get("Host", "").lower() in self.live.hosts

    def _send(self, code: int, kind: str, body: bytes) -> None:
        try:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # who asked is gone
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: standard error belongs to the run."""
