"""Real ONNX engines whose output is known exactly, for tests that need no trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata

PIXEL_METADATA = ModelMetadata(variant="pixel", input_size=(64, 128), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def expected_labels(images: np.ndarray) -> np.ndarray:
    """Return what the pixel engine labels: the red channel modulo 19."""
    return images[..., 0] % 19


def write_pixel_engine(path: Path, *, work: int = 0, metadata: ModelMetadata = PIXEL_METADATA) -> Path:
    """Write an engine whose label is `R % 19` and whose confidence is G.

    `work`: side of a square matrix that is multiplied by itself 8 times on every call, to make the engine slow
    (1024 takes about a quarter of a second on one core). Real work, whose result cannot be skipped.
    """
    nodes = [
        helper.make_node("Slice", ["images", "zero", "one", "channel"], ["red_"]),
        helper.make_node("Slice", ["images", "one", "two", "channel"], ["green_"]),
        helper.make_node("Squeeze", ["red_", "channel"], ["red"]),
        helper.make_node("Squeeze", ["green_", "channel"], ["confidence_"]),
        helper.make_node("Mod", ["red", "nineteen"], ["labels"]),
    ]
    constants = {"zero": [0], "one": [1], "two": [2], "channel": [3]}
    initializers = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()]
    initializers.append(numpy_helper.from_array(np.array(19, np.uint8), "nineteen"))
    nodes += _slow_zero(work, initializers)
    nodes.append(helper.make_node("Add", ["confidence_", "slow_zero"], ["confidence"]))
    graph = helper.make_graph(
        nodes,
        "pixel",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", 3])],
        [helper.make_tensor_value_info(n, TensorProto.UINT8, ["B", "H", "W"]) for n in ("labels", "confidence")],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_labels_only_engine(path: Path) -> Path:
    """Write the pixel engine as `querydiff export --labels-only` would: without a confidence."""
    model = onnx.load(write_pixel_engine(path))
    del model.graph.output[1]
    onnx.save(model, path)
    return path


def _slow_zero(work: int, initializers: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Return nodes that make the scalar `slow_zero`, an exact 0 that depends on the input and on `work`."""
    if not work:
        initializers.append(numpy_helper.from_array(np.array(0, np.uint8), "slow_zero"))
        return []
    initializers.append(numpy_helper.from_array(np.full((work, work), 1.0 / work, np.float32), "matrix"))
    initializers.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    nodes = [
        helper.make_node("Cast", ["red"], ["red_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["red_float"], ["brightest"], keepdims=0),
        helper.make_node("Add", ["matrix", "brightest"], ["power0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"power{i}", "matrix"], [f"power{i + 1}"]) for i in range(8)]
    nodes += [
        helper.make_node("ReduceMax", ["power8"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["nil"]),
        helper.make_node("Cast", ["nil"], ["slow_zero"], to=TensorProto.UINT8),
    ]
    return nodes
