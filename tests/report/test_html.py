from __future__ import annotations

import json
from typing import Any

import pytest

from audiostyle.report import html


@pytest.mark.parametrize(
    "value",
    [
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "\u2028\u2029 & > <",
        "\udcff\ud800",
        1.5,
    ],
)
def test_json_stays_inside_its_element(value: Any) -> None:
    text = str(html.inert_json({"key": [value, {"k</": None}]}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    back = json.loads(text)["key"][0]
    assert back == (html.valid_text(value) if isinstance(value, str) else value)
    str(back).encode()
