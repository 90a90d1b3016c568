"""HTML pages from templates, with escaping and a content security policy."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@lru_cache
def _environment(folders: tuple[Path, ...]) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folders, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: valid_text(value) if type(value) is str else value,
    )
    environment.filters["json"] = inert_json
    return environment


def valid_text(text: str) -> str:
    r"""Write bytes that are not UTF-8 as ``\xff``; file names may hold any bytes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def inert_json(value: Any) -> Markup:
    """Write a value as ASCII JSON without ``<``, ``>`` and ``&``, to stay inside a script."""
    from jinja2.utils import htmlsafe_json_dumps

    return htmlsafe_json_dumps(_with_valid_text(value), allow_nan=False, separators=(",", ":"))


def _with_valid_text(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict):
        return {valid_text(str(key)): _with_valid_text(item) for key, item in value.items()}
    return [_with_valid_text(item) for item in value] if isinstance(value, (list, tuple)) else value


def render_page(
    template: str,
    scripts: tuple[str, ...],
    *,
    live: bool = False,
    folder: Path = TEMPLATES,
    **values: Any,
) -> bytes:
    """Fill in a template with its scripts; only a live page may talk to its server.

    `folder` may hold templates and scripts of its own, which extend those of this package.
    """
    from markupsafe import Markup

    environment = _environment((folder, TEMPLATES))
    css, *parts = (_source(environment, name) for name in ("page.css", *scripts))
    script = "".join(parts)
    values |= {"css": Markup(css), "script": Markup(script), "policy": _policy(css, script, live)}
    return environment.get_template(template).render(values).encode("utf-8", "replace")


def _source(environment: Environment, name: str) -> str:
    """Read a file of the folders of templates as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _policy(css: str, script: str, live: bool) -> str:
    """Allow what is on the page, sounds beside it, and nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    rules = [
        "default-src 'none'",
        f"script-src 'sha256-{digest(script)}'",
        f"style-src 'sha256-{digest(css)}'",
        "img-src data:" + (" 'self'" if live else ""),
        "media-src data: file: 'self'",
        "connect-src " + ("'self'" if live else "'none'"),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)
