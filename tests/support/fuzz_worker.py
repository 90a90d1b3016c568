"""Broken files, used in a process that may die of one of them.

python tests/support/fuzz_worker.py KINDS SEED COUNT FOLDER

KINDS are separated by commas. Every case is written to FOLDER before it is used: it can be found
there if the process crashes, or ends because a case took longer than `SECONDS`. Prints the number
of each outcome for each kind, as JSON.
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
    """Return the name of the error of a call, which must be one of `kinds`, in one line."""
    try:
        call()
    except kinds as error:
        message = str(error)
        assert message and "\n" not in message and "Traceback" not in message, message
        assert len(message) < 2000, message[:2000]
        return f"{type(error).__name__} {getattr(error, 'kind', '')}".strip()
    return ""


def load_sound(path: Path) -> str:
    """Do what a batch does before a pair, and a transfer before its optimisation."""
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
    """Do everything that reads a journal: plan a batch, write its results, show its status."""
    folder = path.parent
    request = BatchRequest(str(folder / "content.wav"), str(folder / "style.wav"), folder)
    state = journal.read(folder)

    def plan() -> None:
        todo = batch_plan.make_batch_plan(request, CONFIG, state)
        n = len(todo.done) + len(todo.jobs) + len(todo.failed) + len(todo.kept)
        assert n == len(todo.pairs) == 1
        results.write_results(folder, results.ResultRows(todo.pairs, state))

    def show() -> None:
        status = batch_status.batch_status(folder)
        json.dumps(status, allow_nan=False)
        batch_status.render_status(status)

    # Damage may invent an input of any size, or forget which pair an output belongs to.
    found = [refused(plan, OutputError), refused(show, AudioFileError)]
    return ", ".join(filter(None, found)) or f"unreadable {min(state.unreadable, 1)}"


def cases(kind: str, folder: Path) -> tuple[st.SearchStrategy[bytes], str, Case]:
    """Return the broken files of a kind, their name, and what to do with one."""
    if kind in (*mutations.FORMATS, *mutations.MEDIA):
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


def run(kind: str, number: int, count: int, folder: Path) -> Counter[str]:
    """Run the cases of a kind, and count the outcomes."""
    strategy, name, case = cases(kind, folder)
    outcomes: Counter[str] = Counter()

    def check(data: bytes) -> None:
        (folder / name).write_bytes(data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcomes[case(folder / name) or "taken"] += 1
        faulthandler.cancel_dump_traceback_later()

    test = settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(check))
    seed(number)(test)()
    return outcomes


if __name__ == "__main__":
    _, kinds, number, count, folder = sys.argv
    found = {kind: run(kind, int(number), int(count), Path(folder)) for kind in kinds.split(",")}
    print(json.dumps(found))
