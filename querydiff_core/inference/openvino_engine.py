"""OpenVINO: `.onnx` files in bf16 on CPUs that multiply it, where ONNX Runtime has kernels for fp32 only."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as operators

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.build_target import Precision
from querydiff_core.inference.engine import EngineOptions, check_camera, check_size
from querydiff_core.inference.onnxruntime_engine import read_onnx

MOST_SHAPES = 8
"""Shapes of images that stay compiled: code for one fixed shape is a fifth faster than for any."""

BAND = 16
"""Rows or columns of a resized image that are computed at once."""


class OpenVinoEngine:
    """Run an exported `.onnx` file; half precision, and what is not in int8 of such a file, in bf16.

    Images of a new shape take half a second once.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        if options.device.startswith("cuda"):
            raise QueryDiffError(f"provider openvino runs on the CPU, but device is {options.device}.")
        self.metadata, outputs = read_onnx(path)  # with the checks of the runtime that everybody has
        check_size(path, self.metadata, options.size)
        self.has_confidence = len(outputs) == 2
        self._core = openvino.Core()
        self._settings = _settings(self._core, path, self.metadata.precision, options.threads)
        with explained(f"{path}: OpenVINO cannot read it: {{reason}}.", RuntimeError, only=-1):
            self._model: Any = self._core.read_model(path)
        self._requests: dict[tuple[int, ...], openvino.InferRequest] = {}

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return labels and confidence, uint8 `(B, H, W)`, None without one, of uint8 RGB `images` `(B, H, W, 3)`.

        Raises:
            QueryDiffError: if the images are not of the size that is built in, or memory runs out.
        """
        if self._model is None:
            raise QueryDiffError("The engine is closed.")
        check_camera(self.metadata, images)
        size = "x".join(map(str, images.shape[:3]))
        with explained(f"OpenVINO failed on images of {size}: {{reason}}.", RuntimeError, only=-1):
            request = self._request(images.shape)
            request.infer({0: np.ascontiguousarray(images)}, share_inputs=True)
        labels, *confidence = (np.array(tensor.data) for tensor in request.output_tensors)
        return labels, confidence[0] if confidence else None

    def close(self) -> None:
        """Free the compiled models."""
        self._model = None
        self._requests.clear()

    def _request(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        """Return what runs images of `shape`, compiled on its first use; the longest unused makes room."""
        request = self._requests.pop(shape, None)
        if request is None:
            model = self._model.clone()
            model.reshape({0: list(shape)})
            _suit(model)
            request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
            if len(self._requests) == MOST_SHAPES:
                del self._requests[next(iter(self._requests))]
        self._requests[shape] = request
        return request


def _settings(core: openvino.Core, path: Path, precision: Precision, threads: int | None) -> dict[str, Any]:
    half = precision != "fp32" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision in ("fp16", "bf16") and not half:
        logging.getLogger(__name__).warning(
            "%s is in half precision and this CPU multiplies no bf16: it runs in fp32, no faster than an fp32 file.",
            path,
        )
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # cores are shared with the other nodes
    } | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})


def _suit(model: openvino.Model) -> None:
    """Replace what OpenVINO's CPU plugin runs slowly or not as ONNX means it, in a model of fixed shapes."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate" and node.get_attributes()["antialias"]:
            _replace(node.output(0), _shrink_smoothly(node))
        elif node.get_type_name() == "Interpolate" and _resizes_channels_last(node):
            _replace(node.output(0), _resize_channels_first(node))
        elif node.get_type_name() == "TopK":
            _replace(node.output(1), _first_of_the_largest(node))
    model.validate_nodes_and_infer_types()


def _shrink_smoothly(node: openvino.Node) -> openvino.Node:
    """Return the antialiased resize of maps `(B, C, H, W)` that `node` is meant to be; OpenVINO leaves that out."""
    maps, (height, width) = node.input_value(0), node.get_output_shape(0)[2:]
    before = node.get_input_shape(0)
    tall = _resize_along(maps, 2, _triangles(before[2], height))
    return _resize_along(tall.output(0), 3, _triangles(before[3], width))


def _triangles(before: int, after: int) -> np.ndarray:
    """Return how much each of `before` pixels counts for each of `after`, float32 `(after, before)`: rows sum to 1.

    The triangle of bilinear resizing, as wide as a pixel of the result where that is the wider one (PyTorch's and
    ONNX's `antialias`).
    """
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(before) + 0.5 - centres) / reach)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _resize_along(maps: openvino.Output, axis: int, weights: np.ndarray) -> openvino.Node:
    """Return `maps` `(B, C, H, W)` times `weights` along `axis` (2 or 3), in bands, since far pixels count nothing."""
    bands = []
    for rows in np.array_split(weights, max(len(weights) // BAND, 1)):
        used = np.flatnonzero(rows.any(axis=0))
        first, end = int(used[0]), int(used[-1]) + 1
        near = operators.slice(maps, np.array([first]), np.array([end]), np.array([1]), np.array([axis]))
        band = operators.constant(np.ascontiguousarray(rows[:, first:end]))
        bands.append(
            operators.matmul(band, near, False, False) if axis == 2 else operators.matmul(near, band, False, True)
        )
    return operators.concat(bands, axis)


def _resizes_channels_last(node: openvino.Node) -> bool:
    before, after = node.get_input_partial_shape(0), node.get_output_partial_shape(0)
    return len(before) == 4 and before[3].is_static and before[3] == after[3] and before[1] != after[1]


def _resize_channels_first(node: openvino.Node) -> openvino.Node:
    facts = node.get_attributes()
    channels_first = operators.transpose(node.input_value(0), np.array([0, 3, 1, 2]))
    sizes = operators.gather(node.input_value(1), np.array([1, 2]), np.array(0))
    resized = operators.interpolate(
        channels_first,
        sizes,
        mode=facts["mode"],
        shape_calculation_mode=facts["shape_calculation_mode"],
        coordinate_transformation_mode=facts["coordinate_transformation_mode"],
        nearest_mode=facts["nearest_mode"],
        antialias=facts["antialias"],
        axes=np.array([2, 3]),
    )
    return operators.transpose(resized, np.array([0, 2, 3, 1]))


def _first_of_the_largest(node: openvino.Node) -> openvino.Node:
    """Return the arg-max that `node`, an ArgMax read as a TopK of one, computes, by comparing with the maximum."""
    values, axis = node.input_value(0), np.array([node.get_attributes()["axis"]])
    count = values.get_partial_shape()[int(axis[0])].get_length()
    shape = np.ones(len(values.get_partial_shape()), int)
    shape[axis] = count
    left = np.arange(count, 0, -1, dtype=np.float32).reshape(shape)  # classes from here to the last
    is_largest = operators.equal(values, operators.reduce_max(values, axis, keep_dims=True))
    first = operators.reduce_max(operators.select(is_largest, left, np.float32(0)), axis, keep_dims=True)
    return operators.convert(operators.subtract(np.float32(count), first), "i64")


def _replace(old: openvino.Output, new: openvino.Node) -> None:
    for reader in old.get_target_inputs():
        reader.replace_source_output(new.output(0))
