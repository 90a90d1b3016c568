"""Write ``tests/core/golden.json``: results of small transfers, to compare other versions with.

Run after a change that is meant to change results::

    python tools/golden.py

With ``--compare``, nothing is written; the deviation of this machine and its installed versions
from the file is printed. ``--threads N`` computes with N threads.
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
from audiostyle.files.record import package_versions

Array = npt.NDArray[Any]

FILE = Path(__file__).resolve().parents[1] / "tests" / "core" / "golden.json"
PRESETS = ("fast", "classic")
SR = 22050
SECONDS = 1.5
STEPS = 5
FRAME = 2048
EDGES_HZ = (60, 250, 500, 1000, 2000, 4000, 8000)
SEGMENTS = 5
FLOOR_DB = -70.0  # lower levels are not compared
TERMS = ("total", "content", "style")


def make_content() -> Array:
    """Synthesize three decaying chords."""
    t = np.arange(round(SECONDS * SR)) / SR
    y = np.zeros_like(t)
    for i, root in enumerate((220.0, 277.2, 329.6)):
        since = t - i * SECONDS / 3
        envelope = np.where(since >= 0, np.exp(-5 * np.maximum(since, 0)), 0)
        for partial in range(1, 7):
            y += envelope * np.sin(2 * np.pi * root * partial * t + partial) / partial
    return (0.1 * y).astype(np.float32)


def make_style() -> Array:
    """Synthesize pulsed chirps, without random numbers, which may differ between versions."""
    t = np.arange(round(SECONDS * SR)) / SR
    pulses = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 6 * t))
    y = sum(np.sin(2 * np.pi * (f * t + 300 * k * t**2)) for k, f in enumerate((700, 1900, 3300)))
    return (0.1 * pulses * y).astype(np.float32)


def measure(preset: str, threads: int = 0, **changes: Any) -> dict[str, Any]:
    """Run a transfer of a preset with `changes`, and describe the result.

    ``losses`` holds the losses of every step by term, ``bands_db`` levels in time and frequency.
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
    """Measure the levels of a clip [shape=(n,)] in bands and segments, with plain NumPy.

    Returns
    -------
    np.ndarray [shape=(6, SEGMENTS), dB]
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
    """Return the deviation of one description by `measure` from another.

    Returns
    -------
    start, losses : float
        Largest differences of the losses before the first step and of all steps, relative to the
        total loss of the step.
    level : float, in dB
        Largest difference of levels that are above `FLOOR_DB` in either.
    """
    totals = np.asarray(golden["losses"]["total"])
    differences = [
        np.abs(np.subtract(found["losses"][term], golden["losses"][term])) / totals
        for term in TERMS
    ]
    ours, theirs = np.asarray(found["bands_db"]), np.asarray(golden["bands_db"])
    audible = np.maximum(ours, theirs) > FLOOR_DB
    level = np.abs(ours - theirs)[audible].max()
    return float(np.max(differences, axis=0)[0]), float(np.max(differences)), float(level)


def main() -> None:
    """Write the file, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compare", action="store_true", help="print the deviation instead")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    found = {preset: measure(preset, options.threads) for preset in PRESETS}
    if options.compare:
        golden = json.loads(FILE.read_text())
        for preset in PRESETS:
            start, losses, level = deviation(found[preset], golden[preset])
            print(f"{preset}: start {start:.1e}, losses {losses:.1e}, levels {level:.3f} dB")
        return
    about = {"versions": package_versions("librosa", "numpy", "soundfile"), **found}
    del about["versions"]["platform"]
    FILE.write_text(json.dumps(about, indent=1) + "\n")
    print(f"wrote {FILE.name}")


if __name__ == "__main__":
    main()
