"""Rewrites of exported ONNX graphs: repeated constants are stored once, maps are resized as they lie in memory."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

WORTH_IT = 4096
"""Constants of fewer elements are left alone."""
CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


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


def resize_where_channels_lie(proto: onnx.ModelProto) -> None:
    """Replace Transpose, Resize, Transpose, to channels first and back, by one Resize of channels-last maps.

    PyTorch resizes channels-first maps only, and ONNX Runtime keeps the detour or moves it behind the arg-max, which is
    three times as slow over channels that come first.
    """
    makers = {name: node for node in proto.graph.node for name in node.output}
    order = "channels_last_order"
    for node in list(proto.graph.node):
        resize = makers.get(node.input[0]) if _permutes(node, CHANNELS_LAST) else None
        there = makers.get(resize.input[0]) if resize is not None and resize.op_type == "Resize" else None
        if resize is None or there is None or not _permutes(there, CHANNELS_FIRST):
            continue
        sizes, result = f"{node.output[0]}_sizes", node.output[0]
        attributes = {a.name: helper.get_attribute_value(a) for a in resize.attribute}
        resize.CopyFrom(helper.make_node("Gather", [resize.input[3], order], [sizes]))
        node.CopyFrom(helper.make_node("Resize", [there.input[0], "", "", sizes], [result], **attributes))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(CHANNELS_LAST), order))


def _permutes(node: onnx.NodeProto, order: list[int]) -> bool:
    return node.op_type == "Transpose" and list(node.attribute[0].ints) == order
