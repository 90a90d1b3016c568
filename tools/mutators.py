"""What ``mutants.py`` changes in a module: one operation at a time.

- comparisons: ``<`` and ``<=``, ``==`` and ``!=``, ``in`` and ``not in``, ``is`` and ``is not``
- arithmetic: ``+`` and ``-``, ``*`` and ``/``, ``**`` to ``*``; signs and ``not`` are dropped
- ``and`` and ``or``; conditions are negated
- numbers are one larger, ``True`` is ``False``, strings have another text
- keyword arguments are dropped, and with them their values
- some functions are another (`SWAPPED`: ``maximum`` is ``minimum``), or do nothing (`DROPPED`)
- what is returned is ``None``
- a call whose result is not used, ``+=``, an assignment to an attribute or a part, ``raise`` and
  ``continue`` are left out

Left alone: annotations, docstrings, decorators, imports, and the texts of errors and of f-strings.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED = {
    "all": "any",
    "any": "all",
    "argmin": "argmax",
    "ceil": "floor",
    "max": "min",
    "maximum": "minimum",
    "mean": "sum",
    "min": "max",
    "minimum": "maximum",
    "reduce_mean": "reduce_sum",
    "reduce_sum": "reduce_mean",
    "sum": "mean",
    "zeros_like": "ones_like",
}
"""Functions and methods, by the last part of their name."""
DROPPED = {
    "abs",
    "broadcast_to",
    "clip",
    "copy",
    "exp",
    "log10",
    "maximum",
    "minimum",
    "round",
    "sorted",
    "sqrt",
    "square",
}
"""Functions whose first argument may stand in their place."""
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


@dataclass(frozen=True)
class Mutant:
    """A change of some bytes of a source."""

    line: int
    column: int
    begin: int
    end: int
    old: str
    new: str

    def apply(self, source: bytes) -> bytes:
        """Make the change."""
        return source[: self.begin] + self.new.encode() + source[self.end :]

    def __str__(self) -> str:
        """Say where it is and what becomes what."""
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.line}:{self.column}: {old}  ->  {new}"


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    for i in range(len(node.keywords)):
        yield _changed(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    other = SWAPPED.get(_name(node))
    if other and isinstance(node.func, ast.Attribute):
        yield _changed(node, func=_changed(node.func, attr=other))
    elif other and isinstance(node.func, ast.Name):
        yield _changed(node, func=ast.Name(other))
    if _name(node) in DROPPED:
        if node.args:
            yield node.args[0]
        elif isinstance(node.func, ast.Attribute):
            yield node.func.value


def _of_constant(node: ast.Constant) -> Iterator[ast.AST]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node.value, str):
        yield ast.Constant(f"XX{node.value}XX")


def _of_expression(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what an expression may become."""
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            operators = [*node.ops[:i], OPERATORS[type(operator)](), *node.ops[i + 1 :]]
            yield _changed(node, ops=operators)
    elif isinstance(node, (ast.BinOp, ast.BoolOp)):
        yield _changed(node, op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Constant):
        yield from _of_constant(node)


def _negated(test: ast.expr) -> Iterator[ast.AST]:
    """Yield the opposite of a condition, where no change of an operator is that already."""
    simple = isinstance(test, ast.Compare) and not isinstance(test.ops[0], ORDERS)
    if not simple and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
        yield ast.UnaryOp(ast.Not(), test)


def _of_statement(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a statement may become."""
    if isinstance(node, ast.AugAssign):
        yield _changed(node, op=OPERATORS[type(node.op)]())
        yield ast.Pass()
    elif isinstance(node, (ast.Raise, ast.Continue, ast.Break)):
        yield ast.Pass()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple)):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.Constant(None))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may be changed within a node."""
    if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)):
        return
    hidden: list[object] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    hidden += getattr(node, "decorator_list", [])
    for child in ast.iter_child_nodes(node):
        text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not text and not any(child is part for part in hidden):
            yield child


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield pairs of a node and what it becomes, from a whole tree."""
    for child in _children(node):
        if isinstance(child, (ast.If, ast.While, ast.IfExp)):
            yield from ((child.test, new) for new in _negated(child.test))
        elif isinstance(child, ast.comprehension):
            yield from ((test, new) for test in child.ifs for new in _negated(test))
        news = _of_expression(child) if isinstance(child, ast.expr) else _of_statement(child)
        yield from ((child, new) for new in news)
        yield from _changes(child)


def find_mutants(source: bytes) -> list[Mutant]:
    """Find all mutants of a module, from its beginning to its end.

    Parameters
    ----------
    source : bytes

    Returns
    -------
    list of Mutant
    """
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: dict[tuple[int, int, str], Mutant] = {}
    for old, new in _changes(ast.parse(source)):
        assert isinstance(old, (ast.expr, ast.stmt)) and old.end_lineno and old.end_col_offset
        begin = starts[old.lineno - 1] + old.col_offset
        end = starts[old.end_lineno - 1] + old.end_col_offset
        text = ast.unparse(ast.fix_missing_locations(new))
        if isinstance(old, ast.expr) and not isinstance(new, (ast.Constant, ast.Name, ast.Call)):
            text = f"({text})"
        mutant = Mutant(
            old.lineno, old.col_offset + 1, begin, end, source[begin:end].decode(), text
        )
        same = ast.dump(ast.parse(mutant.apply(source))) == ast.dump(ast.parse(source))
        if not same:
            found.setdefault((begin, end, text), mutant)
    return sorted(found.values(), key=lambda mutant: (mutant.begin, mutant.end, mutant.new))
