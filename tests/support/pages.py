"""Parsed HTML pages for tests."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Page(HTMLParser):
    """Elements with their attributes, scripts, styles and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.raw = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.styles: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(self.raw)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        self.text += " "

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append((self.elements[-1][1], data))
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.text += data

    def all(self, tag: str, css: str = "") -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and css in a.get("class", "")]

    def data(self, name: str) -> Any:
        return next(json.loads(text) for a, text in self.scripts if a.get("id") == name)

    def urls(self) -> list[str]:
        return [a[n] for _, a in self.elements for n in ("src", "href") if n in a]


def decode(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])
