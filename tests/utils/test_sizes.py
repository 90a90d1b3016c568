"""Sizes as text."""

from __future__ import annotations

import pytest

from audiostyle.utils.sizes import format_size


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (73_456_000_000, "73.5 GB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_sizes_are_written_in_the_largest_fitting_unit(n_bytes: int, text: str) -> None:
    assert format_size(n_bytes) == text
