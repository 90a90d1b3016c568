"""A real browser for tests of pages; without one the tests are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:")


def find_browser() -> str:
    """Return the path of a Chromium, or skip the calling test."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    return str(found)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start a headless Chromium."""
    path = find_browser()
    from playwright.sync_api import sync_playwright

    options = ["--autoplay-policy=no-user-gesture-required"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # the sandbox of Chromium does not work for root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


class MonitoredPage:
    """A page that records every error, console message and request."""

    def __init__(self, browser: Any, width: int = 1280, height: int = 900, **options: Any) -> None:
        self._context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self._context.new_page()
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _dismiss(self, dialog: Any) -> None:
        self.messages.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, url: str) -> Any:
        """Load a page, and return it."""
        self.page.goto(url)
        return self.page

    def close(self) -> None:
        """Close the page; check that there was no message and no request to another machine."""
        self._context.close()
        assert self.messages == []
        assert [url for url in self.requests if not url.startswith(LOCAL)] == []
