"""Pages with evaluations and of batches, and the command that makes them."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

import audiostyle
from audiostyle.cli import report_runner
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp import spectrogram
from audiostyle.errors import AudioFileError, ConfigError, Interrupted, OutputError
from audiostyle.report import batch_page, records, write
from audiostyle.report import sounds as report_sounds
from audiostyle.report.records import SoundFile
from audiostyle.utils.atomic_files import record_path
from tests.cli.test_main import modules_after
from tests.conftest import SR, make_noise
from tests.support import report_cases
from tests.support.fakes import call
from tests.support.pages import Page
from tests.support.report_cases import make_batch, make_pair, white_spectrogram

# --- evaluations -------------------------------------------------------------------------------


def verdict(score: float) -> dict[str, float | None]:
    return dict.fromkeys(batch_page.MEASURES, score) | {"sound_consistency": None}


def test_an_evaluation_that_was_saved_is_shown_with_its_baselines(tmp_path: Path) -> None:
    output = make_pair(tmp_path)
    digest = json.loads(record_path(output).read_text())["output"]["sha256"]
    saved = {
        "outputs": [
            {"sha256": name, "measures": verdict(score)}
            for name, score in (("another", 0.4321), (digest, 0.83))
        ],
        "baselines": [{"name": "identity", "measures": verdict(0.27)}],
    }
    (tmp_path / "scores.json").write_text(json.dumps(saved))
    write.write_report([output, tmp_path / "scores.json"], tmp_path / "page.html")
    text = Page(tmp_path / "page.html").text
    assert re.search(r"this pair\s*identity", text)
    assert re.search(r"score\s*0\.83\s*0\.27", text)
    assert "0.43" not in text
    with pytest.raises(AudioFileError, match="holds an evaluation and no transfer"):
        records.collect([tmp_path / "scores.json"])


def test_evaluate_judges_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiostyle.evaluation import evaluate_files

    asked: list[Any] = []

    def judge(question: Any) -> Any:
        asked.append(question)
        found = [SimpleNamespace(name="out", measures=verdict(0.5), is_baseline=False)]
        found += [SimpleNamespace(name="mix", measures=verdict(0.2), is_baseline=True)]
        return SimpleNamespace(scores=found, failed=[])

    monkeypatch.setattr(evaluate_files, "run_evaluation", judge)
    output = make_pair(tmp_path)
    options: dict[str, Any] = {"evaluate": True, "baselines": True}
    found = write.write_report(output, tmp_path / "page.html", **options)
    (question,) = asked
    assert (question.outputs, question.baselines) == ([output], True)
    assert found.cases[0].measures["score"] == 0.5
    assert list(found.cases[0].baselines) == ["mix"]
    (tmp_path / "content.wav").unlink()
    found = write.write_report(output, tmp_path / "page.html", force=True, **options)
    assert "not judged: a sound is missing" in found.cases[0].notes
    assert len(asked) == 1


# --- batches -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("batch")
    sounds = {}
    for i in range(3):
        sounds[i] = root / f"{i}.wav"
        sf.write(sounds[i], make_noise(0.6, seed=i), SR)
    folder = make_batch(root / "out", 60, 6, sounds)
    events: list[write.PageProgress] = []
    write.write_report(folder, root / "page.html", events.append)
    assert [event.done for event in events] == list(range(61))
    assert (events[0].name, events[-1].stage) == ("000__000.wav", "writing")
    return Page(root / "page.html")


def test_a_row_a_pair_with_its_numbers(batch: Page) -> None:
    rows = [a for a in batch.all("tr") if "data-i" in a]
    assert len(rows) == 60
    row = report_cases.make_row(7, 6)
    assert f"{row['pair']}" in batch.text
    values = [a["data-value"] for a in batch.all("td", "number") if "data-value" in a]
    assert len(values) == 3 * 60
    scores = sorted(float(v) for v in values[::3] if v)
    wanted = [report_cases.make_row(i, 6)["score_score"] for i in range(60) if i % 50 != 49]
    assert scores == pytest.approx(sorted(wanted))


def test_failures_are_gathered_by_reason_and_escaped(batch: Page) -> None:
    assert re.search(r"silent\s+is silent & <empty>\s+1 pair\b", batch.text)
    assert "is silent &amp; &lt;empty&gt;" in batch.raw


def test_the_matrix_holds_means_by_genre(batch: Page) -> None:
    cells = {a["aria-label"] for a in batch.all("button") if "data-row" in a}
    rows = [report_cases.make_row(i, 6) for i in range(60)]
    genre = [r for r in rows if (r["content_genre"], r["style_genre"]) == ("jazz", "blues")]
    scores = [r["score_score"] for r in genre if r["score_score"] is not None]
    title = f"jazz in the style of blues: mean score of {len(scores)} pairs: "
    assert f"{title}{np.mean(scores):.2f}" in cells
    assert len(cells) == 4


def test_every_picture_and_every_sound_is_kept_once(batch: Page) -> None:
    pictures, details = batch.data("pictures"), batch.data("details")
    pairs = len([i for i in range(60) if i % 50 != 49])
    assert (
        len(pictures["data"]) == pairs + 6 + 1 + 10
    )  # a failed pair has no record to say how long
    assert len(details["sources"]) == len(pictures["data"])
    for data in pictures["data"]:
        Image.open(io.BytesIO(base64.b64decode(data))).verify()
    assert all(url.startswith("data:audio/") for url, _ in details["sources"])


def test_sounds_of_a_batch_are_all_linked_where_they_are_too_much(tmp_path: Path) -> None:
    outputs = [make_pair(tmp_path / str(i)) for i in range(3)]
    write.write_report(outputs, tmp_path / "page.html", embed_limit=0.05)
    details = Page(tmp_path / "page.html").data("details")
    assert details["sources"][0] == ["./0/content.wav", 0.0]
    assert len(details["sources"]) == 9
    assert [track[2] for track in details["pairs"][2]["tracks"]] == [6, 8, 7]


def test_a_batch_without_results_is_read_from_its_records(tmp_path: Path) -> None:
    make_pair(tmp_path / "out", output="b.wav")
    make_pair(tmp_path / "out" / "deep", output="a.wav")
    found = records.collect([tmp_path / "out"])
    assert sorted(case.name for case in found.cases) == ["a.wav", "b.wav"]
    assert found.whole


def test_a_matrix_is_by_clip_where_there_is_one_genre_and_none_where_it_is_too_large() -> None:
    row = batch_page.Row("n", "c", "s", "jazz", "pop", "done", "", 0.5, 1.0, 1.0, -1)
    rows = [dataclasses.replace(row, content=c, style=s) for c in "ab" for s in "xyz"]
    matrix = batch_page.make_matrix(rows)
    assert matrix is not None
    assert (matrix.by, matrix.rows, matrix.columns) == (
        ("content", "style"),
        ["a", "b"],
        list("xyz"),
    )
    assert batch_page.make_matrix(rows[:1]) is None
    many = [dataclasses.replace(row, content=str(i), style=str(i)) for i in range(100)]
    assert batch_page.make_matrix(many) is None
    assert batch_page.make_matrix([dataclasses.replace(row, score=None)] * 3) is None


def test_a_real_batch_that_was_run_is_found_again_from_elsewhere(
    gtzan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = audiostyle.run_batch("genres/jazz", "genres/classical", "out", limit=4)
    (gtzan_folder / "elsewhere").mkdir()
    monkeypatch.chdir(gtzan_folder / "elsewhere")
    found = records.collect([gtzan_folder / "out"])
    assert [case.name for case in found.cases] == [row["pair"] for row in result.rows]
    for case in found.cases:
        assert all(case.sounds[role].path is not None for role in records.ROLES)
        assert (case.status, case.content_genre) == ("done", "jazz")
    os.remove(gtzan_folder / "out" / "results.jsonl")  # as where it was killed
    again = records.collect([gtzan_folder / "out"])
    assert [case.status for case in again.cases] == ["done"] * 4


# --- sizes -------------------------------------------------------------------------------------


def test_the_page_of_30_s_of_stereo_stays_below_6_mb(tmp_path: Path) -> None:
    output = make_pair(tmp_path, seconds=1.0, parameters=TransferConfig().to_dict())
    rng = np.random.default_rng(0)
    for name in ("content.wav", "style.wav", "out.wav"):
        sf.write(tmp_path / name, 0.2 * rng.standard_normal((30 * 44_100, 2)), 44_100)
    record = json.loads(record_path(output).read_text())
    record["content"] |= {"sr": 44_100, "samples": 30 * 44_100}
    record_path(output).write_text(json.dumps(record))
    write.write_report(output, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert [a["src"][:10] for a in page.all("audio")] == ["data:audio"] * 3
    assert os.path.getsize(tmp_path / "page.html") <= 6_000_000


def test_a_thousand_pairs_of_noise_take_less_than_30_mb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    some = [white_spectrogram(rng) for _ in range(8)]

    def listen(sound: SoundFile, *_: Any, **__: Any) -> Any:
        S = some[len(sound.name) % 8]
        return report_sounds.LoadedSound(
            SoundFile("x", None, "x", reason=""), 30.0, S, 30.0, about="noise"
        )

    monkeypatch.setattr(report_sounds, "load_sound", listen)
    monkeypatch.setattr(report_sounds, "link", lambda heard, page: None)
    folder = make_batch(tmp_path / "out", 1000, 1000)  # nothing is shared
    write.write_report(folder, tmp_path / "page.html", embed_limit=0)
    page = Page(tmp_path / "page.html")
    assert len(page.data("pictures")["data"]) >= 2 * 980
    assert os.path.getsize(tmp_path / "page.html") <= 30_000_000


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("none.wav -o p.html", 1, r"none\.wav: no such file or folder; check the name"),
        ("none.wav.json -o p.html", 1, r"none\.wav\.json: no such file"),
        ("plain.wav -o p.html", 1, r"plain\.wav: has no record plain\.wav\.json beside it"),
        ("bad.json -o p.html", 1, r"bad\.json: is no record of a transfer"),
        ("list.json -o p.html", 1, r"list\.json: is no record of a transfer"),
        ("empty -o p.html", 1, r"empty: holds neither a batch nor outputs"),
        ("out.wav -o p.txt", 2, r"report=p\.txt must end in \.html"),
        ("out.wav -o old.html", 1, r"old\.html: exists already; use --force"),
        ("out.wav -o none/p.html", 1, r"none/p\.html: there is no folder none"),
        ("out.wav -o p.html --embed-limit -1", 2, r"embed_limit=-1 must be from 0 to 1000 MB"),
        ("out.wav -o p.html --baselines", 2, r"baselines are judged by --evaluate"),
        ("-o p.html", 2, r"Missing argument"),
        ("out.wav", 2, r"Missing option '-o'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: str,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(make_pair(tmp_path).parent)
    Path("bad.json").write_text("{no json")
    Path("list.json").write_text("[]")
    Path("plain.wav").write_bytes(b"x")
    Path("old.html").write_text("old")
    Path("empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert call("report", *arguments.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"audiostyle: error: .*{message}.*\n", err)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("old.html").read_text() == "old"


def test_the_command_says_where_the_page_is_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page = make_pair(tmp_path), tmp_path / "p.html"
    assert call("report", str(output), "-o", str(page)) == 0
    assert re.fullmatch(r".*p\.html \(1 pair, 0\.\d MB\)\n", capsys.readouterr().err)
    assert call("report", str(output), "-o", str(page), "--force", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_progress_of_many_pairs_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    progress = report_runner.ReportProgress(said.append, quiet=False)
    for i in range(1000):
        progress(write.PageProgress(i, 1000, f"p\n{i}.wav", "drawing"))
    progress(write.PageProgress(1000, 1000, "page.html", "writing"))
    assert len(said) == 20
    assert said[0] == "drawing 1/1000: p 0.wav"


def test_a_report_needs_no_tensorflow(tmp_path: Path) -> None:
    make_pair(tmp_path)
    code, modules = modules_after("report", "out.wav", "-o", "p.html", folder=tmp_path)
    assert code == 0
    assert modules.isdisjoint({"tensorflow", "keras", "mir_eval", "matplotlib.pyplot"})
    code, modules = modules_after("report", "none.wav", "-o", "q.html", folder=tmp_path)
    assert code == 1
    assert modules.isdisjoint({"tensorflow", "librosa", "jinja2", "matplotlib"})


def test_a_transfer_writes_its_report(gtzan_folder: Path, fake: Any, monkeypatch: Any) -> None:
    from audiostyle.files import transfer

    monkeypatch.setattr(transfer, "StyleTransfer", fake)
    clips = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    with pytest.raises(ConfigError, match=r"report=p\.txt must end in \.html"):
        audiostyle.transfer_file(*clips, "out.wav", report="p.txt")
    audiostyle.transfer_file(*clips, "out.wav", callback=print, report="p.html")
    assert len(Page(Path("p.html")).all("audio")) == 3
    Path("out.wav").unlink()
    Path("out.wav.json").unlink()
    with pytest.raises(OutputError, match=r"p\.html: exists already"):
        audiostyle.transfer_file(*clips, "out.wav", report="p.html")
    assert not Path("out.wav").exists()


def test_a_signal_while_the_report_is_made_keeps_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Interrupted(143)

    monkeypatch.setattr(write, "write_report", stop)
    said: list[str] = []
    output = tmp_path / "o.wav"
    assert report_runner.report_transfer(output, output, echo=said.append, quiet=True) == 143
    assert said == [f"interrupted; {output} is there, its report is not"]


def test_the_same_spectrogram_as_that_of_the_transfer(tmp_path: Path) -> None:
    """A short clip is neither folded nor cut: the page shows what the descent sees."""
    output = make_pair(tmp_path)
    case = records.collect([output]).cases[0]
    heard = report_sounds.load_sound(case.sounds["content"], case.config)
    from audiostyle.audio.reader import FileSource
    from audiostyle.dsp.normalized_stream import NormalizedStream

    recording = NormalizedStream(FileSource(tmp_path / "content.wav"), case.config)
    y = np.concatenate(list(recording.levelled()), axis=1)
    S = spectrogram.mel_spectrogram(y, case.config)
    np.testing.assert_allclose(heard.S, S, atol=1e-3)
