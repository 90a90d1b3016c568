"""The rules of the house, as docs/contributing.md gives them, checked against the source itself."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "audiostyle"
MODULES = {path.stem: path for path in sorted(SOURCE.glob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60
FOLDERS = ("src/audiostyle", "tests", "bench", "tools", "examples")
ROOMS = {
    "click": "cli cli_batch cli_doctor cli_options cli_parts cli_report",
    "h5py": "weights_io",
    "jinja2": "report_page",
    "librosa": "content_metrics metrics networks plots report_charts spectral tagger trivial",
    "markupsafe": "report_page",
    "matplotlib": "plots",
    "mir_eval": "content_metrics",
    "packaging": "doctor_packages",
    "PIL": "plots report_sounds report_views",
    "ray": "ray_cluster ray_worker",
    "scipy": "",
    "soundfile": "audio audio_out doctor_formats",
    "soxr": "streams",
    "tensorflow": "analyzer band_statistics convolution devices kept_losses losses matrix_root "
    "mel_losses mosaic networks objective optimize steps tagger",
    "threadpoolctl": "devices losses",
    "tomli": "config config_file",
    "tqdm": "progress",
}
"""Where a library may be imported. NumPy may be everywhere."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what is imported at run time, be it at the top or in a function: module, name."""
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            hidden.update(part for line in node.body for part in ast.walk(line))
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), alias.name) for alias in node.names)


def needs(name: str) -> set[str]:
    """Modules of audiostyle that a module imports."""
    found = set()
    for module, member in imports(TREES[name]):
        first, _, rest = module.partition(".")
        if first == "audiostyle":
            rest = rest or (member if member in MODULES else "__init__")
            found.add(rest)
    return found - {name}


def read_floors() -> list[dict[str, str]]:
    """Read the map of docs/contributing.md: the modules of each floor, from the top down."""
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    plan = text.split("## The house, floor by floor")[1]
    return [dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", f, re.M)) for f in plan.split("\n### ")[1:]]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_is_too_long(folder: str) -> None:
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).glob("*.py")
    }
    assert lengths
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_too_long(folder: str) -> None:
    long = {
        f"{path.name}: {node.name}": node.end_lineno - node.lineno + 1
        for path in (ROOT / folder).glob("*.py")
        for node in functions(ast.parse(path.read_text(encoding="utf-8")))
        if node.end_lineno and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_every_module_is_on_the_map_once_with_its_own_words() -> None:
    rows = [row for floor in read_floors() for row in floor.items()]
    assert sorted(name for name, _ in rows) == sorted(MODULES)
    for name, line in rows:
        first = (ast.get_docstring(TREES[name]) or "").split("\n\n")[0]
        assert line == " ".join(first.split()), f"docs/contributing.md: the line of {name}"


def test_imports_point_downwards() -> None:
    """From a floor to the same or a lower one; the package itself, for its version, from any."""
    height = {name: -i for i, floor in enumerate(read_floors()) for name in floor}
    upwards = [
        f"{name} imports {other}"
        for name in MODULES
        for other in needs(name) - {"__init__"}
        if height[other] > height[name]
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {name: needs(name) for name in MODULES}
    while left:
        free = [name for name, others in left.items() if not others & left.keys()]
        assert free, f"a circle: {sorted(left)}"
        for name in free:
            del left[name]


def test_libraries_are_imported_only_in_their_rooms() -> None:
    known = {*sys.stdlib_module_names, "audiostyle", "numpy", *ROOMS}
    for name, tree in TREES.items():
        for module, _ in imports(tree):
            library = module.partition(".")[0]
            assert library in known, f"{name} imports {library}: which rooms may?"
            assert library not in ROOMS or name in ROOMS[library].split(), f"{name}: {library}"


def test_the_core_never_prints() -> None:
    calls = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert calls == []


# --- docstrings ---------------------------------------------------------------------------------


def public_functions() -> list[tuple[str, Function]]:
    found = []
    for module, tree in TREES.items():
        scopes: list[tuple[str, list[ast.stmt]]] = [(module, tree.body)]
        scopes += [
            (f"{module}.{node.name}", node.body)
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ]
        found += [
            (f"{scope}.{node.name}", node)
            for scope, body in scopes
            for node in body
            if isinstance(node, Function) and not node.name.startswith("_")
        ]
    return found


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through a function, but not into what is defined in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (Function, ast.Lambda, ast.ClassDef)):
            yield child
            yield from own_nodes(child)


def missing_sections(node: Function) -> set[str]:
    """Name the sections of numpydoc that a signature asks for, and that are not there."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    docstring = ast.get_docstring(node) or ""
    if any("click." in d or d.startswith("cli.") for d in decorators):
        return set() if docstring else {"all"}  # it is what --help says
    if re.search(r"(; see|^See) `[\w.]+`", docstring, re.MULTILINE):
        return set()  # it carries out what is promised there
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments += [one for one in (node.args.vararg, node.args.kwarg) if one]
    asked = {"Parameters"} if {a.arg for a in arguments} - {"self", "cls"} else set()
    inside = list(own_nodes(node))
    # What a property gives, its first line says.
    if ast.unparse(node.returns or ast.Constant(None)) not in ("None", "NoReturn"):
        if not any(d.endswith("property") for d in decorators):
            yields = any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in inside)
            asked.add("Yields" if yields else "Returns")
    raised = [ast.unparse(p.exc) for p in inside if isinstance(p, ast.Raise) and p.exc]
    if any(text[0].isupper() for text in raised):  # not what was caught, and goes on its way
        asked.add("Raises")
    sections = set(re.findall(r"^(\w+)\n-{3,}$", docstring, re.MULTILINE))
    sections |= {"Returns"} if "Yields" in sections else set()
    return (asked - sections) if docstring else {"all"}


def test_every_public_function_says_what_it_takes_gives_and_raises() -> None:
    found = {name: missing_sections(node) for name, node in public_functions()}
    assert len(found) > 300
    assert {name: sections for name, sections in found.items() if sections} == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): pass", {"all"}),
        ("def f(x) -> int:\n    'Do it.'\n    raise ValueError(x)", {"Parameters", "Returns", "Raises"}),  # noqa: E501
        ("def f() -> None:\n    'Do it.'\n    try:\n        g()\n    except E as e:\n        raise e", set()),  # noqa: E501
        ("def f(x):\n    'Do it; see `g`.'", set()),
        ("@property\ndef f(self) -> int:\n    'What it is.'", set()),
        ("def f():\n    'Do it.'\n    yield 1", set()),
        ("def f() -> int:\n    'Do it.\\n\\n    Yields\\n    ------\\n    int\\n    '\n    yield 1", set()),  # noqa: E501
        ("@click.command()\ndef f(x): 'Do it.'", set()),
        ("def f() -> None:\n    'Do it.'\n    def g():\n        raise ValueError", set()),
    ],
)  # fmt: skip
def test_the_test_of_docstrings_finds_what_is_missing(source: str, expected: set[str]) -> None:
    node = ast.parse(source).body[0]
    assert isinstance(node, Function)
    assert missing_sections(node) == expected
