"""What `make mutants` changes: a line of source, and all that may become of it."""

from __future__ import annotations

import ast

import pytest

from tools.mutators import find_mutants


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["a <= b"]),
        ("x = a - b", ["a + b"]),
        ("x = a and not b", ["a or not b", "b"]),
        ("x = 2.5", ["3.5"]),
        ("x = True", ["False"]),
        ("x = 'text'", ["'XXtextXX'"]),
        ("f(x, y=z)", ["f(x)", "pass"]),
        ("x = np.maximum(y, z)", ["np.minimum(y, z)", "y"]),
        ("x += y", ["x -= y", "pass"]),
        ("x = y = z[i]", []),
        ("x[i] = y", ["pass"]),
        ("if a > b: g = h", ["a >= b", "not a > b"]),
        ("if a == b: g = h", ["a != b"]),
        ("def f(x: int = 1) -> int:\n    'Do it.'\n    return x", ["2", "return None"]),
        ("@f(1)\ndef g(): ...", []),
        ("import a\nfrom b import c", []),
        ("raise ValueError(f'{1 + 1}')", ["pass"]),
        ("x = f'{1 + 1}'", []),
        ("x = 'ä' + y", ["'XXäXX'", "'ä' - y"]),
    ],
)
def test_every_operation_is_changed_once_and_alone(source: str, expected: list[str]) -> None:
    mutants = find_mutants(source.encode())
    found = [ast.dump(ast.parse(mutant.new)) for mutant in mutants]
    assert sorted(found) == sorted(ast.dump(ast.parse(new)) for new in expected)
    for mutant in mutants:
        changed = mutant.apply(source.encode()).decode()
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
        assert str(mutant).endswith(f"->  {mutant.new}")
