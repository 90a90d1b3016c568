"""Batches through the real command line, files and journal; only the transfer is a fake."""

from __future__ import annotations

import csv
import gc
import importlib.util
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.batch import engine as batch_engine
from audiostyle.batch import worker
from audiostyle.utils import atomic_files
from tests.conftest import make_noise, make_tones
from tests.support.fakes import (
    BROKEN,
    GTZAN_SR,
    SIDES,
    WORKER,
    computed,
    journal_lines,
    make_gtzan,
    rows,
    run,
    sounds,
)

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def gtzan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gtzan(tmp_path_factory.mktemp("gtzan"))


def test_gtzan_with_its_broken_clips(
    gtzan: Path,
    fake: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every good pair is done, the broken ones are listed with their class, and the code says 1."""
    monkeypatch.chdir(tmp_path)
    whole = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*whole, sides=(str(gtzan), str(gtzan))) == 1
    good = [
        [i for i in range(20) if f"{g}.{i:05d}.wav" not in BROKEN] for g in ("jazz", "classical")
    ]
    expected = {f"jazz.{c:05d}__classical.{s:05d}.wav" for c in good[0] for s in good[1]}
    assert len(expected) == 18 * 19
    found = sounds(Path("out"))
    assert set(found) == expected
    table = rows()
    assert {name for name, row in table.items() if row["status"] == "done"} == expected
    failed = {name: row["kind"] for name, row in table.items() if row["status"] == "failed"}
    assert len(table) == 400 and len(failed) == 400 - len(expected)
    kinds = {n: {k for pair, k in failed.items() if n[:-4] in pair} for n in BROKEN}
    assert "unreadable" in kinds[BROKEN[0]] and "truncated" in kinds[BROKEN[1]]
    err = capsys.readouterr().err
    for name, kind in zip(BROKEN, ("unreadable", "truncated", "unreadable"), strict=True):
        (line,) = [
            line for line in err.splitlines() if line.startswith(f"failed: {kind}") and name in line
        ]
        assert "18 pairs" in line or "20 pairs" in line
    assert fake.heard == {str(gtzan / "classical" / f"classical.{s:05d}.wav"): 1 for s in good[1]}
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        assert {r["pair"]: r["status"] for r in csv.DictReader(stream)} == {
            name: row["status"] for name, row in table.items()
        }


def test_every_record_says_what_its_output_is(gtzan_folder: Path) -> None:
    """Names, records and sounds belong together: no result lies under the name of another."""
    assert run() == 0
    for name in sounds(Path("out")):
        record = json.loads(Path("out", name + ".json").read_text())
        content, style = name.removesuffix(".wav").split("__")
        assert record["content"]["path"] == f"genres/jazz/{content}.wav"
        assert [c["path"] for c in record["styles"][0]["clips"]] == [
            f"genres/classical/{style}.wav"
        ]
        assert record["output"]["sha256"] == atomic_files.file_digest(Path("out", name))
        assert record["output"]["path"] == f"out/{name}"
        y, sr = sf.read(Path("out", name))
        x, _ = sf.read(record["content"]["path"])
        s, _ = sf.read(f"genres/classical/{style}.wav")
        x = x - x.mean()
        tone = np.sin(np.arange(len(x)) * round(np.abs(s).mean(), 3))
        np.testing.assert_allclose(y, 0.5 * x + 0.25 * tone, atol=2e-3)
        assert sr == GTZAN_SR


def test_the_same_command_again_does_nothing(gtzan_folder: Path, fake: Any) -> None:
    assert run() == 0
    before = {p: p.stat().st_mtime_ns for p in Path("out").glob("*.wav*")}
    heard = dict(fake.heard)
    lines = len(journal_lines(Path("out")))
    assert run() == 0
    assert {p: p.stat().st_mtime_ns for p in Path("out").glob("*.wav*")} == before
    assert dict(fake.heard) == heard
    assert len(journal_lines(Path("out"))) == lines


CODE = """
import sys
from audiostyle.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as exit:
    print("exit", exit.code, *sorted(sys.modules))
"""


@pytest.mark.parametrize(
    "arguments", ["batch genres/jazz genres/classical -o out", "status out", "batch --help"]
)
def test_a_finished_batch_imports_no_tensorflow(gtzan_folder: Path, arguments: str) -> None:
    assert run() == 0
    command = [sys.executable, "-c", CODE, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert {"tensorflow", "librosa", "scipy", "matplotlib"}.isdisjoint(modules)


def test_what_is_missing_or_changed_is_done_again_and_nothing_else(gtzan_folder: Path) -> None:
    assert run() == 0
    first = sounds(Path("out"))
    gone, cut = "jazz.00000__classical.00001.wav", "jazz.00001__classical.00001.wav"
    Path("out", gone).unlink()
    Path("out", cut).write_bytes(first[cut][:99])
    sf.write("genres/jazz/jazz.00002.wav", make_tones(0.7, GTZAN_SR, 333.0), GTZAN_SR)
    assert run() == 0
    again = computed()[9:]
    changed = {f"jazz.00002__classical.0000{i}.wav" for i in range(3)}
    assert sorted(again) == sorted({gone, cut} | changed)
    second = sounds(Path("out"))
    assert {name for name in first if first[name] != second[name]} == changed


def test_another_parameter_does_all_again_and_the_old_ones_are_not_taken_for_new(
    gtzan_folder: Path,
) -> None:
    assert run() == 0
    first = sounds(Path("out"))
    assert run("--strength", "0.5") == 0
    assert len(computed()) == 18
    second = sounds(Path("out"))
    assert first.keys() == second.keys()
    assert not [name for name in first if first[name] == second[name]]


def test_slices_order_and_resumption_do_not_change_a_result(gtzan_folder: Path) -> None:
    assert run() == 0
    whole = sounds(Path("out"))
    for n in (2, 5, 9):
        assert run("--limit", str(n), out="slices") == 0
    assert len(computed("slices")) == 9
    assert run("--shuffle", "--limit=3", out="drawn") == 0
    assert run("--pair=zip", out="drawn") == 0
    assert run("--pair=random:2", out="drawn") == 0
    assert run(out="drawn") == 0
    assert len(computed("drawn")) == 9
    assert sounds(Path("slices")) == sounds(Path("drawn")) == whole


def test_the_whole_collection_and_its_folders_are_one_batch(gtzan_folder: Path) -> None:
    assert run() == 0
    whole = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*whole, sides=("genres", "genres")) == 0
    assert run(sides=("genres/jazz/*.wav", "genres/cl*/*")) == 0
    assert len(computed()) == 9


def test_a_genre_as_one_style_and_a_broken_clip_of_it_costs_no_pair(
    gtzan_folder: Path, fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/classical/classical.00001.wav").write_bytes(b"")
    assert run("--by=genre", "--name={content_genre}/{content}__{style}.wav") == 0
    assert set(sounds(Path("out"))) == {f"jazz/jazz.0000{i}__classical.wav" for i in range(3)}
    assert fake.heard == {"genres/classical": 1}
    assert "left out genres/classical/classical.00001.wav: is empty" in capsys.readouterr().err
    record = json.loads(Path("out/jazz/jazz.00000__classical.wav.json").read_text())
    used = [Path(clip["path"]).name for clip in record["styles"][0]["clips"]]
    assert used == ["classical.00000.wav", "classical.00002.wav"]
    sf.write("genres/classical/classical.00001.wav", make_noise(0.6, GTZAN_SR, 9), GTZAN_SR)
    assert run("--by=genre", "--name={content_genre}/{content}__{style}.wav") == 0
    assert len(computed()) == 6  # the genre has changed


def test_scores_are_in_the_results_and_added_to_what_is_done(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []

    def evaluate(self: Any, job: Any) -> dict[str, Any]:
        judged.append(job.pair.id)
        if len(judged) == 2:
            raise ValueError("no opinion")
        return {"style_mean": 0.25, "content_mean": None}

    monkeypatch.setattr(worker.PairWorker, "evaluate", evaluate)
    monkeypatch.setattr("audiostyle.evaluation.content_metrics.require_mir_eval", lambda: None)
    assert run("--limit=2") == 0
    assert judged == []
    assert run("--limit=3", "--evaluate") == 1
    assert len(judged) == 3 and len(computed()) == 3
    assert run("--limit=3", "--evaluate") == 0
    assert len(judged) == 4 and judged[1] == judged[3] and len(computed()) == 3
    assert [row["score_style_mean"] for row in rows().values()] == [0.25] * 3
    with Path("out/results.csv").open(newline="") as stream:
        assert [row["score_style_mean"] for row in csv.DictReader(stream)] == ["0.25"] * 3


def test_nothing_of_a_pair_stays_in_memory(gtzan_folder: Path, fake: Any) -> None:
    """Every result is dead when the next pair begins; styles are kept, but only so many."""
    alive: list[Any] = []
    most = 0

    def watch(result: Any) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
        alive.append(weakref.ref(result))

    fake.watch = watch
    assert run() == 0
    assert len(alive) == 9
    assert most == 0


def test_results_do_not_depend_on_which_styles_are_kept(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch, fake: Any
) -> None:
    assert run() == 0
    assert set(fake.heard.values()) == {1}
    whole = sounds(Path("out"))
    monkeypatch.setattr(worker.PairWorker, "_analyze_style", _analyze_again)
    fake.heard.clear()
    assert run(out="other") == 0
    assert sounds(Path("other")) == whole
    assert set(fake.heard.values()) == {3}


def _analyze_again(self: Any, *arguments: Any) -> Any:
    self._styles.clear()
    return ANALYZE_STYLE(self, *arguments)


ANALYZE_STYLE = worker.PairWorker._analyze_style


def test_the_python_example_runs(gtzan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = EXAMPLES / "batch_gtzan.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main("genres", "out") == 0
    names = {f"jazz-to-classical/jazz.0000{i}.wav" for i in range(3)}
    assert set(sounds(Path("out"))) == names
    out = capsys.readouterr().out
    assert all(f"{name}: loss 1.000" in out for name in names)
    assert "3 done, 3 of them now" in out
    assert example.main("genres", "out") == 0
    assert capsys.readouterr().out == "3 done, 0 of them now\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sh")
def test_the_shell_example_runs(gtzan_folder: Path) -> None:
    program = gtzan_folder / "bin" / "audiostyle"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{WORKER}" 0 "$@"\n')
    program.chmod(0o755)
    Path("genres/jazz/jazz.00001.wav").write_bytes(b"")
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", str(EXAMPLES / "batch_gtzan.sh"), "genres", "out"]
    planned, done = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True)
        for more in (["--dry-run"], ["--quiet"])
    )
    assert (planned.returncode, done.returncode) == (0, 1), planned.stderr + done.stderr
    assert "3 pairs: 0 done, 2 to compute, 1 that cannot be done" in planned.stdout
    assert "planned 3, done 2, failed 1, pending 0" in done.stdout
    assert len(sounds(Path("out"))) == 2


class Recorder:
    """An engine that computes nothing, and tells what it was given."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def run(self, jobs: Any, report: Any) -> Iterator[Any]:
        for job in jobs:
            self.jobs.append(job)
            yield batch_engine.Started(job)
            lines = journal_lines(Path("out"))
            assert (lines[-1]["event"], lines[-1]["pair"]) == ("started", job.pair.id)
            yield batch_engine.Failed(job, "internal", "it is a test", 0.0)


def test_any_engine_will_do_and_the_journal_is_ahead_of_it(gtzan_folder: Path) -> None:
    engine = Recorder()
    result = audiostyle.run_batch(*SIDES, "out", engine=engine, limit=4)
    assert (result.exit_code, result.count("failed"), result.computed) == (3, 4, 0)
    assert [job.pair.id for job in engine.jobs] == sorted(
        (job.pair.id for job in engine.jobs), key=lambda name: name.split("__")[::-1]
    )
    assert result.failures == {
        ("internal", "it is a test"): sorted(job.pair.id for job in engine.jobs)
    }
