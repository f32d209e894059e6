"""Image and label files as cameras, phones and tools leave them: what is read is what people see, or it is refused."""

import os
import struct
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from querydiff_core.data.data_check import check_pair
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.label_file import read_label_file
from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.data.pairing import NamedFiles, pair_files
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping
from querydiff_core.utils.image_files import image_head, read_image, write_image
from querydiff_core.utils.video import read_video, write_video

SIZE = (48, 64)
ROTATED, MIRRORED = (3, 6, 8), (2, 4, 5, 7)
NOT_UTF8 = os.fsdecode(b"caf\xe9")


def picture(size=SIZE):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([4 * rows, 3 * columns, rows + columns], -1).astype(np.uint8)


def labels(size=SIZE):
    return (np.arange(size[0] * size[1]) % 19).reshape(size).astype(np.uint8)


def save(path, pixels, orientation=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    Image.fromarray(pixels).save(path, **options)
    return path


def pair(root, image, label_pixels, name="a.png", orientation=None):
    save(root / "images" / name, image, orientation)
    save(root / "labels" / "a.png", label_pixels)
    return root


def problems(root):
    """Return what the data check says of the one pair in `root`, decoded and by its heads alone."""
    (found,) = pair_files(NamedFiles(root / "images"), NamedFiles(root / "labels")).pairs
    checks = [check_pair(found, LabelDecoder(label_mapping("train_ids")), quick) for quick in (False, True)]
    return [*checks[0].damage, checks[0].misfit or ""], [*checks[1].damage, checks[1].misfit or ""]


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("orientation", [1, *ROTATED, *MIRRORED])
def test_photos_are_read_as_viewers_show_them(tmp_path, orientation, suffix):
    file = save(tmp_path / f"a{suffix}", picture(), orientation, **({"lossless": True} if suffix == ".webp" else {}))
    with Image.open(file) as image:
        np.testing.assert_array_equal(read_image(file), np.asarray(ImageOps.exif_transpose(image).convert("RGB")))


def test_a_tag_that_is_no_orientation_turns_nothing(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", picture(), 9)), picture())


@pytest.mark.parametrize("orientation", [*ROTATED, *MIRRORED])
def test_labels_of_turned_images_are_refused_where_they_may_be_drawn_either_way(tmp_path, orientation):
    shown = SIZE[::-1] if orientation >= 5 else SIZE
    root = pair(tmp_path, picture(), labels(shown), orientation=orientation)
    with pytest.raises(QueryDiffError, match=rf"a\.png has an orientation tag \({orientation}\)"):
        LabelledFolder(root)[0]
    for said in problems(root):
        assert "orientation tag" in said[-1]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_whose_size_shows_that_they_lie_on_what_is_stored_are_taken(tmp_path, orientation):
    root = pair(tmp_path, picture(), labels(), orientation=orientation)
    found = LabelledFolder(root)[0]
    np.testing.assert_array_equal(found.image, picture())
    np.testing.assert_array_equal(found.labels, labels())
    assert problems(root) == ([""], [""])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_named(tmp_path, progressive):
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "a whole JPEG inside: " + "\xff\xd8\xff\xd9"
    file = save(tmp_path / "images/a.jpg", picture(), progressive=progressive, exif=thumbnail)
    save(tmp_path / "labels/a.png", labels())
    whole = file.read_bytes()
    for left in (*range(2, len(whole) - 1, 97), len(whole) - 2, len(whole) - 1):
        file.write_bytes(whole[:left])
        with pytest.raises(QueryDiffError, match=r"a\.jpg cannot be decoded as an image: it is damaged"):
            LabelledFolder(tmp_path)[0]
    file.write_bytes(whole + b"\0" * 99)  # some cameras pad
    assert LabelledFolder(tmp_path)[0].image.shape == (*SIZE, 3)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("at", [33, -12])  # the length of the pixels, and of the end
def test_a_png_whose_chunk_claims_more_than_there_is_is_refused_unopened(tmp_path, at):
    file = save(tmp_path / "a.png", picture())
    data = bytearray(file.read_bytes())
    data[at : at + 4] = (2**31 - 1).to_bytes(4, "big")  # for which OpenCV would take 2 GB
    file.write_bytes(data)
    with pytest.raises(QueryDiffError, match=r"a\.png cannot be decoded as an image: it is damaged, a truncated PNG"):
        read_image(file)


@pytest.mark.parametrize("side", [14_000, 40_000, 2**31 - 1])
def test_a_file_that_declares_a_huge_image_is_one_sentence(tmp_path, side):
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    for read in (read_image, image_head, read_label_file):
        with pytest.raises(QueryDiffError, match=r"a\.png is too large: it says that it has more than 178,956,970"):
            read(tmp_path / "a.png")


def test_names_that_are_no_utf8_are_read_and_written(tmp_path):
    folder = tmp_path / NOT_UTF8
    write_image(folder / f"{NOT_UTF8}.png", picture())
    np.testing.assert_array_equal(read_image(folder / f"{NOT_UTF8}.png"), picture())
    assert LabelledFolder(folder)[0].stem == NOT_UTF8
    assert write_video(folder / f"{NOT_UTF8}.mp4", [picture()] * 2, 5) == 2
    assert len(list(read_video(folder / f"{NOT_UTF8}.mp4")[1])) == 2


def test_what_the_system_refuses_is_not_called_damaged(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "nowhere.png")
    for read in (read_image, image_head, read_label_file):
        with pytest.raises(QueryDiffError, match=r"a\.png cannot be read: No such file"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "options"), [("a.jpg", {}), ("a.webp", {"quality": 80}), ("a.tif", {"compression": "jpeg"})]
)
def test_labels_that_were_compressed_as_photos_are_refused(tmp_path, name, options):
    file = save(tmp_path / name, labels(), **options)
    with pytest.raises(QueryDiffError, match=rf"{name} is compressed as photos are, .* as PNG"):
        LabelDecoder(label_mapping("train_ids"))(file)


@pytest.mark.parametrize(("name", "options"), [("a.webp", {"lossless": True}), ("a.tif", {}), ("a.bmp", {})])
def test_labels_of_other_lossless_formats_are_read(tmp_path, name, options):
    stored = read_label_file(save(tmp_path / name, labels(), **options))
    np.testing.assert_array_equal(stored if stored.ndim == 2 else stored[..., 0], labels())


def test_labels_say_how_they_can_be_read(tmp_path):
    decoder = LabelDecoder(label_mapping("train_ids"))
    with pytest.raises(
        QueryDiffError, match="all channels are equal, which a mapping with `first_channel: true` reads"
    ):
        decoder(save(tmp_path / "equal.png", np.repeat(labels()[..., None], 3, 2)))
    with pytest.raises(QueryDiffError, match="painted need a mapping with `colors`"):
        decoder(save(tmp_path / "painted.png", picture()))
    with pytest.raises(QueryDiffError, match=r"values of type (int32|float32): expected labels of 8 or 16 bits"):
        decoder(save(tmp_path / "a.tif", labels().astype(np.int32)))


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_videos_are_read_as_players_show_them(tmp_path, quarter_turns):
    file, shown = tmp_path / "a.mp4", picture()
    stored = np.ascontiguousarray(np.rot90(shown, -quarter_turns))
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", Fraction(5), {"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = *stored.shape[:2], "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(file.read_bytes())
    matrix = data.find(b"tkhd") + 44  # of the track's header, version 0
    cosine, sine = ((1, 0), (0, -1), (-1, 0), (0, 1))[quarter_turns]
    numbers = (cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *numbers)
    file.write_bytes(data)
    (frame,) = read_video(file)[1]
    assert frame.shape == shown.shape
    assert np.abs(frame.astype(int) - shown).mean() < 12


def names(root):
    found = pair_files(
        NamedFiles(root / "images", ("_leftImg8bit", "_rgb", "")), NamedFiles(root / "labels", ("_label", "_L", ""))
    )
    return [tuple(file.relative_to(root).as_posix() for file in files) for files in found.pairs], found


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "disk/images/1.png", "disk/labels/1.png", "root/images/a/2.png", "root/labels/a/2.png")
    for kind in ("images", "labels"):
        (tmp_path / "root" / kind / "city").symlink_to(tmp_path / "disk" / kind)
        (tmp_path / "root" / kind / "circle").symlink_to(tmp_path / "root" / kind)
        (tmp_path / "disk" / kind / "back").symlink_to(tmp_path / "root" / kind)
    pairs, found = names(tmp_path / "root")
    assert ("images/a/2.png", "labels/a/2.png") in pairs
    assert ("images/city/1.png", "labels/city/1.png") in pairs
    assert not found.ambiguous
    assert not found.unlabelled


@pytest.mark.parametrize("name", ["0001", "frame_L", "0001_rgb", "bonn_leftImg8bit", "x_label", "_L", "plot.v2.0001"])
def test_equal_names_pair_whatever_they_end_in(tmp_path, name):
    touch(tmp_path, f"images/{name}.jpg", f"labels/{name}.png")
    assert names(tmp_path)[0] == [(f"images/{name}.jpg", f"labels/{name}.png")]


def test_an_equal_name_goes_before_a_shared_one(tmp_path):
    touch(tmp_path, "images/a.png", "images/a_L.png", "labels/a_L.png", "labels/a_label.png")
    pairs, found = names(tmp_path)
    assert pairs == [("images/a.png", "labels/a_label.png"), ("images/a_L.png", "labels/a_L.png")]
    assert not found.unused


def test_two_images_of_one_name_are_not_scored_against_the_same_labels(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/a.png", "images/b.jpg", "labels/a.png", "labels/b.png")
    pairs, found = names(tmp_path)
    assert pairs == [("images/b.jpg", "labels/b.png")]
    (group,) = found.ambiguous
    assert "a.jpg: a.png of the same name would share its labels a.png; keep one of the images." in str(group)
    assert found.images == 3
    with pytest.raises(QueryDiffError, match="of the same name would share its labels"):
        LabelledFolder(tmp_path)


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path, "images/a.png", "images/._a.png", "images/.ipynb_checkpoints/b.png", "labels/a.png")
    touch(tmp_path, "labels/._a.png", "labels/.trash/b.png")
    pairs, found = names(tmp_path)
    assert pairs == [("images/a.png", "labels/a.png")]
    assert not found.unlabelled
    assert not found.unused


def test_a_link_whose_file_is_gone_is_not_left_out(tmp_path):
    pair(tmp_path, picture(), labels())
    (tmp_path / "images/a.png").unlink()
    (tmp_path / "images/a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(QueryDiffError, match=r"a\.png cannot be read: No such file"):
        LabelledFolder(tmp_path)[0]


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    touch(tmp_path, "images/a/1.png")
    (tmp_path / "images/a").chmod(0)
    with pytest.raises(QueryDiffError, match="images/a cannot be read: Permission denied"):
        NamedFiles(tmp_path / "images").find()
    (tmp_path / "images/a").chmod(0o755)
