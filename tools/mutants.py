"""Change single operations of a module, and see whether a test notices.

    python tools/mutants.py [MODULE ...] [--lines A-B] [--list]

Without MODULE all of `TESTS` are tried, one mutant after the other, on one core. What is changed
stands in ``mutators.py`` beside this. Every survivor is printed with its file, its line and the
change, and in the end the rate of each module; the exit code is 1 if one is below `LEAST`.

A copy of the package is mutated, never the package itself. TensorFlow and the other libraries are
loaded once, and every mutant is tried in a fork of that process (so not on Windows): TensorFlow
survives that as long as it computed nothing before. A fork that takes much longer than the tests do
without a mutant is killed, and its mutant counts as noticed.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mutators import Mutant, find_mutants

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.8
COPIED = ("src", "tests", "tools", "bench", "configs", "docs", "examples")
TESTS = {
    "spectral": ["tests/test_spectral.py", "tests/test_spectral_gains.py"],
    "losses": ["tests/test_losses.py", "tests/test_losses_bands.py"],
    "batch": [
        "tests/test_batch_journal.py",
        "tests/test_batch_failures.py",
        "tests/test_batch.py",
        "tests/test_shard.py",
        "tests/test_batch_run.py",
    ],
}
"""The tests that are to notice; those most likely to come first."""
LEFT_OUT = (
    "broken_clips",  # 400 pairs, 10 s: the same code as of a few pairs
    "signal_gives_the_pair_up",  # these start processes of their own
    "shards_at_the_same_time",
    "shell_example",
    "imports_no_tensorflow",
)
"""Parts of the names of tests that take seconds each."""
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}
PASSED, FAILED, BROKEN = 0, 1, (3, 4, 5)  # exit codes of pytest: an internal error, no tests


def copy_tree(folder: Path) -> None:
    """Copy what the tests need."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


def preload(folder: Path) -> None:
    """Load what is slow to load, and nothing of audiostyle; compute nothing in TensorFlow."""
    os.environ.update(ENVIRONMENT)
    os.environ["PYTHONPATH"] = str(folder / "src")  # of processes that tests start
    sys.path.insert(0, str(folder / "src"))
    os.chdir(folder)
    import librosa
    import numpy as np
    import pytest
    import scipy.linalg
    import soundfile
    import tensorflow

    librosa.feature.melspectrogram(y=np.zeros(2048, np.float32), sr=22050)
    librosa.griffinlim(np.ones((513, 9), np.float32), n_iter=1)
    assert pytest and scipy.linalg and soundfile and tensorflow
    assert "audiostyle" not in sys.modules


def run_tests(folder: Path, tests: Sequence[str]) -> None:
    """Run the tests in this process, which is a fork, and end it."""
    code = BROKEN[0]
    try:
        os.setsid()
        log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        import pytest

        left_out = " or ".join(LEFT_OUT)
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'base'}"]
        code = int(pytest.main([*options, f"-k=not ({left_out})", *tests]))
        package = sys.modules.get("audiostyle")
        if package is not None and not str(package.__file__).startswith(str(folder)):
            code = BROKEN[0]
    finally:
        sys.stdout.flush()
        os._exit(code)


def try_tests(folder: Path, tests: Sequence[str], limit: float) -> tuple[int, float]:
    """Run the tests in a fork.

    Returns
    -------
    code : int
        Of pytest; -1 if it took more than `limit` seconds.
    seconds : float
    """
    begin = time.monotonic()
    process = os.fork()
    if process == 0:
        run_tests(folder, tests)
    while time.monotonic() - begin < limit:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), time.monotonic() - begin
        time.sleep(0.01)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -1, time.monotonic() - begin


def check_module(
    folder: Path, name: str, mutants: Sequence[Mutant], source: bytes
) -> tuple[int, list[Mutant]]:
    """Try all mutants of a module.

    Returns
    -------
    n_slow : int
        How many were killed for the time they took.
    survivors : list of Mutant
    """
    path = folder / "src" / "audiostyle" / f"{name}.py"
    sys.dont_write_bytecode = False  # all but the module is compiled once
    code, seconds = try_tests(folder, TESTS[name], 600)
    if code != PASSED:
        raise SystemExit(f"{name}: the tests fail without a mutant:\n{read_log(folder)}")
    print(f"{name}: {len(mutants)} mutants; the tests take {seconds:.0f} s", flush=True)
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for compiled in (path.parent / "__pycache__").glob(f"{name}.*"):
        compiled.unlink()
    n_slow, survivors = 0, []
    for number, mutant in enumerate(mutants, 1):
        path.write_bytes(mutant.apply(source))
        code, _ = try_tests(folder, TESTS[name], 10 + 3 * seconds)
        if code in BROKEN:
            raise SystemExit(f"{name}: pytest itself failed:\n{read_log(folder)}")
        n_slow += code == -1
        if code == PASSED:
            survivors.append(mutant)
            print(f"survived: src/audiostyle/{name}.py:{mutant}", flush=True)
        if number % 50 == 0:
            print(f"{name}: {number} tried, {len(survivors)} survived", flush=True)
    path.write_bytes(source)
    return n_slow, survivors


def read_log(folder: Path) -> str:
    """Read the end of what pytest said."""
    return (folder / "log.txt").read_text(errors="replace")[-3000:]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    parser.add_argument("--lines", default="1-9999", metavar="A-B", help="only these lines")
    parser.add_argument("--list", action="store_true", help="say what would be tried")
    return parser.parse_args()


def main() -> int:
    """Try the mutants, and report.

    Returns
    -------
    int
        1 if fewer than `LEAST` of a module were killed.
    """
    arguments = parse_arguments()
    first, last = map(int, arguments.lines.split("-"))
    sources = {
        name: (ROOT / "src" / "audiostyle" / f"{name}.py").read_bytes()
        for name in arguments.modules or TESTS
    }
    found = {
        name: [m for m in find_mutants(source) if first <= m.line <= last]
        for name, source in sources.items()
    }
    if arguments.list:
        for name, mutants in found.items():
            print(*(f"src/audiostyle/{name}.py:{mutant}" for mutant in mutants), sep="\n")
        return 0
    summary, low = [], False
    with tempfile.TemporaryDirectory(prefix="mutants-") as text:
        folder = Path(text).resolve()
        copy_tree(folder)
        compileall.compile_dir(folder / "src", quiet=1)
        preload(folder)
        for name, mutants in found.items():
            begin = time.monotonic()
            n_slow, survivors = check_module(folder, name, mutants, sources[name])
            killed, minutes = len(mutants) - len(survivors), (time.monotonic() - begin) / 60
            rate = killed / max(len(mutants), 1)
            low |= rate < LEAST
            summary.append(
                f"{name}: {killed} of {len(mutants)} killed ({rate:.1%}), "
                f"{n_slow} of them by the time they took; {minutes:.0f} minutes"
            )
        os.chdir(ROOT)
    print(*summary, sep="\n")
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
