"""Write ``docs/api.md`` from the docstrings of what `audiostyle` offers to programs.

Run after any change of ``audiostyle.__all__`` or of a docstring behind it::

    python tools/api_reference.py

With ``--check`` nothing is written; the exit code is 1 if the page is not up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import audiostyle
from audiostyle.nn.device import load_tensorflow

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python tools/api_reference.py"
MORE = {
    "events": ("Stage", "Iteration"),
    "errors": (),
    "engines": ("Engine", "Started", "Done", "Failed", "Abandoned", "Lost", "Judged"),
    "networks": ("FeatureExtractor",),
    "kept_losses": ("SpectrogramLoss",),
}
"""What the names of `audiostyle` take, give or raise, by its module; of errors all."""

INTRODUCTION = """\
What `import audiostyle` offers; examples are in the [README](../README.md#from-python) and in
[`examples/`](../examples). TensorFlow and librosa are imported when they are used. Arrays are
float, at full scale 1, of shape (n,) or (channels, n). Everything is typed (`py.typed`). The
parameters of a transfer are the fields of `TransferConfig`:
[cli.md](cli.md#audiostyle-transfer) lists them with their units and bounds, `-` for `_`."""


def render() -> str:
    """Return the whole of ``docs/api.md``."""
    parts = ["# Python API", f"<!-- Made by `{COMMAND}`; do not edit. -->", INTRODUCTION]
    for name in audiostyle.__all__:
        if name != "__version__":
            parts += render_object(f"audiostyle.{name}", getattr(audiostyle, name))
    parts += ["# What it takes, gives and raises"]
    load_tensorflow()  # without its messages
    for module, names in MORE.items():
        home = __import__(f"audiostyle.{module}", fromlist=["_"])
        for name in names or [n for n, _ in _errors(home)]:
            parts += render_object(f"audiostyle.{module}.{name}", getattr(home, name))
    return "\n\n".join(parts) + "\n"


def _errors(module: Any) -> list[tuple[str, Any]]:
    found = [m for m in vars(module).items() if inspect.isclass(m[1])]
    return [m for m in found if m[1].__module__ == module.__name__]


def render_object(path: str, thing: Any) -> list[str]:
    """Return the blocks of Markdown that describe a function or a class with its methods."""
    parts = [f"## `{path}`", *_body(thing, path.rpartition(".")[2])]
    if inspect.isclass(thing):
        for name, member in _members(thing):
            parts += [f"### `{thing.__name__}.{name}`", *_body(member, name)]
    return parts


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class defines itself, as they stand there."""
    for name, member in vars(thing).items():
        if name.startswith("_"):
            continue
        if isinstance(member, (classmethod, staticmethod)):
            yield name, member.__func__
        elif inspect.isfunction(member) or isinstance(member, property):
            yield name, member


def _body(thing: Any, name: str) -> list[str]:
    parts = []
    if inspect.isfunction(thing):
        parts.append(f"```python\n{name}{_signature(thing)}\n```")
    docstring = inspect.cleandoc(thing.__doc__ or "")
    blocks = re.split(r"\n\n(?=\w[\w ]*\n-{3,}\n)", docstring)
    parts.append(_inline(blocks[0]))
    for block in blocks[1:]:
        heading, _, text = block.partition("\n")
        text = text.partition("\n")[2]
        parts.append(f"**{heading}**")
        parts.append(f"```python\n{text}\n```" if heading == "Examples" else _entries(text))
    return parts


def _signature(function: Any) -> str:
    """Names and defaults, one line; types stand below."""
    shown = []
    star = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        text = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        star = star or text == "*"
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{text}{parameter.name}{default}")
    return f"({', '.join(shown)})"


def _entries(text: str) -> str:
    """Turn the entries of a section into a list: what is not indented begins one."""
    entries: list[str] = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            name, colon, kind = line.partition(" : ")
            entries.append(f"- `{name}`" + (f" : {_inline(kind)}" if colon else ""))
        elif line.strip():
            entries[-1] += ("  \n  " if entries[-1].count("\n") == 0 else "\n  ") + line.strip()
    return _inline("\n".join(entries))


def _inline(text: str) -> str:
    return text.replace("``", "`").replace("<", "&lt;")


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    path, text = ROOT / "docs" / "api.md", render()
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print(f"docs/api.md is not up to date: run {COMMAND}")
        return 1
    path.write_text(text, encoding="utf-8")
    print("wrote docs/api.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
