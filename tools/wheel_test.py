"""Build a wheel, install it into an environment of its own, and use it from another folder.

    python tools/wheel_test.py

The environment borrows the dependencies of this one, so that nothing large is installed twice, but
the audiostyle in it is the wheel's. The exit code is 1, with a line that says why, if anything that
a user needs is not in there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import soundfile as sf

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "audiostyle"
PARTS = ("src", "pyproject.toml", "README.md", "LICENSE")
SR = 22_050
SMALL = "--n-fft 1024 --hop-length 256 --n-mels 64 --bands 4 --iterations 3 --preset fast"


def build(folder: Path) -> Path:
    """Build the wheel from a copy: what earlier builds left behind must not get into it."""
    copy = folder / "copy"
    copy.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / part, copy / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, copy / part)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "-w",
        "dist",
        str(copy),
    ]
    subprocess.run(command, cwd=folder, check=True)
    (wheel,) = (folder / "dist").glob("audiostyle-*.whl")
    return wheel


def missing_files(wheel: Path) -> list[str]:
    """Name the files of the source that a wheel lacks."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for kind in ("weights/MANIFEST.json", "weights/NOTICE.md", "py.typed", "config.py"):
        assert f"audiostyle/{kind}" in wanted, kind
    return sorted(set(wanted) - names)


def install(wheel: Path, folder: Path) -> Path:
    """Make an environment with the wheel and the packages of this one; return its programs."""
    venv.create(folder / "venv", with_pip=False)
    bin_folder = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    variables = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=variables))
    # A path file within this folder is not read again: the checkout does not come along.
    (site / "borrowed.pth").write_text("\n".join(p for p in sys.path if p.endswith("-packages")))
    command = [sys.executable, "-m", "pip", "--python", str(bin_folder / "python"), "install"]
    subprocess.run([*command, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return bin_folder


def run(command: list[str], folder: Path) -> str:
    """Run a program far from the checkout; return what it says."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def use(bin_folder: Path, folder: Path) -> None:
    """Do what a user does first: ask for the version, for a checkup, and for a transfer."""
    program = str(bin_folder / "audiostyle")
    where = run(
        [str(bin_folder / "python"), "-c", "import audiostyle as a; print(a.__file__)"], folder
    )
    assert Path(where.strip()).is_relative_to(bin_folder.parent), f"not the wheel's: {where}"
    assert run([program, "--version"], folder).startswith("audiostyle, version ")
    checkup = json.loads(run([program, "doctor", "--json"], folder))
    assert checkup["usable"], checkup
    t = np.arange(SR) / SR
    sf.write(folder / "content.wav", 0.3 * np.sin(2 * np.pi * 440 * t), SR)
    sf.write(folder / "style.wav", 0.1 * np.random.default_rng(0).standard_normal(SR), SR)
    arguments = f"transfer content.wav style.wav -o out.wav --report out.html {SMALL}"
    run([program, *arguments.split()], folder)
    y, sr = sf.read(folder / "out.wav")
    assert (len(y), sr) == (SR, SR), (len(y), sr)
    assert np.isfinite(y).all() and np.abs(y).max() > 0.01, "the output is silent or broken"
    assert "<html" in (folder / "out.html").read_text(encoding="utf-8")


def main() -> int:
    """Build, look inside, install, use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        wheel = build(folder)
        if missing := missing_files(wheel):
            print(f"{wheel.name} lacks {', '.join(missing)}: see package-data in pyproject.toml")
            return 1
        (folder / "elsewhere").mkdir()
        use(install(wheel, folder), folder / "elsewhere")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, installed, and a second styled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
