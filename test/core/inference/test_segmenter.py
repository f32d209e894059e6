import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from engines import PIXEL_METADATA, expected_labels, write_labels_only_engine, write_pixel_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.inference.resizing import bilinear_weights
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.inference.sliding_window import SlidingWindow


@pytest.fixture(scope="module")
def engine_file(tmp_path_factory):
    return write_pixel_engine(tmp_path_factory.mktemp("engine") / "pixel.onnx")


@pytest.fixture(scope="module")
def segmenter(engine_file):
    return Segmenter.load(engine_file, threads=1)


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("small", "large"), [((16, 32), (64, 128)), ((7, 9), (30, 41)), ((1, 2), (5, 3))])
def test_products_with_bilinear_weights_enlarge_as_interpolation_does(small, large):
    maps = torch.rand(2, 3, *small, generator=torch.Generator().manual_seed(0))
    rows, columns = (bilinear_weights(*each, maps) for each in zip(large, small, strict=True))
    expected = torch.nn.functional.interpolate(maps, large, mode="bilinear")
    torch.testing.assert_close(rows @ (maps @ columns.T), expected, atol=1e-6, rtol=0)
    assert bilinear_weights(8, 4, maps.half()).dtype == torch.float16


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 3), height=st.integers(1, 70), width=st.integers(1, 70))
def test_labels_and_confidence_have_the_images_size(segmenter, batch, height, width):
    images = noise(batch, height, width, 3)
    result = segmenter(images)
    assert np.array_equal(result.labels, expected_labels(images))
    assert np.array_equal(result.confidence, images[..., 1])
    one = segmenter(images[0])
    assert one.labels.shape == one.confidence.shape == (height, width)
    assert one.timings["total"] > 0


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    window=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    data=st.data(),
)
def test_windows_cover_every_pixel(engine_file, height, width, window, data):
    stride = (data.draw(st.integers(1, window[0])), data.draw(st.integers(1, window[1])))
    images = noise(height, width, 3)
    sliding = Segmenter.load(engine_file, threads=1, window=window, stride=stride)
    assert np.array_equal(sliding(images).labels, expected_labels(images))


def test_where_windows_overlap_the_more_confident_label_wins():
    def by_brightness_of_the_window(images):
        level = images[..., 0].max(axis=(1, 2), keepdims=True) // 10
        return np.broadcast_to(level, images.shape[:3]), np.broadcast_to(level, images.shape[:3])

    image = np.zeros((1, 1, 6, 3), np.uint8)
    image[0, 0, 5] = 100
    labels, confidence = SlidingWindow((1, 4), (1, 2))(by_brightness_of_the_window, image)
    assert labels.tolist() == [[[0, 0, 10, 10, 10, 10]]]
    assert confidence.tolist() == labels.tolist()


def test_cameras_of_one_size_share_an_inference(segmenter):
    images = [noise(9, 7, 3), noise(9, 7, 3) // 2]
    results = segmenter.segment_cameras(images)
    for image, result in zip(images, results, strict=True):
        assert np.array_equal(result.labels, expected_labels(image))
        assert np.array_equal(result.confidence, image[..., 1])
    assert results[0].timings is results[1].timings


def test_an_engine_without_confidence_gives_labels_and_takes_no_window(tmp_path, segmenter):
    file = write_labels_only_engine(tmp_path / "labels.onnx")
    bare = Segmenter.load(file, threads=1)
    assert segmenter.has_confidence
    assert not bare.has_confidence
    images = [noise(9, 7, 3), noise(9, 7, 3) // 2]
    for image, result in zip(images, bare.segment_cameras(images), strict=True):
        assert np.array_equal(result.labels, expected_labels(image))
        assert result.confidence is None
    with pytest.raises(QueryDiffError, match=r"labels\.onnx has no confidence, which decides where windows overlap"):
        Segmenter.load(file, window=8)


def test_the_file_says_what_it_is(segmenter):
    assert segmenter.metadata == PIXEL_METADATA
    assert segmenter.label_space.names[13] == "car"
    assert (segmenter.engine_name, segmenter.device) == ("onnxruntime", "cpu")
    segmenter.warm_up()


def test_a_file_of_the_first_version_has_the_network_that_was_called_small():
    first = json.dumps(json.loads(PIXEL_METADATA.to_json()) | {"format_version": 1, "variant": "small"})
    assert ModelMetadata.from_json(first, "a file").variant == "small-resnet18d"


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        "x",
    ],
)
def test_wrong_images_are_refused(segmenter, images):
    with pytest.raises(QueryDiffError, match="uint8 RGB"):
        segmenter(images)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threads": 0}, "threads"),
        ({"device": "tpu"}, "device"),
        ({"device": "3"}, "device must be"),
        ({"device": "cuda:99"}, "CUDA"),
        ({"window": 4, "stride": 5}, "stride"),
        ({"window": 0}, "stride"),
        ({"stride": 5}, "window"),
        ({"size": (10, 10)}, "64x128"),
    ],
)
def test_wrong_options_are_refused(engine_file, options, says):
    with pytest.raises(QueryDiffError, match=says):
        Segmenter.load(engine_file, **options)


def test_a_closed_segmenter_says_so(engine_file):
    segmenter = Segmenter.load(engine_file)
    segmenter.close()
    with pytest.raises(QueryDiffError, match="closed"):
        segmenter(noise(4, 4, 3))


def damage(file, kind):
    if kind == "missing":
        file.unlink()
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "truncated":
        file.write_bytes(file.read_bytes()[:500])
    elif kind == "text":
        file.write_text("not a model")
    else:
        model = onnx.load(file)
        if kind == "other outputs":
            del model.graph.output[0]
            onnx.save(model, file)
            return
        del model.metadata_props[:]
        if kind != "foreign":
            raw = json.loads(PIXEL_METADATA.to_json())
            text = {"future": json.dumps(raw | {"format_version": 99}), "incomplete": '{"format_version": 1}'}
            onnx.helper.set_model_props(model, {METADATA_KEY: text.get(kind, "{")})
        onnx.save(model, file)


@pytest.mark.parametrize(
    "kind", ["missing", "empty", "truncated", "text", "foreign", "future", "incomplete", "garbled", "other outputs"]
)
def test_a_bad_file_is_one_sentence(tmp_path, kind):
    file = write_pixel_engine(tmp_path / "engine.onnx")
    damage(file, kind)
    with pytest.raises(QueryDiffError, match=r"engine\.onnx") as failure:
        Segmenter.load(file)
    assert "\n" not in str(failure.value)


def test_an_unknown_suffix_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(QueryDiffError, match=r"\.onnx"):
        Segmenter.load(tmp_path / "model.bin")


def test_an_onnx_segmenter_needs_no_pytorch(engine_file):
    code = f"""
import sys
import numpy as np
from querydiff_core import Segmenter
Segmenter.load({str(engine_file)!r})(np.zeros((4, 4, 3), np.uint8))
print([name for name in ("torch", "timm", "transformers", "diffusers", "lightning", "rclpy") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
