"""The command ``transfer``: whole runs, signals, messages, and its report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle.cli.progress import Console
from audiostyle.cli.transfer import run_transfer_command
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.events import Iteration, Stage
from audiostyle.files import transfer as files_transfer
from audiostyle.files.request import TransferRequest
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones
from tests.support.fakes import call, iterate

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

ENDLESS = ["--optimizer=adam", "--tolerance=0", "--iterations=100000"]
FEW_TERMS = [f"--{term}-weight=0" for term in ("music", "texture", "pitch", "onset", "rhythm")]
"""Leave out what takes long to compile."""


class Run:
    """A transfer that does not end, in its own process."""

    def __init__(self, folder: Path, *options: str) -> None:
        sf.write(folder / "content.wav", make_tones(), SR)
        sf.write(folder / "style.wav", make_noise(), SR)
        self.folder = folder
        command = [sys.executable, "-m", "audiostyle", "transfer", "content.wav", "style.wav"]
        command += ["-o", "out.wav", *TINY_OPTIONS, *ENDLESS, *FEW_TERMS, *options]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.watchdog = threading.Timer(120, self.process.kill)  # a test that hangs fails
        self.watchdog.start()

    def wait_for(self, start: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(start):
                return
        pytest.fail(f"ended before {start!r} was printed: {self.lines}")

    def end(self) -> int:
        _, rest = self.process.communicate()
        self.watchdog.cancel()
        self.lines += rest.splitlines()
        return self.process.returncode

    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"content.wav", "style.wav"}


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_the_optimization_and_writes_the_best_result(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    run.wait_for("iteration 0/")
    run.process.send_signal(number)
    assert run.end() == 128 + number
    assert run.left() == {"out.wav", "out.wav.json"}
    y, sr = sf.read(tmp_path / "out.wav")
    assert (len(y), sr) == (SR, SR)
    assert np.abs(y).max() > 0.01
    record = json.loads((tmp_path / "out.wav.json").read_text())
    assert record["status"] == record["stopped"] == "interrupted"
    assert 0 < len(record["losses"]) < 100_000
    assert (
        "stopping; the best result so far will be written (interrupt again to stop now)"
        in run.lines
    )
    assert "interrupted" in run.lines[-1]


@pytest.mark.slow
@needs_signals
def test_the_second_signal_stops_at_once_and_writes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, "--inversion-iterations=10000")
    run.wait_for("iteration 0/")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("turning the spectrogram into sound")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 130
    assert run.left() == set()
    assert run.lines[-1] == "audiostyle: error: interrupted; nothing was written"


@needs_signals
def test_a_signal_while_tensorflow_is_imported_stops_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, "--verbose")
    run.wait_for("")  # the first message of TensorFlow, whose import takes seconds
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143
    assert run.left() == set()
    assert run.lines[-1] == "audiostyle: error: interrupted; nothing was written"
    assert not any(line.startswith(("step", "Traceback")) for line in run.lines)


@needs_signals
@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (None, 0)]
)
def test_a_signal_stops_the_optimization_and_sets_the_exit_code(
    number: signal.Signals | None,
    code: int,
    quiet: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers: list[Any] = []
    record = {"notes": ["a note"]}

    def work(_: Any, __: Any, callback: Callable[[Stage | Iteration], Any]) -> Any:
        callback(Stage("optimization", "CPU"))
        answers.append(callback(iterate(0)))
        if number is not None:
            os.kill(os.getpid(), number)
        answers.append(callback(iterate(1)))
        timings = {"style": 0.25, "optimization": 1.5}
        history = [iterate(0), iterate(1)]
        return SimpleNamespace(history=history, stopped="interrupted", timings=timings), record

    monkeypatch.setattr(files_transfer, "run_transfer", work)
    request = TransferRequest(
        Path("a"), [Path("b")], Path("c"), style_weights=[1.0], verbose=not quiet
    )
    result = run_transfer_command(request, TransferConfig(), Console(quiet), as_json=True)
    assert (result, answers) == (code, [False, number is not None])
    out, err = capsys.readouterr()
    assert json.loads(out) == record
    if quiet:
        assert err == ""
    else:
        note, timings, last = err.splitlines()[-3:]
        assert (note, timings) == ("a note", "style 0.25 s, optimization 1.50 s")
        assert last.startswith(f"{Path('c').resolve()} (1 iteration, interrupted, ")
        assert last.endswith("audiostyle report c -o c.html")


@pytest.fixture
def fake_transfer(gtzan_folder: Path, fake: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compute nothing; return the arguments of a transfer."""
    monkeypatch.setattr(files_transfer, "StyleTransfer", fake)
    return ["transfer", *(f"genres/{g}/{g}.00000.wav" for g in ("jazz", "classical")), "-oo.wav"]


def test_the_report_is_written_after_the_transfer(
    fake_transfer: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*fake_transfer, "--report", "p.html") == 0
    assert "<audio" in Path("p.html").read_text("utf-8")
    before, last = capsys.readouterr().err.splitlines()[-2:]
    assert before.startswith(f"{Path('o.wav').resolve()} (")
    page = re.escape(str(Path("p.html").resolve()))
    assert re.fullmatch(page + r" \(1 pair, [\d.]+ [kM]B\); open it in a browser to listen", last)
    assert call(*fake_transfer, "--report", "p.html", "-fq") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("page", "code", "message"),
    [
        ("p.txt", 2, r"report=p\.txt must end in \.html"),
        ("old.html", 1, r"old\.html: exists already; use --force to replace it"),
        ("none/p.html", 1, r"none"),
    ],
)
def test_a_report_that_cannot_be_written_is_an_error_before_the_transfer(
    page: str, code: int, message: str, fake_transfer: list[str], capsys: Any
) -> None:
    Path("old.html").write_text("old")
    assert call(*fake_transfer, "--report", page) == code
    assert re.match(rf"audiostyle: error: .*{message}", capsys.readouterr().err)
    assert not Path("o.wav").exists()
    assert Path("old.html").read_text() == "old"


def test_a_report_never_replaces_an_input(fake_transfer: list[str], capsys: Any) -> None:
    Path(fake_transfer[1]).rename("content.html")
    fake_transfer[1] = "content.html"
    before = Path("content.html").read_bytes()
    assert call(*fake_transfer, "--report", "content.html", "--force") == 1
    assert Path("content.html").read_bytes() == before
    assert not Path("o.wav").exists()


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audiostyle", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@dataclasses.dataclass
class Smoke:
    """A run in its own process, and its output."""

    folder: Path
    code: int
    out: str
    err: list[str]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    folder = tmp_path_factory.mktemp("smoke")
    sf.write(folder / "content.wav", make_tones(), SR)
    sf.write(folder / "style.wav", make_noise(), SR)
    arguments = "transfer content.wav style.wav -o out.wav --json --plot out.png --device cpu"
    done = run(*arguments.split(), *TINY_OPTIONS, folder=folder)
    return Smoke(folder, done.returncode, done.stdout, done.stderr.splitlines())


def test_smoke_run(smoke: Smoke) -> None:
    assert smoke.code == 0, smoke.err
    names = {path.name for path in smoke.folder.iterdir()}
    assert names == {"content.wav", "style.wav", "out.wav", "out.wav.json", "out.png"}
    before, after = (sf.info(smoke.folder / name) for name in ("content.wav", "out.wav"))
    for name in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, name) == getattr(before, name)
    y, content = (sf.read(smoke.folder / name)[0] for name in ("out.wav", "content.wav"))
    assert np.isfinite(y).all()
    assert np.abs(y - content).max() > 0.01


def test_standard_output_is_the_record_alone(smoke: Smoke) -> None:
    assert smoke.out == (smoke.folder / "out.wav.json").read_text()
    assert json.loads(smoke.out)["status"] == "complete"


ALLOWED = (
    r"analysing style\.wav.*",
    r"iteration 0/3: total loss \S+",
    r"iteration [1-3]/3: total loss \S+",
    r"turning the spectrogram into sound",
    r"peaks limited by up to \d+\.\d\d dB",
    r".*out\.wav \(\d iterations?(, plateau)?, [\d.]+ (s|min)\); play it, or compare it with "
    r"content and style: audiostyle report out\.wav -o out\.html",
)


def test_standard_error_holds_these_lines_in_this_order_and_no_others(smoke: Smoke) -> None:
    matched = []
    for line in smoke.err:
        places = [i for i, pattern in enumerate(ALLOWED) if re.fullmatch(pattern, line)]
        assert places, f"unexpected: {line}"
        matched.append(places[0])
    assert matched == sorted(matched)
    assert set(matched) >= {0, 1, 2, 3, 5}
    assert str((smoke.folder / "out.wav").resolve()) in smoke.err[-1]


def test_the_record_is_complete(smoke: Smoke) -> None:
    record = json.loads(smoke.out)
    expected = TransferConfig(
        n_fft=1024,
        hop_length=256,
        n_mels=64,
        bands=4,
        init="content",
        iterations=3,
        inversion_iterations=2,
        style_layers=(("block1_conv1", 1.0), ("block2_conv1", 1.0)),
    )
    assert TransferConfig(**record["parameters"]) == expected
    assert (record["preset"], record["seed"], record["device"]) == ("balanced", 0, "/CPU:0")
    described = [record["output"], record["content"], *record["styles"][0]["clips"]]
    assert [entry["path"] for entry in described] == ["out.wav", "content.wav", "style.wav"]
    for entry in described:
        data = (smoke.folder / entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert (entry["sr"], entry["channels"], entry["samples"]) == (SR, 1, SR)
    assert record["versions"]["python"] == platform.python_version()
    for package in ("tensorflow", "librosa", "numpy", "soundfile"):
        assert record["versions"][package] == version(package)
    assert record["audiostyle"] == audiostyle.__version__
    assert "Simonyan" in json.dumps(record["weights"])
    losses = record["losses"]
    assert [loss["step"] for loss in losses] == list(range(len(losses)))
    assert losses[-1]["total"] < losses[0]["total"]
    assert set(losses[0]["layers"]) == {"block1_conv1", "block2_conv1"}
    assert all(seconds >= 0 for seconds in record["timings"].values())
    assert {"style", "optimization", "inversion"} <= set(record["timings"])


def test_the_plot_is_a_png_of_plausible_size(smoke: Smoke) -> None:
    data = (smoke.folder / "out.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">4sII", data[12:24]) == (b"IHDR", 1440, 840)
    assert 30_000 < len(data) < 3_000_000


ODD = "-o 'odd' \"$x$\" ü.flac"


@pytest.fixture(scope="module")
def genre(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """Style an excerpt of a 44.1 kHz stereo clip with a clip and a genre, quietly."""
    folder = tmp_path_factory.mktemp("genre")
    stereo = np.stack([make_tones(1.2, 44_100), make_tones(1.2, 44_100, 330.0)], axis=1)
    sf.write(folder / ODD, stereo, 44_100, subtype="PCM_24")
    sf.write(folder / "style.ogg", make_noise(0.8, 32_000), 32_000)
    (folder / "a genre").mkdir()
    sf.write(folder / "a genre" / "a.mp3", make_noise(0.9, 16_000, seed=1), 16_000)
    (folder / "a genre" / "b.wav").write_text("no sound")
    options = [*TINY_OPTIONS, "--quiet", "--blend=2,1", "--start=0.1", "--duration=0.7"]
    done = run("transfer", *options, "-oout.wav", "--", ODD, "style.ogg", "a genre", folder=folder)
    return Smoke(folder, done.returncode, done.stdout, done.stderr.splitlines())


@pytest.mark.slow
def test_quiet_is_silent(genre: Smoke) -> None:
    assert (genre.code, genre.out, genre.err) == (0, "", [])


@pytest.mark.slow
def test_rate_channels_depth_and_length_are_those_of_the_excerpt(genre: Smoke) -> None:
    info = sf.info(genre.folder / "out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_24")
    assert info.frames == round(0.7 * 44_100)


@pytest.mark.slow
def test_the_record_lists_used_and_skipped_clips(genre: Smoke) -> None:
    record = json.loads((genre.folder / "out.wav.json").read_text())
    assert record["content"]["path"] == ODD
    assert record["content"]["start_sample"] == 4410
    assert [style["weight"] for style in record["styles"]] == [2.0, 1.0]
    assert [style["path"] for style in record["styles"]] == ["style.ogg", "a genre"]
    (used,), (skipped,) = record["styles"][1]["clips"], record["styles"][1]["skipped"]
    assert used["path"].endswith("a.mp3")
    assert skipped["path"].endswith("b.wav")
    assert "is not an audio file" in skipped["reason"]
    assert any(note.startswith("style resampled from 16000, 32000 Hz") for note in record["notes"])
