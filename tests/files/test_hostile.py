"""Hostile files and names: each gives a result or one line of a known kind, quickly."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.audio.probe import probe_clip
from audiostyle.audio.reader import FileSource
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.dsp.normalized_stream import NormalizedStream
from audiostyle.errors import AudioFileError
from audiostyle.files import transfer
from tests.conftest import make_noise
from tests.support.fakes import call, rows
from tests.support.hostile import CLIPS, NAMES, SR, clip

HANG_SECONDS = 20


class Hangs(BaseException):
    """Raised after `HANG_SECONDS`; not caught by `except Exception`."""


Check = Callable[..., tuple[int, list[str]]]


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """End a test that hangs, even in a system call."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(*_: object) -> None:
        raise Hangs(f"for {HANG_SECONDS} s")

    saved = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, saved)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Any) -> Path:
    """Work in a folder with a valid clip, with instant transfers."""
    monkeypatch.setattr(transfer, "StyleTransfer", fake)
    monkeypatch.chdir(tmp_path)
    sf.write("good.wav", make_noise(0.6, SR), SR)
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.fixture
def check(folder: Path, capfd: pytest.CaptureFixture[str]) -> Check:
    """Run a command, and check that it changes no input and leaves no temporary file."""

    def run(*arguments: str) -> tuple[int, list[str]]:
        before = contents(folder / "in")
        code = call(*arguments)
        lines = capfd.readouterr().err.splitlines()
        assert contents(folder / "in") == before
        assert not list(folder.rglob(".audiostyle-*"))
        assert "Traceback" not in str(lines) and "internal error" not in str(lines), lines
        assert code in (0, 1, 2, 3), lines
        return code, lines

    return run


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.name: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.iterdir()
    }


def check_sound(path: Path) -> None:
    y, sr = sf.read(io.BytesIO(path.read_bytes()))
    assert np.isfinite(y).all() and len(y) >= sr / 2
    assert path.with_name(path.name + ".json").is_file()


@pytest.mark.parametrize("role", ["content", "style"])
@pytest.mark.parametrize("name", CLIPS)
def test_a_transfer(name: str, role: str, check: Check) -> None:
    write, outcomes, _ = CLIPS[name]
    path = Path("in", name)
    write(path)
    inputs = [str(path), "good.wav"] if role == "content" else ["good.wav", str(path)]
    code, lines = check("transfer", *inputs, "-o", "out.wav", "--quiet")
    if code == 0:
        assert "taken" in outcomes and lines == []
        check_sound(Path("out.wav"))
        return
    assert (code, len(lines)) == (1, 1) and name in lines[0]
    assert not Path("out.wav").exists() and not Path("out.wav.json").exists()
    assert outcomes != "taken", lines
    if path.is_file():
        with pytest.raises(AudioFileError) as error:
            NormalizedStream(FileSource(path), TransferConfig())
        assert error.value.kind in outcomes.split()


@pytest.mark.parametrize("name", CLIPS)
def test_a_batch(name: str, check: Check) -> None:
    write, _, outcomes = CLIPS[name]
    write(Path("in", name))
    Path("in", "._good.wav").write_bytes(b"\x00\x05\x16\x07" + bytes(207))
    code, lines = check("batch", "in", "good.wav", "-o", "out", "--quiet")
    if outcomes == "absent" or name.endswith(".raw"):
        assert code == 3 and "in: holds no audio files" in lines[0]
        return
    (row,) = rows().values()
    assert (row["kind"] or "taken") in outcomes.split()
    assert code == (0 if row["kind"] == "" else 3)
    assert len(lines) == (code != 0)
    if code == 0:
        check_sound(Path("out", row["pair"]))
    else:
        assert name in lines[0]
        assert not list(Path("out").glob("*.wav*"))


@pytest.mark.slow
def test_a_batch_of_all_files_with_the_real_network(
    tmp_path: Path, tiny_config: TransferConfig
) -> None:
    (tmp_path / "in").mkdir()
    for name, (write, *_) in CLIPS.items():
        write(tmp_path / "in" / name)
    sf.write(tmp_path / "style.wav", make_noise(0.6, SR), SR)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 10 * HANG_SECONDS)
    result = audiostyle.run_batch(
        tmp_path / "in", tmp_path / "style.wav", tmp_path / "out", tiny_config
    )
    for row in result.rows:
        name = Path(row["content"]).name
        assert (row["kind"] or "taken") in CLIPS[name][2].split(), row
        if not row["kind"]:
            check_sound(tmp_path / "out" / row["pair"])
            assert probe_clip(tmp_path / "out" / row["pair"]).kind == "", name
    assert len(result.rows) >= 28 and result.exit_code == 1
    assert len(list((tmp_path / "out").glob("*.wav"))) == result.count("done")


def make_named(name: str, folder: Path) -> Path:
    path = folder / name
    try:
        path.write_bytes(clip())
    except OSError:
        pytest.skip("this system has no such names")
    return path


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_odd_names_in_a_transfer(name: str, check: Check) -> None:
    path = make_named(name, Path("in"))
    assert check("transfer", str(path), "good.wav", "-o", "out.wav")[0] == 0
    check_sound(Path("out.wav"))
    assert check("transfer", "good.wav", "-o", "two.wav", "--", str(path))[0] == 0
    made = Path("made" + name)
    code, lines = check("transfer", "good.wav", "good.wav", "-o", str(made), "--quiet")
    if len(os.fsencode(made.name)) <= 250:
        assert code == 0
        check_sound(made)
    else:
        assert code == 1 and "File name too long" in lines[0] and len(lines) == 1


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_odd_names_in_a_batch(name: str, check: Check) -> None:
    make_named(name, Path("in"))
    assert check("batch", "in", "good.wav", "-o", "out", "--dry-run")[0] == 0
    assert check("batch", "in", "good.wav", "-o", "out", "--json")[0] == 0
    (made,) = Path("out").glob("*.wav")
    assert made.name == f"{name.removesuffix('.wav')}__good.wav" or "~" in made.name
    check_sound(made)
    before = made.stat().st_mtime_ns
    assert check("batch", "in", "good.wav", "-o", "out")[0] == 0
    assert made.stat().st_mtime_ns == before, "recognised by its name"
    assert check("status", "out")[0] == 0
    assert os.fsencode(made.name).replace(b'"', b'""') in Path("out/results.csv").read_bytes()
    made.write_bytes(b"")
    assert check("status", "out")[0] == 0


def test_a_leading_dash_is_an_option_before_two_dashes(check: Check) -> None:
    Path("-x.wav").write_bytes(clip())
    code, lines = check("transfer", "-x.wav", "good.wav", "-o", "out.wav")
    assert (code, len(lines)) == (2, 1)
    assert check("transfer", "-o", "out.wav", "--quiet", "--", "-x.wav", "good.wav") == (0, [])
    assert check("batch", "-o", "out", "--quiet", "--", "-x.wav", "good.wav") == (0, [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["transfer", "good.wav", "pipe.style.npz", "-o", "out.wav"], 1),
        (["transfer", "good.wav", "good.wav", "-o", "out.wav", "--weights=pipe"], 1),
        (["transfer", "good.wav", "good.wav", "-o", "out.wav", "--config=pipe"], 2),
        (["batch", "good.wav", "pipe.style.npz", "-o", "out"], 3),
        (["batch", "good.wav", "good.wav", "-o", "out", "--pair=zip", "--weights=pipe"], 4),
        (["batch", "@pipe", "good.wav", "-o", "out"], 2),
        (["batch", "good.wav", "good.wav", "-o", "out", "--pair=csv:pipe"], 2),
    ],
)
def test_pipes_are_refused_without_waiting(
    arguments: list[str], code: int, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("pipe", "pipe.style.npz"):
        os.mkfifo(name)
    assert call(*arguments, "--quiet") == code
    (line,) = capfd.readouterr().err.splitlines()
    assert "is not a regular file" in line and "pipe" in line


@pytest.mark.parametrize("out", ["loop", "loop/below"])
def test_outputs_behind_a_loop_of_links(out: str, check: Check) -> None:
    Path("loop").symlink_to("loop")
    code, lines = check("batch", "in", "good.wav", "-o", out)
    assert code == 3 and len(lines) == 1
    Path("in/a.wav").write_bytes(clip())
    code, lines = check("transfer", "in/a.wav", "good.wav", "-o", "loop/out.wav")
    assert (code, len(lines)) == (1, 1)
