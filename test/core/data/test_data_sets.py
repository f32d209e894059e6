"""Every reader on a miniature tree in the real data set's layout, with the oddities that the real files have."""

import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
from paths import REPOSITORY
from PIL import Image

from querydiff_core.data.data_sets.acdc import Acdc
from querydiff_core.data.data_sets.camvid import original_split
from querydiff_core.data.data_source import DATA_SETS, DataSetName, DataSource
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping, mapillary_names

SIZE = (4, 6)
IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def write(path, pixels=IMAGE):
    """Write RGB or one channel, 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., ::-1])


def write_palette(path, values):
    """Write a PNG whose pixels are indices into a palette that looks like anything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    image.putpalette([(37 * i + channel * 91) % 256 for i in range(256) for channel in range(3)])
    assert image.mode == "P"
    image.save(path)


def full(value, dtype=np.uint8):
    return np.full(SIZE, value, dtype)


def train_ids(source):
    """Return the stems and the trainIds of the first pixel of each pair."""
    pairs = source.open()
    found = {}
    for index, pair in enumerate(pairs):
        assert pair.image.shape == (*pair.labels.shape, 3)
        np.testing.assert_array_equal(pair.labels, pairs.labels(index))
        found[pair.stem.rsplit("/", 1)[-1]] = int(pair.labels[0, 0])
    return found


def test_every_name_has_a_reader_that_tells_how_to_unpack():
    assert {kind.name for kind in DATA_SETS} == set(DataSetName.__args__)
    for kind in DATA_SETS:
        assert kind.layout
        assert kind.source
        assert kind.terms


def test_the_guide_names_every_set_and_its_example_of_a_mapping_is_one(tmp_path):
    guide = (REPOSITORY / "docs" / "data_sets.md").read_text()
    assert all(f"| `{kind.name}` |" in guide for kind in DATA_SETS)
    example = guide.split("```yaml\n")[-1].split("```")[0]
    (tmp_path / "mine.yaml").write_text(example)
    mapping = label_mapping(tmp_path / "mine.yaml")
    assert mapping.to_train_id == {1: 0, 2: 0, 5: 13}
    assert (mapping.images, mapping.labels, mapping.first_channel) == ("camera", "ground_truth", True)


def test_cityscapes(tmp_path):
    for split, value in (("train", 7), ("val", 33)):
        for city in ("aachen", "bonn"):
            stem = f"{city}/{city}_000000_000019"
            write(tmp_path / f"leftImg8bit/{split}/{stem}_leftImg8bit.png")
            labels = f"gtFine/{split}/{stem}_gtFine"
            write(tmp_path / f"{labels}_labelIds.png", full(value))
            write(tmp_path / f"{labels}_instanceIds.png", full(26001, np.uint16))
            write(tmp_path / f"{labels}_color.png")
            (tmp_path / f"{labels}_polygons.json").write_text("{}")
    assert train_ids(DataSource(str(tmp_path), "cityscapes")) == {
        "aachen_000000_000019_leftImg8bit": 0,
        "bonn_000000_000019_leftImg8bit": 0,
    }
    assert set(train_ids(DataSource(str(tmp_path), "cityscapes", "val")).values()) == {18}


def test_the_test_split_of_cityscapes_has_no_labels_although_files_are_there(tmp_path):
    write(tmp_path / "leftImg8bit/test/berlin/berlin_0_0_leftImg8bit.png")
    write(tmp_path / "gtFine/test/berlin/berlin_0_0_gtFine_labelIds.png", full(0))
    pairs = DataSource(str(tmp_path), "cityscapes", "test").open()
    assert pairs[0].labels is None
    assert pairs.labels(0) is None
    assert pairs.files(0).labels is None


def test_gta5_reads_palettes_as_indices_and_leaves_out_other_sizes(tmp_path, caplog):
    for name, value in (("00001", 7), ("00002", 26), ("00003", 11), ("00004", 34)):
        write(tmp_path / f"images/{name}.png")
        (write_palette if name in ("00001", "00002") else write)(tmp_path / f"labels/{name}.png", full(value))
    write_palette(tmp_path / "labels/00003.png", np.full((2, 6), 11, np.uint8))
    assert train_ids(DataSource(str(tmp_path), "gta5")) == {"00001": 0, "00002": 13, "00004": 255}
    assert "left out 1 of 4 images because their labels have another size: 00003.png" in caplog.text


def test_synthia_takes_the_first_of_three_sixteen_bit_channels(tmp_path):
    for name, value in (("0000000", 3), ("0000001", 22), ("0000002", 10)):
        write(tmp_path / f"RGB/{name}.png")
        labels = np.dstack([full(value, np.uint16), full(777, np.uint16), full(0, np.uint16)])
        write(tmp_path / f"GT/LABELS/{name}.png", labels)
        write(tmp_path / f"GT/COLOR/{name}.png")
    assert train_ids(DataSource(str(tmp_path), "synthia")) == {"0000000": 0, "0000001": 255, "0000002": 11}


def test_bdd100k(tmp_path):
    write(tmp_path / "images/10k/val/7d06fefd-f7be05a6.jpg")
    write(tmp_path / "labels/sem_seg/masks/val/7d06fefd-f7be05a6.png", full(13))
    write(tmp_path / "labels/sem_seg/colormaps/val/7d06fefd-f7be05a6.png")
    write(tmp_path / "images/10k/test/ac6d4f42-00000000.jpg")
    assert train_ids(DataSource(str(tmp_path), "bdd100k", "val")) == {"7d06fefd-f7be05a6": 13}
    assert DataSource(str(tmp_path), "bdd100k", "test").open()[0].labels is None


MAPILLARY = {
    "v1.2": ["construction--flat--road", "construction--barrier--curb", "object--vehicle--on-rails", "void--unlabeled"],
    "v2.0": [
        "marking--discrete--arrow--left",
        "marking--discrete--crosswalk-zebra",
        "human--person--individual",
        "object--traffic-light--general-upright",
    ],
}


def write_mapillary(root, version, labels_folder, write_labels=write):
    names = [{"name": name, "readable": name, "evaluate": True} for name in MAPILLARY[version]]
    (root / f"config_{version}.json").write_text(json.dumps({"labels": names, "version": version}))
    for value in range(4):
        write(root / f"training/images/{value}.jpg")
        write_labels(root / f"training/{labels_folder}/{value}.png", full(value))
    write(root / "testing/images/9.jpg")


@pytest.mark.parametrize(
    ("version", "name", "expected"),
    [("v1.2", "mapillary_v1_2", [0, 1, 16, 255]), ("v2.0", "mapillary_v2_0", [0, 255, 11, 6])],
)
def test_mapillary_maps_by_the_names_in_its_configuration(tmp_path, version, name, expected):
    write_mapillary(tmp_path, version, f"{version}/labels", write_palette)
    assert list(train_ids(DataSource(str(tmp_path), name)).values()) == expected
    assert DataSource(str(tmp_path), name, "test").open()[0].labels is None


def test_mapillary_without_version_folders_and_in_sixteen_bits(tmp_path):
    write_mapillary(tmp_path, "v1.2", "labels", lambda path, labels: write(path, labels.astype(np.uint16)))
    (tmp_path / "config_v1.2.json").rename(tmp_path / "config.json")
    assert list(train_ids(DataSource(str(tmp_path), "mapillary_v1_2")).values()) == [0, 1, 16, 255]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"labels": [1]}', '{"labels": [{"name": "unheard--of"}]}'])
def test_mapillary_without_its_configuration_is_one_sentence(tmp_path, text):
    write_mapillary(tmp_path, "v1.2", "labels")
    (tmp_path / "config_v1.2.json").unlink()
    if text is not None:
        (tmp_path / "config_v1.2.json").write_text(text)
    with pytest.raises(QueryDiffError, match=r"config_v1\.2\.json.*") as failure:
        DataSource(str(tmp_path), "mapillary_v1_2").open()
    assert "\n" not in str(failure.value)


def test_the_names_of_mapillary_cover_every_class():
    assert set(mapillary_names().values()) == {*range(19), 255}


def write_acdc(root):
    for value, condition in enumerate(("fog", "night", "rain", "snow")):
        for split in ("train", "val", "test"):
            stem = f"{condition}/{split}/GOPR0475/GOPR0475_frame_{split}"
            write(root / f"rgb_anon/{stem}_rgb_anon.png")
            write(root / f"rgb_anon/{condition}/{split}_ref/GOPR0475/GOPR0475_frame_{split}_ref_rgb_anon.png")
            if split != "test":
                write(root / f"gt/{stem}_gt_labelTrainIds.png", full(value))
                write(root / f"gt/{stem}_gt_labelIds.png", full(23))
                write(root / f"gt/{stem}_gt_invIds.png", full(1))
                write(root / f"gt/{stem}_gt_labelColor.png")
                write(root / f"gt/{condition}/{split}_ref/GOPR0475/GOPR0475_frame_{split}_ref_gt_labelTrainIds.png")


def test_acdc_by_condition_without_its_reference_images(tmp_path):
    write_acdc(tmp_path)
    assert len(DataSource(str(tmp_path), "acdc").open()) == 4
    for value, condition in enumerate(("fog", "night", "rain", "snow")):
        source = DataSource(str(tmp_path), "acdc", "val", condition)
        assert train_ids(source) == {"GOPR0475_frame_val_rgb_anon": value}
    assert [pair.labels for pair in DataSource(str(tmp_path), "acdc", "test", "night").open()] == [None]
    with pytest.raises(QueryDiffError, match="no condition hail: expected one of fog, night, rain, snow"):
        DataSource(str(tmp_path), "acdc", "val", "hail").open()


def test_conditions_that_were_not_unpacked_are_left_out(tmp_path):
    write_acdc(tmp_path)
    for kind in ("rgb_anon", "gt"):
        for condition in ("night", "snow"):
            shutil.rmtree(tmp_path / kind / condition)
    assert Acdc().known_conditions(tmp_path, "val") == ["fog", "rain"]


def test_cityscapes_with_train_ids_alone(tmp_path):
    write(tmp_path / "leftImg8bit/train/bonn/a_leftImg8bit.png")
    write(tmp_path / "gtFine/train/bonn/a_gtFine_labelTrainIds.png", full(13))
    assert train_ids(DataSource(str(tmp_path), "cityscapes")) == {"a_leftImg8bit": 13}
    write(tmp_path / "gtFine/train/bonn/a_gtFine_labelIds.png", full(24))
    assert train_ids(DataSource(str(tmp_path), "cityscapes")) == {"a_leftImg8bit": 11}


def test_camvid_as_published_is_painted_and_split_by_name(tmp_path):
    frames = {
        "0006R0_f00930": ((128, 64, 128), 0),
        "0001TP_006690": ((64, 128, 192), 13),
        "0001TP_008550": ((0, 0, 192), 1),
        "0016E5_07959": ((192, 128, 192), 14),
        "Seq05VD_f00000": ((0, 0, 0), 255),
    }
    for stem, (color, _) in frames.items():
        write(tmp_path / f"701_StillsRaw_full/{stem}.png")
        write(tmp_path / f"LabeledApproved_full/{stem}_L.png", np.full((*SIZE, 3), color, np.uint8))
    found = {split: train_ids(DataSource(str(tmp_path), "camvid", split)) for split in ("train", "val", "test")}
    assert list(found["train"]) == ["0001TP_006690", "0006R0_f00930"]
    assert list(found["val"]) == ["0016E5_07959"]
    assert list(found["test"]) == ["0001TP_008550", "Seq05VD_f00000"]
    assert {**found["train"], **found["val"], **found["test"]} == {stem: frames[stem][1] for stem in frames}
    scored = DataSource(str(tmp_path), "camvid", "val").open().mapping.score_classes
    assert ("truck or bus", (14, 15)) in scored


def test_camvid_has_the_customary_halves():
    # 62 + 101 + 305 frames of the drives, as published: 367 train, 101 validate, 233 test, with Seq05VD's 171.
    stems = [f"0001TP_{frame:06d}" for frame in range(6690, 10381, 30)]
    stems += [f"0006R0_f{frame:05d}" for frame in range(930, 3931, 30)]
    stems += [f"Seq05VD_f{frame:05d}" for frame in range(0, 5101, 30)]
    stems += [f"0016E5_{frame:05d}" for frame in range(7959, 8160, 2)]
    splits = [original_split(stem) for stem in stems]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (62 + 101, 101, 62 + 171)


@pytest.mark.parametrize(("images", "labels"), [("val/images", "val/labels"), ("val", "valannot")])
def test_camvid_in_eleven_classes(tmp_path, images, labels):
    for stem, value in (("0016E5_07959", 3), ("0001TP_008520", 0)):
        write(tmp_path / images / f"{stem}.png")
        write(tmp_path / labels / f"{stem}.png", full(value))
    assert train_ids(DataSource(str(tmp_path), "camvid", "val", "day")) == {"0016E5_07959": 0}
    assert train_ids(DataSource(str(tmp_path), "camvid", "val", "dusk")) == {"0001TP_008520": 10}


@pytest.mark.parametrize(
    ("ending", "value", "expected"),
    [("labellevel3Ids", 24, 8), ("labelcsTrainIds", 13, 13), ("labellevel3Ids", 8, 255)],
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_idd(tmp_path, ending, value, expected, suffix):
    write(tmp_path / f"leftImg8bit/train/0/frame0000_leftImg8bit.{suffix}")
    write(tmp_path / f"gtFine/train/0/frame0000_gtFine_{ending}.png", full(value))
    (tmp_path / "gtFine/train/0/frame0000_gtFine_polygons.json").write_text("{}")
    assert train_ids(DataSource(str(tmp_path), "idd")) == {"frame0000_leftImg8bit": expected}


def test_idd_takes_train_ids_only_where_all_splits_have_them(tmp_path):
    for split in ("train", "val"):
        write(tmp_path / f"leftImg8bit/{split}/0/a_leftImg8bit.png")
        write(tmp_path / f"gtFine/{split}/0/a_gtFine_labellevel3Ids.png", full(24))
    write(tmp_path / "gtFine/val/0/a_gtFine_labelcsTrainIds.png", full(13))
    assert train_ids(DataSource(str(tmp_path), "idd", "train")) == {"a_leftImg8bit": 8}
    assert train_ids(DataSource(str(tmp_path), "idd", "val")) == {"a_leftImg8bit": 8}
    write(tmp_path / "gtFine/train/0/a_gtFine_labelcsTrainIds.png", full(13))
    assert train_ids(DataSource(str(tmp_path), "idd", "train")) == {"a_leftImg8bit": 13}


def test_idd_lite(tmp_path):
    write(tmp_path / "leftImg8bit/val/119/903127_image.jpg")
    write(tmp_path / "gtFine/val/119/903127_label.png", full(3))
    write(tmp_path / "gtFine/val/119/903127_inst_label.png", full(0))
    assert train_ids(DataSource(str(tmp_path), "idd_lite", "val")) == {"903127_image": 13}


@pytest.mark.parametrize(
    ("name", "tag", "color", "expected"),
    [
        ("carla", 14, (0, 0, 142), 13),
        ("carla", 24, (157, 234, 50), 0),
        ("carla", 13, (255, 0, 0), 12),
        ("carla_0_9_13", 7, (128, 64, 128), 0),
        ("carla_0_9_13", 22, (145, 170, 100), 9),
    ],
)
def test_carla_in_tags_or_painted(tmp_path, name, tag, color, expected):
    road = {"carla": (128, 64, 128), "carla_0_9_13": (128, 64, 128)}[name]
    write(tmp_path / "rgb/000123.jpg")
    forms = {
        "one channel": full(tag),
        "red": np.dstack([full(tag), full(0), full(0)]),
        "painted": np.full((*SIZE, 3), color, np.uint8),
    }
    forms["painted"][-1] = road
    for labels in forms.values():
        write(tmp_path / "semantic/000123.png", labels)
        assert train_ids(DataSource(str(tmp_path), name)) == {"000123": expected}
    bgra = np.dstack([full(0), full(0), full(tag), full(255)])  # as the sensor gives it
    assert cv2.imwrite(str(tmp_path / "semantic/000123.png"), bgra)
    assert train_ids(DataSource(str(tmp_path), name)) == {"000123": expected}


def test_street_scenes_by_condition(tmp_path):
    for condition, value in (("clear", 0), ("fog", 10)):
        write(tmp_path / f"images/{condition}_0000007.jpg")
        write(tmp_path / f"labels/{condition}_0000007.png", full(value))
    (tmp_path / "dataset.yaml").write_text("generator: querydiff scenes images")
    assert train_ids(DataSource(str(tmp_path), "street_scenes")) == {"clear_0000007": 0, "fog_0000007": 10}
    assert train_ids(DataSource(str(tmp_path), "street_scenes", condition="fog")) == {"fog_0000007": 10}
    with pytest.raises(QueryDiffError, match="holds no image of street_scenes for night"):
        DataSource(str(tmp_path), "street_scenes", condition="night").open()


@pytest.mark.parametrize("layout", ["{kind}", "{kind}/val", "val/{kind}"])
def test_a_folder_with_a_map_of_its_own(tmp_path, layout):
    write(tmp_path / layout.format(kind="camera") / "a.jpg")
    write(tmp_path / layout.format(kind="truth") / "a.png", np.dstack([full(1), full(2), full(3)]))
    (tmp_path / "mine.yaml").write_text(
        "images: camera\nlabels: truth\ncolors: {4: [1, 2, 3]}\nto_train_id: {4: 13}\nunlabelled: [5]"
    )
    split = "val" if "val" in layout else None
    source = DataSource(str(tmp_path), split=split, mapping=str(tmp_path / "mine.yaml"))
    assert train_ids(source) == {"a": 13}


def test_a_folder_refuses_values_outside_its_map(tmp_path):
    write(tmp_path / "images/a.png")
    (tmp_path / "mine.yaml").write_text("to_train_id: {1: 0}\nunlabelled: [2]")
    source = DataSource(str(tmp_path), mapping=str(tmp_path / "mine.yaml"))
    labels = full(1)
    labels[0] = [2, 255, 1, 1, 1, 1]
    write(tmp_path / "labels/a.png", labels)
    assert source.open().labels(0).tolist()[0] == [255, 255, 0, 0, 0, 0]
    labels[1, :2] = 7, 9
    write(tmp_path / "labels/a.png", labels)
    with pytest.raises(QueryDiffError, match=r"a\.png holds values that the mapping mine does not have \(7, 9\)"):
        source.open()[0]
    write(tmp_path / "labels/a.png", full(300, np.uint16))
    with pytest.raises(QueryDiffError, match=r"does not have \(300\)"):
        source.open()[0]


def test_a_colour_that_the_map_lacks_is_named(tmp_path):
    write(tmp_path / "images/a.png")
    write(tmp_path / "labels/a.png", np.dstack([full(1), full(2), full(4)]))
    (tmp_path / "mine.yaml").write_text("colors: {4: [1, 2, 3]}\nto_train_id: {4: 13}")
    with pytest.raises(QueryDiffError, match=r"\(RGB 1 2 4\)"):
        DataSource(str(tmp_path), mapping=str(tmp_path / "mine.yaml")).open()[0]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"data_set": "cityscapes", "split": "dev"}, "cityscapes has no split dev: expected one of train, val, test"),
        ({"data_set": "gta5", "split": "train"}, "gta5 has no split train: it has no splits"),
        ({"data_set": "cityscapes", "condition": "fog"}, "cityscapes has no condition fog: leave it out"),
        ({"data_set": "gta5", "mapping": "carla"}, "gta5 has its own label mapping"),
        ({"data_set": "kitti"}, "No data set kitti: expected one of gta5"),
        ({"data_set": "cityscapes"}, "No folder .*leftImg8bit/train: the images of data set cityscapes are expected"),
        ({"mapping": "nowhere.yaml"}, "No label mapping nowhere.yaml"),
        ({}, "No folder .*images: the images of data set folder"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, source, says):
    with pytest.raises(QueryDiffError, match=says) as failure:
        DataSource(str(tmp_path), **source).open()
    assert "\n" not in str(failure.value)
    with pytest.raises(QueryDiffError, match=r"No folder|No label|No data|has "):
        DataSource(str(tmp_path / "nowhere"), **source).open()


def test_missing_and_empty_parts_are_named(tmp_path):
    write(tmp_path / "images/10k/train/a.jpg")
    source = DataSource(str(tmp_path), "bdd100k")
    with pytest.raises(QueryDiffError, match=r"No folder .*masks/train: the labels of data set bdd100k"):
        source.open()
    write(tmp_path / "labels/sem_seg/masks/train/b.png", full(0))
    write(tmp_path / "labels/sem_seg/masks/train/._a.png", full(0))
    with pytest.raises(
        QueryDiffError, match=r"1 of 1 images of bdd100k .* no labels of their own or several, first .*a\.jpg"
    ):
        source.open()
    (tmp_path / "images/10k/val").mkdir()
    (tmp_path / "labels/sem_seg/masks/val").mkdir()
    with pytest.raises(QueryDiffError, match=r"val holds no image: expected files ending in \.jpg"):
        DataSource(str(tmp_path), "bdd100k", "val").open()


def test_pairs_go_to_loader_processes(tmp_path):
    write(tmp_path / "rgb/a.png")
    write(tmp_path / "semantic/a.png", full(1))
    pairs = pickle.loads(pickle.dumps(DataSource(str(tmp_path), "carla").open()))
    assert pairs[0].labels[0, 0] == 0
    assert pairs.mapping == label_mapping("carla")
