"""Floating-point operations of a traced function, and its convolutions run alone.

Convolutions and matrix products are counted from their shapes, 2 FLOPs per multiply-add, including
products with padding, as is usual. Elementwise operations are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

MATMULS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
FORWARD, BACKWARD = "Conv2D", "Conv2DBackpropInput"
CONTROL_FLOW = ("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
WIDE = 64  # channels from which a convolution can be expected to be fast


@dataclass(frozen=True)
class Convolution:
    """A convolution of a graph, or its gradient with respect to the input."""

    kind: str  # FORWARD or BACKWARD
    input: tuple[int, ...]  # of the convolution itself: batch, rows, columns, channels
    output: tuple[int, ...]
    kernel: tuple[int, ...]  # rows, columns, input channels, output channels
    strides: tuple[int, ...]
    padding: str  # "EXPLICIT" if given by `margins`
    dtype: str
    margins: tuple[int, ...] = ()  # before and after each axis

    @property
    def flops(self) -> int:
        """2 per product with a weight."""
        return 2 * math.prod(self.output) * math.prod(self.kernel[:3])

    @property
    def is_wide(self) -> bool:
        """Whether it shows how fast convolutions can be: 3 x 3, with many channels."""
        return self.kernel[:2] == (3, 3) and min(self.kernel[2:]) >= WIDE


def operations(graph: Any) -> Iterator[Any]:
    """Yield the operations that a graph's outputs need, including those of called functions.

    Traced gradients leave unneeded operations behind, such as gradients with respect to the
    network's weights; TensorFlow does not run them.

    Raises
    ------
    ValueError
        If there is a loop or a branch, as the number of its executions is unknown.
    """
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    needed: set[Any] = set()
    while waiting:
        op = waiting.pop()
        if op not in needed:
            needed.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    for op in (op for op in graph.get_operations() if op in needed):
        if op.type in CONTROL_FLOW:
            raise ValueError(f"{op.name}: the number of executions of a {op.type} is unknown")
        if op.type in CALLS:
            yield from operations(graph._get_function(op.get_attr("f").name).graph)
        else:
            yield op


def count(graph: Any) -> int:
    """Count the FLOPs of a concrete function's graph; all shapes must be static."""
    return sum(_flops(op) for op in operations(graph))


def convolutions(graph: Any) -> dict[Convolution, int]:
    """Count the occurrences of each convolution of a graph, forward and backward."""
    found: dict[Convolution, int] = {}
    for op in operations(graph):
        if op.type in (FORWARD, BACKWARD):
            convolution = _convolution(op)
            found[convolution] = found.get(convolution, 0) + 1
    return found


def _shape(tensor: Any) -> tuple[int, ...]:
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"{tensor.name}: its shape {tensor.shape} is not static")
    return tuple(tensor.shape.as_list())


def _convolution(op: Any) -> Convolution:
    kernel, result = op.inputs[1], op.outputs[0]
    input_ = op.inputs[0] if op.type == FORWARD else result
    output = result if op.type == FORWARD else op.inputs[2]
    return Convolution(
        op.type,
        _shape(input_),
        _shape(output),
        _shape(kernel),
        tuple(op.get_attr("strides")),
        op.get_attr("padding").decode(),
        result.dtype.name,
        tuple(op.get_attr("explicit_paddings")),
    )


def _flops(op: Any) -> int:
    if op.type in (FORWARD, BACKWARD):
        return _convolution(op).flops
    if op.type == "Conv2DBackpropFilter":
        return 2 * math.prod(_shape(op.inputs[2])) * math.prod(_shape(op.outputs[0])[:3])
    if op.type in MATMULS:
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        terms = _shape(op.inputs[0])[-2 if transposed else -1]
        return 2 * math.prod(_shape(op.outputs[0])) * terms
    if op.type == "Einsum" and len(op.inputs) == 2:
        return 2 * math.prod(_index_sizes(op).values())
    return 0


def _index_sizes(op: Any) -> dict[str, int]:
    """Return the size of every index of an Einsum of two tensors."""
    equation = op.get_attr("equation").decode()
    if "." in equation:
        raise ValueError(f"{op.name}: {equation} leaves indices unnamed")
    sizes: dict[str, int] = {}
    for labels, operand in zip(equation.split("->")[0].split(","), op.inputs, strict=True):
        sizes |= dict(zip(labels, _shape(operand), strict=True))
    return sizes


def plain_convolution(c: Convolution) -> Callable[[], None]:
    """Make a function that runs only this convolution, on random values, and waits for it."""
    dtype = tf.as_dtype(c.dtype)
    kernel = tf.cast(tf.random.stateless_normal(c.kernel, (0, 1), stddev=0.05), dtype)
    shape = c.input if c.kind == FORWARD else c.output
    values = tf.cast(tf.random.stateless_normal(shape, (0, 2)), dtype)
    attributes = {
        "strides": list(c.strides),
        "padding": c.padding,
        "explicit_paddings": list(c.margins),
    }

    def convolve(values: Any, kernel: Any) -> Any:
        if c.kind == FORWARD:
            y = tf.raw_ops.Conv2D(input=values, filter=kernel, **attributes)
        else:
            sizes = tf.constant(c.input)
            y = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=sizes, filter=kernel, out_backprop=values, **attributes
            )
        return y[:1, :1, :1, :1]

    traced = tf.function(convolve, autograph=False)

    def call() -> None:
        traced(values, kernel).numpy()

    return call
