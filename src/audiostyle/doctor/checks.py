"""Find out whether audiostyle can work here, and what would make it work better.

Nothing is printed. What loads TensorFlow runs in a process of its own (`audiostyle.doctor.selftest`):
a TensorFlow that is broken may end its process, and must not take the answer with it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.doctor import formats, packages
from audiostyle.doctor.packages import CheckResult
from audiostyle.errors import DeviceError, WeightsError
from audiostyle.nn import device
from audiostyle.utils import memory

SCHEMA = 1
PROBE_SECONDS = 300.0  # the first import after an installation compiles a lot
MEMORY_BYTES = 2 << 30  # `balanced` takes 1.6 GB, an hour of sound 1.8 GB
DISK_BYTES = 1 << 30


@dataclass(frozen=True)
class DoctorReport:
    """What was found.

    Attributes
    ----------
    findings : list of Finding
        Grouped by section, in the order in which they are to be shown.
    """

    findings: list[CheckResult]

    @property
    def usable(self) -> bool:
        """Whether a transfer can be made: nothing found is a fault."""
        return all(finding.state != "fault" for finding in self.findings)

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON.

        Returns
        -------
        dict of str to object
        """
        return {
            "schema": SCHEMA,
            "audiostyle": audiostyle.__version__,
            "usable": self.usable,
            "findings": [asdict(finding) for finding in self.findings],
        }


def run_checks(self_test: bool = True) -> DoctorReport:
    """Look at packages, devices, formats, weights, memory and disk, and make a tiny transfer.

    Parameters
    ----------
    self_test : bool
        Whether to make the transfer; some seconds.

    Returns
    -------
    Checkup
        Of whatever could be found out; no error is raised for what is broken.
    """
    return DoctorReport(
        [
            *packages.check_packages(),
            *check_system(),
            *check_resources(),
            *formats.check_formats(),
            *check_weights(),
            *run_selftest(self_test),
        ]
    )


def check_system() -> Iterator[CheckResult]:
    """Name the system, and what is special about it.

    Yields
    ------
    Finding
    """
    yield CheckResult("system", "platform", "ok", f"{platform.platform()}, {platform.machine()}")
    cores, all_cores = device.count_cores(), os.cpu_count() or 1
    of = "" if cores == all_cores else f" of {all_cores}: this process may use no more"
    yield CheckResult("system", "threads", "ok", f"{cores} cores{of}; --threads N takes fewer")
    if sys.platform == "win32":
        yield CheckResult(
            "system",
            "Windows",
            "note",
            "TensorFlow computes on the processor only",
            "for an NVIDIA GPU: wsl --install, then pip install 'audiostyle[cuda]' in there",
        )
    elif "microsoft" in platform.release().lower():
        yield CheckResult(
            "system",
            "WSL",
            "note",
            "files below /mnt are slow, and their locks may not hold",
            "keep clips and outputs below ~; install no driver here: Windows has it",
        )


def check_resources() -> Iterator[CheckResult]:
    """Compare memory and disk with what a transfer takes.

    Yields
    ------
    Finding
    """
    yield _check_memory()
    for name, folder in (("temporary files", tempfile.gettempdir()), ("this folder", os.getcwd())):
        yield _check_folder(name, folder)


def _check_memory() -> CheckResult:
    try:
        memory.check_memory()
    except DeviceError as error:
        return CheckResult("system", "memory", "fault", str(error), "raise the limit")
    free = available_memory()
    if free is None:
        return CheckResult("system", "memory", "ok", "the system does not say how much is free")
    text = f"{free / (1 << 30):.1f} GB free"
    if free >= MEMORY_BYTES:
        return CheckResult("system", "memory", "ok", text)
    remedy = "a transfer takes 2 GB: close programs, or use --preset fast"
    return CheckResult("system", "memory", "note", text, remedy)


def _check_folder(name: str, folder: str) -> CheckResult:
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"audiostyle")
    except OSError as error:
        # Only what every transfer needs is a fault; results may go elsewhere.
        state = "fault" if name == "temporary files" else "note"
        text = f"{folder} cannot be written ({error.strerror})"
        remedy = (
            "set TMPDIR to a folder that can" if state == "fault" else "write outputs elsewhere"
        )
        return CheckResult("system", name, state, text, remedy)
    text = f"{folder}, {free / (1 << 30):.1f} GB free"
    if free < DISK_BYTES:
        return CheckResult("system", name, "note", text, "an hour of stereo takes 1 GB: free some")
    return CheckResult("system", name, "ok", text)


def available_memory() -> int | None:
    """Return how much memory this process may still take, in bytes; None if nobody says.

    Returns
    -------
    int or None
    """
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(s.split()[1]) << 10 for s in lines if s.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    found += memory.memory_limits().values()  # a container may have less than its machine
    return min(found, default=None)


def check_weights() -> Iterator[CheckResult]:
    """Compare the weights with their published digests.

    Yields
    ------
    Finding
    """
    try:
        from audiostyle.nn import weights

        found = weights.check_shipped()
    except (WeightsError, ImportError) as error:
        yield CheckResult("weights", "manifest", "fault", str(error), "reinstall audiostyle")
        return
    for name, wrong in found.items():
        remedy = "reinstall audiostyle" if wrong else ""
        state = "fault" if wrong else "ok"
        yield CheckResult("weights", name, state, wrong or "as published (SHA-256)", remedy)


def run_selftest(self_test: bool = True, seconds: float = PROBE_SECONDS) -> list[CheckResult]:
    """Load TensorFlow, ask for its devices and make a tiny transfer, in a process of its own.

    Parameters
    ----------
    self_test : bool
    seconds : float > 0
        How long it may take.

    Returns
    -------
    list of Finding
        What was said before it ended, and how it ended if that was too soon.
    """
    # The folder of this package stands for the current one, whatever that holds.
    root = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path[0] = {root!r}; from audiostyle.doctor import selftest; "
    command = [sys.executable, "-c", code + f"selftest.main({self_test})"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        output, errors, code_of = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        output, errors, code_of = error.stdout or b"", b"", None
    lines = output.decode(errors="replace").splitlines()
    found = [CheckResult(**json.loads(line)) for line in lines if line.startswith('{"section"')]
    if code_of == 0:
        return found
    return [*found, _explain_end(found, errors.decode(errors="replace"), code_of, seconds)]


def _explain_end(
    found: list[CheckResult], errors: str, code: int | None, seconds: float
) -> CheckResult:
    name = "self-test" if any(f.name == "TensorFlow" for f in found) else "TensorFlow"
    if code is None:
        text = f"did not end within {seconds:g} s"
    elif code < 0:
        text = f"ended its process with signal {-code}"
    else:
        last = errors.strip().splitlines()[-1:] or [""]
        text = f"ended its process with code {code} ({last[0]})"
    remedy = "pip install --force-reinstall tensorflow; it needs a processor with AVX, and memory"
    return CheckResult("TensorFlow", name, "fault", text, remedy)
