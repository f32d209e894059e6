"""OpenVINO on the real exports of a real student; fp32 must label as ONNX Runtime does, bf16 nearly so."""

import dataclasses
import sys

import numpy as np
import openvino
import pytest
from engines import PIXEL_METADATA, expected_labels, write_pixel_engine

from querydiff_core.cli.export import main as export
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.build_target import EngineBuild
from querydiff_core.inference.engine import default_model
from querydiff_core.inference.openvino_engine import MOST_SHAPES
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.street_scenes import render_scene

FRAMES = np.stack([render_scene(seed, (120, 200)).image for seed in range(3)])
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module")
def default():
    return Segmenter.load(default_model(), provider="cpu"), Segmenter.load(default_model(), provider="openvino")


def test_the_default_is_labelled_as_by_onnxruntime(default):
    cpu, openvino_engine = (segmenter(FRAMES) for segmenter in default)
    assert default[1].engine_name == "openvino"
    assert (cpu.labels == openvino_engine.labels).mean() > 0.9999
    assert (np.abs(cpu.confidence.astype(int) - openvino_engine.confidence) <= 1).mean() > 0.999
    assert openvino_engine.labels.dtype == openvino_engine.confidence.dtype == np.uint8
    assert len(np.unique(openvino_engine.labels)) > 3


def test_any_number_and_size_of_images(default):
    cpu, openvino_engine = default
    large = render_scene(5, (720, 1100), "night").image  # is resized to less, smoothly
    for images in (FRAMES[:1], FRAMES[:, :64, :150], FRAMES, large[None], large[:300]):
        assert (cpu(images).labels == openvino_engine(images).labels).mean() > 0.9999


def test_results_outlive_the_next_call(default):
    first = default[1](FRAMES[:1]).labels
    kept = first.copy()
    default[1](FRAMES[1:2])
    assert np.array_equal(first, kept)


def test_only_the_newest_shapes_stay_compiled(tmp_path):
    segmenter = Segmenter.load(write_pixel_engine(tmp_path / "pixel.onnx"), provider="openvino")
    for height in (*range(10, 12 + MOST_SHAPES), 10):
        images = FRAMES[:2, :height]
        assert np.array_equal(segmenter(images).labels, expected_labels(images))
    assert len(segmenter._engine._requests) == MOST_SHAPES


def test_an_export_in_bf16_opens_with_openvino_and_nowhere_else(tmp_path, caplog):
    output = tmp_path / "bf16.onnx"
    assert (
        export([str(default_model().with_suffix(".safetensors")), "--output", str(output), "--precision", "bf16"]) == 0
    )
    segmenter = Segmenter.load(output)
    assert (segmenter.engine_name, segmenter.metadata.precision) == ("openvino", "bf16")
    settings = segmenter._engine._settings
    assert settings["INFERENCE_PRECISION_HINT"] == ("bf16" if HAS_BF16 else "f32")
    assert ("multiplies no bf16" in caplog.text) is not HAS_BF16
    fp32 = Segmenter.load(default_model())(FRAMES).labels
    equal = (segmenter(FRAMES).labels == fp32).mean()
    assert equal > 0.98
    assert bool(equal < 1.0) is HAS_BF16
    with pytest.raises(QueryDiffError, match="exported in bf16, which ONNX Runtime does not compute in"):
        Segmenter.load(output, provider="cpu")


def test_a_cpu_without_bf16_is_said(tmp_path, monkeypatch, caplog):
    half = dataclasses.replace(PIXEL_METADATA, build=EngineBuild("onnx", precision="bf16"))
    file = write_pixel_engine(tmp_path / "half.onnx", metadata=half)
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    images = FRAMES[:1]
    assert np.array_equal(Segmenter.load(file)(images).labels, expected_labels(images))
    assert "this CPU multiplies no bf16: it runs in fp32" in caplog.text


def test_openvino_that_is_not_there_is_named(tmp_path, monkeypatch):
    file = write_pixel_engine(tmp_path / "pixel.onnx")
    monkeypatch.delitem(sys.modules, "querydiff_core.inference.openvino_engine", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(QueryDiffError, match=r"needs OpenVINO .* pip install 'querydiff_ros\[openvino\]'"):
        Segmenter.load(file, provider="openvino")


def test_an_export_in_bf16_without_openvino_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("querydiff_core.export.export_engine.find_spec", lambda _: None)
    words = [
        str(default_model().with_suffix(".safetensors")),
        "--output",
        str(tmp_path / "x.onnx"),
        "--precision",
        "bf16",
    ]
    with pytest.raises(QueryDiffError, match="bf16 is for OpenVINO, which is not installed"):
        export(words)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_a_gpu_and_a_wrong_camera_are_one_sentence(tmp_path):
    file = write_pixel_engine(tmp_path / "pixel.onnx")
    with pytest.raises(QueryDiffError, match="provider openvino runs on the CPU, but device is cuda:0"):
        Segmenter.load(file, provider="openvino", device="cuda:0")
    (tmp_path / "broken.onnx").write_bytes(file.read_bytes()[:-40])
    with pytest.raises(QueryDiffError, match=r"broken\.onnx is not a readable ONNX model") as failure:
        Segmenter.load(tmp_path / "broken.onnx", provider="openvino")
    assert "\n" not in str(failure.value)
    built = dataclasses.replace(PIXEL_METADATA, build=EngineBuild("onnx", camera=(20, 30)))
    segmenter = Segmenter.load(write_pixel_engine(tmp_path / "camera.onnx", metadata=built), provider="openvino")
    with pytest.raises(QueryDiffError, match="built for images of 20x30 and this one has 120x200"):
        segmenter(FRAMES)


def test_a_closed_engine_says_so(tmp_path):
    segmenter = Segmenter.load(write_pixel_engine(tmp_path / "pixel.onnx"), provider="openvino")
    segmenter.close()
    with pytest.raises(QueryDiffError, match="closed"):
        segmenter(FRAMES)
