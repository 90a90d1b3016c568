"""Measure what an installation downloads and takes on disk, into ``docs/figures/install.json``.

    python tools/install_size.py

Downloads audiostyle's dependencies for this system and Python into a temporary folder, installs
them with audiostyle into a fresh environment, and adds up the sizes. Needs a network.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import venv
from datetime import datetime, timezone
from pathlib import Path

from wheel_test import build

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "figures" / "install.json"


def folder_size(folder: Path) -> int:
    """Return the bytes of all files of a folder, in whole blocks where the system counts them."""
    stats = (path.lstat() for path in folder.rglob("*"))
    return sum(512 * s.st_blocks if hasattr(s, "st_blocks") else s.st_size for s in stats)


def main() -> int:
    """Download, install, measure and write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        downloads = folder / "downloads"
        pip = [sys.executable, "-m", "pip"]
        subprocess.run(
            [*pip, "download", "--quiet", "--no-cache-dir", "-d", str(downloads), str(wheel)],
            check=True,
        )
        venv.create(folder / "venv", with_pip=False)
        python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        install = [*pip, "--python", str(python), "install", "--quiet", "--no-index"]
        subprocess.run([*install, "--find-links", str(downloads), str(wheel)], check=True)
        archives = list(downloads.iterdir())
        (tensorflow,) = (path for path in archives if path.name.startswith("tensorflow-"))
        found = {
            "command": "python tools/install_size.py",
            "date": datetime.now(timezone.utc).date().isoformat(),
            "system": f"{platform.system()} {platform.machine()}, Python "
            + ".".join(platform.python_version_tuple()[:2]),
            "packages": len(archives),
            "wheel_mb": round(wheel.stat().st_size / 1e6, 1),
            "tensorflow_mb": round(tensorflow.stat().st_size / 1e6),
            "download_mb": round(sum(path.stat().st_size for path in archives) / 1e6),
            "disk_mb": round(folder_size(folder / "venv") / 1e6),
        }
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
