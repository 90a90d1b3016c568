"""Install the lowest versions that ``pyproject.toml`` allows, and run a part of the tests.

    python tools/minimum_versions.py [FOLDER]

The environment is made in FOLDER (``build/minimum``), with the oldest Python that is found and that
those versions know. Of every dependency the last correction of the lowest version is taken: of
``tensorflow>=2.16`` that is 2.16.2. Where no such Python is found, that is said, and nothing is
tried.
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
PYTHONS = ("python3.10", "python3.11", "python3.12")  # TensorFlow 2.16 knows none after these
TESTS = ("golden", "audio", "networks", "spectral", "streams", "style_file", "journal", "regular")
EXTRAS = ("evaluate",)
TOOLS = ("hypothesis", "pytest")


def lowest(requirement: str) -> str:
    """Turn a range into its lower end.

    Examples
    --------
    >>> lowest("librosa>=0.10.2,<1"), lowest("tomli>=2,<3; python_version < '3.11'")
    ('librosa==0.10.2.*', "tomli==2.*; python_version < '3.11'")
    """
    match = re.fullmatch(r"([\w-]+)>=([\d.]+)[^;]*(;.*)?", requirement.strip())
    if match is None:
        raise ValueError(f"{requirement!r} has no lower bound that can be read")
    name, version, condition = match.groups()
    return f"{name}=={version}.*{condition or ''}"


def requirements() -> list[str]:
    """Read what has to be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(r for extra in EXTRAS for r in extras[extra])]
    wanted += [r for r in extras["dev"] if r.startswith(TOOLS)]
    return [lowest(requirement) for requirement in wanted]


def runs(python: str) -> bool:
    """Tell whether an interpreter is more than a name."""
    return subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0


def main() -> int:
    """Make the environment unless it is there, and run the tests in it."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "minimum").resolve()
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    found = next((path for path in map(shutil.which, PYTHONS) if path and runs(path)), None)
    if found is None:
        print(f"none of {', '.join(PYTHONS)} is here: the lowest versions were not tried")
        return 0
    pins = requirements()
    listed = folder / "pins.txt"
    if not listed.exists() or listed.read_text().split("\n") != pins:
        subprocess.run([found, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        listed.write_text("\n".join(pins))
    subprocess.run([python, "-m", "pip", "freeze"], check=True)
    tests = [f"tests/test_{name}.py" for name in TESTS]
    path = os.pathsep.join(map(str, (ROOT / "src", ROOT)))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [python, "-m", "pytest", "-q", *tests]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
