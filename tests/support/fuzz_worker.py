"""Thousands of broken files, in a process that may die of one of them.

python tests/fuzz_worker.py KIND SEED COUNT FOLDER

Every case is written to FOLDER before it is used, so that whoever started this has it if the
process crashes, or takes longer than `SECONDS`: then it prints where, and ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from audiostyle.audio.probe import probe_clip
from audiostyle.audio.reader import FileSource
from audiostyle.batch import journal, results
from audiostyle.batch import plan as batch_plan
from audiostyle.batch import status as batch_status
from audiostyle.batch.request import BatchRequest
from audiostyle.batch.run import run_batch
from audiostyle.cli.options import build_config
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import (
    AudioFileError,
    AudioStyleError,
    ConfigError,
    OutputError,
    WeightsError,
)
from audiostyle.files import style_file
from audiostyle.nn import weights
from tests.support import fakes, mutations

SECONDS = 20.0
CONFIG = TransferConfig()
Case = Callable[[Path], str]


def refused(call: Callable[[], Any], *kinds: type[AudioStyleError]) -> str:
    """Call, and return the name of the error; it must be one of `kinds`, in one line."""
    try:
        call()
    except kinds as error:
        message = str(error)
        assert message and "\n" not in message and "Traceback" not in message, message
        assert len(message) < 2000, message[:2000]
        return f"{type(error).__name__} {getattr(error, 'kind', '')}".strip()
    return ""


def load_sound(path: Path) -> str:
    """Do what a batch does before a pair, and a transfer before its descent."""
    facts = probe_clip(path)
    assert facts.kind in ("", *batch_plan.INPUT_KINDS), facts
    assert bool(facts.kind) == bool(facts.reason) and "\n" not in facts.reason, facts

    def load() -> None:
        recording = NormalizedStream(FileSource(path), CONFIG)
        n = sum(block.shape[1] for block in recording.normalized_blocks())
        assert n == recording.n_resampled

    return refused(load, AudioFileError) or (facts.kind and f"probe: {facts.kind}")


def load_settings(path: Path) -> str:
    return refused(lambda: build_config(None, str(path), {}), ConfigError)


def load_style(path: Path) -> str:
    return refused(lambda: style_file.load_style(path, CONFIG), AudioFileError, ConfigError)


def load_weights(path: Path) -> str:
    names = ("musicnn-vgg", "vgg19")
    found = [refused(lambda n=n: weights.load_weights(n, str(path)), WeightsError) for n in names]
    assert found[1], "nothing here is a VGG-19"
    return found[0]


def load_journal(path: Path) -> str:
    """Do all that reads a journal: the plan of a batch, its results, and its status."""
    folder = path.parent
    request = BatchRequest(str(folder / "content.wav"), str(folder / "style.wav"), folder)
    state = journal.read(folder)

    def plan() -> None:
        todo = batch_plan.make_batch_plan(request, CONFIG, state)
        assert len(todo.done) + len(todo.jobs) + len(todo.failed) == len(todo.pairs) == 1
        results.write_results(folder, results.ResultRows(todo.pairs, state))

    def show() -> None:
        status = batch_status.batch_status(folder)
        json.dumps(status, allow_nan=False)
        batch_status.render_status(status)

    # Damage may make up an input of any size, or forget whose the output is.
    found = [refused(plan, OutputError), refused(show, AudioFileError)]
    return ", ".join(filter(None, found)) or f"unreadable {min(state.unreadable, 1)}"


def cases(kind: str, folder: Path) -> tuple[st.SearchStrategy[bytes], str, Case]:
    """Broken files of a kind, what they are called, and what is done with them."""
    if kind in mutations.FORMATS:
        return mutations.broken(mutations.sound(kind)), f"case.{kind}", load_sound
    if kind == "toml":
        return mutations.settings_files(), "case.toml", load_settings
    if kind == "style":
        return mutations.style_files(CONFIG), "case.style.npz", load_style
    if kind == "weights":
        return mutations.weights_files(), "case.npz", load_weights
    for name in ("content", "style"):
        (folder / f"{name}.wav").write_bytes(mutations.sound("wav"))
    if kind == "crash":
        return mutations.broken(b"anything"), "case.crash", lambda path: os.abort()
    fakes.install(setattr)
    with contextlib.redirect_stderr(None):
        run_batch(folder / "content.wav", folder / "style.wav", folder, CONFIG)
    return mutations.journals((folder / journal.NAME).read_bytes()), journal.NAME, load_journal


def main(kind: str, number: int, count: int, folder: Path) -> None:
    """Run the cases, and print how many there were and what became of them."""
    strategy, name, case = cases(kind, folder)
    outcomes: Counter[str] = Counter()

    def check(data: bytes) -> None:
        (folder / name).write_bytes(data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcomes[case(folder / name) or "taken"] += 1
        faulthandler.cancel_dump_traceback_later()

    run = settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(check))
    seed(number)(run)()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
