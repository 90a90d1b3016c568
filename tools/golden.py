"""Write ``tests/golden.json``: what a small transfer gives, to be compared with other versions.

Run it where a result was changed on purpose::

    python tools/golden.py

With ``--compare`` nothing is written: it prints how far this machine, with these versions, is from
what is written there. ``--threads N`` computes with N threads.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import audiostyle
from audiostyle import TransferConfig
from audiostyle.files import record

Array = npt.NDArray[Any]

FILE = Path(__file__).resolve().parents[1] / "tests" / "core" / "golden.json"
PRESETS = ("fast", "classic")
SR = 22050
SECONDS = 1.5
STEPS = 5
FRAME = 2048
EDGES_HZ = (60, 250, 500, 1000, 2000, 4000, 8000)
SEGMENTS = 5
FLOOR_DB = -70.0  # what is quieter is not compared
TERMS = ("total", "content", "style")


def make_content() -> Array:
    """Synthesise three decaying chords."""
    t = np.arange(round(SECONDS * SR)) / SR
    y = np.zeros_like(t)
    for i, root in enumerate((220.0, 277.2, 329.6)):
        since = t - i * SECONDS / 3
        envelope = np.where(since >= 0, np.exp(-5 * np.maximum(since, 0)), 0)
        for partial in range(1, 7):
            y += envelope * np.sin(2 * np.pi * root * partial * t + partial) / partial
    return (0.1 * y).astype(np.float32)


def make_style() -> Array:
    """Synthesise pulsed chirps without random numbers, which other versions may draw otherwise."""
    t = np.arange(round(SECONDS * SR)) / SR
    pulses = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 6 * t))
    y = sum(np.sin(2 * np.pi * (f * t + 300 * k * t**2)) for k, f in enumerate((700, 1900, 3300)))
    return (0.1 * pulses * y).astype(np.float32)


def measure(preset: str, threads: int = 0, **changes: Any) -> dict[str, Any]:
    """Transfer, and describe the result.

    Parameters
    ----------
    preset : str
    threads : int
    **changes
        Of the preset.

    Returns
    -------
    dict
        ``losses``: of every step, by term. ``bands_db``: the level in six bands of five stretches.
    """
    fixed = {"precision": "float32", "iterations": STEPS, "tolerance": 0.0}
    config = TransferConfig.from_preset(preset, **fixed, inversion_iterations=16, **changes)
    result = audiostyle.transfer(
        make_content(), make_style(), SR, config, device="cpu", threads=threads
    )
    assert result.y is not None
    losses = {term: [float(getattr(i, term)) for i in result.history] for term in TERMS}
    return {"losses": losses, "bands_db": levels(result.y).tolist()}


def levels(y: Array) -> Array:
    """Level of a clip in bands and stretches, by plain NumPy.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(6, 5), dB]
    """
    n = len(y) // FRAME
    power = np.abs(np.fft.rfft(y[: n * FRAME].reshape(n, FRAME) * np.hanning(FRAME))) ** 2
    hertz = np.fft.rfftfreq(FRAME, 1 / SR)
    found = [
        [
            part[:, (hertz >= low) & (hertz < high)].sum() / len(part) / FRAME**2
            for part in np.array_split(power, SEGMENTS)
        ]
        for low, high in itertools.pairwise(EDGES_HZ)
    ]
    return np.round(10 * np.log10(np.maximum(found, 1e-12)), 3)


def deviation(found: dict[str, Any], golden: dict[str, Any]) -> tuple[float, float, float]:
    """Say how far two descriptions are from each other.

    Parameters
    ----------
    found, golden : dict
        From `measure`.

    Returns
    -------
    start, losses : float
        Largest difference of the losses before the first step and of all steps, relative to the
        total loss of the step.
    level : float, in dB
        Largest difference of the levels that are above `FLOOR_DB` in either.
    """
    totals = np.asarray(golden["losses"]["total"])
    apart = [
        np.abs(np.subtract(found["losses"][term], golden["losses"][term])) / totals
        for term in TERMS
    ]
    ours, theirs = np.asarray(found["bands_db"]), np.asarray(golden["bands_db"])
    heard = np.maximum(ours, theirs) > FLOOR_DB
    level = np.abs(ours - theirs)[heard].max()
    return float(np.max(apart, axis=0)[0]), float(np.max(apart)), float(level)


def main() -> None:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    found = {preset: measure(preset, asked.threads) for preset in PRESETS}
    if asked.compare:
        golden = json.loads(FILE.read_text())
        for preset in PRESETS:
            start, losses, level = deviation(found[preset], golden[preset])
            print(f"{preset}: start {start:.1e}, losses {losses:.1e}, levels {level:.3f} dB")
        return
    about = {"versions": record.package_versions("librosa", "numpy", "soundfile"), **found}
    del about["versions"]["platform"]
    FILE.write_text(json.dumps(about, indent=1) + "\n")
    print(f"wrote {FILE.name}")


if __name__ == "__main__":
    main()
