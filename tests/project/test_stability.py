"""The versions in docs/stability.md and CITATION.cff are those of code and package."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import audiostyle
from audiostyle.batch import compare, journal, status
from audiostyle.cli import batch, doctor
from audiostyle.evaluation import types
from audiostyle.files import record, style_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
SCHEMAS = {
    "record of a transfer": record.SCHEMA,
    "style file": style_file.SCHEMA,
    "journal of a batch": journal.SCHEMA,
    "events of `batch --json`": batch.SCHEMA,
    "`evaluate --json`": types.SCHEMA,
    "`compare --json`": compare.SCHEMA,
    "`status --json`": status.SCHEMA,
    "`doctor --json`": doctor.SCHEMA,
}


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def test_the_table_has_the_schema_of_every_document() -> None:
    table = PAGE.partition("## Files and JSON documents")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+?) \| (\d+) \|", table, re.MULTILINE)
    assert {name.partition(",")[0]: int(number) for name, number in rows} == SCHEMAS


def test_no_module_with_a_schema_is_left_out() -> None:
    source = ROOT / "src" / "audiostyle"
    found = [
        path for path in source.rglob("*.py") if re.search(r"^SCHEMA = ", path.read_text(), re.M)
    ]
    assert len(found) == len(SCHEMAS)


def test_the_supported_versions_are_those_of_the_package() -> None:
    python = re.search(r"\| Python \| 3\.(\d+) to 3\.(\d+) \|", PAGE)
    assert python is not None
    assert project()["requires-python"] == f">=3.{python[1]},<3.{int(python[2]) + 1}"
    tensorflow = re.search(r"\| TensorFlow \| 2\.(\d+) to 2\.(\d+) \|", PAGE)
    assert tensorflow is not None
    needed = project()["dependencies"]
    assert f"tensorflow>=2.{tensorflow[1]},<2.{int(tensorflow[2]) + 1}" in needed
    librosa = re.search(r"\| librosa \| ([\d.]+) and later, before (\d+) \|", PAGE)
    assert librosa is not None
    assert f"librosa>={librosa[1]},<{librosa[2]}" in needed


def test_the_citation_is_valid_and_has_the_version_of_the_package() -> None:
    """All that CFF 1.2 requires, and no key that it does not know."""
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == audiostyle.__version__
    assert citation["license"] == project()["license"]
    assert citation["title"].startswith(project()["name"])
    assert {"message", "authors"} <= set(citation)
    known = {"name"}, {"family-names", "given-names", "orcid", "affiliation", "email", "alias"}
    assert citation["authors"]
    assert all(any(set(author) <= keys for keys in known) for author in citation["authors"])
    optional = {"type", "keywords", "abstract", "date-released", "doi", "url", "repository-code"}
    required = {"cff-version", "message", "title", "version", "license", "authors"}
    assert set(citation) <= required | optional
    assert citation["type"] in ("software", "dataset")
