"""From data to a page: templates, escaping, and a policy that lets nothing in from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiostyle.utils.atomic_files import Staging

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_presentable,
    )
    environment.filters["json"] = inert_json
    return environment


def _presentable(value: Any) -> Any:
    return shown(value) if type(value) is str else value


def shown(text: str) -> str:
    r"""Make any text fit for a page; names of files may be any bytes.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        With bytes that are no UTF-8 as ``\xff``.
    """
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        try:
            return os.fsencode(text).decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            return text.encode("utf-8", "backslashreplace").decode()


def inert_json(value: Any) -> Any:
    """Write a value as JSON that stays inside its ``script`` element, whatever it holds.

    Parameters
    ----------
    value : object
        Of plain values.

    Returns
    -------
    markupsafe.Markup
        Of ASCII only, and without ``<``, ``>`` and ``&``.
    """
    from markupsafe import Markup

    text = json.dumps(_plain(value), allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _plain(value: Any) -> Any:
    """Replace text that no browser could take."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {shown(str(key)): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def render(template: str, scripts: tuple[str, ...], *, live: bool = False, **values: Any) -> bytes:
    """Fill a template in.

    Parameters
    ----------
    template : str
        Its name.
    scripts : tuple of str
        Names of the scripts that the page runs.
    live : bool
        Whether it may talk to where it came from.
    **values
        What the template shows.

    Returns
    -------
    bytes
        The page, in UTF-8.
    """
    from markupsafe import Markup

    environment = _environment()
    style = (TEMPLATES / "page.css").read_text("utf-8")
    code = "".join((TEMPLATES / name).read_text("utf-8") for name in scripts)
    page = environment.get_template(template).render(
        style=Markup(style),
        code=Markup(code),
        policy=_policy(style, code, live),
        **values,
    )
    return page.encode("utf-8", "replace")


def _policy(style: str, code: str, live: bool) -> str:
    """Allow what is on the page, sounds beside it, and nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    rules = [
        "default-src 'none'",
        f"script-src 'sha256-{digest(code)}'",
        f"style-src 'sha256-{digest(style)}'",
        "img-src data:" + (" 'self'" if live else ""),
        "media-src data: file: 'self'",
        "connect-src " + ("'self'" if live else "'none'"),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def write(path: Path, page: bytes) -> None:
    """Write a page, whole or not at all.

    Parameters
    ----------
    path : Path
    page : bytes

    Raises
    ------
    OutputError
    """
    with Staging() as staging:
        staging.write(path, page)
        staging.publish()
