"""What is done to ONNX graphs after their export changes no result."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from querydiff_core.export.onnx_export import store_weights_as_half
from querydiff_core.export.onnx_rewrites import store_repeats_once


def model(nodes, inputs, outputs, **constants):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(proto, **inputs):
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_repeats_are_stored_once_and_come_back():
    rows = np.broadcast_to(np.arange(64, dtype=np.float32)[:, None, None], (64, 40, 2)).copy()
    noise = np.random.default_rng(0).standard_normal((64, 40, 2)).astype(np.float32)
    nodes = [helper.make_node("Add", ["x", "rows"], ["a"]), helper.make_node("Mul", ["a", "noise"], ["y"])]
    before = model(nodes, {"x": [64, 40, 2]}, {"y": 3}, rows=rows, noise=noise)
    after = model(nodes, {"x": [64, 40, 2]}, {"y": 3}, rows=rows, noise=noise)
    assert store_repeats_once(after) == {"rows_once"}
    assert after.ByteSize() < before.ByteSize() - 0.9 * rows.nbytes
    np.testing.assert_array_equal(run(after, x=noise)[0], run(before, x=noise)[0])


def test_weights_are_stored_as_fp16_where_it_reaches_them():
    reached = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    beyond = reached.copy()
    beyond[3, 5] = 1e5
    nodes = [helper.make_node("MatMul", ["x", name], [f"y_{name}"]) for name in ("reached", "beyond")]
    proto = model(nodes, {"x": [1, 64]}, {"y_reached": 2, "y_beyond": 2}, reached=reached, beyond=beyond)
    store_weights_as_half(proto, set())
    stored = {weight.name: weight.data_type for weight in proto.graph.initializer}
    assert stored == {"reached_fp16": TensorProto.FLOAT16, "beyond": TensorProto.FLOAT}
    x = np.ones((1, 64), np.float32)
    found, large = run(proto, x=x)
    np.testing.assert_allclose(found, x @ reached, atol=0.02)
    np.testing.assert_allclose(large, x @ beyond, rtol=1e-5, atol=0.01)
