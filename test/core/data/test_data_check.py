"""`querydiff data` through the real command, on small data sets with everything that can be wrong."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from paths import CAMVID
from PIL import Image

from querydiff_core.data.check_pictures import bar_chart
from querydiff_core.data.class_pixels import class_pixels
from querydiff_core.data.data_source import DATA_SETS, DataSource
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.image_files import read_image

SIZE = (40, 60)


def data(*arguments):
    command = [sys.executable, "-m", "querydiff_core", "data", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., ::-1])


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def write_cityscapes(root, split="train", names=("a", "b", "c")):
    for index, name in enumerate(names):
        write(root / f"leftImg8bit/{split}/bonn/{name}_leftImg8bit.png", noise(index))
        labels = np.full(SIZE, 7, np.uint8)
        labels[:10] = 26
        labels[-1] = 0
        write(root / f"gtFine/{split}/bonn/{name}_gtFine_labelIds.png", labels)


def files_below(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_a_sound_data_set(tmp_path):
    root = tmp_path / "cityscapes"
    write_cityscapes(root)
    write_cityscapes(root, "val", ("d",))
    before = files_below(root)
    result = data("check", "cityscapes", root, "--output", tmp_path / "out", "--workers", 2)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"train +│ +3 │ +3 │ +- │ 60 x 40 \(3\)", result.stdout)
    assert re.search(r"val +│ +1 │ +1 │ +- │ 60 x 40 \(1\)", result.stdout)
    assert re.search(r"road +│ +74 │ +100 │", result.stdout)  # 29 of 39 labelled rows
    assert re.search(r"car +│ +26 │ +100 │", result.stdout)
    assert re.search(r"unlabelled \(of all\) +│ +2\.5 │", result.stdout)
    assert "note: No folder" in result.stdout  # test was not unpacked
    assert "4 images, no problem." in result.stdout
    assert result.stderr == ""
    assert files_below(root) == before
    written = {"check.txt", "classes_train.png", "classes_val.png", "samples_train.jpg", "samples_val.jpg"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == written
    assert read_image(tmp_path / "out/samples_train.jpg").shape == (2 * (240 + 24), 2 * 2 * 360, 3)


def damage(root):
    """Spoil one file in every way that is looked for."""
    write_cityscapes(root, names="abcdefg")
    image, labels = root / "leftImg8bit/train/bonn", root / "gtFine/train/bonn"
    file = image / "a_leftImg8bit.png"
    file.write_bytes(file.read_bytes()[:2000])
    file = labels / "b_gtFine_labelIds.png"
    file.write_bytes(b"no image")
    (labels / "c_gtFine_labelIds.png").unlink()
    write(labels / "d_gtFine_labelIds.png", np.full((40, 50), 7, np.uint8))
    write(labels / "e_gtFine_labelIds.png", np.full((*SIZE, 3), 7, np.uint8))
    write(labels / "f_gtFine_labelIds.png", np.full(SIZE, 99, np.uint8))
    write(labels / "z_gtFine_labelIds.png", np.full(SIZE, 7, np.uint8))


def test_everything_that_is_wrong_is_one_sentence(tmp_path):
    root = tmp_path / "cityscapes"
    damage(root)
    result = data("check", "cityscapes", root, "--split", "train", "--output", tmp_path / "out")
    assert result.returncode == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    expected = [
        r"c_leftImg8bit\.png has no labels: none is named bonn/c\.",
        r"a_leftImg8bit\.png cannot be decoded as an image: it is damaged",
        r"b_gtFine_labelIds\.png cannot be decoded as an image: it is damaged or of an unknown format\.",
        r"d_gtFine_labelIds\.png: labels are 50 x 40 and their image is 60 x 40\.",
        r"e_gtFine_labelIds\.png: expected one channel of class ids, found uint8 of shape \(40, 60, 3\)",
    ]
    assert len(problems) == len(expected), result.stdout
    for problem, sentence in zip(problems, expected, strict=True):
        assert re.search(sentence, problem)
    assert "note: 1 label files have no image, first" in result.stdout
    assert "note: Label values outside the map count as unlabelled: 99 (2,400 pixels)." in result.stdout
    assert "5 problems in 7 images." in result.stdout
    assert result.stderr == ""
    assert len((tmp_path / "out/check.txt").read_text().splitlines()) == 7


def test_quick_looks_at_names_and_sizes_alone(tmp_path):
    damage(tmp_path)
    result = data("check", "cityscapes", tmp_path, "--quick")
    assert result.returncode == 1
    assert "c_leftImg8bit.png has no labels" in result.stdout
    assert "labels are 50 x 40" in result.stdout
    assert "a_leftImg8bit.png" not in result.stdout
    assert "classes:" not in result.stdout
    assert "3 problems in 7 images." in result.stdout


def test_jpegs_that_are_truncated_or_damaged_inside_are_reported(tmp_path):
    damages = {
        "cut": lambda whole: whole[:-400],
        "unwritten": lambda whole: whole[:1000] + bytes(len(whole) - 1000),
        "cut_and_ended": lambda whole: whole[:-400] + b"\xff\xd9",
        "wrong": lambda whole: whole[:2000] + b"\xff" * 40 + whole[2040:],
        "whole": lambda whole: whole,
        "with_tail": lambda whole: whole + b"as some cameras add",
    }
    for name, damage_of in damages.items():
        file = tmp_path / f"images/10k/train/{name}.jpg"
        write(file, noise())
        write(tmp_path / f"labels/sem_seg/masks/train/{name}.png", np.zeros(SIZE, np.uint8))
        file.write_bytes(damage_of(file.read_bytes()))
    result = data("check", "bdd100k", tmp_path, "--split", "train")
    assert result.returncode == 1
    sentence = r"problem: .*/(\w+)\.jpg cannot be decoded as an image: it is damaged(, a truncated JPEG| inside)\."
    found = dict(re.findall(sentence, result.stdout))
    assert sorted(found) == ["cut", "cut_and_ended", "unwritten", "wrong"]
    assert result.stderr == ""


def test_gta5_leaves_out_other_sizes_without_failing(tmp_path):
    for name, size in (("00001", SIZE), ("00002", (30, 60))):
        write(tmp_path / f"images/{name}.png", noise())
        labels = Image.fromarray(np.full(size, 7, np.uint8))
        labels.putpalette([0, 255, 9] * 256)
        (tmp_path / "labels").mkdir(exist_ok=True)
        labels.save(tmp_path / f"labels/{name}.png")
    result = data("check", "gta5", tmp_path)
    assert result.returncode == 0, result.stdout
    assert "note: " in result.stdout
    assert "00002.png: labels are 60 x 30 and their image is 60 x 40. It is left out." in result.stdout
    assert len(DataSource(str(tmp_path), "gta5").open()) == 1


def test_conditions_are_told_apart(tmp_path):
    for condition in ("fog", "night"):
        write(tmp_path / f"rgb_anon/{condition}/train/s/x_rgb_anon.png", noise())
        write(tmp_path / f"rgb_anon/{condition}/train_ref/s/x_ref_rgb_anon.png", noise())
        write(tmp_path / f"gt/{condition}/train/s/x_gt_labelTrainIds.png", np.full(SIZE, 10, np.uint8))
    result = data("check", "acdc", tmp_path, "--split", "train", "--condition", "fog")
    assert result.returncode == 0, result.stdout
    assert re.search(r"train fog +│ +1 │ +1 │", result.stdout)
    assert "night" not in result.stdout
    for condition in ("fog", "night"):
        write(tmp_path / f"rgb_anon/{condition}/val/s/y_rgb_anon.png", noise())
        write(tmp_path / f"gt/{condition}/val/s/y_gt_labelTrainIds.png", np.full(SIZE, 13, np.uint8))
    result = data("check", "acdc", tmp_path)
    assert result.returncode == 0, result.stdout
    assert re.search(r"sky +│ +100 │ +100 │ +- │ +- │", result.stdout)  # conditions are added up
    assert re.search(r"car +│ +- │ +- │ +100 │ +100 │", result.stdout)
    assert re.search(r"train night +│ +1 │ +1 │", result.stdout)
    assert re.search(r"train snow +│ +- │ +- │", result.stdout)


def test_a_folder_of_ones_own(tmp_path):
    write(tmp_path / "images/a.png", noise())
    write(tmp_path / "labels/a.png", np.full(SIZE, 5, np.uint8))
    (tmp_path / "mine.yaml").write_text("to_train_id: {4: 0}")
    result = data("check", "folder", tmp_path, "--mapping", tmp_path / "mine.yaml")
    assert result.returncode == 1
    assert re.search(r"problem: .*a\.png holds values outside the map: 5\.", result.stdout)
    assert "problem: No pixel of all has a class: the labels do not fit the map." in result.stdout
    (tmp_path / "mine.yaml").write_text("to_train_id: {5: 0}")
    assert data("check", "folder", tmp_path, "--mapping", tmp_path / "mine.yaml").returncode == 0


def test_an_empty_split_is_a_problem(tmp_path):
    write_cityscapes(tmp_path)
    (tmp_path / "leftImg8bit/val").mkdir()
    (tmp_path / "gtFine/val").mkdir()
    for arguments in ((), ("--split", "val")):
        result = data("check", "cityscapes", tmp_path, *arguments)
        assert result.returncode == 1
        assert re.search(r"problem: .*val holds no image: expected files ending in _leftImg8bit\.png", result.stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cityscapes", "nowhere"), "No folder nowhere: expected the root of cityscapes"),
        (("cityscapes", "."), "holds nothing of cityscapes that was asked for: expected leftImg8bit/<split>"),
        (("gta5", "."), "holds nothing of gta5"),
        (("street_scenes", "."), "holds nothing of street_scenes"),
        (("kitti", "."), "No data set kitti: expected one of gta5"),
        (("cityscapes", ".", "--split", "dev"), "cityscapes has no split dev"),
        (("acdc", ".", "--condition", "hail"), "acdc has no condition hail"),
        (("gta5", ".", "--mapping", "carla"), "gta5 has its own label mapping"),
        (("mapillary_v2_0", "."), "config_v2.0.json: expected the configuration"),
        (("folder", ".", "--workers", "0"), "--workers must be 1 or more"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(tmp_path, arguments, says):
    command = [sys.executable, "-m", "querydiff_core", "data", "check", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_list_shows_every_layout():
    result = data("list")
    assert result.returncode == 0
    for kind in DATA_SETS:
        assert f"{kind.name}: {kind.title}" in result.stdout
        assert all(line in result.stdout for line in kind.layout.splitlines())


def test_bars_have_the_colours_of_the_palette():
    shares = np.array([10.0 ** (index % 5) for index in range(19)]).astype(np.int64)
    chart = bar_chart(shares, "title")
    widths = [(chart == color).all(2).sum(1).max() for color in cityscapes().palette]
    assert all(width > 1 for width in widths)
    assert widths[4] > widths[3] > widths[2] > widths[1] > widths[0]


def test_class_pixels_are_counted_once_and_again_after_a_change(tmp_path, caplog):
    write_cityscapes(tmp_path / "data")
    pairs = DataSource(str(tmp_path / "data"), "cityscapes").open()
    counts = class_pixels(pairs, workers=2, cache=tmp_path / "kept")
    assert counts.shape == (3, 19)
    assert counts[:, 0].tolist() == [29 * 60] * 3
    assert counts[:, 13].tolist() == [10 * 60] * 3
    assert counts.sum() == 3 * 39 * 60
    (kept,) = (tmp_path / "kept").iterdir()
    marked = counts + 1
    np.save(kept, marked)
    np.testing.assert_array_equal(class_pixels(pairs, cache=tmp_path / "kept"), marked)
    kept.write_bytes(b"half a file")
    np.testing.assert_array_equal(class_pixels(pairs, cache=tmp_path / "kept"), counts)
    write(pairs.files(1).labels, np.full(SIZE, 8, np.uint8))
    assert class_pixels(pairs, cache=tmp_path / "kept")[1, 1] == 40 * 60
    (tmp_path / "file").touch()
    assert class_pixels(pairs, cache=tmp_path / "file" / "kept").shape == (3, 19)
    assert "are not kept" in caplog.text
    pairs.files(1).labels.write_bytes(b"no image")
    with pytest.raises(QueryDiffError, match="cannot be decoded"):
        class_pixels(pairs)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not at ../shared/data/camvid")
def test_camvid_as_it_is(tmp_path):
    result = data("check", "camvid", CAMVID, "--split", "val", "--output", tmp_path, "--workers", 1)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "101 images, no problem." in result.stdout
    assert re.search(r"road +│ +29 │ +100 │", result.stdout)
    assert read_image(tmp_path / "samples_val_day.jpg").shape[2] == 3
