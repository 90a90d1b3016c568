"""Count the multiplications and additions of an XLA program from its text."""

from __future__ import annotations

import math
import re

_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%(?P<name>[\w.-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s*(?P<root>ROOT )?%(?P<name>[\w.-]+) = (?P<rest>.*)$")
_PRODUCT = re.compile(r"^\w+\[(?P<shape>[\d,]*)\]\S* (?P<kind>convolution|dot)\(")
_SHAPE = re.compile(r"^\w+\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.-]+)")


def count_flop(text: str) -> dict[str, int]:
    """Count what the convolutions and the matrix products of a program take.

    A multiplication and an addition are two operations. Everything else (pooling, rectifiers, sums,
    the vectors of L-BFGS) is left out: it costs memory traffic, not arithmetic. What multiplies
    with padding counts, too. The body of a loop counts once, however often it runs. What nothing
    depends on does not count, as the compiler leaves it out: the gradients by the kernels, for one.

    Parameters
    ----------
    text : str
        HLO, with a percent sign before names.

    Returns
    -------
    flop : dict of str to int
        ``convolution`` and ``dot``.
    """
    instructions, roots, entry = _parse(text)
    flop = {"convolution": 0, "dot": 0}
    pending, met = [entry], {entry}
    while pending:
        rest = instructions[pending.pop()]
        names = _NAME.findall(rest)
        product = _PRODUCT.match(rest)
        if product is not None:
            operands = [_shape(instructions[name]) for name in names[:2]]
            terms = _of_convolution if product["kind"] == "convolution" else _of_dot
            flop[product["kind"]] += 2 * math.prod(_shape(rest)) * terms(operands, rest)
        for name in names:
            needed = roots.get(name, name)
            if needed in instructions and needed not in met:
                met.add(needed)
                pending.append(needed)
    return flop


def _parse(text: str) -> tuple[dict[str, str], dict[str, str], str]:
    """Return what each name is, the root of each computation, and the root of the program."""
    instructions: dict[str, str] = {}
    roots: dict[str, str] = {}
    computation, is_entry, entry = "", False, ""
    for line in text.splitlines():
        head, found = _COMPUTATION.match(line), _INSTRUCTION.match(line)
        if head is not None:
            computation, is_entry = head["name"], head["entry"] is not None
        elif found is not None:
            instructions[found["name"]] = found["rest"]
            if found["root"]:
                roots[computation] = found["name"]
                entry = found["name"] if is_entry else entry
    if not entry:
        raise ValueError("no HLO, or one without an entry")
    return instructions, roots, entry


def _shape(rest: str) -> list[int]:
    shape = _SHAPE.match(rest)
    if shape is None:
        raise ValueError(f"no shape: {rest[:80]}")
    return [int(size) for size in shape[1].split(",") if size]


def _of_convolution(operands: list[list[int]], rest: str) -> int:
    """Terms of the sum that one output is: positions of the kernel times channels it spans."""
    labels = re.search(r"dim_labels=\w+_(\w+)->", rest)
    if labels is None:
        raise ValueError("a convolution without dim_labels")
    axes = zip(operands[1], labels[1], strict=True)
    return math.prod(size for size, label in axes if label != "o")


def _of_dot(operands: list[list[int]], rest: str) -> int:
    """Terms of the sum that one output is: the sizes that are contracted."""
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    contracted = axes[1].split(",") if axes is not None and axes[1] else []
    return math.prod(operands[0][int(axis)] for axis in contracted)
