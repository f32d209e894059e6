"""Files of every kind with random bytes changed: read as before, or refused in a sentence; never another exception."""

import os
import warnings
from importlib import resources

import numpy as np
import pytest
from engines import write_pixel_engine
from PIL import Image
from students import TRAINED

from querydiff_core.data.data_check import check_pair
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.pairing import Pair
from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.evaluation.compare.tables import difference_table, miou_table, print_tables
from querydiff_core.evaluation.result import Result
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import label_mapping
from querydiff_core.utils.image_files import image_head, read_image

ROUNDS = int(os.environ.get("MUTATIONS", "60"))
"""Mutants of each kind of file; a long run is `MUTATIONS=3000 pytest test/core/data/test_mutated_files.py`."""

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
LABELS = (np.arange(24 * 32) % 19).reshape(24, 32).astype(np.uint8)


def mutant(data, random):
    """Return `data` with a few bytes flipped, replaced, cut out, repeated or put in, mostly near its beginning."""
    data = bytearray(data)
    for _ in range(random.integers(1, 6)):
        at = int(len(data) * random.random() ** random.choice([1, 3]))
        length = int(random.integers(1, 12))
        some = bytes(random.choice(list(b"\x00\xff\x7f019-.,:{}[]\"'eEnN\n\x80"), length).astype(np.uint8))
        kind = random.integers(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.integers(8)
        elif kind == 1:
            data[at : at + length] = some
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = some
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif random.random() < 0.3:
            del data[at:]
    return bytes(data)


def checkpoint(file):
    Segmenter.load(file, device="cpu", threads=1)(IMAGE)


def image(file):
    image_head(file)
    read_image(file)


def labels(file):
    decoder = LabelDecoder(label_mapping("train_ids"))
    check_pair(Pair(file.with_name("image.png"), file), decoder, quick=True)
    decoder(file)


def mapping(file):
    found = label_mapping(file)
    LabelDecoder(found).decode(file.with_name("labels.png"))
    Scorer(found)


def result(file):
    comparison = Comparison.of([("old", Result.load(file)), ("new", Result.load(file))])
    print_tables([miou_table(comparison), difference_table(comparison, "old", "new")])


def saved(folder, name, pixels, **options):
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


def seed_result(folder):
    scorer = Scorer(label_mapping("train_ids"))
    scorer.update(LABELS, LABELS, LABELS, "0")
    domain = scorer.result("a")
    Result({"file": "a.onnx"}, [{"domain": "a"}], {"flip": False}, {"python": "3"}, (domain,)).save(folder / "r.json")
    return folder / "r.json"


def seeds(folder):
    """Return (reader, whole file) of each kind."""
    exif = Image.Exif()
    exif[0x0112] = 6
    yaml = folder / "map.yaml"
    bundled = resources.files("querydiff_core") / "label_spaces" / "camvid_painted.yaml"
    yaml.write_bytes(bundled.read_bytes())
    palette = Image.fromarray(LABELS)
    palette.putpalette(list(range(256)) * 3)
    palette.save(folder / "palette.png")
    return {
        "checkpoint": (checkpoint, TRAINED),
        "onnx": (checkpoint, write_pixel_engine(folder / "a.onnx")),
        "photo": (image, saved(folder, "a.jpg", IMAGE, exif=exif)),
        "progressive": (image, saved(folder, "b.jpg", IMAGE, progressive=True)),
        "png": (image, saved(folder, "image.png", IMAGE, exif=exif)),
        "webp": (image, saved(folder, "a.webp", IMAGE, exif=exif)),
        "tiff": (image, saved(folder, "a.tif", IMAGE, compression="tiff_lzw")),
        "label": (labels, saved(folder, "labels.png", LABELS)),
        "palette": (labels, folder / "palette.png"),
        "label tiff": (labels, saved(folder, "labels.tif", LABELS)),
        "mapping": (mapping, yaml),
        "result": (result, seed_result(folder)),
    }


KINDS = ["checkpoint", "onnx", "photo", "progressive", "png", "webp", "tiff", "label", "palette", "label tiff"]
KINDS += ["mapping", "result"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(0 if "MUTATIONS" in os.environ else 300)
def test_a_mutated_file_is_read_or_refused_in_a_sentence(kind, tmp_path, capsys):
    read, whole = seeds(tmp_path)[kind]
    data, refused = whole.read_bytes(), 0
    read(whole)
    file = tmp_path / f"mutant{whole.suffix}"
    rounds = ROUNDS // {"checkpoint": 6, "onnx": 2}.get(kind, 1)
    for number in range(rounds):
        random = np.random.default_rng([number, KINDS.index(kind)])
        file.write_bytes(mutant(data, random))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read(file)
            except QueryDiffError as error:
                refused += "\n" not in str(error) or pytest.fail(f"mutant {number} of {kind}: {error}")
            except Exception as error:
                raise AssertionError(f"mutant {number} of {kind}") from error
    capsys.readouterr()
    assert refused > rounds // 10
