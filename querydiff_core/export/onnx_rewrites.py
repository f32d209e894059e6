"""A rewrite of exported ONNX graphs: repeated constants are stored once."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

WORTH_IT = 4096
"""Constants of fewer elements are left alone."""


def store_repeats_once(proto: onnx.ModelProto) -> set[str]:
    """Replace constants that repeat along an axis by one copy and an Expand, which runtimes fold when they load.

    Exporters fold position embeddings and sampling grids into megabytes. Returns the names of the new constants.
    """
    expands, stored = [], set()
    for constant in proto.graph.initializer:
        if int(np.prod(constant.dims)) < WORTH_IT:
            continue
        values = numpy_helper.to_array(constant)
        once = _without_repeats(values)
        if once.size < values.size:
            name = constant.name
            shape = numpy_helper.from_array(np.array(values.shape), f"{name}_shape")
            proto.graph.initializer.append(shape)
            constant.CopyFrom(numpy_helper.from_array(once, f"{name}_once"))
            expands.append(helper.make_node("Expand", [constant.name, shape.name], [name]))
            stored.add(constant.name)
    nodes = [*expands, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return stored


def _without_repeats(values: np.ndarray) -> np.ndarray:
    """Return `values` with every axis along which nothing changes shortened to 1."""
    for axis in range(values.ndim):
        first = values.take([0], axis)
        if (values == first).all():
            values = first
    return values
