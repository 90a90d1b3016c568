"""Suggestions for unknown names, and short forms of values."""

from __future__ import annotations

import pytest

from audiostyle.errors import ConfigError
from audiostyle.utils.suggestions import check_choice, format_value


def test_matches_ignore_case() -> None:
    assert check_choice("subtype", "PCM_24", ["PCM_16", "PCM_24"]) == "PCM_24"
    with pytest.raises(ConfigError, match="did you mean PCM_24"):
        check_choice("subtype", "pcm24", ["PCM_16", "PCM_24"])


def test_a_remedy_is_named_where_no_name_is_close() -> None:
    with pytest.raises(
        ConfigError, match=r"^x 'zzz' is not known: choose from ab, cd, or do this$"
    ):
        check_choice("x", "zzz", ["ab", "cd"], "do this")
    with pytest.raises(ConfigError, match=r"^x 'zzz' is not known: do this$"):
        check_choice("x", "zzz", [], "do this")


def test_values_are_shortened() -> None:
    assert format_value("a") == "'a'"
    assert format_value("a" * 999) == repr("a" * 200)
    assert len(format_value(list(range(999)))) < 200
    assert format_value(10**9999) == "a value of type int"
