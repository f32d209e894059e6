import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from engines import PIXEL_METADATA, expected_labels, write_pixel_engine

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.build_target import EngineBuild
from querydiff_core.inference.onnxruntime_engine import PROVIDERS, _check_resizing, _tensorrt_options
from querydiff_core.inference.segmenter import Segmenter

HERE = onnxruntime.get_available_providers()
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)


@pytest.fixture
def engine_file(tmp_path):
    return write_pixel_engine(tmp_path / "pixel.onnx")


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_the_cpu_is_a_provider(engine_file, provider):
    segmenter = Segmenter.load(engine_file, device="cpu", provider=provider)
    assert segmenter.device == "cpu"
    assert np.array_equal(segmenter(IMAGES).labels, expected_labels(IMAGES))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_labels_alike_or_is_refused_with_those_that_are_here(engine_file, tmp_path, monkeypatch, provider):
    monkeypatch.setenv("QUERYDIFF_CACHE", str(tmp_path / "cache"))
    if PROVIDERS[provider] in HERE:
        segmenter = Segmenter.load(engine_file, provider=provider)
        assert np.array_equal(segmenter(IMAGES).labels, expected_labels(IMAGES))
        return
    with pytest.raises(QueryDiffError, match=f"{PROVIDERS[provider]}.* has .*cpu.*pip install onnxruntime-") as failure:
        Segmenter.load(engine_file, provider=provider)
    assert "\n" not in str(failure.value)


def test_a_gpu_that_would_resize_wrongly_is_refused_unless_the_camera_is_built_in(engine_file, monkeypatch):
    camera = dataclasses.replace(PIXEL_METADATA, build=EngineBuild("onnx", camera=(20, 30)))
    monkeypatch.setattr(onnxruntime, "__version__", "1.26.0")
    with pytest.raises(QueryDiffError, match=r"1\.26\.0 resizes images wrongly on GPUs.* 1\.27 or newer.*--camera"):
        _check_resizing(engine_file, PIXEL_METADATA)
    _check_resizing(engine_file, camera)
    Segmenter.load(engine_file, device="cpu")
    monkeypatch.setattr(onnxruntime, "__version__", "1.27.0")
    _check_resizing(engine_file, PIXEL_METADATA)


def test_a_file_that_was_exported_again_gets_new_tensorrt_engines(engine_file, tmp_path, monkeypatch):
    """ONNX Runtime takes any engine in its cache that was built from a file of that name and structure."""
    monkeypatch.setenv("QUERYDIFF_CACHE", str(tmp_path / "cache"))
    before = _tensorrt_options(engine_file, "0")
    assert _tensorrt_options(engine_file, "0") == before
    model = onnx.load(engine_file)
    (nineteen,) = (tensor for tensor in model.graph.initializer if tensor.name == "nineteen")
    nineteen.CopyFrom(onnx.numpy_helper.from_array(np.array(18, np.uint8), "nineteen"))
    onnx.save(model, engine_file)
    after = _tensorrt_options(engine_file, "0")
    assert before["trt_engine_cache_path"] != after["trt_engine_cache_path"]
    assert before["trt_timing_cache_path"] == after["trt_timing_cache_path"]


def test_an_unknown_provider_is_refused(engine_file):
    with pytest.raises(QueryDiffError, match="provider must be one of auto, cpu, cuda, tensorrt, openvino"):
        Segmenter.load(engine_file, provider="coreml")


def test_a_provider_and_a_device_that_contradict_each_other_are_refused(engine_file):
    with pytest.raises(QueryDiffError, match="provider cpu runs on the CPU, but device is cuda:0"):
        Segmenter.load(engine_file, device="cuda:0", provider="cpu")


def test_images_of_another_size_than_the_camera_are_one_sentence(tmp_path):
    metadata = dataclasses.replace(PIXEL_METADATA, build=EngineBuild("onnx", camera=(20, 30)))
    segmenter = Segmenter.load(write_pixel_engine(tmp_path / "camera.onnx", metadata=metadata))
    segmenter.warm_up()
    assert np.array_equal(segmenter(IMAGES).labels, expected_labels(IMAGES))
    with pytest.raises(QueryDiffError, match="built for images of 20x30 and this one has 10x30"):
        segmenter(IMAGES[:, :10])


@pytest.mark.parametrize("place", ["outside", "absolute", "gone"])
def test_data_outside_the_files_folder_is_refused(tmp_path, place):
    folder = tmp_path / "engine"
    folder.mkdir()
    file = write_pixel_engine(folder / "engine.onnx")
    model = onnx.load(file)
    tensor = model.graph.initializer[0]
    data = onnx.numpy_helper.to_array(tensor).tobytes()
    (tmp_path / "weights.bin").write_bytes(data)
    locations = {"outside": "../weights.bin", "absolute": str(tmp_path / "weights.bin"), "gone": "weights.bin"}
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", locations[place]), ("offset", "0"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(QueryDiffError, match=r"engine\.onnx is not a readable ONNX model") as failure:
        Segmenter.load(file)
    assert "\n" not in str(failure.value)


def test_a_batch_that_fits_no_memory_is_one_sentence(engine_file):
    segmenter = Segmenter.load(engine_file)
    huge = np.broadcast_to(np.zeros((1, 1, 1, 3), np.uint8), (1, 4_000_000, 4_000_000, 3))
    with pytest.raises(QueryDiffError, match="failed on images of 1x4000000x4000000") as failure:
        segmenter(huge)
    assert "\n" not in str(failure.value)
