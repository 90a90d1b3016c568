"""Docstrings of the public names, checked by numpydoc."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import audiostyle

# Missing, unknown or misordered parameters; no returns; no full stop; no docstring.
CODES = {"PR01", "PR02", "PR03", "RT01", "SS02", "GL08"}


@pytest.mark.parametrize("name", [name for name in audiostyle.__all__ if name != "__version__"])
def test_public_names_are_documented(name: str) -> None:
    found = getattr(audiostyle, name)
    codes = set(CODES)
    if dataclasses.is_dataclass(found):
        # Fields are documented as attributes, or by the help of the option that they declare.
        codes.remove("PR01")
        attributes = NumpyDocString(inspect.cleandoc(found.__doc__ or ""))["Attributes"]
        documented = {one for entry in attributes for one in entry.name.split(", ")}
        fields = {field.name for field in dataclasses.fields(found)}
        helped = {f.name for f in dataclasses.fields(found) if f.metadata.get("help")}
        assert fields == documented | helped
    errors = validate(f"{found.__module__}.{found.__qualname__}")["errors"]
    assert [error for error in errors if error[0] in codes] == []
