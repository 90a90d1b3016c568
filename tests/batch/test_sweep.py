"""Sweeps in a batch: takes as pairs of their own, resumed, in shards, and with their results."""

from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from audiostyle.batch.run import run_batch
from audiostyle.config.transfer_config import PRESETS, TransferConfig, preset_parameters
from audiostyle.config.variants import analysis_key
from audiostyle.errors import ConfigError, Interrupted
from tests.support.fakes import call, computed, rows, run, sounds

VARY = ("--vary", "strength=.4,0.7,1", "--vary", "preset=fast,balanced")
ONE = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
TWO = ("genres/jazz/jazz.0000[01].wav", "genres/classical/classical.00000.wav")
TAKES = {
    f"jazz.0000{i}__classical.00000__strength={s}__preset={p}.wav": (i, float(s), p)
    for i, s, p in itertools.product(range(2), ("0.4", "0.7", "1"), ("fast", "balanced"))
}


def test_a_take_is_a_pair_with_its_own_parameters(gtzan_folder: Path, fake: Any) -> None:
    assert run(*VARY, sides=TWO) == 0
    assert set(sounds(Path("out"))) == set(computed()) == set(TAKES)
    configs = [TransferConfig.from_preset(preset) for preset in ("fast", "balanced")]
    assert set(fake.analyzed.values()) == {len({*map(analysis_key, configs)})}
    table = rows()
    with Path("out/results.csv").open(newline="") as stream:
        cells = {row["pair"]: row for row in csv.DictReader(stream)}
    for name, (i, strength, preset) in TAKES.items():
        record = json.loads(Path("out", name + ".json").read_text())
        expected = TransferConfig.from_preset(preset, strength=strength)
        assert record["parameters"] == json.loads(json.dumps(expected.to_dict()))
        assert record["preset"] == table[name]["preset"] == cells[name]["preset"] == preset
        assert float(cells[name]["strength"]) == strength
        options = (f"--strength={strength}", f"--preset={preset}", "-o", f"alone/{name}")
        assert run(*options[:2], out="alone", sides=(f"genres/jazz/jazz.0000{i}.wav", ONE[1])) == 0
        alone = Path(f"alone/jazz.0000{i}__classical.00000.wav")
        assert alone.read_bytes() == Path("out", name).read_bytes()
        alone.unlink()
        Path(f"{alone}.json").unlink()
    with Path("out/summary.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 6


def test_a_sweep_is_interrupted_and_resumed(gtzan_folder: Path, fake: Any) -> None:
    assert run(*VARY, out="whole", sides=TWO) == 0
    left = 5

    def stop(result: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Interrupted(130)

    fake.watch = stop
    assert run(*VARY, sides=TWO) == 130
    assert len(computed()) == 4
    assert {row["status"] for row in rows().values()} == {"done", "pending"}
    fake.watch = None
    assert run(*VARY, sides=TWO) == 0
    assert sorted(computed()) == sorted(TAKES)
    assert sounds(Path("out")) == sounds(Path("whole"))


def test_shards_divide_a_sweep(gtzan_folder: Path) -> None:
    assert run(*VARY, out="whole", sides=TWO) == 0
    for i in range(1, 4):
        assert run(*VARY, f"--shard={i}/3", sides=TWO) == 0
    assert sounds(Path("out")) == sounds(Path("whole"))
    assert rows().keys() == rows("whole").keys() == TAKES.keys()


def test_rows_of_a_table_have_their_own_parameters(gtzan_folder: Path) -> None:
    Path("pairs.csv").write_text(
        "content,style,strength\njazz.00000,classical.00000,.5\njazz.00001,classical.00000,\n"
    )
    how = ("--pair=csv:pairs.csv", "--strength=0.9", "--vary=seed=1,2")
    assert run(*how) == 0
    assert {
        (row["content"][-5], pair.partition("__strength=")[2]) for pair, row in rows().items()
    } == {
        *(("0", "0.5__seed=1.wav"), ("0", "0.5__seed=2.wav")),
        *(("1", "0.9__seed=1.wav"), ("1", "0.9__seed=2.wav")),
    }
    Path("pairs.csv").write_text("content,style,note\na,b,c\n")
    assert run("--pair=csv:pairs.csv") == 2


def test_finished_outputs_of_other_parameters_are_kept(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--strength=0.4") == 0
    before = sounds(Path("out"))
    line = "9 finished outputs were made with strength=0.4, not 0.8; they stay as they are"
    for options in ((), ("--quiet",), ("--json",), ("--retry-failed",)):
        capsys.readouterr()
        assert run("--strength=0.8", *options) == 3
        assert capsys.readouterr().err.count(line) == 1
    assert run("--strength=0.8", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert line in shown and "--vary" in shown and "--force" in shown
    assert "9 pairs: 9 kept as they are" in shown
    assert run("--strength=0.8", "--dry-run", "--json") == 0
    kept = json.loads(capsys.readouterr().out)["kept"]
    assert len(kept) == 9 and kept[0]["made_with"] == "strength=0.4" and kept[0]["asked"] == "0.8"
    assert sounds(Path("out")) == before and len(computed()) == 9
    assert run("--strength=0.8", out="other") == 0
    Path("out/jazz.00000__classical.00000.wav").unlink()
    assert run("--strength=0.8") == 1  # one is made, eight are not what was asked for
    assert "1 done (1 now), 0 failed, 8 kept" in capsys.readouterr().err
    assert run("--strength=0.8", "--force") == run("--strength=0.8") == 0
    assert sounds(Path("out")) == sounds(Path("other")) != before


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (("--preset=fast",), "preset=balanced, not fast"),
        (("--duration=0.5",), "duration=none, not 0.5"),
        (("--subtype=FLOAT",), "subtype=none, not FLOAT"),
        (("--style-layers=block1_conv1",), "style_layers=.*, not block1_conv1=1;"),
        (("--strength=.3", "--seed=5"), "strength=1, seed=0, not strength=0.3, seed=5"),
    ],
)
def test_whatever_changes_no_output_is_replaced(
    options: tuple[str, ...], made: str, gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sides=ONE) == 0
    before = sounds(Path("out"))
    capsys.readouterr()
    assert run(*options, sides=ONE) == 3
    assert re.search(f"1 finished output was made with {made}", capsys.readouterr().err)
    Path("out/journal.jsonl").unlink()
    assert run(*options, sides=ONE) == 3  # its record alone tells
    assert sounds(Path("out")) == before


def test_without_a_record_the_journal_tells(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--limit=2") == 0
    for record in Path("out").glob("*.wav.json"):
        record.unlink()
    assert run("--limit=2", "--strength=0.8") == 3
    assert "2 finished outputs were made with strength=1, not 0.8" in capsys.readouterr().err
    assert run("--limit=2", "--duration=0.5") == 3
    assert "2 finished outputs were made with other settings" in capsys.readouterr().err
    assert run("--limit=2") == 0 and len(computed()) == 2


def test_a_preset_that_varies_keeps_what_was_given(gtzan_folder: Path) -> None:
    """Also a parameter with the value that it has in the preset of all others."""
    name = next(iter(PRESETS["fast"]))
    given = preset_parameters("balanced")[name]
    assert PRESETS["fast"][name] != given
    options = (f"--{name.replace('_', '-')}={given}", "--vary=preset=fast,balanced")
    assert run(*options, sides=ONE) == 0
    found = [json.loads(path.read_text()) for path in Path("out").glob("*.wav.json")]
    assert [record["parameters"][name] for record in found] == [given] * 2
    config = TransferConfig.from_preset("fast", **{name: given})
    run_batch(*ONE, "python", config, preset="fast", vary={"preset": ["balanced", "fast"]})
    assert set(sounds(Path("python"))) == set(sounds(Path("out")))


def test_outputs_of_earlier_runs_are_no_inputs(
    gtzan_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "jazz.00000__classical.00000.wav"
    assert run(out="genres/jazz/first", sides=ONE) == 0
    Path("genres/jazz/jazz.00001.wav.json").write_text("[]")  # is no record
    for side in ("genres/jazz", "genres/jazz/*", "genres/**/*.wav"):
        out = f"out{len(side)}"
        assert run("--content-genre=jazz", out=out, sides=(side, ONE[1])) == 0
        assert len(rows(out)) == 3 and not any("__classical.00000__" in pair for pair in rows(out))
        assert f"written by audiostyle ({name}" in capsys.readouterr().err
    assert run(out="again", sides=(f"genres/jazz/first/{name}", ONE[1])) == 0  # named itself
    assert run(out="again", sides=("genres/jazz/first", ONE[1])) == 3


def test_wrong_values_are_refused(gtzan_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, message in (
        (("--vary=strenght=1",), "did you mean strength?"),
        (("--vary=strength",), "must be NAME=VALUE,..., such as strength=.5,1"),
        (("--vary=strength=.5,",), "must be NAME=VALUE,..."),
        (("--vary=strength=.5,2",), "strength=2 must be from 0 to 1"),
        (("--vary=strength=.5,0.5",), "strength=0.5 is given twice"),
        (("--vary=strength=.5", "--strength=1"), "--vary strength and --strength exclude"),
        (("--vary=preset=fast", "--preset=fast"), "--vary preset and --preset exclude"),
        (("--vary=strength=.5", "--name={strength}{tempo}.wav"), "'tempo' is not known"),
    ):
        assert run(*options) == 2
        assert message in capsys.readouterr().err
    assert not Path("out").exists()
    with pytest.raises(ConfigError, match="names no value"):
        run_batch(*ONE, "out", vary={"strength": []})


def test_a_page_compares_the_takes_of_a_sweep(gtzan_folder: Path) -> None:
    assert run("--vary=strength=.4,1", "--vary=seed=1,2", sides=ONE) == 0
    assert call("report", "out", "-o", "takes.html") == 0
    text = Path("takes.html").read_text()
    assert "strength=0.4__seed=1" in text and "Blind" in text
