"""Run the commands of README and docs, page by page, in temporary folders.

    python tools/try_recipes.py [WORDS...]
    python tools/try_recipes.py --install

Every page is tried in a folder of its own, with short clips under the names that the pages use, and
from top to bottom, so that a command may use what an earlier one wrote. Runs the commands of
``audiostyle`` and ``sh`` in blocks without a language and in running text, if they are whole, and
the blocks of Python. Blocks marked as ``text`` or ``bash`` need a cluster and are left out. With
WORDS, such as the name of a page or a part of a command, only what matches one is run. With
``--install``, the ways to install of the README are tried instead, each in an environment of its
own; this needs a network and some GB of disk. The exit code is 1 if anything fails.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDER = re.compile(r"\.\.\.|…|\b[A-Z]+(/[A-Z]+)?\b(?![.\w/-])|\$")
"""What stands for something else: N, I/N, FILE, an ellipsis, a variable of the shell."""
SECONDS = 3  # length of each clip
CLIPS = {
    "pluck": "song.wav song.mp3 content.wav a.wav songs/one.mp3 songs/two.mp3 "
    "genres/jazz/jazz.00000.wav song0.wav song1.wav song2.wav song3.wav",
    "strings": "piano.wav strings.wav style.wav style.mp3 b.wav "
    "genres/classical/classical.00000.wav genres/classical/classical.00001.wav",
}
SMALL = "--config configs/smoke-test.toml --preview 1"
PREPARE = (  # what pages use that their own commands do not write
    f"audiostyle transfer song.wav piano.wav -o out.wav {SMALL}",
    f"audiostyle transfer song.mp3 genres/classical -o out.flac {SMALL}",
    f"audiostyle transfer song.wav strings.wav -o fast.wav {SMALL}",
    f"audiostyle transfer song.wav style.wav -o balanced.wav {SMALL}",
    "audiostyle evaluate song.wav piano.wav out.wav --json > scores.json",
    f"audiostyle batch songs genres -o fast --by genre --evaluate {SMALL}",
    "cp -r fast soft; cp -r fast balanced; cp -r fast out",
    f"audiostyle batch song.wav piano.wav -o takes --vary strength=.5,1 {SMALL}",
    "audiostyle style genres/classical -o classical.style.npz",
)
ARRAYS = """import soundfile as sf
content, sr = sf.read("song.wav", dtype="float32")
style, _ = sf.read("piano.wav", dtype="float32")
"""


def commands_of(text: str, kinds: tuple[str, ...] = ("", "bash", "text")) -> list[str]:
    """Find what could be typed: in blocks line by line, whole, and in running text between `."""
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for kind, block in fenced if kind in kinds]
    running = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for b in blocks for line in b.replace("\\\n", " ").splitlines()]
    found = [line.strip().removeprefix("$ ") for line in lines]
    # A prompt, "srun ..." or a quote may come first.
    found = [
        m[1].rstrip("'")
        for m in (re.match(r".*?\b(audiostyle [a-z-].*|^sh .*)", f) for f in found)
        if m
    ]
    found += [" ".join(code.split()) for code in re.findall(r"`(audiostyle [^`]+)`", running)]
    return [
        command for command in found if not re.match(r"audiostyle (batch )?(is|has|and)\b", command)
    ]


def is_whole(command: str) -> bool:
    """Tell whether a command can be run as it stands, and is not only the name of one."""
    words = command.partition(" # ")[0].split()
    if words[:2] == ["audiostyle", "doctor"] or words[0] == "sh":
        return "[OPTIONS]" not in words
    if len(words) < 3 or (words[2].startswith("-") and words[2] != "--config"):
        return False
    return not PLACEHOLDER.search(" ".join(words)) and "OUTPUT" not in command


def runnable(text: str) -> list[str]:
    """List what is run of a page: commands, and after them blocks of Python."""
    commands = [c for c in dict.fromkeys(commands_of(text, ("",))) if is_whole(c)]
    commands = [c for c in commands if "--engine ray" not in c]
    commands.sort(key=lambda c: "--shard" in c)  # last: a part of few pairs may hold none
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return commands + [block for block in blocks if "import audiostyle\n" in block]


def fill_folder(folder: Path) -> None:
    """Write clips and files under the names that the pages use."""
    import soundfile as sf

    for clip, names in CLIPS.items():
        y, sr = sf.read(ROOT / "examples" / f"{clip}.flac")
        for i, name in enumerate(names.split()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            sf.write(folder / name, y[i * sr // 4 :][: SECONDS * sr], sr)
    for plugin in ("my_network.py", "my_loss.py"):
        shutil.copy(ROOT / "examples" / plugin, folder)
    shutil.copy(ROOT / "configs" / "fast.toml", folder / "mine.toml")
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "songs.txt").write_text("songs/one.mp3\nsongs/two.mp3\n")
    program = folder / "bin" / "audiostyle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m audiostyle "$@"\n')
    program.chmod(0o755)


def remove(path: Path) -> None:
    """Remove a file with its record, or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    for file in (path, path.with_name(f"{path.name}.json")):
        file.unlink(missing_ok=True)


def remove_outputs(command: str, folder: Path) -> None:
    """Remove what an alternative of this command has written."""
    if "--dry-run" not in command and "--shard" not in command:
        for output in re.findall(r" (?:-o|--report|--plot) (\S+)", command):
            remove(folder / output)


def run(command: str, folder: Path, programs: str) -> bool:
    """Run a command, or a block of Python; print its exit code and time."""
    if "\n" in command:
        for output in re.findall(r'"((?:out|takes|file|classical)\b[\w.]*)"', command):
            if "." in output or "run_batch" in command:
                remove(folder / output)
        (folder / "block.py").write_text(ARRAYS + command)
        shown, words = "python: " + command.replace("\n", "; ")[:70], [sys.executable, "block.py"]
    else:
        remove_outputs(command, folder)
        shown, words = command, ["bash", "-c", f'export PATH="{programs}:$PATH"; {command}']
    began = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    print(f"{done.returncode}  {time.perf_counter() - began:5.1f} s  {shown}", flush=True)
    if done.returncode:
        print(done.stderr[-2000:])
    return done.returncode == 0


def try_pages(words: list[str]) -> bool:
    """Run what the pages contain."""
    good = True
    with tempfile.TemporaryDirectory() as name:
        base = Path(name) / "base"
        base.mkdir()
        fill_folder(base)
        good &= all([run(command, base, str(base / "bin")) for command in PREPARE])
        for page in PAGES:
            commands = runnable(page.read_text(encoding="utf-8"))
            if words and page.name not in words:
                commands = [c for c in commands if any(word in c for word in words)]
            if not commands:
                continue
            print(f"{page.name}: {len(commands)}", flush=True)
            folder = Path(name) / page.stem
            shutil.copytree(base, folder)
            good &= all([run(command, folder, str(folder / "bin")) for command in commands])
    return good


def try_install() -> bool:
    """Install as the README says, from this repository, and ask for the version."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r'^((?:pip|uv tool|pipx) install ".*?")', text, re.MULTILINE)
    good = bool(lines)
    for line in lines:
        with tempfile.TemporaryDirectory() as name:
            setup = "python3 -m venv env && . env/bin/activate && pip install -q -U pip uv pipx && "
            homes = f"PIPX_HOME={name}/p PIPX_BIN_DIR={name}/env/bin UV_TOOL_DIR={name}/u"
            command = line.replace("URL", ROOT.as_uri())
            text = f"export {homes} UV_TOOL_BIN_DIR={name}/env/bin; {setup}{command}"
            good &= run(f"{text} && env/bin/audiostyle --version", Path(name), "/usr/bin")
    return good


def main(words: list[str]) -> int:
    """Try the pages, or the ways to install."""
    return int(not (try_install() if words == ["--install"] else try_pages(words)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
