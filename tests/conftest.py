"""Signals and configurations shared by all tests; everything is synthesised with fixed seeds."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

from audiostyle.config import plugins
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import normalized_stream, segmentation
from audiostyle.events import TERMS

Array = npt.NDArray[Any]

SR = 22050

CHORDS = [(60, 64), (62, 67), (65, 69), (59, 67), (60, 72), (57, 64)]
ORGAN = (1.0, 0.6, 0.4, 0.3, 0.2, 0.1)
REED = (1.0, 0.05, 0.6, 0.05, 0.5, 0.05, 0.4)
"""Amplitudes of partials."""


def make_tones(seconds: float = 1.0, sr: int = SR, base: float = 220.0) -> Array:
    """Four plucked notes of four partials each: pitch and onsets."""
    t = np.arange(round(seconds * sr)) / sr
    y = np.zeros_like(t)
    for i, ratio in enumerate((1.0, 1.25, 1.5, 2.0)):
        onset = i * seconds / 4
        envelope = np.where(t >= onset, np.exp(-6 * np.maximum(t - onset, 0)), 0)
        for partial in range(1, 5):
            y += envelope * np.sin(2 * np.pi * base * ratio * partial * t) / partial
    return (0.2 * y).astype(np.float32)


def make_noise(seconds: float = 1.0, sr: int = SR, seed: int = 0) -> Array:
    """Low-passed noise with a pulse: no pitch."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(round(seconds * sr))
    brown = np.convolve(white, np.ones(8) / 8, mode="same")
    t = np.arange(len(white)) / sr
    return (0.2 * brown * (1 + np.sin(2 * np.pi * 5 * t))).astype(np.float32)


def make_chords(chords: list[tuple[int, ...]], partials: tuple[float, ...], note_s: float) -> Array:
    """Plucked chords of MIDI notes, one after the other."""
    t = np.arange(round(note_s * SR)) / SR
    envelope = np.minimum(1.0, t / 0.005) * np.exp(-3.0 * t) * np.minimum(1.0, (note_s - t) / 0.01)
    blocks = []
    for chord in chords:
        block = np.zeros_like(t)
        for midi in chord:
            frequency = 440.0 * 2.0 ** ((midi - 69) / 12.0)
            for k, amplitude in enumerate(partials, 1):
                block += amplitude * np.sin(2 * np.pi * k * frequency * t + k)
        blocks.append(block * envelope)
    y = np.concatenate(blocks)
    return (0.1 * y / np.sqrt(np.mean(y**2))).astype(np.float32)


def decibels_of(error: Array, reference: Array) -> float:
    """Energy of an error relative to that of a reference, in dB."""
    norms = (np.linalg.norm(np.asarray(x, np.float64)) for x in (error, reference))
    return float(20 * np.log10(max(next(norms), 1e-30) / next(norms)))


@pytest.fixture
def tones() -> Array:
    return make_tones()


@pytest.fixture
def noise() -> Array:
    return make_noise()


def make_tiny_config() -> TransferConfig:
    """Make the default so small that a second of audio takes about a second."""
    return TransferConfig(
        precision="float32",  # the same on every processor
        n_fft=1024,
        hop_length=256,
        n_mels=64,
        bands=4,
        init="content",  # needs no transcription, which takes seconds to start
        iterations=3,
        inversion_iterations=2,
        style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
    )


@pytest.fixture
def tiny_config() -> TransferConfig:
    return make_tiny_config()


@pytest.fixture
def only_what_ships() -> Iterator[None]:
    """Restore the registries after a test that registers networks or losses."""
    before, modules = [dict(table) for table in plugins.TABLES], set(sys.modules)
    yield
    for table, known in zip(plugins.TABLES, before, strict=True):
        table.clear()
        table.update(known)
    for name in set(sys.modules) - modules:
        if name.startswith(plugins.PREFIX):
            del sys.modules[name]


@pytest.fixture
def few_terms(tiny_config: TransferConfig) -> TransferConfig:
    """Two of the shipped terms, and few iterations."""
    others = {f"{term}_weight": 0.0 for term in TERMS[2:]}
    return dataclasses.replace(tiny_config, **others)


SetWindows = Callable[[int, int], None]


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> SetWindows:
    """Make windows so small that a few seconds are several windows."""

    def change(size: int, overlap: int) -> None:
        monkeypatch.setattr(normalized_stream, "WINDOW_FRAMES", size)
        monkeypatch.setattr(segmentation.split_frames, "__defaults__", (size,))
        monkeypatch.setattr(segmentation.plan_windows, "__defaults__", (size, overlap))

    return change


TINY_OPTIONS = [
    "--n-fft=1024",
    "--hop-length=256",
    "--n-mels=64",
    "--bands=4",
    "--init=content",
    "--iterations=3",
    "--inversion-iterations=2",
    "--style-layers=block1_conv1,block2_conv1",
]


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Path]:
    """Write samples [shape=(n,) or (channels, n)] to a file under `tmp_path`."""

    def write(name: str, y: Array, sr: int = SR, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.asarray(y).T, sr, **options)
        return path

    return write


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let batches run with a `tests.support.fakes.FakeStyleTransfer`, which is returned."""
    from tests.support.fakes import install  # it imports this module

    return install(monkeypatch.setattr)


@pytest.fixture
def gtzan_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Any) -> Path:
    """Make a small GTZAN, 3 clips per genre and none broken, in the current folder."""
    from tests.support.fakes import make_gtzan

    make_gtzan(tmp_path, 3, broken=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
