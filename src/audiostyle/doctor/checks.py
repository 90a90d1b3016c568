"""Checks of an installation: packages, system, formats, weights, and a self-test.

What loads TensorFlow runs in its own process (`audiostyle.doctor.selftest`): a broken TensorFlow
may end its process, and the report must survive that.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.metadata import metadata as read_metadata
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.errors import DeviceError, OutputError, WeightsError
from audiostyle.nn import device
from audiostyle.utils import memory
from audiostyle.utils.lazy_imports import load_matplotlib
from audiostyle.utils.sizes import format_size

PACKAGE = "audiostyle"
DEVELOPER_EXTRAS = ("bench", "dev", "gpu-step")
FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")
# Decoders of FFmpeg, by the files that need them.
DECODERS = {"MP3": "mp3float", "M4A and MP4": "aac", "WebM": "opus", "WMA": "wmav2", "AMR": "amrnb"}
FORMAT_SR = 22_050
LEVEL_TOLERANCE = 0.05  # of full scale: lossy formats are not exact
SELFTEST_SECONDS = 300.0  # the first import after an installation compiles a lot
MEMORY_BYTES = 2 << 30  # `balanced` takes 1.6 GB, an hour of audio 1.8 GB
DISK_BYTES = 1 << 30
TENSORFLOW_REMEDY = (
    "pip install --force-reinstall tensorflow; it needs a processor with AVX, and memory"
)


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    section: str
    name: str
    state: str  # ok; note: could be better; absent: optional; fault: no transfer is possible
    text: str  # what was found, in one line
    remedy: str = ""  # what to do about it, in one line


def describe_error(error: Exception) -> str:
    """Return the type and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def run_checks(self_test: bool = True) -> list[CheckResult]:
    """Run all checks, and a small transfer if `self_test`; raise nothing for what is broken."""
    return [
        *check_packages(),
        *check_system(),
        *check_resources(),
        *check_formats(),
        check_figures(),
        *check_weights(),
        *run_selftest(self_test),
    ]


def check_packages() -> Iterator[CheckResult]:
    """Compare the installed packages with the version ranges in the metadata of audiostyle."""
    try:
        lines = requires(PACKAGE) or []
        python = str(read_metadata(PACKAGE)["Requires-Python"] or "")
    except PackageNotFoundError:
        lines, python = [], ""
    yield CheckResult("packages", PACKAGE, "ok", audiostyle.__version__)
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet
    except ImportError:
        text, remedy = "not installed: version ranges are not checked", "pip install packaging"
        yield CheckResult("packages", "packaging", "fault", text, remedy)
        return
    if not lines:
        text = "audiostyle is not installed: version ranges are unknown"
        yield CheckResult("packages", "ranges", "note", text, "pip install . in its folder")
    found = platform.python_version()
    if SpecifierSet(python).contains(found, prereleases=True):
        yield CheckResult("packages", "python", "ok", _version_text(found, python))
    else:
        remedy = "create an environment with a Python in that range"
        yield CheckResult("packages", "python", "fault", _version_text(found, python), remedy)
    for line in lines:
        requirement = Requirement(line)
        named = re.search(r'extra == "(.+?)"', str(requirement.marker or ""))
        extra = named[1] if named else None  # None: always required
        if requirement.name == PACKAGE or extra in DEVELOPER_EXTRAS:
            continue
        if extra is None and requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # for another Python or another system
        yield _check_requirement(requirement, extra)


def _check_requirement(requirement: Any, extra: str | None) -> CheckResult:
    name, ranges = requirement.name, str(requirement.specifier)
    label = f"{name}[{','.join(sorted(requirement.extras))}]" if requirement.extras else name
    remedy = f"pip install '{name}{ranges}'"
    if extra is not None:
        label, remedy = f"{label} ({extra})", f"pip install '{PACKAGE}[{extra}]'"
    try:
        found = version(name)
    except PackageNotFoundError:
        if extra is not None:
            return CheckResult("packages", label, "absent", f"for {extra}", remedy)
        return CheckResult("packages", label, "fault", "not installed", remedy)
    text = _version_text(found, ranges)
    missing = _missing_of_extras(requirement)
    if missing:  # whether those that are there work is the result of the device check
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return CheckResult("packages", label, "absent", f"without {missing[0]}{more}", remedy)
    optional = requirement.extras and extra is not None
    if optional or requirement.specifier.contains(found, prereleases=True):
        return CheckResult("packages", label, "ok", text)
    return CheckResult("packages", label, "note", text, remedy)  # untested, but it may work


def _missing_of_extras(requirement: Any) -> list[str]:
    """Return what the extras of an installed package, such as tensorflow[and-cuda], lack."""
    missing = []
    for line in requires(requirement.name) or [] if requirement.extras else []:
        needed = type(requirement)(line)
        marker = needed.marker
        if marker is None or marker.evaluate({"extra": ""}):
            continue
        if any(marker.evaluate({"extra": extra}) for extra in requirement.extras):
            try:
                fits = needed.specifier.contains(version(needed.name), prereleases=True)
            except PackageNotFoundError:
                fits = False
            if not fits:  # a GPU needs all of them, in these versions
                missing.append(f"{needed.name}{needed.specifier}")
    return missing


def _version_text(found: str, ranges: str) -> str:
    return f"{found} ({ranges})" if ranges else found


def check_system() -> Iterator[CheckResult]:
    """Describe the platform and the processor cores."""
    yield CheckResult("system", "platform", "ok", f"{platform.platform()}, {platform.machine()}")
    cores, all_cores = device.count_cores(), os.cpu_count() or 1
    limit = "" if cores == all_cores else f" of {all_cores}: this process may use no more"
    yield CheckResult("system", "threads", "ok", f"{cores} cores{limit}; --threads N uses fewer")
    if sys.platform == "win32":
        text = "TensorFlow computes on the processor only"
        remedy = "for an NVIDIA GPU: wsl --install, then pip install 'audiostyle[cuda]' inside WSL"
        yield CheckResult("system", "Windows", "note", text, remedy)
    elif "microsoft" in platform.release().lower():
        text = "files below /mnt are slow, and file locks there may not work"
        remedy = "keep clips and outputs below ~; install no GPU driver in WSL: Windows has it"
        yield CheckResult("system", "WSL", "note", text, remedy)


def check_resources() -> Iterator[CheckResult]:
    """Compare memory and disk space with the needs of a transfer."""
    yield _check_memory()
    # Large intermediate files lie beside the output; few libraries need others.
    remedy = "set TMPDIR to a folder that can be written"
    yield _check_folder("temporary files", tempfile.gettempdir, remedy)
    yield _check_folder("this folder", os.getcwd, "write outputs elsewhere")
    # librosa and Matplotlib keep what they compile or draw with there, unless these are set.
    if not {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"} <= os.environ.keys():
        remedy = "a start takes longer: set HOME, or NUMBA_CACHE_DIR and MPLCONFIGDIR"
        yield _check_folder("home", lambda: os.path.expanduser("~"), remedy)


def _check_memory() -> CheckResult:
    try:
        memory.check_memory()
    except DeviceError as error:
        return CheckResult("system", "memory", "fault", str(error), "raise the limit")
    free = available_memory()
    if free is None:
        return CheckResult("system", "memory", "ok", "the free memory is unknown on this system")
    text = f"{format_size(free)} free"
    if free >= MEMORY_BYTES:
        return CheckResult("system", "memory", "ok", text)
    remedy = "a transfer takes 2 GB: close programs, or use --preset fast"
    return CheckResult("system", "memory", "note", text, remedy)


def available_memory() -> int | None:
    """Return how many bytes of memory this process may still use; None if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(s.split()[1]) << 10 for s in lines if s.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    found += memory.memory_limits().values()  # a container may have less than its machine
    return min(found, default=None)


def _check_folder(name: str, find: Callable[[], str], remedy: str) -> CheckResult:
    """Check the folder that `find` returns; one that cannot be written is a note."""
    folder = "the folder"
    try:
        folder = find()
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"audiostyle")
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror})"
        return CheckResult("system", name, "note", text, remedy)
    text = f"{folder}, {format_size(free)} free"
    if free < DISK_BYTES:
        remedy = "an hour of stereo takes 1 GB: free some space"
        return CheckResult("system", name, "note", text, remedy)
    return CheckResult("system", name, "ok", text)


def check_formats() -> Iterator[CheckResult]:
    """Write and read one second of audio in each of `FORMATS`, and list the other formats."""
    try:
        import soundfile

        known = sorted(soundfile.available_formats())
    except Exception as error:  # an OSError if libsndfile is missing, or any error of ctypes
        text = f"cannot be used ({describe_error(error)})"
        remedy = "pip install --force-reinstall soundfile, or install libsndfile"
        yield CheckResult("formats", "libsndfile", "fault", text, remedy)
        return
    text = f"{soundfile.__libsndfile_version__}, {len(known)} formats"
    yield CheckResult("formats", "libsndfile", "ok", text)
    for name in FORMATS:
        problem = _try_format(soundfile, name)
        state = "ok" if not problem else "fault" if name == "WAV" else "note"
        remedy = "convert such files, or install a newer soundfile" if problem else ""
        yield CheckResult("formats", name, state, problem or "read and written", remedy)
    yield CheckResult("formats", "others", "ok", ", ".join(x for x in known if x not in FORMATS))
    yield _check_ffmpeg()


def _check_ffmpeg() -> CheckResult:
    """Check that FFmpeg, which comes with PyAV, has its decoders."""
    try:
        import av

        missing = [files for files, codec in DECODERS.items() if codec not in av.codecs_available]
        version = ".".join(map(str, av.library_versions["libavcodec"]))
    except Exception as error:  # an OSError or ImportError if a library is missing or broken
        text = f"cannot be used ({describe_error(error)})"
        return CheckResult("formats", "FFmpeg", "fault", text, "pip install --force-reinstall av")
    text = f"libavcodec {version} of PyAV {av.__version__}"
    if missing:
        text += f", without decoders of {', '.join(missing)}"
        return CheckResult("formats", "FFmpeg", "note", text, "pip install --force-reinstall av")
    return CheckResult("formats", "FFmpeg", "ok", f"{text}; reads {', '.join(DECODERS)} and others")


def _try_format(soundfile: Any, name: str) -> str:
    """Write a tone and read it back; return what is wrong, or an empty string."""
    import numpy as np

    y = 0.5 * np.sin(2 * np.pi * 440 * np.arange(FORMAT_SR) / FORMAT_SR)
    file = io.BytesIO()
    try:
        soundfile.write(file, y, FORMAT_SR, format=name)
        file.seek(0)
        back, sr = soundfile.read(file)
    except Exception as error:  # missing formats raise various errors
        return f"neither read nor written ({' '.join(str(error).split())})"
    if sr != FORMAT_SR or len(back) < FORMAT_SR:
        return f"read back as {len(back)} samples at {sr} Hz, not {FORMAT_SR} at {FORMAT_SR} Hz"
    # A codec may delay the signal, so levels are compared, not samples.
    difference = float(abs(np.sqrt(np.mean(back**2)) - np.sqrt(np.mean(y**2))))
    if difference >= LEVEL_TOLERANCE:
        return f"read back {difference:.2f} of full scale off in level"
    return ""


def check_figures() -> CheckResult:
    """Draw a small figure as ``--plot`` does."""
    try:
        matplotlib = load_matplotlib()
        matplotlib.figure.Figure().savefig(io.BytesIO(), format="png")
    except OutputError as error:  # which names the remedy
        return CheckResult("formats", "figures", "note", str(error), "without it, --plot fails")
    except Exception as error:  # of a broken installation
        remedy = "pip install --force-reinstall matplotlib; without it, --plot fails"
        return CheckResult("formats", "figures", "note", describe_error(error), remedy)
    return CheckResult("formats", "figures", "ok", f"drawn by Matplotlib {matplotlib.__version__}")


def check_weights() -> Iterator[CheckResult]:
    """Compare the weights files with their published digests."""
    try:
        from audiostyle.nn import weights

        problems = weights.check_shipped()
    except (WeightsError, ImportError) as error:
        yield CheckResult("weights", "manifest", "fault", str(error), "reinstall audiostyle")
        return
    for name, problem in problems.items():
        if problem:
            yield CheckResult("weights", name, "fault", problem, "reinstall audiostyle")
        else:
            yield CheckResult("weights", name, "ok", "as published (SHA-256)")


def run_selftest(self_test: bool = True, seconds: float | None = None) -> list[CheckResult]:
    """Run `audiostyle.doctor.selftest` in its own process, for at most `seconds`.

    Returns its results, and one that says how the process ended if it ended early.
    """
    # The parent folder of this package replaces the current folder as the first of sys.path.
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path[0] = {root!r}; from audiostyle.doctor import selftest; "
    command = [sys.executable, "-c", code + f"selftest.main({self_test})"]
    seconds = SELFTEST_SECONDS if seconds is None else seconds
    text, remedy = "", TENSORFLOW_REMEDY
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        output = done.stdout
        if done.returncode < 0:
            text = f"ended its process with signal {-done.returncode}"
        elif done.returncode > 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [""]
            text = f"ended its process with code {done.returncode} ({last[0]})"
    except OSError as error:  # no interpreter, or one that this user may not start
        output, text = b"", f"cannot start {sys.executable or 'Python'} ({error.strerror})"
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        text = f"did not end within {seconds:g} s"
        remedy = f"close other programs and try again; if that does not help: {TENSORFLOW_REMEDY}"
    lines = output.decode(errors="replace").splitlines()
    results = [CheckResult(**json.loads(line)) for line in lines if line.startswith('{"section"')]
    if text:
        imported = any(result.name == "TensorFlow" for result in results)
        name = "self-test" if imported else "TensorFlow"
        results.append(CheckResult("TensorFlow", name, "fault", text, remedy))
    return results
