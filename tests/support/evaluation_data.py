"""A content and a style with known measures, and the record of an excerpt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf

from audiostyle.utils import atomic_files
from tests.conftest import SR, make_noise, make_tones

Array = npt.NDArray[Any]

CONTENT = np.concatenate([make_tones(1.5), make_tones(1.5, base=330.0)])
STYLE = np.concatenate([make_noise(2.0), 0.3 * make_noise(1.5, seed=3)]) + 0.5 * np.concatenate(
    [make_tones(1.8, base=233.1), make_tones(1.7, base=277.2)]
)


def write(path: Path, y: Array, sr: int = SR) -> None:
    sf.write(path, y.T, sr, subtype="FLOAT")


def record_for(output: Path, content: Path, start: int, samples: int, /, **changes: Any) -> None:
    """Write a record beside an output, as a transfer of an excerpt does."""
    record = {
        "output": {"sha256": atomic_files.file_digest(output)},
        "content": {
            "path": str(content),
            "sha256": atomic_files.file_digest(content),
            "sr": SR,
            "start_sample": start,
            "samples": samples,
        },
        "request": {"start": 0.0, "duration": None, "preview": samples / SR},
        "inversion_convergence_db": -12.34,
    }
    atomic_files.record_path(output).write_text(json.dumps({**record, **changes}))


def write_clips(folder: Path) -> None:
    """Write ``content.wav``, ``style.wav`` and half of each, ``mixed.wav``."""
    write(folder / "content.wav", CONTENT)
    write(folder / "style.wav", STYLE)
    write(folder / "mixed.wav", 0.5 * CONTENT + 0.5 * STYLE[: CONTENT.size])
