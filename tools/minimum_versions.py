"""Run a part of the tests with the lowest versions that ``pyproject.toml`` allows.

    python tools/minimum_versions.py [FOLDER]

Creates an environment in FOLDER (``build/minimum``) with the oldest supported Python that is
installed. Of every dependency, the last patch release of the lowest version is taken: 2.16.2 for
``tensorflow>=2.16``. Without a supported Python nothing is tested.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.10", "python3.11", "python3.12")  # the versions that TensorFlow 2.16 supports
TESTS = (
    "tests/audio",
    "tests/dsp",
    "tests/nn",
    "tests/utils",
    "tests/batch/test_journal.py",
    "tests/batch/test_locks.py",
    "tests/core/test_golden.py",
    "tests/files/test_style_file.py",
)
EXTRAS = ("evaluate",)
TOOLS = ("hypothesis", "pytest")


def lowest(requirement: str) -> str:
    """Pin a requirement to the lower end of its range.

    Examples
    --------
    >>> lowest("librosa>=0.10.2,<1"), lowest("tomli>=2,<3; python_version < '3.11'")
    ('librosa==0.10.2.*', "tomli==2.*; python_version < '3.11'")
    """
    match = re.fullmatch(r"([\w-]+)>=([\d.]+)[^;]*(;.*)?", requirement.strip())
    if match is None:
        raise ValueError(f"{requirement!r} must have a lower bound, as name>=1.2")
    name, version, condition = match.groups()
    return f"{name}=={version}.*{condition or ''}"


def requirements() -> list[str]:
    """Return the pinned requirements of the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(r for extra in EXTRAS for r in extras[extra])]
    needed += [r for r in extras["dev"] if r.startswith(TOOLS)]
    return [lowest(requirement) for requirement in needed]


def runs(python: str) -> bool:
    """Whether an interpreter works; a shim on the PATH may not."""
    return subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0


def main() -> int:
    """Create the environment if it does not exist, and run the tests in it."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "minimum").resolve()
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    found = next((path for path in map(shutil.which, PYTHONS) if path and runs(path)), None)
    if found is None:
        print(f"none of {', '.join(PYTHONS)} is installed: the lowest versions were not tested")
        return 0
    pins = requirements()
    listed = folder / "pins.txt"
    if not listed.exists() or listed.read_text().split("\n") != pins:
        subprocess.run([found, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        listed.write_text("\n".join(pins))
    subprocess.run([python, "-m", "pip", "freeze"], check=True)
    path = os.pathsep.join(map(str, (ROOT / "src", ROOT)))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [python, "-m", "pytest", "-q", "-m", "not slow", *TESTS]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
