"""Worker: memory, cached styles, changed inputs, and missing devices."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch import worker
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core import sweep
from audiostyle.errors import DeviceError
from tests.conftest import make_tones
from tests.support.fakes import GTZAN_SR, journal_lines, rows, run, sounds


def test_results_are_freed_before_the_next_pair(gtzan_folder: Path, fake: Any) -> None:
    """No result is alive when the next pair starts."""
    alive: list[Any] = []
    most = 0

    def watch(result: Any) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
        alive.append(weakref.ref(result))

    fake.watch = watch
    assert run() == 0
    assert len(alive) == 9
    assert most == 0


ANALYZE_STYLE = worker.PairWorker._analyze_style


def test_results_do_not_depend_on_the_style_cache(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, fake: Any
) -> None:
    assert run() == 0
    assert set(fake.analyzed.values()) == {1}
    whole = sounds(Path("out"))
    monkeypatch.setattr(worker.PairWorker, "_analyze_style", _analyze_again)
    fake.analyzed.clear()
    assert run(out="other") == 0
    assert sounds(Path("other")) == whole
    assert set(fake.analyzed.values()) == {3}


def _analyze_again(self: Any, *arguments: Any) -> Any:
    self._styles.clear()
    return ANALYZE_STYLE(self, *arguments)


def test_an_input_that_changes_during_the_run_is_noticed(gtzan_folder: Path, fake: Any) -> None:
    def change(content: Any) -> None:
        sf.write("genres/jazz/jazz.00002.wav", make_tones(0.6, GTZAN_SR, 500.0), GTZAN_SR)
        fake.fail = None

    fake.fail = change
    assert run("--style-genre=classical", "--limit=3") == 1
    (failed,) = [row for row in rows().values() if row["status"] == "failed"]
    assert failed["kind"] == "changed" and failed["content"].endswith("jazz.00002.wav")
    assert not Path("out", failed["pair"]).exists()
    assert run("--limit=3") == 0


def test_a_missing_device_exits_with_4(gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(config: TransferConfig, device: str, threads: int) -> None:
        raise DeviceError(f"device {device}: none found; use --device auto or cpu")

    monkeypatch.setattr(sweep, "StyleTransfer", absent)
    assert run("--device=gpu:7") == 4
    lines = [line["event"] for line in journal_lines(Path("out"))]
    assert lines[-2:] == ["started", "interrupted"]
    assert {row["status"] for row in rows().values()} == {"pending"}
