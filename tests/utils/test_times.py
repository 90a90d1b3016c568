from __future__ import annotations

import pytest

from audiostyle.utils.times import format_span, format_time, parse_span, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("0", 0), ("62", 62), ("62.5", 62.5), (".5", 0.5), ("-1", -1), ("90", 90), ("600", 600)],
        *[("1:02", 62), ("01:02", 62), ("0:00", 0), ("1:02.25", 62.25), ("75:00", 4500)],
        *[("1:00:00", 3600), ("0:01:02.5", 62.5), ("10:59:59", 39_599), (" 1:02 ", 62)],
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "1:60", "1:2", "1:", ":30", "1:60:00", "1:2:3:4", "-1:00", "1m2s", "1:0x"]
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time: give seconds or M:SS") as caught:
        parse_time(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("seconds", [0, 0.5, 59.999, 60, 62.25, 599, 3599.5, 3600, 36_061.001])
def test_a_time_reads_back(seconds: float) -> None:
    assert parse_time(format_time(seconds)) == pytest.approx(seconds, abs=1e-9)
    span = seconds, seconds + 1
    assert parse_span(format_span(span)) == pytest.approx(span, abs=1e-9)


def test_formatted_times() -> None:
    times = [0, 5, 62.5, 59.9996, 3599.9996, 3723]
    assert [format_time(t) for t in times] == [
        *("0:00", "0:05", "1:02.5", "1:00", "1:00:00", "1:02:03")
    ]


def test_spans() -> None:
    assert parse_span("1:02-1:18") == (62, 78)
    assert parse_span("62.5 - 1:18") == (62.5, 78)
    for text in ("1:02", "-1:02", "1:02-", "", "-"):
        with pytest.raises(ValueError, match="START-END"):
            parse_span(text)
    with pytest.raises(ValueError, match="is not a time"):
        parse_span("1-2-3")
