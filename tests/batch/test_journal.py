"""Journal: what it holds, whatever happened to the file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch import journal, plan
from audiostyle.batch import status as batch_status
from audiostyle.batch.journal import Journal, JournalState, PairState, fingerprint
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.errors import AudioFileError, DiskError
from tests.support.fakes import LONG, SIDES, run, sounds


def event(what: str, pair: str = "p.wav", mark: str = "f", **facts: Any) -> dict[str, Any]:
    return {"event": what, "pair": pair, "fingerprint": mark, **facts}


DONE = event("done", size=3, seconds=1.0)


def test_appended_lines_are_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path) as log:
        log.append({"event": "plan", "pairs": ["p.wav", "q.wav"]}, event("started"))
        log.append(DONE, event("failed", "q.wav", kind="silent", reason="is silent"))
        held = log.state
    state = journal.read(tmp_path)
    assert state == held
    assert state.planned == ["p.wav", "q.wav"]
    assert (state.pairs["p.wav"].status, state.pairs["p.wav"].facts["size"]) == ("done", 3)
    assert state.pairs["q.wav"].facts["kind"] == "silent"
    assert state.unreadable == 0


def test_without_a_journal_the_state_is_empty(tmp_path: Path) -> None:
    assert journal.read(tmp_path) == journal.read(tmp_path / "none") == JournalState()


def test_a_journal_cut_at_random_bytes_can_be_appended_to(
    tmp_path: Path,
) -> None:
    with Journal(tmp_path) as log:
        for i in range(4):
            log.append(event("started", f"{i}.wav"), {**DONE, "pair": f"{i}.wav"})
    data = (tmp_path / journal.NAME).read_bytes()
    rng = random.Random(0)
    for cut in [0, 1, len(data) - 1, *(rng.randrange(len(data)) for _ in range(40))]:
        (tmp_path / journal.NAME).write_bytes(data[:cut])
        whole = data[:cut].count(b"\n")
        with Journal(tmp_path) as log:
            log.append({**DONE, "pair": "last.wav"})
        state = journal.read(tmp_path)
        assert state.pairs["last.wav"].status == "done"
        complete = [json.loads(line) for line in data.splitlines()[:whole]]
        expected = {e["pair"] for e in complete if e["event"] == "done"} | {"last.wav"}
        found = {name for name, pair in state.pairs.items() if pair.status == "done"}
        # A line that lacks nothing but its end is whole all the same.
        assert expected <= found <= expected | {f"{i}.wav" for i in range(4)}
        assert len(found) <= len(expected) + 1
        assert state.unreadable <= 1


def test_damaged_lines_are_skipped(tmp_path: Path) -> None:
    with Journal(tmp_path) as log:
        log.append(DONE)
    with (tmp_path / journal.NAME).open("ab") as stream:
        stream.write(b'\xff\xfe\n[]\n{"event": "done"}\n{"event": "done", "pair": 3, "time"\n\n')
    with Journal(tmp_path) as log:
        log.append(event("started", "q.wav"))
    state = journal.read(tmp_path)
    assert state.unreadable == 4
    assert {n: p.status for n, p in state.pairs.items()} == {"p.wav": "done", "q.wav": "started"}


def follow(*events: dict[str, Any]) -> PairState:
    state = PairState()
    for line in events:
        state.apply(line)
    return state


def test_starts_are_counted_until_an_end_or_a_change() -> None:
    start = event("started")
    assert follow(start).starts == 1
    assert follow(start, start).starts == 2
    assert follow(start, event("interrupted"), start).starts == 1
    assert follow(start, event("failed", kind="output", reason=""), start).starts == 1
    assert follow(start, start, DONE).starts == 0
    assert follow(start, start, event("started", mark="g")).starts == 1


def test_scores_are_dropped_with_their_output() -> None:
    scored = event("scored", scores={"style": 0.5})
    assert follow(DONE, scored).scores == {"style": 0.5}
    assert follow(DONE, scored, DONE).scores is None
    assert follow(DONE, scored, event("started", mark="g")).scores is None


def test_fingerprints_change_with_parameters_and_digests_only() -> None:
    same = [fingerprint({"a": 1, "b": 2}, "c", ["s", "t"]) for _ in range(2)]
    same.append(fingerprint({"b": 2, "a": 1}, "c", ("s", "t")))
    others = [
        fingerprint({"a": 1, "b": 3}, "c", ["s", "t"]),
        fingerprint({"a": 1, "b": 2}, "d", ["s", "t"]),
        fingerprint({"a": 1, "b": 2}, "c", ["t", "s"]),
        fingerprint({"a": 1, "b": 2}, "c", ["st"]),
    ]
    assert len(set(same)) == 1
    assert len({*same, *others}) == 1 + len(others)


def test_an_input_is_known_until_it_changes(tmp_path: Path) -> None:
    clip = tmp_path / "a.wav"
    clip.write_bytes(b"sound")
    with Journal(tmp_path) as log:
        log.append(journal.input_event(clip, "digest", {"sr": 8000}))
    state = journal.read(tmp_path)
    known = journal.find_input(state, clip)
    assert known and known["sha256"] == "digest"
    assert journal.find_input(state, tmp_path / "b.wav") is None
    found = clip.stat()
    clip.write_bytes(b"other")  # as long, and later
    os.utime(clip, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert journal.find_input(state, clip) is None
    clip.unlink()
    assert journal.find_input(state, clip) is None


def test_half_a_line_on_a_full_disk_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return real(descriptor, bytes(data)[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(tmp_path) as log:
        log.append(DONE)
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(DiskError, match=r"journal\.jsonl: cannot be written \(No space left"):
            log.append(event("started", "q.wav"))
        monkeypatch.setattr(os, "write", real)
        log.append(event("started", "r.wav"))
    state = journal.read(tmp_path)
    assert {n: p.status for n, p in state.pairs.items()} == {"p.wav": "done", "r.wav": "started"}


def test_a_journal_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / journal.NAME).mkdir()
    with pytest.raises(AudioFileError, match="cannot be read"):
        journal.read(tmp_path)


def test_a_watched_start_counts_only_if_the_pair_was_lost() -> None:
    watched, lost = event("started", watched=True), event("lost", reason="the worker died")
    assert follow(watched, watched, watched).starts == 0
    assert follow(watched, lost, watched).starts == 1
    assert follow(watched, lost, watched, lost).starts == 2
    assert follow(watched, lost, watched, DONE).starts == 0
    assert follow(event("started"), watched).starts == 1


def test_facts_are_kept_unchanged() -> None:
    facts = {
        "kind": "silent",
        "reason": 'ä "quoted"\n',
        "notes": ["a", "b"],
        "loss": 1 / 3,
        "n": None,
    }
    state = follow(event("failed", **facts))
    assert state.facts == facts
    assert PairState().facts == {}


@pytest.mark.parametrize("limit", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_a_journal_cut_at_any_byte(limit: int, gtzan_folder: Path) -> None:
    """All whole lines are kept unchanged, and no finished pair is computed again.

    A cut within a line leaves the state of the lines before it. So plan and status are checked at
    both ends of each line and at one cut within it; in a long run, at every byte.
    """
    assert run("--quiet", f"--limit={limit}") == 0
    out = Path("out")
    data = (out / journal.NAME).read_bytes()
    request = BatchRequest(*SIDES, out, limit=limit)
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
                with contextlib.suppress(AudioFileError):  # an empty journal is no batch
                    status = batch_status.batch_status(out)
                    assert status["done"] == len(done), cut
        before, start = after, end
    assert start == len(data) and data.count(b'"event": "done"') == len(sounds(out)) == limit
