import dataclasses
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from students import write_student

import querydiff_core
from querydiff_core.cli.export import main as export
from querydiff_core.errors import QueryDiffError
from querydiff_core.export.export_engine import check_network_size
from querydiff_core.export.parity import bundled_frames
from querydiff_core.inference.checkpoint import load_checkpoint, save_checkpoint
from querydiff_core.inference.metadata import FORMAT_VERSION, METADATA_KEY, ModelMetadata
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.build import build_model
from querydiff_core.street_scenes import render_scene
from querydiff_core.utils.file_hash import file_hash


def metadata(**changes):
    return ModelMetadata(
        **{"variant": "tiny", "input_size": (64, 128), "mean": (0.5,) * 3, "std": (0.2,) * 3, **changes}
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


@pytest.fixture(scope="module")
def engine(checkpoint):
    path = checkpoint.with_name("tiny.onnx")
    assert export([str(checkpoint), "--output", str(path)]) == 0
    return path


def test_a_checkpoint_keeps_weights_to_half_precision_and_drops_the_training_head(tmp_path):
    fresh = build_model("tiny")
    save_checkpoint(fresh, metadata(), tmp_path / "fresh.safetensors")
    loaded, found = load_checkpoint(tmp_path / "fresh.safetensors")
    assert found.variant == "tiny"
    assert not any(name.startswith("pixel_head.") for name in loaded.state_dict())
    for name, value in loaded.state_dict().items():
        assert torch.allclose(value.float(), fresh.state_dict()[name].float(), rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("size", [(64, 128), (97, 131), (360, 640), (1, 1), (5, 300)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_exported_engine_agrees_with_the_checkpoint(checkpoint, engine, size, batch):
    images = np.stack([render_scene(seed, (max(size[0], 64), max(size[1], 64))).image for seed in range(batch)])
    images = np.ascontiguousarray(images[:, : size[0], : size[1]])
    eager, exported = Segmenter.load(checkpoint, device="cpu")(images), Segmenter.load(engine)(images)
    assert eager.labels.shape == exported.labels.shape == (batch, *size)
    assert min(size) < 64 or len(np.unique(eager.labels)) > 2  # or parity would say nothing
    assert (eager.labels == exported.labels).mean() > 0.99
    difference = np.abs(eager.confidence.astype(int) - exported.confidence)
    assert np.percentile(difference, 99) <= 4  # BatchNorm is folded into weights, which are rounded to fp16 again


def test_export_keeps_the_metadata_and_can_change_the_size(checkpoint, tmp_path, capsys):
    output = tmp_path / "wide.onnx"
    assert export([str(checkpoint), "--output", str(output), "--size", "96x160", "--batch", "2:4"]) == 0
    printed = capsys.readouterr().out
    assert "% of labels equal" in printed
    assert "times its speed on cpu" in printed
    assert float(printed.partition("confidence ")[2].partition(" of 255 off on average")[0]) < 1
    made = Segmenter.load(output).metadata
    assert made.input_size == made.image_size == (96, 160)
    assert torch.__version__.startswith(made.versions["torch"])
    assert made.mean == load_checkpoint(checkpoint)[1].mean
    assert (made.build.format, made.build.precision, made.build.batch) == ("onnx", "fp32", (2, 4))
    assert (tmp_path / made.build.checkpoint).samefile(checkpoint)
    assert made.build.checkpoint_sha256 == file_hash(checkpoint)


def test_an_engine_without_confidence_gives_the_same_labels(checkpoint, engine, tmp_path):
    output = tmp_path / "labels.onnx"
    assert export([str(checkpoint), "--output", str(output), "--labels-only"]) == 0
    frames = bundled_frames((64, 128))
    bare, whole = Segmenter.load(output), Segmenter.load(engine)
    assert not bare.has_confidence
    assert bare(frames).confidence is None
    assert np.array_equal(bare(frames).labels, whole(frames).labels)
    assert len(onnx.load(output).graph.node) < len(onnx.load(engine).graph.node)  # what served it alone is gone


def certain_engine(engine, output, precision):
    """Copy `engine` with a class head that is sure of class 0 wherever a query claims anything."""
    proto = onnx.load(engine)
    (bias,) = [each for each in proto.graph.initializer if each.name == "model.mask_decoder.class_head.bias"]
    logits = np.full(bias.dims, -40, np.float32)
    logits[0] = 20
    bias.CopyFrom(onnx.numpy_helper.from_array(logits, bias.name))
    (prop,) = proto.metadata_props
    raw = json.loads(prop.value)
    prop.value = json.dumps(raw | {"build": raw["build"] | {"precision": precision}})
    onnx.save(proto, output)
    return output


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_certain_model_has_the_full_confidence_everywhere(engine, tmp_path, precision):
    if precision == "bf16":
        pytest.importorskip("openvino")
    segmenter = Segmenter.load(certain_engine(engine, tmp_path / "sure.onnx", precision))
    found = segmenter(bundled_frames((64, 128)))
    assert segmenter.engine_name == {"fp32": "onnxruntime", "bf16": "openvino"}[precision]
    assert np.unique(found.labels).tolist() == [0]
    assert found.confidence.min() >= {"fp32": 255, "bf16": 254}[precision]  # 256 would be 0


def test_an_engine_tells_nothing_of_the_machine_that_made_it(engine):
    assert str(Path(querydiff_core.__file__).parent).encode() not in engine.read_bytes()


def test_an_engine_is_not_taken_for_a_checkpoint(engine, tmp_path):
    with pytest.raises(QueryDiffError, match=r"tiny\.onnx is an engine: give the checkpoint \(\.safetensors\)"):
        export([str(engine), "--output", str(tmp_path / "again.onnx")])


def test_half_precision_computes_in_half_precision(checkpoint, tmp_path):
    output = tmp_path / "half.onnx"
    assert export([str(checkpoint), "--output", str(output), "--precision", "fp16"]) == 0
    model = onnx.shape_inference.infer_shapes(onnx.load(output))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    convolutions = [types[node.output[0]] for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    assert set(convolutions) == {onnx.TensorProto.FLOAT16}
    assert Segmenter.load(output).metadata.build.precision == "fp16"


def test_an_engine_for_one_camera_has_operators_that_tensorrt_reads(checkpoint, tmp_path):
    output = tmp_path / "camera.onnx"
    assert export([str(checkpoint), "--output", str(output), "--camera", "90x160"]) == 0
    graph = onnx.load(output).graph
    (into,) = [node for node in graph.node if "images" in node.input]
    out_of = [node for node in graph.node if set(node.output) & {"labels", "confidence"}]
    assert {node.op_type for node in (into, *out_of)} == {"Cast"}  # uint8 is for inputs and outputs only
    resizes = [attribute for node in graph.node if node.op_type == "Resize" for attribute in node.attribute]
    assert not any(attribute.name == "antialias" and attribute.i for attribute in resizes)

    frames = bundled_frames((90, 160))
    fixed, free = Segmenter.load(output), Segmenter.load(checkpoint, device="cpu")
    assert (fixed(frames).labels == free(frames).labels).mean() > 0.995
    fixed.warm_up()
    with pytest.raises(QueryDiffError, match="built for images of 90x160 and this one has 64x128"):
        fixed(np.zeros((64, 128, 3), np.uint8))


def test_a_checkpoint_can_be_run_at_another_size_and_in_windows(checkpoint):
    image = render_scene(3, (128, 256)).image
    small = Segmenter.load(checkpoint, device="cpu")(image)
    large = Segmenter.load(checkpoint, device="cpu", size=(128, 256))(image)
    windows = Segmenter.load(checkpoint, device="cpu", window=(64, 128), stride=(64, 64))(image)
    assert small.labels.shape == large.labels.shape == windows.labels.shape == (128, 256)


def test_an_engine_that_disagrees_is_not_written_and_the_old_one_stays(checkpoint, tmp_path):
    weights, name = load_file(checkpoint), "mask_decoder.class_head.weight"
    weights[name] = weights[name].float() * 1e7  # beyond half precision
    loud, output = tmp_path / "loud.safetensors", tmp_path / "loud.onnx"
    save_file(weights, loud, {METADATA_KEY: load_checkpoint(checkpoint)[1].to_json()})
    output.write_bytes(b"old")
    with pytest.raises(QueryDiffError, match=r"was not written: .*% of its labels equal .* fp16 must reach 98.0%"):
        export([str(loud), "--output", str(output), "--precision", "fp16"])
    assert output.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loud.onnx", "loud.safetensors"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--output", "x.bin"], r"must end in \.onnx, \.pt2, \.engine"),
        (["--output", "x.onnx", "--format", "torch"], r"must end in \.pt2"),
        (["--output", "x.onnx", "--batch", "4:2"], "MIN <= MAX"),
        (["--output", "x.onnx", "--batch", "1:65"], "MAX <= 64"),
        (["--output", "x.onnx", "--batch", "some"], "MIN:MAX such as"),
        (["--output", "x.onnx", "--size", "1x1"], "at least 32"),
        (["--output", "x.onnx", "--any-gpu"], "Only TensorRT"),
        (["--output", "x.pt2", "--labels-only"], "Only ONNX has a graph without confidence"),
        (["--output", "x.engine", "--camera", "90x160"], "leave out --camera"),
        (["--output", "x.engine", "--device", "cpu"], "leave out"),
    ],
)
def test_wrong_options_are_one_sentence(checkpoint, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryDiffError, match=says) as failure:
        export([str(checkpoint), *options])
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("output", ["x.engine", "x.pt2"])
def test_compiling_for_a_gpu_that_is_not_there_is_one_sentence(checkpoint, tmp_path, output):
    with pytest.raises(QueryDiffError, match="device cuda is not there"):
        export(
            [str(checkpoint), "--output", str(tmp_path / output), *(["--device", "cuda"] if "pt2" in output else [])]
        )


def test_a_size_that_the_backbone_cannot_take_names_the_nearest():
    model = build_model("mit-b0").eval()
    with pytest.raises(QueryDiffError, match=r"mit-b0 cannot take images of 16x40: the nearest .* is 32x32"):
        check_network_size(model, (16, 40))
    check_network_size(model, (32, 40))


def test_too_little_memory_is_one_sentence(checkpoint, tmp_path):
    with pytest.raises(QueryDiffError, match=r"not enough memory.*lower --size"):
        export([str(checkpoint), "--output", str(tmp_path / "huge.onnx"), "--size", "1000000x1000000"])
    assert not list(tmp_path.iterdir())


def run_export(checkpoint, output, code="", **options):
    """Run the command in a process of its own, after `code`."""
    command = f"{code}\nfrom querydiff_core.cli.main import main\nmain(sys.argv[1:])"
    words = [sys.executable, "-c", f"import sys{command}", "export", str(checkpoint), "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, **options)


def test_a_full_disk_is_one_sentence(checkpoint, tmp_path):
    output = tmp_path / "tiny.onnx"
    output.write_bytes(b"old")

    def allow_small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    result = run_export(checkpoint, output, preexec_fn=allow_small_files_only)
    assert result.returncode == 1, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("exporting: ")]
    assert len(said) == 1
    assert said[0].startswith(f"error: Cannot write {output}: ")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_an_interrupted_export_leaves_nothing_half_written(checkpoint, tmp_path):
    output = tmp_path / "tiny.onnx"
    output.write_bytes(b"old")
    interrupt_before_the_end = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
def interrupt(event, arguments):
    if event == "os.chmod" and "/.tiny." in str(arguments[0]):  # written and checked, but still without its name
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)"""
    result = run_export(checkpoint, output, interrupt_before_the_end)
    assert result.returncode == 130, result.stderr
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def damage(path, checkpoint, kind):
    weights, right = load_file(checkpoint), load_checkpoint(checkpoint)[1]
    meta = {METADATA_KEY: right.to_json()}
    if kind == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:-1000])
    elif kind == "pickle":
        torch.save(weights, path)
    elif kind == "foreign":
        save_file(weights, path)
    elif kind == "unknown variant":
        save_file(weights, path, {METADATA_KEY: dataclasses.replace(right, variant="huge").to_json()})
    elif kind == "future":
        future = dataclasses.replace(right, format_version=FORMAT_VERSION + 1)
        save_file(weights, path, {METADATA_KEY: future.to_json()})
    elif kind == "damaged build":
        raw = json.loads(right.to_json()) | {"build": {"format": "onnx"}}
        save_file(weights, path, {METADATA_KEY: json.dumps(raw)})
    elif kind == "missing weight":
        weights.pop("mask_decoder.class_head.weight")
        save_file(weights, path, meta)
    else:
        name = "mask_decoder.class_head.weight"
        save_file(weights | {name: weights[name][:1].contiguous()}, path, meta)


@pytest.mark.parametrize("use", [lambda path: Segmenter.load(path, device="cpu"), "export"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "No (model file|checkpoint)"),
        ("truncated", "not a readable safetensors"),
        ("pickle", "not a readable safetensors"),
        ("foreign", "not made by this project"),
        ("unknown variant", "huge"),
        ("future", f"format version {FORMAT_VERSION + 1}"),
        ("damaged build", "incomplete"),
        ("missing weight", "does not fit"),
        ("wrong shape", "does not fit"),
    ],
)
def test_a_bad_checkpoint_is_one_sentence(tmp_path, checkpoint, use, kind, says):
    path = tmp_path / "bad.safetensors"
    if kind != "missing":
        damage(path, checkpoint, kind)
    with pytest.raises(QueryDiffError, match=says) as failure:
        export([str(path), "--output", str(tmp_path / "bad.onnx")]) if use == "export" else use(path)
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "bad.onnx").exists()


def test_an_absent_gpu_is_one_sentence(checkpoint):
    with pytest.raises(QueryDiffError, match="cuda:63"):
        Segmenter.load(checkpoint, device="cuda:63")
