"""Documentation that cannot drift: commands parse, references are up to date, pages are listed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import audiostyle
import audiostyle.errors
from audiostyle.cli.main import cli
from audiostyle.cli.options import take_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDER = re.compile(r"\.\.\.|…|\b[A-Z]+(/[A-Z]+)?\b(?![.\w/-])|\$")
"""What stands for something else: N, I/N, FILE, an ellipsis, a variable of the shell."""


def commands_of(text: str) -> list[str]:
    """Find what could be typed: in blocks line by line, whole, and in running text between `."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for kind, block in fenced if kind in ("", "bash", "text")]
    running = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for b in blocks for line in b.replace("\\\n", " ").splitlines()]
    found = [line.strip().removeprefix("$ ") for line in lines]
    # A prompt, "srun ..." or a quote may come first.
    found = [
        m[1].rstrip("'") for m in (re.match(r".*?\b(audiostyle [a-z-].*)", f) for f in found) if m
    ]
    found += [" ".join(code.split()) for code in re.findall(r"`(audiostyle [^`]+)`", running)]
    return [
        command for command in found if not re.match(r"audiostyle (batch )?(is|has|and)\b", command)
    ]


def split(command: str) -> list[str]:
    """Split as a shell does: no comment, no pipe, nothing that is redirected."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=">|;&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = list(lexer)
    ends = [i for i, word in enumerate(words) if re.fullmatch(r"[>|;&]+", word)]
    return words[1 : ends[0]] if ends else words[1:]


def check(command: str) -> None:
    """Parse a command as Click would, or if it is only a pattern, look up its options."""
    name, *words = split(command)
    if name.startswith("-"):
        assert name in ("--help", "--version"), command
        return
    assert name in cli.commands, command
    sub = cli.commands[name]
    known = {option for parameter in sub.params for option in parameter.opts} | {"--help", "-h"}
    whole = not PLACEHOLDER.search(command) and len(words) > 1
    if not whole:
        used = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        assert set(used) <= known, command
        return
    context = sub.make_context(name, words)
    parameters: dict[str, Any] = dict(context.params)
    if "config_file" in parameters and not parameters["plugins"]:
        file = parameters["config_file"]
        if file and not (ROOT / file).exists():
            parameters["config_file"] = None
        elif file:
            parameters["config_file"] = str(ROOT / file)
        take_config(parameters)


FOUND = [
    (page.name, command)
    for page in PAGES
    for command in dict.fromkeys(commands_of(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("page", "command"), FOUND)
def test_every_command_of_the_documentation_parses(page: str, command: str) -> None:
    check(command)


def test_commands_are_found_and_mistakes_in_them_too() -> None:
    assert len(FOUND) > 60
    assert {page for page, _ in FOUND} >= {"README.md", "recipes.md", "batch.md", "scaling.md"}
    text = "Say `audiostyle status\nout`.\n```\n$ audiostyle batch a b \\\n  -o c  # why\n```\n"
    assert commands_of(text) == ["audiostyle batch a b    -o c  # why", "audiostyle status out"]
    for wrong, error in (
        ("audiostyle transfer a b -o c --presett best", click.NoSuchOption),
        ("audiostyle transfer a b -o c --preset bset", audiostyle.errors.ConfigError),
        ("audiostyle transfer a b", click.MissingParameter),
        ("audiostyle batch ... --limits 3", AssertionError),
        ("audiostyle transfr a b -o c", AssertionError),
    ):
        with pytest.raises(error):
            check(wrong)


@pytest.mark.parametrize("tool", ["cli_reference", "api_reference"])
def test_what_is_generated_is_up_to_date(tool: str) -> None:
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_page_is_in_the_index_and_every_public_name_in_the_reference() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()
    api = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = set(audiostyle.__all__) - {"__version__"}
    assert {name for name in names if f"## `audiostyle.{name}`" not in api} == set()


def test_every_command_is_explained_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in cli.commands if f"audiostyle {name}" not in text] == []
