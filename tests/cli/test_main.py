"""The command line as a person meets it: help, errors, and whole runs in a process of their own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import re
import shlex
import struct
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle import __main__ as program
from audiostyle.cli.main import cli, main
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.files import transfer
from tests.conftest import SR, TINY_OPTIONS, make_noise, make_tones

HEAVY = ("tensorflow", "keras", "librosa", "numpy", "scipy", "soundfile", "matplotlib", "h5py")
HEAVY += ("jinja2", "http.server", "PIL")
CODE = """
import sys
from audiostyle.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as exit:
    print("exit", exit.code, *sorted(sys.modules))
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "audiostyle", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def modules_after(*arguments: str, folder: Path) -> tuple[int, set[str]]:
    """Return the exit code, and what was imported until then."""
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    _, code, *modules = done.stdout.splitlines()[-1].split()
    return int(code), set(modules)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--help", 0),
        ("--version", 0),
        ("transfer --help", 0),
        ("transfr", 2),
        ("transfer a.wav", 2),
        ("transfer a.wav b.wav", 2),
        ("transfer a.wav b.wav -o o.wav --iteration 3", 2),
        ("transfer a.wav b.wav -o o.wav --network vgg18", 2),
        ("transfer a.wav b.wav -o o.wav --blend 1,2", 2),
        ("transfer a.wav b.wav -o o.wav --config none.toml", 2),
        ("evaluate --help", 0),
        ("evaluate a.wav b.wav", 2),
        ("evaluate a.wav b.wav o.wav --start soon", 2),
        ("batch --help", 0),
        ("batch a b", 2),
        ("batch a b -o out --limit few", 2),
        ("batch a b -o out --strength 2", 2),
        ("report --help", 0),
        ("report a.wav", 2),
        ("report a.wav -o p.html --embed-limit much", 2),
        ("status --help", 0),
        ("status", 2),
        ("style --help", 0),
        ("style a", 2),
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(
    arguments: str, expected: int, tmp_path: Path
) -> None:
    code, modules = modules_after(*arguments.split(), folder=tmp_path)
    assert code == expected
    assert modules.isdisjoint(HEAVY)


def test_bad_files_are_found_before_tensorflow_and_librosa_are_imported(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", make_tones(), SR)
    sf.write(tmp_path / "b.wav", np.zeros(SR), SR)
    code, modules = modules_after("transfer", "a.wav", "b.wav", "-o", "o.wav", folder=tmp_path)
    assert code == 1
    assert modules.isdisjoint({"tensorflow", "librosa"})


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"audiostyle, version {audiostyle.__version__}\n"
    (script,) = entry_points(group="console_scripts", name="audiostyle")
    assert script.load() is program.run


@pytest.mark.parametrize(("arguments", "expected"), [(["--version"], 0), (["transfr"], 2)])
def test_leaving_at_once_keeps_the_exit_code_and_what_was_said(
    arguments: list[str], expected: int
) -> None:
    code = (
        "import atexit, sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow');"
        "atexit.register(print, 'bye'); sys.argv[0] = 'audiostyle';"
        "from audiostyle.__main__ import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == expected
    assert done.stdout.splitlines()[-1] == "bye"
    assert ("version" in done.stdout) is (expected == 0)
    assert ("transfr" in done.stderr) is (expected == 2)


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_info:
        main([name, "--help"])
    assert exit_info.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_examples_that_parse(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line.strip() for line in help_of(name, capsys).splitlines()]
    examples = [line for line in lines if line.startswith(f"audiostyle {name} ")]
    assert len(examples) >= 2  # each on a line of its own, and whole:
    for example in examples:
        command = cli.commands[name]
        context = command.make_context(name, shlex.split(example)[2:])
        assert all(context.params[p.name] is not None for p in command.params if p.required)


@pytest.mark.parametrize("name", cli.commands)
def test_every_option_is_explained_under_a_heading(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(name, capsys)
    headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert headings == list(dict.fromkeys(headings))  # none twice
    in_lists = re.findall(r"^  (\S+)", text.split("\n\n", 3)[3], re.MULTILINE)
    arguments = {"CONTENT", "STYLE", "STYLE...", "OUTPUT...", "PATH...", "FOLDER", "DIR"}
    assert not arguments & set(in_lists)
    required = [p for p in cli.commands[name].params if isinstance(p, click.Option) and p.required]
    assert text.count("[required]") == len(required)
    flat = " ".join(text.split())
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert parameter.opts[-1] in flat
            facts = re.findall(r"\[(.+?)\]$", parameter.help)
            if not parameter.is_flag and not parameter.required:
                assert facts, f"{parameter.name} names neither default nor bounds"
                assert "default" in facts[0]


def test_every_parameter_is_an_option_with_its_unit_bounds_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = " ".join(help_of("transfer", capsys).split())
    default = TransferConfig()
    for field in dataclasses.fields(TransferConfig):
        name = "--" + field.name.replace("_", "-")
        about = re.search(rf" {name} (.*?\])(?= {{1,2}}-| [A-Z]\w+: )", text)
        assert about, name
        metadata = field.metadata
        assert metadata["unit"] in about[1]
        if metadata["bounds"]:
            low, high = metadata["bounds"]
            assert f"{low:.10g} to {high:.10g}" in about[1]
        for choice in metadata["choices"]:
            assert choice in about[1]
        value = getattr(default, field.name)
        shown = ",".join(layer for layer, _ in value) if isinstance(value, tuple) else value
        assert f"{'none' if shown is None else shown}]" in about[1]
    for preset in PRESETS:
        assert f"{preset}: " in text


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return str(line)


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    sf.write("content.wav", make_tones(), SR)
    sf.write("style.wav", make_noise(), SR)
    return ["content.wav", "style.wav", "-o", "o.wav"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("a\nb"), r"internal error \(RuntimeError: a b\); run with -v for the trace"),
        (MemoryError(), "out of memory: use --start and --duration, or a shorter clip"),
        (type("ResourceExhaustedError", (Exception,), {})(), "out of memory: use --start"),
    ],
)
def test_what_nobody_expected_is_one_line_or_with_v_a_traceback(
    error: Exception,
    message: str,
    clips: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(transfer.StyleTransfer, "run", fail)
    with pytest.raises(SystemExit) as exit_info:
        main(["transfer", *clips])
    assert exit_info.value.code == 1
    assert re.match(rf"audiostyle: error: {message}", last_line(capsys))
    monkeypatch.setattr(transfer.nn_device, "load_tensorflow", lambda quiet: None)
    with pytest.raises(type(error)):
        main(["transfer", "-fv", *clips])
    assert sorted(path.name for path in Path().iterdir()) == ["content.wav", "style.wav"]


def test_a_plain_install_says_what_the_evaluation_needs(clips: list[str]) -> None:
    """In a process of its own: nothing imports mir_eval on the way to the message."""
    code = (
        "import sys; sys.modules['mir_eval'] = None; from audiostyle.cli.main import main; "
        f"main(['evaluate', *{clips[:2]!r}, {clips[0]!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "audiostyle: error: the evaluation needs mir_eval, which is not installed; "
        "run: pip install 'audiostyle[evaluate]'\n"
    )


def test_a_gpu_that_is_absent_is_an_error_with_a_remedy(
    clips: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["transfer", *clips, "--device", "gpu:99"])
    assert exit_info.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert re.match(r"audiostyle: error: device gpu:99: .*; use --device auto or cpu$", line)
    assert not Path("o.wav").exists()


@dataclasses.dataclass
class Smoke:
    """A run in a process of its own, and what it left."""

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


def test_standard_output_is_the_record_and_nothing_else(smoke: Smoke) -> None:
    assert smoke.out == (smoke.folder / "out.wav.json").read_text()
    assert json.loads(smoke.out)["status"] == "complete"


ALLOWED = (
    r"listening to style\.wav.*",
    r"CPU, as asked",
    r"step 0/3: total \S+, content \S+, style \S+",
    r"step [1-3]/3: total \S+, content \S+, style \S+",
    r"turning the spectrogram into sound",
    r"peaks limited by up to \d+\.\d\d dB",
    r".*out\.wav \(\d steps(, plateau)?, \d+\.\d s\)",
)


def test_standard_error_holds_these_lines_in_this_order_and_no_noise(smoke: Smoke) -> None:
    matched = []
    for line in smoke.err:
        places = [i for i, pattern in enumerate(ALLOWED) if re.fullmatch(pattern, line)]
        assert places, f"unexpected: {line}"
        matched.append(places[0])
    assert matched == sorted(matched)
    assert set(matched) >= {0, 1, 2, 3, 4, 6}
    assert str((smoke.folder / "out.wav").resolve()) in smoke.err[-1]


def test_the_record_is_complete(smoke: Smoke) -> None:
    record = json.loads(smoke.out)
    expected = TransferConfig(
        n_fft=1024,
        hop_length=256,
        n_mels=64,
        bands=4,
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


def test_the_picture_is_a_png_of_plausible_size(smoke: Smoke) -> None:
    data = (smoke.folder / "out.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">4sII", data[12:24]) == (b"IHDR", 1440, 840)
    assert 30_000 < len(data) < 3_000_000


ODD = "-o 'odd' \"$x$\" ü.flac"


@pytest.fixture(scope="module")
def genre(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """Style a part of a 44.1 kHz stereo clip with a clip and a genre, without a word."""
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


def test_quiet_is_silent(genre: Smoke) -> None:
    assert (genre.code, genre.out, genre.err) == (0, "", [])


def test_rate_channels_depth_and_length_are_those_of_the_part(genre: Smoke) -> None:
    info = sf.info(genre.folder / "out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_24")
    assert info.frames == round(0.7 * 44_100)


def test_the_record_says_what_became_of_every_clip(genre: Smoke) -> None:
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
