"""Write a checkpoint as ONNX: one graph from uint8 image to uint8 labels, weights stored as fp16."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.export import Dim

from querydiff_core.deployment.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.deployment.segmentation_graph import SegmentationGraph
from querydiff_core.models.querydiff import QueryDiff
from querydiff_core.whole_file import whole_file

OPSET = 18
"""The first with antialiased Resize; TensorRT 10 and ONNX Runtime from 1.14 read it."""

SMALLEST_HALF = 1024
"""Initializers of fewer elements stay fp32: they weigh nothing."""


def export_onnx(model: QueryDiff, metadata: ModelMetadata, path: Path) -> None:
    """Write `model` for network inputs of `metadata.input_size`, whole or not at all.

    The graph takes `images` uint8 (B, H, W, 3) with B, H and W dynamic and returns `labels` and `confidence` uint8
    (B, H, W).
    """
    graph = SegmentationGraph(model, metadata.input_size)
    example = torch.randint(0, 256, (2, 360, 480, 3), dtype=torch.uint8)
    dynamic = {0: Dim("B", min=1, max=64), 1: Dim("H", min=1, max=16384), 2: Dim("W", min=1, max=16384)}
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            input_names=["images"],
            output_names=["labels", "confidence"],
            dynamic_shapes={"images": dynamic},
            opset_version=OPSET,
        )
    assert program is not None
    proto = program.model_proto
    _store_weights_as_half(proto)
    _forget_origins(proto)
    versions = {"torch": torch.__version__, "onnx": onnx.__version__, "opset": str(OPSET)}
    helper.set_model_props(proto, {METADATA_KEY: replace(metadata, versions=versions).to_json()})
    onnx.checker.check_model(proto)
    with whole_file(path) as temporary:
        onnx.save(proto, temporary)


def _store_weights_as_half(proto: onnx.ModelProto) -> None:
    """Replace each large fp32 initializer by its fp16 twin and a Cast, which runtimes fold when they load."""
    casts = []
    for weight in proto.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < SMALLEST_HALF:
            continue
        name, half = weight.name, numpy_helper.to_array(weight).astype(np.float16)
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


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Keep the exporter's progress and deprecation notes off the user's terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
