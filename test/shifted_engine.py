"""An engine that sees everything, a few columns beside where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from engines import write_pixel_engine
from onnx import helper, numpy_helper

LAST = np.iinfo(np.int64).max


def write_shifted_engine(path: Path, columns: int) -> Path:
    """Write the pixel engine with its labels moved right by `columns`; what leaves on the right enters on the left."""
    model = onnx.load(write_pixel_engine(path))
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["seen" if name == "labels" else name for name in node.output]
    cuts = {"first": [0], "cut": [-columns], "last": [LAST], "across": [2]}
    graph.initializer.extend(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in cuts.items())
    graph.node.extend(
        [
            helper.make_node("Slice", ["seen", "cut", "last", "across"], ["right"]),
            helper.make_node("Slice", ["seen", "first", "cut", "across"], ["left"]),
            helper.make_node("Concat", ["right", "left"], ["labels"], axis=2),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
