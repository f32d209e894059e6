"""Write a checkpoint as ONNX: one graph from uint8 image to uint8 labels, weights stored as fp16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from querydiff_core.export.export_options import MOST_IMAGES
from querydiff_core.export.onnx_rewrites import store_repeats_once
from querydiff_core.export.quantisation import quantise
from querydiff_core.export.traced_program import dynamic_shapes, example_images
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.inference.segmentation_graph import LabelsOnly
from querydiff_core.utils.quiet import quiet

OPSET = 18
"""The first with antialiased Resize. TensorRT 10 reads 9 to 20, ONNX Runtime from 1.14 reads 18."""

SMALLEST_HALF = 1024
"""Initializers of fewer elements stay fp32: they weigh nothing."""


def write_onnx(
    graph: nn.Module,
    metadata: ModelMetadata,
    path: Path,
    *,
    labels_only: bool = False,
    calibration: np.ndarray | None = None,
) -> None:
    """Write `graph`, simplified by folding of constants and removal of what is unused or common.

    It takes `images` uint8 (B, H, W, 3) with B dynamic, H and W dynamic unless a camera is built in, and returns
    `labels` and, unless `labels_only`, `confidence` uint8 (B, H, W). With `calibration`, images uint8 (N, h, w, 3), its
    convolutions compute in int8.
    """
    camera = metadata.build.camera if metadata.build else None
    with quiet(), torch.inference_mode():
        program = torch.onnx.export(
            LabelsOnly(graph) if labels_only else graph,
            (example_images((2, 2), camera),),
            dynamo=True,
            optimize=True,
            input_names=["images"],
            output_names=["labels"] if labels_only else ["labels", "confidence"],
            dynamic_shapes=dynamic_shapes((1, MOST_IMAGES), camera),
            opset_version=OPSET,
        )
    assert program is not None
    proto = program.model_proto
    if camera is not None:  # the file is for TensorRT as well
        _read_images_once(proto)
    if calibration is not None:
        proto = quantise(proto, calibration)
    store_weights_as_half(proto, spared=store_repeats_once(proto))
    _forget_origins(proto)
    helper.set_model_props(proto, {METADATA_KEY: metadata.to_json()})
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def _read_images_once(proto: onnx.ModelProto) -> None:
    """Let nothing but the first Cast read the uint8 images: TensorRT does nothing else with uint8."""
    cast = next(node for node in proto.graph.node if node.op_type == "Cast" and "images" in node.input)
    others = [node for node in proto.graph.node if node is not cast]
    for node in others:
        node.input[:] = [cast.output[0] if name == "images" else name for name in node.input]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in (cast, *others)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def store_weights_as_half(proto: onnx.ModelProto, spared: set[str]) -> None:
    """Replace each large fp32 initializer by its fp16 twin and a Cast, which runtimes fold when they load.

    Those named in `spared`, and those with values that fp16 does not reach, stay as they are.
    """
    casts = []
    for weight in proto.graph.initializer:
        small = int(np.prod(weight.dims)) < SMALLEST_HALF
        if small or weight.data_type != TensorProto.FLOAT or weight.name in spared:
            continue
        with np.errstate(over="ignore"):
            name, half = weight.name, numpy_helper.to_array(weight).astype(np.float16)
        if not np.isfinite(half).all():
            continue
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _forget_origins(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with the paths of this machine, a sixth of the file."""
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    del proto.graph.metadata_props[:]
