"""The part of a checkup that is about sound files: what is read and written here, by trying it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from audiostyle.doctor.packages import CheckResult

FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")  # that people ask for
SR = 22_050
ERROR = 0.05  # of full scale: lossy formats are not exact


def check_formats() -> Iterator[CheckResult]:
    """Write and read a sound in each of `FORMATS`, and list what else there is.

    Yields
    ------
    Finding
    """
    try:
        import soundfile

        known = sorted(soundfile.available_formats())
    except Exception as error:  # OSError without the library, or whatever ctypes makes of it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remedy = "pip install --force-reinstall soundfile, or install libsndfile"
        yield CheckResult("formats", "libsndfile", "fault", f"cannot be used ({reason})", remedy)
        return
    text = f"{soundfile.__libsndfile_version__}, {len(known)} formats"
    yield CheckResult("formats", "libsndfile", "ok", text)
    for name in FORMATS:
        reason = _try(soundfile, name)
        state = "ok" if not reason else "fault" if name == "WAV" else "note"
        remedy = "convert such files, or install a newer soundfile" if reason else ""
        yield CheckResult("formats", name, state, reason or "read and written", remedy)
    yield CheckResult("formats", "others", "ok", ", ".join(x for x in known if x not in FORMATS))


def _try(soundfile: Any, name: str) -> str:
    """Write a second of a tone and read it; return what is wrong with it, or nothing."""
    import numpy as np

    y = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SR) / SR)
    memory = io.BytesIO()
    try:
        soundfile.write(memory, y, SR, format=name)
        memory.seek(0)
        back, sr = soundfile.read(memory)
    except Exception as error:  # formats that are not built in fail in several ways
        return f"neither read nor written ({' '.join(str(error).split())})"
    if sr != SR or len(back) < SR:
        return f"read back as {len(back)} samples at {sr} Hz, not {SR} at {SR} Hz"
    # A codec may delay what it holds: levels are compared, not samples.
    difference = float(abs(np.sqrt(np.mean(back**2)) - np.sqrt(np.mean(y**2))))
    return "" if difference < ERROR else f"read back {difference:.2f} of full scale off in level"
