"""The checks that load TensorFlow, in process."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audiostyle.doctor import selftest


@pytest.mark.parametrize("module", [None, "broken"])
def test_a_missing_or_broken_tensorflow_is_one_result(
    module: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(quiet: bool = True) -> Any:
        raise ImportError("libcudart.so:\n cannot open shared object file")

    if module is None:
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        monkeypatch.setattr(selftest.device, "load_tensorflow", lambda: __import__("tensorflow"))
    else:
        monkeypatch.setattr(selftest.device, "load_tensorflow", fail)
    (result,) = selftest.run_selftest_checks(True)
    assert (result.state, result.name) == ("fault", "TensorFlow")
    assert "cannot be imported (" in result.text
    assert "\n" not in result.text
    assert "pip install" in result.remedy


@pytest.mark.parametrize(
    ("y", "losses", "wrong"),
    [
        (np.full(22_050, 0.1, np.float32), (2, 1), ""),
        (None, (2, 1), "the result has the shape None"),
        (np.zeros(5, np.float32), (2, 1), "the result has the shape (5,), not (22050,)"),
        (np.full(22_050, np.nan, np.float32), (2, 1), "not finite"),
        (np.full(22_050, 2.0, np.float32), (2, 1), "above full scale"),
        (np.full(22_050, 0.1, np.float32), (1, 2), "the loss went from 1 to 2, not down"),
        ("content", (2, 1), "the result is the content itself"),
        (RuntimeError("no\nmemory"), (2, 1), "RuntimeError: no memory"),
    ],
)
def test_the_self_test_checks_the_output(
    y: Any, losses: tuple[int, ...], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transfer(content: Any, *_: Any) -> Any:
        if isinstance(y, Exception):
            raise y
        history = [SimpleNamespace(total=float(loss)) for loss in losses]
        return SimpleNamespace(y=content if isinstance(y, str) else y, history=history)

    module = types.ModuleType("audiostyle.core.transfer")
    module.transfer = transfer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "audiostyle.core.transfer", module)
    result = selftest.transfer_one_second()
    assert result.state == ("fault" if wrong else "ok")
    assert wrong in result.text
