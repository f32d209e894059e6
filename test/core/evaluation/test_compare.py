"""`querydiff compare`: the bootstrap, the charts, the panels, and the whole command."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from engines import expected_labels, write_pixel_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from querydiff_core.cli.compare import main as compare
from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.compare.bootstrap import miou_difference
from querydiff_core.evaluation.compare.charts import bar_chart, heat_map
from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.evaluation.compare.difference_panels import difference_panels, regions
from querydiff_core.evaluation.compare.tables import difference_table, miou_table
from querydiff_core.evaluation.domain_result import ImageCounts
from querydiff_core.evaluation.evaluate_sources import Run
from querydiff_core.evaluation.evaluation_source import folder_source, sources
from querydiff_core.evaluation.protocol import Protocol
from querydiff_core.evaluation.provenance import model_facts, versions
from querydiff_core.evaluation.result import Result
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import label_mapping
from querydiff_core.utils.iou import class_iou
from querydiff_core.utils.plots import svg

EVALUATE = "import sys; from querydiff_core.cli.main import exit_cleanly as e; from querydiff_core.cli import {} as v; "
RUN = "e(lambda: v.main(sys.argv[1:]))"


def run(subcommand, *arguments):
    command = [sys.executable, "-c", EVALUATE.format(subcommand) + RUN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def image_counts(name, random, right):
    ground_truth = random.integers(1, 100, 4)
    hits = (ground_truth * right).astype(int)
    missed = ground_truth - hits
    return ImageCounts(name, ground_truth.tolist(), (hits + np.roll(missed, 1)).tolist(), hits.tolist())


def many(right, seed=0, images=40, prefix="i"):
    random = np.random.default_rng(seed)
    return [image_counts(f"{prefix}{i}", random, right) for i in range(images)]


def total_miou(images):
    return float(np.nanmean(class_iou(*np.sum([image[1:] for image in images], axis=0))))


def test_the_difference_is_that_of_the_whole_sets():
    a, b = many(0.6), many(0.8)
    found = miou_difference(a, b)
    assert found.difference == pytest.approx(total_miou(b) - total_miou(a))
    assert found.paired
    assert found.low < found.difference < found.high
    assert found.clear


def test_a_result_against_itself_differs_by_nothing():
    found = miou_difference(many(0.7), many(0.7)[::-1])
    assert (found.difference, found.low, found.high, found.paired) == (0.0, 0.0, 0.0, True)
    assert not found.clear


def test_other_images_are_not_paired_and_less_sure():
    paired = miou_difference(many(0.6), many(0.7))
    unpaired = miou_difference(many(0.6), many(0.7, seed=1, prefix="other"))
    assert not unpaired.paired
    assert unpaired.high - unpaired.low > paired.high - paired.low
    relabelled = [image._replace(ground_truth=[n + 1 for n in image.ground_truth]) for image in many(0.7)]
    assert not miou_difference(many(0.6), relabelled).paired


def test_without_ground_truth_there_is_no_difference():
    blank = [ImageCounts("a", [0, 0], [0, 0], [0, 0])]
    assert miou_difference(blank, many(0.5)) is None
    assert miou_difference([], many(0.5)) is None


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.integers(2, 6))
def test_the_interval_is_that_of_drawing_images_one_by_one(seed, images):
    random = np.random.default_rng(seed)
    a = [image_counts(f"{i}", np.random.default_rng([seed, i]), random.random()) for i in range(images)]
    b = [image_counts(f"{i}", np.random.default_rng([seed, i]), random.random()) for i in range(images)]
    drawn = []
    for _ in range(2000):
        chosen = random.integers(0, images, images)
        drawn.append(total_miou([b[i] for i in chosen]) - total_miou([a[i] for i in chosen]))
    found = miou_difference(a, b)
    spread = max(drawn) - min(drawn)
    assert found.low == pytest.approx(np.percentile(drawn, 2.5), abs=0.12 * spread + 1e-9)
    assert found.high == pytest.approx(np.percentile(drawn, 97.5), abs=0.12 * spread + 1e-9)


def evaluated(domain, right, seed=0, mapping="train_ids"):
    random = np.random.default_rng(seed)
    scorer = Scorer(label_mapping(mapping))
    for index in range(4):
        ground_truth = random.integers(0, 6, (12, 12), dtype=np.uint8)
        prediction = np.where(random.random(ground_truth.shape) < right, ground_truth, (ground_truth + 1) % 6).astype(
            np.uint8
        )
        scorer.update(prediction, prediction, ground_truth, f"{index}")
    return scorer.result(domain)


def result(*domains):
    return Result({"file": "m.onnx"}, [], {}, {}, domains)


def test_gains_stand_at_their_class_and_domain():
    a = result(evaluated("fog", 0.5), evaluated("night", 0.5, seed=1))
    b = result(evaluated("night", 0.9, seed=1), evaluated("snow", 0.9))
    comparison = Comparison.of([("a", a), ("b", b)])
    assert comparison.domains == ["fog", "night", "snow"]
    gain = comparison.gain("a", "b")
    assert gain.shape == (6, 3)
    assert np.isnan(gain[:, [0, 2]]).all()
    np.testing.assert_allclose(gain[:, 1], (b.domains[0].iou - a.domains[1].iou)[:6])
    assert comparison.mean_miou("b") == b.domains[0].miou  # night alone is shared
    assert comparison.miou("a", "snow") is None
    assert miou_table(comparison).rows[0][3] == "-"
    assert difference_table(comparison, "a", "b").rows[1][3:] == ["better", "the same"]


def test_results_of_one_name_are_numbered_and_other_classes_refused():
    one = result(evaluated("fog", 0.5))
    assert Comparison.of([("r", one), ("r", one)]).names == ["r 1", "r 2"]
    assert Comparison.of([("r", one), ("r 1", one), ("r", one)]).names == ["r 2", "r 1", "r 3"]
    with pytest.raises(QueryDiffError, match="two results"):
        Comparison.of([("r", one)])
    with pytest.raises(QueryDiffError, match="camvid"):
        Comparison.of([("a", one), ("b", result(evaluated("fog", 0.5, mapping="camvid")))])


def test_better_is_green_and_worse_is_red():
    low, high = result(evaluated("fog", 0.2)), result(evaluated("fog", 0.9))
    for results, stronger in ((("a", low), ("b", high)), 1), ((("a", high), ("b", low)), 0):
        axes, _ = heat_map(Comparison.of(results), "a", "b").axes
        colors = [cell.get_facecolor() for cell in axes.patches]
        assert len(colors) == 7
        assert all(np.argmax(color[:2]) == stronger for color in colors)


def test_charts_say_every_score_in_words():
    a, b = result(evaluated("fog", 0.5), evaluated("night", 0.5, seed=1)), result(evaluated("fog", 0.9))
    comparison = Comparison.of([("a", a), ("b < a", b)])
    bars, cells = svg(bar_chart(comparison), "bars"), svg(heat_map(comparison, "a", "b < a"), "cells")
    for text, words in (
        (bars, ["mIoU, %", "fog", "night", "a", "b &lt; a"]),
        (cells, ["fog", "night", "road", "mIoU"]),
    ):
        assert set(words) <= set(re.findall(r">([^<>]+)</text>", text))
    mious = [f"{name}, fog: {100 * each.domains[0].miou:.2f}" for name, each in (("a", a), ("b &lt; a", b))]
    for hint in (*mious, "b &lt; a, night: no score"):
        assert f"<title>{hint}</title>" in bars
    gains = 100 * (b.domains[0].iou - a.domains[0].iou)[:6]
    hints = re.findall(r"<title>(.+), fog: (.+)</title>", cells)
    assert [name for name, _ in hints] == [*comparison.classes, "mIoU"]
    np.testing.assert_allclose([float(points) for _, points in hints[:-1]], gains, atol=0.006)
    assert not re.search("<title>.*night", cells), "what one of them has no score of is no gain"


def test_regions_are_where_one_model_alone_is_right():
    a, b = np.ones((100, 200), bool), np.ones((100, 200), bool)
    a[10:40, 20:60] = False  # B alone is right here
    b[60:80, 100:150] = False  # and A here
    a[90, 190] = False  # a speck
    found = regions(a, b)
    assert [box[4] for box in found] == [True, False]
    for (x, y, w, h, _), (left, top, right, bottom) in zip(found, [(20, 10, 60, 40), (100, 60, 150, 80)], strict=True):
        np.testing.assert_allclose([x, y, x + w, y + h], [left, top, right, bottom], atol=3)


@pytest.fixture
def measured(tmp_path):
    """Two results over one folder: the pixel engine, and the same looking at half the size."""
    random = np.random.default_rng(0)
    for index in range(4):
        image = np.kron(random.integers(0, 256, (20, 30, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        for name, pixels in (("images", image[..., ::-1]), ("labels", expected_labels(image))):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), pixels)
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    data = ("--images", tmp_path / "images", "--labels", tmp_path / "labels")
    for name, options in (("a", ()), ("b", ("--test-size", "0.3"))):
        done = run("evaluate", engine, *data, *options, "--output", tmp_path / f"{name}.json")
        assert done.returncode == 0, done.stderr
    return tmp_path


class Page(HTMLParser):
    """Note what a page refers to, and that its elements close in order."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open, self.references, self.seen, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_command_writes_page_pictures_and_numbers(measured):
    output = measured / "out"
    options = ("--output", output, "--panels", 2, "--published")
    done = run("compare", f"sharp={measured / 'a.json'}", measured / "b.json", *options)
    assert done.returncode == 0, done.stderr
    assert "sharp" in done.stdout
    names = ["comparison.html", "gain.png", "miou.png", "panel_01.png", "panel_02.png", "scores.csv"]
    assert sorted(path.name for path in output.iterdir()) == names
    page = Page()
    page.feed((output / "comparison.html").read_text())
    assert page.open == []
    assert page.seen.count("svg") == 2
    assert len(page.references) == 2
    assert all(reference.startswith("data:image/jpeg;base64,") for reference in page.references)
    text = " ".join(page.text)
    assert "Published references, not measured here" in text
    assert "b less sharp" in text
    rows = list(csv.DictReader((output / "scores.csv").open()))
    assert {row["origin"] for row in rows} == {"measured", "published"}
    (miou,) = [r["percent"] for r in rows if (r["result"], r["score"]) == ("sharp", "miou")]
    assert miou == "100.0000"
    told = {r["score"]: float(r["percent"] or "nan") for r in rows if r["result"] == "b"}
    by_threshold = Result.load(measured / "b.json").domains[0].calibration.by_threshold
    assert len(by_threshold) == 15
    for threshold, share, kept_miou in by_threshold:
        assert told[f"pixels_above_confidence_{threshold:.2f}"] == pytest.approx(100 * share, abs=1e-4)
        assert told[f"miou_above_confidence_{threshold:.2f}"] == pytest.approx(100 * kept_miou, abs=1e-4)
    for name in names[1:5]:
        assert cv2.imread(str(output / name)).std() > 5


def test_nothing_published_is_shown_unasked(measured):
    output = measured / "out"
    done = run("compare", measured / "a.json", measured / "b.json", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "DIDEX" not in done.stdout
    assert "DIDEX" not in (output / "comparison.html").read_text()
    assert "published" not in (output / "scores.csv").read_text()


def test_panels_show_input_both_models_and_ground_truth(measured):
    a, b = (Result.load(measured / f"{name}.json") for name in "ab")
    (panel,) = difference_panels(a, b, ("sharp", "blurred"), 1)
    assert panel.a == 1.0
    assert panel.b < 1.0
    assert panel.picture.shape == (26 + 320, 4 * 480 + 3 * 6, 3)
    worst = min(b.domains[0].by_image, key=lambda image: sum(image.hits))
    assert panel.image == worst.name


def test_panels_of_a_domain_that_was_measured_in_parts(measured):
    options = EngineOptions(measured / "pixel.onnx")
    parts = {name: measured / name for name in ("first", "second")}
    for index in range(4):
        for kind in ("images", "labels"):
            new = parts["first" if index < 2 else "second"] / kind / f"{index}.png"
            new.parent.mkdir(parents=True, exist_ok=True)
            (measured / kind / f"{index}.png").rename(new)
    merged = []
    for protocol in (Protocol(), Protocol(size=0.3)):
        of_parts = []
        for part in parts.values():
            (source,) = sources(f"road=folder={part}")
            run = Run(segmenter := Segmenter.open(options), protocol)
            assert run([source], lambda: True)
            facts = model_facts(options, segmenter)
            of_parts.append(Result(facts, [source.to_json()], protocol.to_json(), {}, run.domains))
        merged.append(of_parts[0].merge(of_parts[1]))
    panels = list(difference_panels(*merged, ("sharp", "blurred"), 4))
    assert {panel.image for panel in panels} == {f"images/{index}" for index in range(4)}


def test_panels_need_the_model_and_the_images_that_were_measured(measured):
    a, b = (Result.load(measured / f"{name}.json") for name in "ab")
    other = replace(b, model=b.model | {"sha256": "0"})
    with pytest.raises(QueryDiffError, match=r"pixel\.onnx"):
        list(difference_panels(a, other, ("a", "b"), 1))
    of_a_bag = replace(a, settings={"mode": "offline"})
    with pytest.raises(QueryDiffError, match="leave --panels out"):
        list(difference_panels(of_a_bag, b, ("a", "b"), 1))
    with pytest.raises(QueryDiffError, match="where the images"):
        list(difference_panels(replace(a, data=[]), b, ("a", "b"), 1))
    replace(b, domains=(replace(b.domains[0], name="elsewhere"),)).save(measured / "none.json")
    output = measured / "out"
    with pytest.raises(QueryDiffError, match="share no image"):
        compare([str(measured / "a.json"), str(measured / "none.json"), "--output", str(output), "--panels", "1"])
    assert not output.exists()
    (measured / "labels" / "3.png").write_bytes((measured / "labels" / "3.png").read_bytes() + b" ")
    with pytest.raises(QueryDiffError, match="has changed"):
        list(difference_panels(a, b, ("a", "b"), 1))


def test_bad_results_are_one_sentence(measured):
    raw = json.loads((measured / "a.json").read_text())
    (measured / "old.json").write_text(json.dumps(raw | {"format": 0}))
    for name, said in (("old.json", "format 0"), ("none.json", "cannot be read"), ("pixel.onnx", "read")):
        done = run("compare", measured / "a.json", measured / name, "--output", measured / "out")
        assert done.returncode == 1
        assert name in done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_measurement_repeated_from_its_file_is_identical(measured):
    before = Result.load(measured / "b.json")
    path = measured / "pixel.onnx"
    options = EngineOptions(path)
    segmenter = Segmenter.open(options)
    (entry,) = before.data
    source = folder_source(entry["domain"], measured / "images", entry["labels"], entry["mapping"])
    again = Run(segmenter, Protocol.from_json(before.settings))
    assert again([source], lambda: True)
    settings = Protocol.from_json(before.settings).to_json()
    facts, used = model_facts(options, segmenter), versions(segmenter.engine_name)
    after = Result(facts, [source.to_json()], settings, used, again.domains)
    assert json.loads(after.to_json()) == json.loads(before.to_json())
