"""Pairs and batches to report on, made without a network: sounds, records, tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from audiostyle.batch import results
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.utils.atomic_files import file_digest, record_path
from tests.conftest import SR, make_noise, make_tones

HOSTILE = "<img src=x onerror=alert(1)>.wav"
TERMS = ("content", "style", "texture", "music", "pitch", "onset", "rhythm", "envelope")
GENRES = ("jazz", "classical", "blues")
SMALL = TransferConfig(n_fft=1024, hop_length=256, n_mels=64, bands=4, iterations=3)


def make_losses(n: int = 4, total: float = 2.0) -> list[dict[str, Any]]:
    """Make losses that halve with every iteration."""
    return [
        {"step": i, "n_steps": n - 1, "total": total / 2**i, "seconds": float(i), "window": 1}
        | {"n_windows": 1, "layers": {"block1_conv1": 1.0 / 2**i, "block2_conv1": 0.5 / 2**i}}
        | {term: total / 4 / 2**i for term in TERMS}
        for i in range(n)
    ]


def describe_clip(path: Path, seconds: float) -> dict[str, Any]:
    """Describe a file as a record does."""
    digest = file_digest(path) if path.is_file() else "0" * 64
    described = {"path": str(path), "sha256": digest, "sr": SR, "channels": 1}
    return described | {"samples": round(SR * seconds)}


def make_record(
    content: Path, style: Path, output: Path, seconds: float, **changes: Any
) -> dict[str, Any]:
    """Make the record of an output."""
    record: dict[str, Any] = {
        **{"schema": 2, "audiostyle": "0.1.0", "status": "complete", "preset": "balanced"},
        "output": describe_clip(output, seconds) | {"format": "WAV", "subtype": "PCM_16"},
        "content": describe_clip(content, seconds) | {"start_sample": 0},
        "styles": [{"path": str(style), "weight": 1.0, "clips": [describe_clip(style, seconds)]}],
        "request": {"start": 0.0, "duration": None, "preview": None, "subtype": None},
        "parameters": SMALL.to_dict(),
        "weights": {"network": "VGG-19", "sha256": "abc123"},
        **{"seed": 0, "device": "/CPU:0", "precision": "float32", "stopped": "iterations"},
        "versions": {"python": "3.11.0", "librosa": "0.11.0"},
        "losses": make_losses(),
        "timings": {"to command": 9.0, "style": 0.5, "optimization": 1.5},
        "notes": ["a note of the run"],
    }
    return record | changes


def make_pair(
    folder: Path,
    content: str = "content.wav",
    style: str = "style.wav",
    output: str = "out.wav",
    seconds: float = 1.0,
    **changes: Any,
) -> Path:
    """Write the three sounds of a pair and its record; return the output."""
    folder.mkdir(parents=True, exist_ok=True)
    y, z = make_tones(seconds), make_noise(seconds)
    sounds = {folder / content: y, folder / style: z, folder / output: (y + z) / 2}
    for path, samples in sounds.items():
        sf.write(path, samples, SR, format="WAV")
    paths = list(sounds)
    record_path(paths[2]).write_text(json.dumps(make_record(*paths, seconds, **changes)))
    return paths[2]


def make_takes(
    folder: Path, n: int, seconds: float = 2.0, sr: int = SR, **changes: Any
) -> list[Path]:
    """Write takes of one content that differ in strength: `take_noise`, each at its own level."""
    (folder / "takes").mkdir(parents=True)
    content, style = folder / "song.wav", folder / "strings.wav"
    y = take_noise(seconds, sr)
    sf.write(content, y * 0.05, sr)
    sf.write(style, make_noise(seconds, sr), sr)
    outputs = []
    for i in range(n):
        strength = round((i + 1) / n, 3)
        output = folder / "takes" / f"song__strings-strength-{strength:g}.wav"
        sf.write(output, y * take_level(i), sr)
        values = {"parameters": {**SMALL.to_dict(), "strength": strength}, **changes}
        record = make_record(content, style, output, seconds, **values)
        record["content"] |= {"samples": round(seconds * sr), "sr": sr}
        record_path(output).write_text(json.dumps(record))
        outputs.append(output)
    return outputs


def take_noise(seconds: float, sr: int = SR) -> np.ndarray:
    """Make noise of a steady level, whose position can be found from any part of it."""
    white = np.random.default_rng(3).standard_normal(round(seconds * sr) + 7)
    return (0.4 * np.convolve(white, np.ones(8) / 8, mode="valid")).astype(np.float32)


def take_level(i: int) -> float:
    """Return the level of a take of `make_takes`, relative to its noise."""
    return 0.2 + 0.1 * i


def change_record(output: Path, /, **changes: Any) -> None:
    """Change values of a record; dictionaries are merged."""
    record = json.loads(record_path(output).read_text())
    for key, value in changes.items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    record_path(output).write_text(json.dumps(record))


def make_row(i: int, n_contents: int, **changes: Any) -> dict[str, Any]:
    """Make a row of a batch as `audiostyle.batch.results` writes it; every 50th failed."""
    content, style = i % n_contents, i // n_contents
    genres = GENRES[content % 2], GENRES[1 + style % 2]
    row: dict[str, Any] = {
        **{"pair": f"{content:03d}__{style:03d}.wav", "status": "done", "kind": "", "reason": ""},
        **{"content": f"contents/{content:03d}.wav", "style": f"styles/{style:03d}.wav"},
        **{"content_genre": genres[0], "style_genre": genres[1], "seconds": 5.0 + i % 7},
        **{"score_score": round((i * 37 % 1000) / 1000, 3), "score_style": 0.5},
        **{"score_content": 0.75, "score_copying": 0.0},
    }
    if i % 50 == 49:
        scores = [name for name in row if name.startswith("score_")]
        row |= {"status": "failed", "kind": "silent", "reason": "is silent & <empty>"}
        row |= dict.fromkeys(scores)
    return row | changes


def make_batch(
    folder: Path, n: int, n_contents: int = 25, sounds: Mapping[int, Path] | None = None
) -> Path:
    """Write the folder of a batch: rows, records, and sounds, each a copy of one of `sounds`."""
    rows = [make_row(i, n_contents) for i in range(n)]
    folder.mkdir(parents=True)
    for sub in ("contents", "styles"):
        (folder.parent / sub).mkdir(exist_ok=True)
    given = sounds or {}
    for i, row in enumerate(rows):
        paths = [folder.parent / row["content"], folder.parent / row["style"], folder / row["pair"]]
        if row["status"] != "done":
            continue
        for k, path in enumerate(paths):
            if given and not path.exists():
                shutil.copyfile(given[(i + k) % len(given)], path)
        record = make_record(*paths, 1.0, losses=make_losses(12, 1 + i / n))
        record_path(paths[2]).write_text(json.dumps(record))
    results.write_results(folder, rows)
    return folder


def white_spectrogram(rng: np.random.Generator, columns: int = 512) -> np.ndarray:
    """Make the spectrogram that compresses worst: independent values everywhere."""
    return rng.uniform(-80, 15, (256, columns)).astype(np.float32)
