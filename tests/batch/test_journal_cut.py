"""A journal that was cut at every byte there is, read as a run and as a status read it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from audiostyle.batch import journal, plan
from audiostyle.batch import status as batch_status
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError
from tests.files.test_faults import LONG
from tests.support.fakes import SIDES, run, sounds


def test_what_a_journal_says_wherever_it_is_cut(gtzan_folder: Path) -> None:
    """Every byte: all whole lines are kept, to the letter, and nothing that was done is done again.

    A cut within a line says what the lines before say, so the plan and the status are made of one
    such cut a line and of both its ends; in a long run, of every one.
    """
    assert run("--quiet") == 0
    out = Path("out")
    data = (out / journal.NAME).read_bytes()
    request = BatchRequest(*SIDES, out)
    before, start = journal.JournalState(), 0
    for line in data.splitlines(keepends=True):
        end = start + len(line)
        (out / journal.NAME).write_bytes(data[:end])
        after = journal.read(out)
        for cut in range(end, start - 1, -1):
            os.truncate(out / journal.NAME, cut)
            state = journal.read(out)
            assert state.unreadable == (start < cut < end - 1), cut
            state.unreadable = 0
            assert state == (after if cut >= end - 1 else before), cut
            if LONG or cut in (start, start + 1, (start + end) // 2, end - 1, end):
                done = {name for name, pair in state.pairs.items() if pair.status == "done"}
                todo = plan.make_batch_plan(request, TransferConfig(), state)
                assert set(todo.done) == done, cut
                assert {job.pair.id for job in todo.jobs} == set(sounds(out)) - done, cut
                with contextlib.suppress(AudioFileError):  # it says that nothing was begun here
                    status = batch_status.batch_status(out)
                    assert status["done"] == len(done), cut
        before, start = after, end
    assert start == len(data) and data.count(b'"event": "done"') == len(sounds(out)) == 9
