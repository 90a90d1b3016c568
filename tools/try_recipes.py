"""Run every command of ``docs/recipes.md`` in order, in a temporary folder.

    python tools/try_recipes.py [WORDS...]

With words, only the commands that contain one of them are run. Takes some minutes; the exit code is
1 if a command fails. Blocks marked as ``text`` need a cluster and are left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile as sf

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 3  # length of each clip


def read_commands() -> list[str]:
    """Read the commands of the page."""
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for kind, block in blocks if not kind for line in block.splitlines()]


def fill_folder(folder: Path) -> None:
    """Copy the bundled clips and files to the names that the recipes use."""
    places = {
        "pluck": ("song.wav", "songs/one.wav", "songs/two.wav", "genres/jazz/a.wav"),
        "strings": ("piano.wav", "strings.wav", "genres/classical/a.wav", "genres/classical/b.wav"),
    }
    for clip, names in places.items():
        y, sr = sf.read(ROOT / "examples" / f"{clip}.flac")
        for i, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            sf.write(folder / name, y[i * sr // 2 :][: SECONDS * sr], sr)
    for plugin in ("my_network.py", "my_loss.py"):
        shutil.copy(ROOT / "examples" / plugin, folder)
    shutil.copy(ROOT / "configs" / "fast.toml", folder / "mine.toml")
    shutil.copytree(ROOT / "configs", folder / "configs")


def main(words: list[str]) -> int:
    """Run the commands, and print exit code and time of each."""
    script = f'audiostyle() {{ "{sys.executable}" -m audiostyle "$@"; }}; '
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        fill_folder(Path(name))
        for command in read_commands():
            if words and not any(word in command for word in words):
                continue
            began = time.perf_counter()
            done = subprocess.run(
                ["bash", "-c", script + command],
                cwd=name,
                capture_output=True,
                text=True,
                check=False,
            )
            print(f"{done.returncode}  {time.perf_counter() - began:5.1f} s  {command}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
