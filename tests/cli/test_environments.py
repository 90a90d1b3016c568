"""The command and the library in the environments in which people run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from tests.conftest import SR, TINY_OPTIONS, decibels_of, make_noise, make_tones

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")

WORKER = Path(__file__).parents[1] / "support" / "environment_worker.py"
TRANSFER = ["transfer", "../content.wav", "../style.wav", *TINY_OPTIONS]
TRANSFER += ["--precision=float32", "--device=cpu", "--threads=1"]
NOBODY = 65534
WITHOUT_TMP = """
import tempfile
def refuse():
    raise FileNotFoundError(2, "No usable temporary directory found")
tempfile._get_default_tempdir = refuse
from audiostyle.__main__ import run
run()
"""


def start(
    folder: Path, *arguments: str, shell: str = 'exec "$@"', python: Any = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`; `shell` starts it, `python` are options of the interpreter."""
    python = python or ["-m", "audiostyle"]
    command = ["sh", "-c", shell, "sh", sys.executable, *python, *arguments]
    options.setdefault("env", os.environ)
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, **options
    )


@pytest.fixture(scope="module")
def clips() -> Iterator[Path]:
    """Make a folder that other users may enter."""
    root = Path(tempfile.mkdtemp(prefix="audiostyle-environments-"))
    root.chmod(0o755)
    sf.write(root / "content.wav", make_tones(), SR)
    sf.write(root / "style.wav", make_noise(), SR)
    yield root
    shutil.rmtree(root, ignore_errors=True)


# --- standard streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(closed: str, tmp_path: Path) -> None:
    done = start(tmp_path, "--version", shell=f'exec "$@" {closed}')
    assert (done.returncode, done.stderr) == (0, "")
    done = start(tmp_path, "transfer", "a.wav", "b.wav", "-o", "c.wav", shell=f'exec "$@" {closed}')
    assert done.returncode == 1
    assert done.stderr.startswith("audiostyle: error: ") != ("2>&-" in closed)
    assert not list(tmp_path.iterdir())


@full_device
@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"]])
def test_a_full_standard_output_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = start(tmp_path, *arguments, shell='exec "$@" >/dev/full')
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "standard output" in line and os.strerror(28) in line
    assert start(tmp_path, "nothing", shell='exec "$@" 2>/dev/full').returncode == 2


@full_device
def test_a_device_is_no_output(clips: Path, tmp_path: Path) -> None:
    """A file that is renamed would take its place."""
    link = tmp_path / "full.wav"
    link.symlink_to("/dev/full")
    paths = [str(clips / name) for name in ("content.wav", "style.wav")]
    done = start(tmp_path, "transfer", *paths, "-o", "/dev/full", "--force")
    assert done.returncode == 1
    assert done.stderr == (
        "audiostyle: error: /dev/full: is not a regular file; choose another name\n"
    )
    assert Path("/dev/full").is_char_device() and list(tmp_path.iterdir()) == [link]


# --- folders and the interpreter ----------------------------------------------------------------


def test_help_is_the_same_without_docstrings(tmp_path: Path) -> None:
    for arguments in (["--help"], ["transfer", "--help"]):
        plain, bare = (
            start(tmp_path, *arguments, python=[*options, "-m", "audiostyle"])
            for options in ([], ["-OO"])
        )
        assert plain.returncode == 0 and "Usage:" in plain.stdout and "\b" not in plain.stdout
        assert bare.stdout == plain.stdout


def test_a_removed_current_folder_is_named(clips: Path, tmp_path: Path) -> None:
    gone = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    assert start(tmp_path, "--help", shell=gone).returncode == 0
    paths = [str(clips / name) for name in ("content.wav", "style.wav")]
    done = start(tmp_path, "transfer", *paths, "-o", "a.wav", shell=gone)
    assert done.returncode == 1
    assert done.stderr == (
        "audiostyle: error: a.wav: the current folder was removed; change to another one\n"
    )


# --- transfers ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(clips: Path) -> bytes:
    """Make the output in a usual environment."""
    (clips / "plain").mkdir()
    done = start(clips / "plain", *TRANSFER, "-o", "out.wav", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return (clips / "plain" / "out.wav").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"env": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}},
        {"shell": 'exec "$@" <&- >&- 2>&-'},
        {"shell": 'exec "$@" 2>/dev/full'},
        {"python": ["-OO", "-m", "audiostyle"]},
        {"python": ["-c", WITHOUT_TMP]},
    ],
    ids=["Jupyter", "closed", "full", "OO", "without TMPDIR"],
)
def test_a_transfer_makes_the_same_bytes(
    options: dict[str, Any], clips: Path, plain: bytes, request: pytest.FixtureRequest
) -> None:
    folder = clips / request.node.callspec.id
    folder.mkdir()
    options = options | {"env": os.environ | options.get("env", {})}
    done = start(folder, *TRANSFER, "-o", "out.wav", "--plot", "out.png", **options)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"out.wav", "out.wav.json", "out.png"}
    assert (folder / "out.wav").read_bytes() == plain


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes other users"
)
def test_a_user_without_home_who_can_write_only_the_output(clips: Path, plain: bytes) -> None:
    """As `docker run -u 65534` without a home; numba's caches of root are not used."""
    folder = clips / "nobody"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    environment["NUMBA_CACHE_DIR"] = str(clips / "none")
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        start(folder, "--version", env=environment, **user).check_returncode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this interpreter is not for other users")
    done = start(folder, *TRANSFER, "-o", "out.wav", "--plot", "out.png", env=environment, **user)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"out.wav", "out.wav.json", "out.png"}
    assert (folder / "out.wav").read_bytes() == plain


# --- threads and processes ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker(clips: Path) -> dict[str, Any]:
    """Run three first transfers in three threads, then one in a forked process."""
    command = [sys.executable, str(WORKER), "content.wav", "style.wav"]
    done = subprocess.run(command, cwd=clips, capture_output=True, text=True, check=True)
    assert done.stderr == "still there\n"
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_three_threads_may_be_the_first(worker: dict[str, Any], clips: Path) -> None:
    assert worker["errors"] == []
    first, *others = (sf.read(clips / f"thread{i}.wav")[0] for i in range(3))
    for other in others:  # the threads of TensorFlow add in another order; measured: -110 dB
        assert decibels_of(other - first, first) < -60


@pytest.mark.slow
def test_a_transfer_leaves_the_descriptors_of_the_process(worker: dict[str, Any]) -> None:
    assert worker["after"] == worker["before"]


@pytest.mark.slow
def test_a_process_that_was_forked_too_late_fails_at_once(worker: dict[str, Any]) -> None:
    assert worker["forked"].startswith("DeviceError: this process was forked after TensorFlow")
    assert "spawn" in worker["forked"]
