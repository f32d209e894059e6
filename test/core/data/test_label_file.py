"""Label images are read as they are stored, whatever the PNG's form."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.label_file import read_label_file
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import bundled_mappings, label_mapping

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, depth, color):
    """Return `values` `(H, W, C)` as a PNG written from the specification, independently of any library."""
    height, width, _ = values.shape
    bits = np.unpackbits(values.reshape(height, -1, 1).astype(">u2").view(np.uint8), axis=2)[:, :, 16 - depth :]
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    palette = chunk(b"PLTE", bytes(37 * i % 256 for i in range(3 * 2 ** min(depth, 8)))) if color == PALETTE else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + palette + chunk(b"IDAT", data) + chunk(b"IEND", b"")


FORMS = [(1, GREY), (2, GREY), (4, GREY), (8, GREY), (16, GREY), (1, PALETTE), (2, PALETTE), (4, PALETTE), (8, PALETTE)]
FORMS += [(8, RGB), (16, RGB), (8, RGB_ALPHA), (16, RGB_ALPHA)]


@settings(deadline=None)
@given(st.data(), st.sampled_from(FORMS), array_shapes(min_dims=2, max_dims=2, max_side=9))
def test_every_form_gives_its_stored_values(tmp_path_factory, data, form, shape):
    depth, color = form
    values = data.draw(arrays(np.uint16, (*shape, CHANNELS[color]), elements=st.integers(0, 2**depth - 1)))
    file = tmp_path_factory.mktemp("label") / "a.png"
    file.write_bytes(png(values, depth, color))
    stored = read_label_file(file)
    assert stored.dtype == (np.uint16 if depth == 16 else np.uint8)
    np.testing.assert_array_equal(stored, values if color in (RGB, RGB_ALPHA) else values[..., 0])


@pytest.mark.parametrize("color", [GREY, PALETTE, RGB])
def test_damaged_files_are_named(tmp_path, color):
    file = tmp_path / "a.png"
    whole = png(np.zeros((40, 40, CHANNELS[color]), np.uint16), 8, color)
    for content in (b"", b"no image", whole[:30], whole[:-25]):
        file.write_bytes(content)
        with pytest.raises(QueryDiffError, match=r"a\.png cannot be decoded") as failure:
            read_label_file(file)
        assert "\n" not in str(failure.value)
    with pytest.raises(QueryDiffError, match=r"b\.png cannot be read"):
        read_label_file(tmp_path / "b.png")


@pytest.mark.parametrize("name", [name for name in bundled_mappings() if label_mapping(name).colors])
def test_painted_labels_mean_what_their_values_mean(tmp_path, name):
    mapping = label_mapping(name)
    assert len(dict(mapping.colors)) == len(mapping.colors), "a colour must stand for one value"
    assert {value for _, value in mapping.colors} == {*mapping.to_train_id, *mapping.unlabelled}
    painted = np.array([rgb for rgb, _ in mapping.colors], np.uint8)[None]
    assert cv2.imwrite(str(tmp_path / "a.png"), painted[..., ::-1])
    expected = [mapping.to_train_id.get(value, 255) for _, value in mapping.colors]
    train_ids, outside = LabelDecoder(mapping).decode(tmp_path / "a.png")
    assert train_ids.tolist() == [expected]
    assert not outside


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40))
@settings(deadline=None)
def test_values_outside_the_map_are_counted(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("label") / "a.png"
    assert cv2.imwrite(str(file), np.array([values], np.uint8))
    train_ids, outside = LabelDecoder(label_mapping("train_ids")).decode(file)
    assert train_ids.tolist() == [[value if value < 19 else 255 for value in values]]
    assert outside == {str(value): values.count(value) for value in set(values) if 19 <= value < 255}
