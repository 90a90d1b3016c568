"""Shell completion: commands, options, and choices; files are left to the shell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from audiostyle.cli.main import cli, main
from audiostyle.config.registry import NETWORKS
from audiostyle.config.transfer_config import PRESETS


def complete(words: str, incomplete: str = "") -> list[str]:
    completer = ShellComplete(cli, {}, "audiostyle", "_AUDIOSTYLE_COMPLETE")
    return [item.value for item in completer.get_completions(words.split(), incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ("", "", list(cli.commands)),
        ("", "st", ["status", "style"]),
        ("transfer", "--it", ["--iterations"]),
        ("transfer", "--al", ["--alpha"]),
        ("batch", "--help", ["--help-all", "--help"]),
        ("transfer --preset", "", list(PRESETS)),
        ("batch a b -o c --network", "", list(NETWORKS)),
        ("transfer --optimizer", "a", ["adam"]),
        ("transfer --device", "", ["auto", "cpu", "gpu"]),
        ("batch --pair", "", ["product", "zip"]),
        ("batch --by", "g", ["genre"]),
        ("batch --engine", "", ["local", "ray"]),
        ("completion", "", ["bash", "zsh", "fish"]),
    ],
)
def test_names_are_completed(words: str, incomplete: str, expected: list[str]) -> None:
    assert complete(words, incomplete) == expected


@pytest.mark.parametrize(
    "words", ["transfer", "batch", "batch a", "status", "style", "report", "transfer --config"]
)
def test_files_are_left_to_the_shell(words: str) -> None:
    completer = ShellComplete(cli, {}, "audiostyle", "_AUDIOSTYLE_COMPLETE")
    assert {item.type for item in completer.get_completions(words.split(), "")} == {"file"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_program_itself(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["completion", shell])
    assert exit_info.value.code == 0
    assert f"_AUDIOSTYLE_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('heavy' if "
        "{'tensorflow', 'librosa', 'numpy'} & set(sys.modules) else 'light'));"
        "from audiostyle.cli.main import main; main([])"
    )
    environment = {
        "_AUDIOSTYLE_COMPLETE": "bash_complete",
        "COMP_WORDS": "audiostyle transfer --preset b",
        "COMP_CWORD": "3",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["plain,balanced", "light"]
