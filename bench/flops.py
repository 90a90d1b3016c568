"""Floating-point operations of a traced function, and the plain convolutions among them.

Counted are convolutions and matrix products, 2 FLOPs a multiply-add, products with the padding
included, as is usual. Operations on single values are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

MATMULS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
FORWARD, BACKWARD = "Conv2D", "Conv2DBackpropInput"
LOOPS = ("While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
WIDE = 64  # channels from which on a convolution can be expected to be fast


@dataclass(frozen=True)
class Convolution:
    """A convolution of a graph, or its gradient by the input.

    Attributes
    ----------
    kind : str
        `FORWARD` or `BACKWARD`.
    input, output, kernel : tuple of int
        Shapes of the convolution itself, (batch, rows, columns, channels); of the kernel (rows,
        columns, input channels, output channels).
    strides : tuple of int
    padding : str
        ``EXPLICIT`` where it is by `margins`.
    dtype : str
    margins : tuple of int
        Before and after each axis.
    """

    kind: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str
    dtype: str
    margins: tuple[int, ...] = ()

    @property
    def flops(self) -> int:
        """2 for each product with a weight."""
        return 2 * math.prod(self.output) * math.prod(self.kernel[:3])

    @property
    def is_wide(self) -> bool:
        """Whether it says how fast convolutions can be: 3 x 3, and many channels."""
        return self.kernel[:2] == (3, 3) and min(self.kernel[2:]) >= WIDE


def operations(graph: Any) -> Iterator[Any]:
    """List the operations that the outputs of a graph need, and of the functions that it calls.

    Traced gradients leave many behind that are not needed, as those by the weights of a network;
    TensorFlow does not run them.

    Parameters
    ----------
    graph : tf.Graph
        Of a concrete function.

    Yields
    ------
    tf.Operation

    Raises
    ------
    ValueError
        If there is a loop or a branch: how often those run is not known.
    """
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    needed: set[Any] = set()
    while waiting:
        op = waiting.pop()
        if op not in needed:
            needed.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    for op in (op for op in graph.get_operations() if op in needed):
        if op.type in LOOPS:
            raise ValueError(f"{op.name}: how often a {op.type} runs is not known")
        if op.type in CALLS:
            called = graph._get_function(op.get_attr("f").name)
            yield from operations(called.graph)
        else:
            yield op


def count(graph: Any) -> int:
    """Count the FLOPs of a graph.

    Parameters
    ----------
    graph : tf.Graph
        Of a concrete function of static shapes.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a shape is not static, or there is a loop.
    """
    return sum(_flops(op) for op in operations(graph))


def convolutions(graph: Any) -> dict[Convolution, int]:
    """Find the convolutions of a graph, forward and by the input.

    Parameters
    ----------
    graph : tf.Graph
        Of a concrete function of static shapes.

    Returns
    -------
    dict of Convolution to int
        How often each is there.
    """
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
    own = op.inputs[0] if op.type == FORWARD else result
    other = result if op.type == FORWARD else op.inputs[2]
    return Convolution(
        op.type,
        _shape(own),
        _shape(other),
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
        return 2 * math.prod(_labels(op).values())
    return 0


def _labels(op: Any) -> dict[str, int]:
    """Sizes of all indices of a product of two tensors."""
    equation = op.get_attr("equation").decode()
    if "." in equation:
        raise ValueError(f"{op.name}: {equation} leaves indices unnamed")
    sizes: dict[str, int] = {}
    for labels, operand in zip(equation.split("->")[0].split(","), op.inputs, strict=True):
        sizes |= dict(zip(labels, _shape(operand), strict=True))
    return sizes


def plain(convolution: Convolution) -> Callable[[], None]:
    """Make a function that does nothing but this convolution, on random values.

    Parameters
    ----------
    convolution : Convolution

    Returns
    -------
    callable
        Returns when it is done, on a GPU too.
    """
    dtype, c = tf.as_dtype(convolution.dtype), convolution
    kernel = tf.cast(tf.random.stateless_normal(c.kernel, (0, 1), stddev=0.05), dtype)
    given = c.input if c.kind == FORWARD else c.output
    values = tf.cast(tf.random.stateless_normal(given, (0, 2)), dtype)
    how = {
        "strides": list(c.strides),
        "padding": c.padding,
        "explicit_paddings": list(c.margins),
    }

    def run(values: Any, kernel: Any) -> Any:
        if c.kind == FORWARD:
            y = tf.raw_ops.Conv2D(input=values, filter=kernel, **how)
        else:
            sizes = tf.constant(c.input)
            y = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=sizes, filter=kernel, out_backprop=values, **how
            )
        return y[:1, :1, :1, :1]

    traced = tf.function(run, autograph=False)

    def call() -> None:
        traced(values, kernel).numpy()

    return call
