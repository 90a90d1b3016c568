"""Build a wheel, install it into a fresh environment, and use it from another folder.

    python tools/wheel_test.py

The fresh environment reuses the installed dependencies of this one; only audiostyle itself comes
from the wheel. The exit code is 1 if the wheel lacks a file or does not work.
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
    """Build the wheel from a copy, without leftovers of earlier builds."""
    copy = folder / "copy"
    copy.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / part, copy / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, copy / part)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", "dist"]
    subprocess.run([*command, str(copy)], cwd=folder, check=True)
    (wheel,) = (folder / "dist").glob("audiostyle-*.whl")
    return wheel


def missing_files(wheel: Path) -> list[str]:
    """List the source files that a wheel lacks."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = [
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    for name in ("weights/MANIFEST.json", "weights/NOTICE.md", "py.typed", "core/transfer.py"):
        assert f"audiostyle/{name}" in expected, name
    return sorted(set(expected) - names)


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel beside the packages of this environment; return the folder of programs."""
    venv.create(folder / "venv", with_pip=False)
    bin_folder = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    variables = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=variables))
    # Path files in the listed folders are not read, so the checkout is not importable.
    (site / "dependencies.pth").write_text(
        "\n".join(p for p in sys.path if p.endswith("-packages"))
    )
    command = [sys.executable, "-m", "pip", "--python", str(bin_folder / "python"), "install"]
    subprocess.run([*command, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return bin_folder


def run(command: list[str], folder: Path) -> str:
    """Run a program outside the checkout; return its standard output."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def use(bin_folder: Path, folder: Path) -> None:
    """Do what a user does first: check version and installation, and run a transfer."""
    program = str(bin_folder / "audiostyle")
    where = run(
        [str(bin_folder / "python"), "-c", "import audiostyle as a; print(a.__file__)"], folder
    )
    assert Path(where.strip()).is_relative_to(bin_folder.parent), f"not from the wheel: {where}"
    assert run([program, "--version"], folder).startswith("audiostyle, version ")
    report = json.loads(run([program, "doctor", "--json"], folder))
    assert report["usable"], report
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
    """Build, inspect, install and use the wheel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        wheel = build(folder)
        if missing := missing_files(wheel):
            print(f"{wheel.name} lacks {', '.join(missing)}: see package-data in pyproject.toml")
            return 1
        (folder / "elsewhere").mkdir()
        use(install(wheel, folder), folder / "elsewhere")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
