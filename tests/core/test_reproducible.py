"""The same bytes on the same machine: in two processes, alone or in a batch, whole or in shards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from audiostyle.batch.plan import result_parameters
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.files.request import TransferRequest
from audiostyle.nn import device
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import sounds

OPTIONS = [*TINY_OPTIONS, "--device=cpu", "--quiet", "--deterministic"]


def audiostyle(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "audiostyle", *arguments, *OPTIONS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def transfers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the same transfer in two processes."""
    root = tmp_path_factory.mktemp("same")
    (root / "in").mkdir()
    for i in range(2):
        sf.write(root / "in" / f"{i}.wav", make_tones(1.0, base=200.0 + 40 * i), SR)
    sf.write(root / "style.wav", make_noise(), SR)
    for name in ("one.wav", "two.wav"):
        audiostyle(root, "transfer", "in/1.wav", "style.wav", "-o", name)
    return root


@pytest.fixture(scope="module")
def folder(transfers: Path) -> Path:
    """Make two contents with one style in a batch as well, whole and in shards."""
    audiostyle(transfers, "batch", "in", "style.wav", "-o", "whole")
    audiostyle(transfers, "batch", "in", "style.wav", "-o", "parts", "--limit=1")  # then resumed
    for shard in ("1/2", "2/2"):
        audiostyle(transfers, "batch", "in", "style.wav", "-o", "parts", f"--shard={shard}")
    return transfers


def test_two_processes_give_the_same_bytes(transfers: Path) -> None:
    assert (transfers / "one.wav").read_bytes() == (transfers / "two.wav").read_bytes()


@pytest.mark.slow
def test_a_batch_gives_the_same_bytes(folder: Path) -> None:
    made = sounds(folder / "whole")
    assert len(made) == 2
    assert made["1__style.wav"] == (folder / "one.wav").read_bytes()


@pytest.mark.slow
def test_a_resumed_batch_and_shards_give_the_same_bytes(folder: Path) -> None:
    assert sounds(folder / "parts") == sounds(folder / "whole")


@pytest.mark.slow
def test_the_record_contains_deterministic(folder: Path) -> None:
    for path in (folder / "one.wav.json", folder / "whole" / "1__style.wav.json"):
        record = json.loads(path.read_text())
        assert (record["deterministic"], record["threads"]) == (True, 1)


@pytest.mark.parametrize("make", [
    lambda **more: TransferRequest(Path("c"), [Path("s")], Path("o.wav"), [1.0], **more),
    lambda **more: BatchRequest("c", "s", Path("o"), **more),
])  # fmt: skip
def test_one_thread_unless_threads_is_given(make: Any) -> None:
    assert make().threads == 0
    assert make(deterministic=True).threads == 1
    assert make(deterministic=True, threads=4).threads == 4


def test_an_output_made_without_it_is_recomputed() -> None:
    """Another number of threads is reason enough only where the bytes are promised."""

    def parameters(**more: Any) -> dict[str, Any]:
        return result_parameters(BatchRequest("c", "s", Path("o"), **more), TransferConfig())

    assert parameters() == parameters(threads=2)
    found = [parameters(), parameters(deterministic=True)]
    found.append(parameters(deterministic=True, threads=2))
    assert all(a != b for i, a in enumerate(found) for b in found[:i])


def test_tensorflow_is_made_deterministic_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded() -> None:
        raise AssertionError("TensorFlow is not needed for nothing")

    monkeypatch.setattr(device, "load_tensorflow", loaded)
    device.set_deterministic(False)
    with pytest.raises(AssertionError):
        device.set_deterministic(True)
