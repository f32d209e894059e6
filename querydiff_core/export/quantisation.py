"""Static int8 quantisation of exported ONNX graphs, by ONNX Runtime's own tools (docs/deployment.md)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import onnx
from onnx import shape_inference
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from querydiff_core.data.pairing import NamedFiles
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.image_files import opened, read_image
from querydiff_core.utils.quiet import quiet

FEWEST_IMAGES, MOST_IMAGES = 16, 64
"""How many images calibration needs, and how many of a larger folder it takes."""

CARRIERS = {"Add": None, "Concat": None, "Relu": None, "MaxPool": None, "Clip": 1, "Resize": 1}
"""Operators that stay in int8 between convolutions, and how many of their inputs are maps (None: all)."""


def read_calibration_images(folder: Path, size: tuple[int, int]) -> np.ndarray:
    """Return images of `folder`, evenly spread over their names, at `size` (h, w), uint8 RGB `(N, h, w, 3)`.

    Raises:
        QueryDiffError: if the folder is missing or holds fewer than are needed, or an image cannot be read or has no
            colours.
    """
    files = NamedFiles(folder).find()
    if len(files) < FEWEST_IMAGES:
        raise QueryDiffError(
            f"Calibration needs {FEWEST_IMAGES} images or more, of all conditions that the camera meets: {folder} has "
            f"{len(files)}."
        )
    chosen = np.linspace(0, len(files) - 1, min(len(files), MOST_IMAGES)).round().astype(int)
    return np.stack([_read_colours(files[index], size) for index in chosen])


def quantise(proto: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """Return `proto` with convolutions, and what lies between them, in int8, calibrated on uint8 `(N, h, w, 3)`.

    Weights have a scale for each output channel, and maps one that spans the least to the largest value that any of the
    images gives.

    Raises:
        QueryDiffError: if there is nothing to quantise.
    """
    nodes = quantised_nodes(proto.graph)
    if not nodes:
        raise QueryDiffError("int8 is for convolutions, and this network has none to quantise: choose bf16 or fp16.")
    with TemporaryDirectory() as folder, quiet():
        before, after = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(shape_inference.infer_shapes(proto), before)
        quantize_static(
            before,
            after,
            _Images(images),
            nodes_to_quantize=[node.name for node in nodes],
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return onnx.load(after)


def quantised_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the convolutions to quantise, and the operators between them that read nothing but quantised maps.

    Convolutions at an end stay in floating point: the one that reads the image, and those whose results no other
    convolution reads, but attention, normalisation or the masks. They lose most and gain least, as their maps have to
    be converted for them alone.
    """
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    inner = _with_carriers(graph, {node.name for node in convolutions[1:]})
    read: set[str] = set()  # the maps that a quantised convolution reads, directly or through carriers
    for node in reversed(inner):
        if node.op_type == "Conv" or node.output[0] in read:
            read |= set(_maps(node))
    return _with_carriers(graph, {n.name for n in inner if n.op_type == "Conv" and n.output[0] in read})


def _with_carriers(graph: onnx.GraphProto, convolutions: set[str]) -> list[onnx.NodeProto]:
    """Return these convolutions and the carriers whose maps all come from them, directly or through carriers."""
    found, made = [], set[str]()
    for node in graph.node:
        if node.name in convolutions or (node.op_type in CARRIERS and made.issuperset(_maps(node))):
            found.append(node)
            made |= set(node.output)
    return found


def _maps(node: onnx.NodeProto) -> list[str]:
    return list(node.input)[: CARRIERS.get(node.op_type, 1)]


def _read_colours(file: Path, size: tuple[int, int]) -> np.ndarray:
    with opened(file) as picture:
        bands = picture.getbands()
    if len(bands) < 3:
        raise QueryDiffError(
            f"{file} is a grey or a label image ({picture.mode}): calibration needs the camera's own images, in colour."
        )
    return cv2.resize(read_image(file), size[::-1], interpolation=cv2.INTER_AREA)


class _Images(CalibrationDataReader):
    """Give ONNX Runtime one image `(1, h, w, 3)` after the other."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next inference's inputs, None at the end."""
        image = next(self._images, None)
        return None if image is None else {"images": image[None]}
