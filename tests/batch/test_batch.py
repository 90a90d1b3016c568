"""Batches from the command line to the results; only the transfer is a fake."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from audiostyle.utils import atomic_files
from tests.conftest import make_noise
from tests.support.fakes import BROKEN, GTZAN_SR, WORKER, computed, make_gtzan, rows, run, sounds

N_CLIPS = 12  # as few as hold all broken ones
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def gtzan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gtzan(tmp_path_factory.mktemp("gtzan"), N_CLIPS)


def test_gtzan_with_broken_clips(
    gtzan: Path,
    fake: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*whole, sides=(str(gtzan), str(gtzan))) == 1
    good = [
        [i for i in range(N_CLIPS) if f"{g}.{i:05d}.wav" not in BROKEN]
        for g in ("jazz", "classical")
    ]
    expected = {f"jazz.{c:05d}__classical.{s:05d}.wav" for c in good[0] for s in good[1]}
    assert len(expected) == (N_CLIPS - 2) * (N_CLIPS - 1)
    found = sounds(Path("out"))
    assert set(found) == expected
    table = rows()
    assert {name for name, row in table.items() if row["status"] == "done"} == expected
    failed = {name: row["kind"] for name, row in table.items() if row["status"] == "failed"}
    assert len(table) == N_CLIPS**2 and len(failed) == N_CLIPS**2 - len(expected)
    kinds = {n: {k for pair, k in failed.items() if n[:-4] in pair} for n in BROKEN}
    assert "unreadable" in kinds[BROKEN[0]] and "truncated" in kinds[BROKEN[1]]
    err = capsys.readouterr().err
    for name, kind in zip(BROKEN, ("unreadable", "truncated", "unreadable"), strict=True):
        (line,) = [
            line for line in err.splitlines() if line.startswith(f"failed: {kind}") and name in line
        ]
        assert f"{N_CLIPS - 2} pairs" in line or f"{N_CLIPS} pairs" in line
    styles = (gtzan / "classical" / f"classical.{s:05d}.wav" for s in good[1])
    assert fake.analyzed == {str(style): 1 for style in styles}
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        assert {r["pair"]: r["status"] for r in csv.DictReader(stream)} == {
            name: row["status"] for name, row in table.items()
        }


def test_records_describe_their_outputs(gtzan_folder: Path) -> None:
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


def test_limits_order_and_resuming_do_not_change_results(gtzan_folder: Path) -> None:
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


def test_other_notations_of_the_inputs_are_the_same_batch(gtzan_folder: Path) -> None:
    assert run() == 0
    whole = ("--content-genre=jazz", "--style-genre=classical")
    assert run(*whole, sides=("genres", "genres")) == 0
    assert run(sides=("genres/jazz/*.wav", "genres/cl*/*")) == 0
    assert len(computed()) == 9


def test_a_broken_clip_of_a_genre_costs_no_pair(
    gtzan_folder: Path, fake: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("genres/classical/classical.00001.wav").write_bytes(b"")
    assert run("--by=genre", "--name={content_genre}/{content}__{style}.wav") == 0
    assert set(sounds(Path("out"))) == {f"jazz/jazz.0000{i}__classical.wav" for i in range(3)}
    assert fake.analyzed == {"genres/classical": 1}
    assert "left out genres/classical/classical.00001.wav: is empty" in capsys.readouterr().err
    record = json.loads(Path("out/jazz/jazz.00000__classical.wav.json").read_text())
    used = [Path(clip["path"]).name for clip in record["styles"][0]["clips"]]
    assert used == ["classical.00000.wav", "classical.00002.wav"]
    sf.write("genres/classical/classical.00001.wav", make_noise(0.6, GTZAN_SR, 9), GTZAN_SR)
    assert run("--by=genre", "--name={content_genre}/{content}__{style}.wav") == 0
    assert len(computed()) == 6  # the genre has changed


CODE = """
import sys
from audiostyle.cli.main import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as exit:
        print("exit", exit.code)
print("modules", *sorted(sys.modules))
"""


def test_a_finished_batch_imports_no_tensorflow(gtzan_folder: Path) -> None:
    assert run("--limit=2") == 0
    commands = ["batch genres/jazz genres/classical -o out --limit 2", "status out", "batch --help"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *commands], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines.count("exit 0") == len(commands)
    _, *modules = lines[-1].split()
    assert "audiostyle.batch.run" in modules
    assert {"tensorflow", "librosa", "scipy", "matplotlib"}.isdisjoint(modules)


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
    assert "3 done, 3 of them in this run" in out
    assert example.main("genres", "out") == 0
    assert capsys.readouterr().out == "3 done, 0 of them in this run\n"


@pytest.mark.slow
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
    assert "3 pairs: 2 to compute, 1 that cannot be done" in planned.stdout
    assert "planned 3, done 2, failed 1, pending 0" in done.stdout
    assert len(sounds(Path("out"))) == 2
