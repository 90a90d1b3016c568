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
from bench.quality import __main__ as quality
from bench.speed import __main__ as speed
from tools.try_recipes import PAGES, PLACEHOLDER, commands_of, is_whole, runnable

ROOT = Path(__file__).parents[2]


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
    if command.startswith("audiostyle ")
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


def test_every_command_is_run_unless_it_needs_a_cluster() -> None:
    """`tools/try_recipes.py` runs what `runnable` lists of each page."""
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    run = {name: set(runnable(text)) for name, text in texts.items()}
    left_out = [c for name, c in FOUND if is_whole(c) and c not in run[name]]
    assert [c for c in left_out if not re.search("--engine ray|--shard", c)] == []
    assert "sh examples/batch_gtzan.sh genres out --dry-run" in run["batch.md"]
    assert not is_whole("audiostyle batch --evaluate") and not is_whole("audiostyle compare A B")
    assert is_whole("audiostyle status out  # progress") and is_whole("audiostyle doctor")


def test_commands_of_the_bench_parse() -> None:
    """tests/bench runs the benches, with little to do."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    pattern = r"^    (python -m bench\..*)|`(python -m bench\.[^`]+)`"
    found = {
        " ".join("".join(groups).split())
        for text in texts
        for groups in re.findall(pattern, text, re.MULTILINE)
    }
    assert len(found) > 8
    for command in found:
        bench, *words = command.removeprefix("python -m bench.").split()
        words = [str(ROOT) if word in ("FOLDER", "genres") else word for word in words]
        if bench in ("quality", "speed"):
            {"quality": quality, "speed": speed}[bench].parse_arguments(words)
        else:
            module = ROOT / "bench" / bench.partition(".")[0]
            assert module.is_dir() or module.with_suffix(".py").is_file(), command


def test_every_link_leads_somewhere() -> None:
    """Files, and the headings that anchors name; nothing outside the repository is asked."""
    pages = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "examples" / "ATTRIBUTION.md"]
    broken = []
    for page in pages:
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"", text)
        for target in ("".join(link) for link in links):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            if "://" in target or target.startswith("mailto:"):
                continue
            if not file.exists() or (anchor and anchor not in anchors_of(file)):
                broken.append(f"{page.name}: {target}")
    assert broken == []


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub makes them, or of an HTML page."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".html":
        return set(re.findall(r"\bid=\"([^\"]+)\"", text))
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        copies = sum(1 for one in anchors if re.fullmatch(rf"{re.escape(plain)}(-\d+)?", one))
        anchors.add(f"{plain}-{copies}" if copies else plain)
    return anchors


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# How `--a` works: x\n## A, b\n## A, b\n```\n# no heading\n```\n")
    assert anchors_of(page) == {"how---a-works-x", "a-b", "a-b-1"}


def test_every_test_that_a_page_names_exists() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py")]
    known = {path.relative_to(ROOT).as_posix() for path in files}
    names = set(re.findall(r"def (test_\w+)", "".join(path.read_text("utf-8") for path in files)))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for file in re.findall(r"`((?:\w+/)*test_\w+\.py)`", text):
            assert any(f"/{path}".endswith(f"/{file}") for path in known), f"{page.name}: {file}"
        assert set(re.findall(r"`(test_\w+)`", text)) <= names, page.name


def test_the_readme_is_short_and_its_first_screen_answers() -> None:
    """What is it, how does it sound, how is it installed and run; then the rest in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 150
    first = "\n".join(lines[:20])
    for answer in ("Neural style transfer", "docs/demo.png", "docs/listen.html", "pip install"):
        assert answer in first
    assert re.search(r"^audiostyle transfer ", first, re.MULTILINE)
    headings = ["Install", "First transfer", "Variants, and the page to choose"]
    headings += ["Folders and GTZAN", "Measure", "Python", "How it works", "How good, how fast"]
    assert re.findall("^## (.+)$", text, re.MULTILINE) == [*headings, "Limits", "Cite"]


@pytest.mark.parametrize("tool", ["cli_reference", "api_reference", "figures"])
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
