"""The command line: help, error messages, exit codes, and what it imports."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile as sf

import audiostyle
from audiostyle import __main__ as program
from audiostyle.batch.request import BatchRequest
from audiostyle.cli.main import cli, main
from audiostyle.config.transfer_config import PRESETS, TransferConfig
from audiostyle.core.transfer import StyleTransfer
from audiostyle.files.style_file import essentials
from audiostyle.nn import device
from tests.conftest import SR, make_noise, make_tones
from tests.support.fakes import call

HEAVY = ("tensorflow", "keras", "librosa", "numpy", "scipy", "soundfile", "matplotlib", "h5py")
HEAVY += ("jinja2", "http.server", "PIL")
CODE = """
import sys
from audiostyle.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        main(line.split())
    except SystemExit as exit:
        print("exit", exit.code, *sorted(sys.modules))
"""


def modules_after_all(*commands: str, folder: Path) -> list[tuple[int, set[str]]]:
    """Run commands in one process; return each exit code, and what is imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input="\n".join(commands),
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    ends = [line.split() for line in done.stdout.splitlines() if line.startswith("exit ")]
    return [(int(code), set(modules)) for _, code, *modules in ends]


def modules_after(*arguments: str, folder: Path) -> tuple[int, set[str]]:
    (result,) = modules_after_all(" ".join(arguments), folder=folder)
    return result


def test_help_and_usage_errors_import_nothing_heavy(tmp_path: Path) -> None:
    commands = {
        "--help": 0,
        "--version": 0,
        "transfer --help": 0,
        "transfr": 2,
        "transfer a.wav": 2,
        "transfer a.wav b.wav": 2,
        "transfer a.wav b.wav -o o.wav --iteration 3": 2,
        "transfer a.wav b.wav -o o.wav --network vgg18": 2,
        "transfer a.wav b.wav -o o.wav --blend 1,2": 2,
        "transfer a.wav b.wav -o o.wav --config none.toml": 2,
        "evaluate --help": 0,
        "evaluate a.wav b.wav": 2,
        "evaluate a.wav b.wav o.wav --start soon": 2,
        "batch --help": 0,
        "batch a b": 2,
        "batch a b -o out --limit few": 2,
        "batch a b -o out --strength 2": 2,
        "report --help": 0,
        "report a.wav": 2,
        "report a.wav -o p.html --embed-limit much": 2,
        "status --help": 0,
        "status": 2,
        "style --help": 0,
        "style a": 2,
    }
    results = modules_after_all(*commands, folder=tmp_path)
    for (command, expected), (code, modules) in zip(commands.items(), results, strict=True):
        assert code == expected, command
        assert modules.isdisjoint(HEAVY), command


def test_bad_files_are_found_before_tensorflow_and_librosa_are_imported(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", make_tones(), SR)
    sf.write(tmp_path / "b.wav", np.zeros(SR), SR)
    code, modules = modules_after("transfer", "a.wav", "b.wav", "-o", "o.wav", folder=tmp_path)
    assert code == 1
    assert modules.isdisjoint({"tensorflow", "librosa"})


@pytest.mark.slow
def test_a_transfer_imports_only_what_it_uses(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", make_tones(), SR)
    sf.write(tmp_path / "b.wav", make_noise(), SR)
    command = ("transfer", "a.wav", "b.wav", "-o", "o.wav", "--preset", "fast", "--iterations", "1")
    code, modules = modules_after(*command, folder=tmp_path)
    assert code == 0
    assert "tensorflow" in modules
    unused = {"keras", "sklearn", "matplotlib", "librosa", "numba", "jinja2", "ray", "mir_eval"}
    assert modules.isdisjoint(unused | {"scipy.signal", "scipy.stats"})


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out == f"audiostyle, version {audiostyle.__version__}\n"
    (script,) = entry_points(group="console_scripts", name="audiostyle")
    assert script.load() is program.run


@pytest.mark.parametrize(("arguments", "expected"), [(["--version"], 0), (["transfr"], 2)])
def test_leaving_at_once_keeps_the_exit_code_and_the_output(
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


def help_of(name: str, capsys: pytest.CaptureFixture[str], option: str = "--help") -> str:
    assert call(*name.split(), option) == 0
    return capsys.readouterr().out


def test_help_shows_each_example_on_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("", capsys)
    assert "\\b" not in text and "\b" not in text
    examples = [line for line in text.splitlines() if line.startswith("    audiostyle ")]
    commands = [example.split()[1] for example in examples]
    assert commands == ["transfer", "evaluate", "batch", "report", "doctor"]
    for example in examples:
        name, *words = shlex.split(example)[1:]
        cli.commands[name].make_context(name, words)


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_has_examples_that_parse(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line.strip() for line in help_of(name, capsys).splitlines()]
    examples = [line for line in lines if line.startswith(f"audiostyle {name} ")]
    assert len(examples) >= 2
    assert not any("\b" in line or "\\b" in line for line in lines)
    for example in examples:
        command = cli.commands[name]
        context = command.make_context(name, shlex.split(example)[2:])
        assert all(context.params[p.name] is not None for p in command.params if p.required)


@pytest.mark.parametrize("name", cli.commands)
def test_every_option_is_explained_under_a_heading(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(name, capsys, "--help-all")
    headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert headings == list(dict.fromkeys(headings))  # none twice
    in_lists = re.findall(r"^  (\S+)", text.split("\n\n", 3)[3], re.MULTILINE)
    arguments = {"CONTENT", "STYLE", "STYLE...", "OUTPUT...", "PATH...", "FOLDER"}
    assert not arguments & set(in_lists)
    required = [p for p in cli.commands[name].params if isinstance(p, click.Option) and p.required]
    assert text.count("[required]") == len(required)
    flat = " ".join(text.split())
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help
            assert parameter.opts[-1] in flat
            facts = re.findall(r"\[(.+?)\]$", parameter.help)
            if not parameter.is_flag and not parameter.required:
                assert facts, f"{parameter.name} names neither default nor bounds"
                assert "default" in facts[0]


def test_every_parameter_is_an_option_with_its_unit_bounds_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = " ".join(help_of("transfer", capsys, "--help-all").split())
    default = TransferConfig()
    for field in dataclasses.fields(TransferConfig):
        name = "--" + field.name.replace("_", "-")
        about = re.search(rf" {name},? (.*?\])(?= {{1,2}}-| [A-Z]\w+: )", text)
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
        assert re.search(
            rf"default[\w ]*: {'none' if shown in (None, '') else shown}[];]", about[1]
        )
        for preset in PRESETS:
            other = getattr(TransferConfig.from_preset(preset), field.name) != value
            assert (f"preset {preset}: " in about[1]) == other
    for preset in PRESETS:
        assert f"{preset}: " in text


@pytest.mark.parametrize("name", cli.commands)
def test_help_shows_what_is_common_and_how_to_see_the_rest(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    short, whole = (help_of(name, capsys, option) for option in ("--help", "--help-all"))
    options = [p for p in cli.commands[name].params if isinstance(p, click.Option)]
    lines = re.findall(r"^  (?:-\w, )?--.*", short, re.MULTILINE)
    assert len(lines) <= 14
    assert len(short.splitlines()) <= 60
    if len(options) > 10:
        assert f"--help-all shows all {len(options) + 1}" in short  # and --help
        assert len(whole.splitlines()) > len(short.splitlines())
    else:
        assert short == whole


def test_the_top_page_lists_commands_by_use_with_their_whole_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = help_of("", capsys)
    assert "--help-all" in text
    listed = text.partition("Commands:")[2]
    assert re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE) == list(cli.commands)
    assert list(cli.commands)[:2] == ["transfer", "batch"]
    flat = " ".join(listed.split())
    for name, command in cli.commands.items():
        summary = " ".join((command.help or "").split("\n\n")[0].split())
        assert f"{name} {summary}" in flat
    whole = help_of("", capsys, "--help-all")
    parameters = [p for command in cli.commands.values() for p in command.params]
    assert all(p.opts[0] in whole for p in parameters if isinstance(p, click.Option))


@pytest.mark.parametrize("name", cli.commands)
def test_metavars_name_the_unit(name: str) -> None:
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option) and parameter.metavar and parameter.help:
            assert parameter.metavar not in ("TIME", "NUMBER", "WEIGHT")
            assert (parameter.metavar == "SECONDS") == ("[or M:SS;" in parameter.help)


def test_an_unknown_option_gets_a_suggestion_and_the_page_that_lists_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("transfer", "a", "b", "-o", "c", "--iteration", "3") == 2
    line = only_line(capsys)
    assert "--iterations" in line and line.endswith("see audiostyle transfer --help-all")


def test_style_has_the_options_that_change_a_style_file_and_no_other() -> None:
    fields = {field.name for field in dataclasses.fields(TransferConfig)}
    kept = {parameter.name for parameter in cli.commands["style"].params} & fields
    assert kept == {
        *("texture_weight", "music_weight", "network", "style_layers", "bands", "pooling"),
        *("precision", "weights", "init", "seed"),
        *("sr", "n_fft", "hop_length", "n_mels", "mel_scale", "top_db"),
    }
    # What a style file and its transfer must share can be given for both.
    assert set(essentials(TransferConfig(network="random-1d"))) <= kept


def test_batch_options_have_the_defaults_of_a_batch_request() -> None:
    """The command does not import the request, to stay fast."""
    context = cli.commands["batch"].make_context("batch", ["a", "b", "-o", "c"])
    defaults = {field.name: field.default for field in dataclasses.fields(BatchRequest)}
    names = set(defaults) & set(context.params) - {"content", "style", "out_dir", "preset", "vary"}
    assert len(names) > 15
    assert {n: context.params[n] for n in names} == {n: defaults[n] for n in names}


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
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
def test_an_unexpected_error_is_one_line_and_with_v_a_traceback(
    error: Exception,
    message: str,
    clips: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(StyleTransfer, "run", fail)
    monkeypatch.setattr(device, "load_tensorflow", lambda quiet=True: None)
    assert call("transfer", *clips) == 1
    assert re.match(rf"audiostyle: error: {message}", only_line(capsys))
    # The v of a value is not -v.
    assert call("transfer", *clips[:2], "-fovoice.wav", "--device", "cpu") == 1
    assert re.match(rf"audiostyle: error: {message}", only_line(capsys))
    for verbose in ("-fv", "-v", "--verbose"):
        with pytest.raises(type(error)):
            main(["transfer", verbose, *clips])
    assert sorted(path.name for path in Path().iterdir()) == ["content.wav", "style.wav"]


def test_without_mir_eval_the_evaluation_names_the_extra_to_install(clips: list[str]) -> None:
    """In a new process: nothing may import mir_eval before the message."""
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


def test_a_missing_gpu_is_an_error_with_a_remedy(
    clips: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert call("transfer", *clips, "--device", "gpu:99") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert re.match(r"audiostyle: error: device gpu:99: .*; use --device auto or cpu$", line)
    assert not Path("o.wav").exists()
