"""int8: what is quantised, how well it labels, where it runs, and what cannot calibrate it."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from engines import PIXEL_METADATA, write_pixel_engine
from onnx import TensorProto, helper, numpy_helper
from students import SIZE, write_student

from querydiff_core.cli.export import main as export
from querydiff_core.errors import QueryDiffError
from querydiff_core.export.parity import bundled_frames
from querydiff_core.export.quantisation import FEWEST_IMAGES, quantised_nodes
from querydiff_core.inference import onnxruntime_engine
from querydiff_core.inference.build_target import EngineBuild
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.street_scenes import CONDITIONS, render_scene


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed in range(FEWEST_IMAGES):
        scene = render_scene(1000 + seed, SIZE, CONDITIONS[seed % len(CONDITIONS)]).image
        cv2.imwrite(str(folder / f"{seed:02}.png"), scene[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def engine(checkpoint, images):
    path = checkpoint.with_name("int8.onnx")
    words = ["--precision", "int8", "--calibrate", str(images), "--output", str(path)]
    assert export([str(checkpoint), *words]) == 0
    return path


def test_an_int8_engine_labels_as_its_checkpoint_and_says_what_it_is(checkpoint, engine):
    frames = bundled_frames()
    segmenter = Segmenter.load(engine)
    assert segmenter.metadata.precision == "int8"
    equal = (segmenter(frames).labels == Segmenter.load(checkpoint, device="cpu")(frames).labels).mean()
    assert 0.97 <= equal < 1


def test_openvino_computes_the_same_int8(engine):
    pytest.importorskip("openvino")
    frames = bundled_frames()
    ours, theirs = (Segmenter.load(engine, provider=provider) for provider in ("cpu", "openvino"))
    assert (ours(frames).labels == theirs(frames).labels).mean() > 0.95  # they round differently


def test_weights_are_bytes_with_a_scale_for_each_output_channel(engine):
    graph = onnx.load(engine).graph
    stored = {weight.name: weight for weight in graph.initializer}
    restored = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    quantised = [restored[node.input[1]] for node in convolutions if node.input[1] in restored]
    assert convolutions[0].input[1] not in restored
    assert len(quantised) >= 19  # the other convolutions of the backbone, a ResNet-18
    for weights, scales, *_ in (node.input for node in quantised):
        assert stored[weights].data_type == TensorProto.INT8
        assert list(stored[scales].dims) == [stored[weights].dims[0]]


def convolution(source, target):
    return helper.make_node("Conv", [source, f"{target}_weight"], [target], target, kernel_shape=[1, 1])


def test_what_lies_between_convolutions_is_quantised_and_the_ends_are_not():
    nodes = [
        convolution("image", "stem"),
        convolution("stem", "left"),
        helper.make_node("Relu", ["left"], ["left_relu"], "left_relu"),
        convolution("stem", "right"),
        helper.make_node("Add", ["left_relu", "right"], ["sum"], "sum"),
        helper.make_node("Add", ["sum", "constant"], ["shifted"], "shifted"),
        convolution("sum", "masks"),
        helper.make_node("Softmax", ["masks"], ["result"], "result"),
        convolution("shifted", "other_end"),
    ]
    names = ["stem", "left", "right", "masks", "other_end"]
    weights = [numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), f"{name}_weight") for name in names]
    graph = helper.make_graph(nodes, "graph", [], [], weights)
    assert [node.name for node in quantised_nodes(graph)] == ["left", "left_relu", "right", "sum"]


def folder_with(tmp_path, images, change):
    folder = tmp_path / "folder"
    shutil.copytree(images, folder)
    change(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shutil.rmtree, r"No folder .*folder"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "folder holds no image"),
        (lambda folder: (folder / "07.png").unlink(), f"needs {FEWEST_IMAGES} images or more, .*folder has 15"),
        (lambda folder: (folder / "07.png").write_bytes(b"no image"), r"07\.png cannot be decoded"),
        (lambda folder: cv2.imwrite(str(folder / "07.png"), np.ones(SIZE, np.uint8)), r"07\.png is a grey or a label"),
    ],
)
def test_what_cannot_calibrate_is_one_sentence(checkpoint, images, tmp_path, change, says):
    folder, output = folder_with(tmp_path, images, change), tmp_path / "x.onnx"
    with pytest.raises(QueryDiffError, match=says) as failure:
        export([str(checkpoint), "--precision", "int8", "--calibrate", str(folder), "--output", str(output)])
    assert "\n" not in str(failure.value)
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--output", "x.onnx", "--precision", "int8"], "--calibrate FOLDER go together"),
        (["--output", "x.onnx", "--calibrate", "images"], "--calibrate FOLDER go together"),
        (["--output", "x.pt2", "--precision", "int8", "--calibrate", "images"], r"int8 is for \.onnx .* for torch"),
        (["--output", "x.engine", "--precision", "int8", "--calibrate", "images"], "fp16 or bf16 for tensorrt"),
    ],
)
def test_what_goes_with_int8_is_one_sentence(checkpoint, options, says):
    with pytest.raises(QueryDiffError, match=says):
        export([str(checkpoint), *options])


def test_a_processor_without_int8_is_said_and_a_gpu_refused(tmp_path, monkeypatch, caplog):
    metadata = replace(PIXEL_METADATA, build=EngineBuild("onnx", "int8"))
    file = write_pixel_engine(tmp_path / "int8.onnx", metadata=metadata)
    monkeypatch.setattr(onnxruntime_engine, "multiplies_int8", lambda: False)
    assert Segmenter.load(file, provider="cpu").metadata.precision == "int8"
    assert "no instructions that multiply it (VNNI)" in caplog.text
    with pytest.raises(QueryDiffError, match="int8, which is for CPUs: choose provider cpu or openvino"):
        onnxruntime_engine._check_int8(file, "cuda")
