from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from audiostyle.cli.progress import Console
from audiostyle.cli.report import ReportProgress, write_transfer_report
from audiostyle.errors import Interrupted
from audiostyle.files import transfer
from audiostyle.report import write
from tests.cli.test_main import modules_after
from tests.support.fakes import call
from tests.support.pages import Page
from tests.support.report_data import make_pair


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("none.wav -o p.html", 1, r"none\.wav: no such file or folder; check the name"),
        ("none.wav.json -o p.html", 1, r"none\.wav\.json: no such file"),
        ("plain.wav -o p.html", 1, r"plain\.wav: has no record plain\.wav\.json beside it"),
        ("bad.json -o p.html", 1, r"bad\.json: is not the record of a transfer"),
        ("list.json -o p.html", 1, r"list\.json: is not the record of a transfer"),
        ("empty -o p.html", 1, r"empty: holds neither a batch nor outputs"),
        ("out.wav -o p.txt", 2, r"report=p\.txt must end in \.html"),
        ("out.wav -o old.html", 1, r"old\.html: exists already; use --force"),
        ("out.wav -o none/p.html", 1, r"none/p\.html: there is no folder none"),
        ("out.wav -o p.html --embed-limit -1", 2, r"embed_limit=-1 must be from 0 to 1000 MB"),
        ("out.wav -o p.html --baselines", 2, r"baselines need --evaluate; add it"),
        ("-o p.html", 2, r"Missing argument"),
        ("out.wav", 2, r"Missing option '-o'"),
    ],
)
def test_errors_are_one_line_and_leave_no_files(
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


def test_the_command_prints_the_path_of_the_page_unless_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page = make_pair(tmp_path), tmp_path / "p.html"
    assert call("report", str(output), "-o", str(page)) == 0
    assert re.fullmatch(
        r".*p\.html \(1 pair, .* [kM]B\); open it in a browser.*\n", capsys.readouterr().err
    )
    assert call("report", str(output), "-o", str(page), "--force", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_the_help_names_the_default_limits_of_embedded_audio(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("report", "--help") == 0
    limits = f"default: {write.EMBED_MB:g}, or {write.EMBED_TAKES_MB:g} for takes of one content"
    assert f"[0 to 1000; {limits}]" in " ".join(capsys.readouterr().out.split())


def test_progress_of_many_pairs_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ReportProgress(Console())
    for i in range(1000):
        progress(write.PageProgress(i, 1000, f"p\n{i}.wav", "drawing"))
    progress(write.PageProgress(1000, 1000, "page.html", "writing"))
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 20
    assert printed[0] == "drawing 1/1000: p 0.wav"


@pytest.mark.slow
def test_a_report_needs_no_tensorflow(tmp_path: Path) -> None:
    make_pair(tmp_path)
    code, modules = modules_after("report", "out.wav", "-o", "p.html", folder=tmp_path)
    assert code == 0
    assert modules.isdisjoint({"tensorflow", "keras", "mir_eval", "matplotlib.pyplot"})
    code, modules = modules_after("report", "none.wav", "-o", "q.html", folder=tmp_path)
    assert code == 1
    assert modules.isdisjoint({"tensorflow", "librosa", "jinja2", "matplotlib"})


def test_a_transfer_writes_its_report(
    gtzan_folder: Path, fake: Any, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transfer, "StyleTransfer", fake)
    clips = ("genres/jazz/jazz.00000.wav", "genres/classical/classical.00000.wav")
    arguments = ("transfer", *clips, "-o", "out.wav", "--report")
    assert call(*arguments, "p.txt") == 2
    assert "report=p.txt must end in .html" in capsys.readouterr().err
    assert call(*arguments, "p.html") == 0
    assert len(Page(Path("p.html")).all("audio")) == 3
    Path("out.wav").unlink()
    Path("out.wav.json").unlink()
    capsys.readouterr()
    assert call(*arguments, "p.html") == 1
    assert "p.html: exists already" in capsys.readouterr().err
    assert not Path("out.wav").exists()


def test_a_signal_during_the_report_keeps_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise Interrupted(143)

    monkeypatch.setattr(write, "write_report", stop)
    output = tmp_path / "o.wav"
    assert write_transfer_report(output, output, Console(quiet=True)) == 143
    printed = f"interrupted; {output} was written, its report was not\n"
    assert capsys.readouterr() == ("", printed)
