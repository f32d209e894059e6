"""Results: counted in a stream, written, read and merged."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.evaluation.result_table import percent, print_result
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.label_space import UNLABELLED, label_mapping
from querydiff_core.utils.iou import class_iou, mean_iou

IDS = st.one_of(st.integers(0, 18), st.just(UNLABELLED))
LEVELS = st.integers(0, 255)
MAPPINGS = st.sampled_from(["train_ids", "camvid", "carla_0_9_13"])


@st.composite
def frames(draw, confidence=LEVELS):
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return (
        draw(arrays(np.uint8, shape, elements=IDS)),
        draw(arrays(np.uint8, shape, elements=confidence)),
        draw(arrays(np.uint8, shape, elements=IDS)),
    )


def evaluated(mapping, many):
    scorer = Scorer(label_mapping(mapping))
    for name, frame in many:
        scorer.update(*frame, name)
    return scorer


def a_result(**changes):
    random = np.random.default_rng(0)
    images = [(f"image {i}", random.integers(0, 19, (3, 8, 9), dtype=np.uint8)) for i in range(3)]
    domain = evaluated("train_ids", images).result("fog", latency=0.25)
    fields = {
        "model": {"file": "a.onnx", "sha256": "0"},
        "data": [{"data_set": "acdc"}],
        "settings": {"window": None},
        "versions": {"querydiff": "1"},
        "domains": (domain,),
    }
    return Result(**(fields | changes))


def pixels(frame, mapping):
    """Yield (true score class, predicted score class or None, confidence) of each labelled pixel, the slow way."""
    groups = [ids for _, ids in label_mapping(mapping).score_classes]
    for label, confidence, ground_truth in zip(*(side.ravel().tolist() for side in frame), strict=True):
        true = [i for i, ids in enumerate(groups) if ground_truth in ids]
        if true:
            yield true[0], next((i for i, ids in enumerate(groups) if label in ids), None), confidence


@settings(deadline=None, max_examples=40)
@given(MAPPINGS, frames())
def test_scores_are_what_counting_pixel_by_pixel_gives(mapping, frame):
    domain = evaluated(mapping, [("a", frame)]).result("x")
    seen = list(pixels(frame, mapping))
    true_classes = sorted({true for true, _, _ in seen})
    for index, iou in enumerate(domain.iou_by_class.values()):
        hits = sum(t == p == index for t, p, _ in seen)
        union = sum(index in (t, p) for t, p, _ in seen)
        assert iou == (pytest.approx(hits / union) if index in true_classes else None)
    if not seen:
        assert (domain.miou, domain.pixel_accuracy, domain.class_accuracy, domain.ece) == (None,) * 4
        return
    assert domain.pixel_accuracy == pytest.approx(np.mean([t == p for t, p, _ in seen]))
    recall = [np.mean([p == c for t, p, _ in seen if t == c]) for c in true_classes]
    assert domain.class_accuracy == pytest.approx(np.mean(recall))
    bins = [[(t == p, c / 255) for t, p, c in seen if min(c // 17, 14) == b] for b in range(15)]
    error = sum(abs(sum(right for right, _ in b) - sum(c for _, c in b)) for b in bins)
    assert domain.ece == pytest.approx(error / len(seen))


@settings(deadline=None, max_examples=40)
@given(frames())
def test_a_threshold_on_confidence_leaves_out_what_is_below_it(frame):
    prediction, confidence, ground_truth = frame
    calibration = evaluated("train_ids", [("a", frame)]).result("x").calibration
    for b, (threshold, share, miou) in enumerate(calibration.by_threshold):
        assert threshold == b / 15
        kept = np.where(confidence >= 17 * b, ground_truth, UNLABELLED).astype(np.uint8)
        assert miou == evaluated("train_ids", [("a", (prediction, confidence, kept))]).result("x").miou
        labelled = max(1, np.sum(ground_truth != UNLABELLED))
        assert share == pytest.approx(np.sum(kept != UNLABELLED) / labelled)


# torchmetrics gives confidence 1.0 a bin of its own, and a confidence on an edge falls as float32 rounds.
@settings(deadline=None, max_examples=40)
@given(frames(confidence=st.integers(0, 254).filter(lambda level: level % 17)))
def test_agrees_with_torchmetrics(frame):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    prediction, confidence, ground_truth = frame
    prediction = np.where(prediction == UNLABELLED, 0, prediction).astype(np.uint8)
    seen = ground_truth != UNLABELLED
    if not seen.any():
        return
    domain = evaluated("train_ids", [("a", (prediction, confidence, ground_truth))]).result("x")
    sides = torch.from_numpy(prediction).long(), torch.from_numpy(ground_truth).long()
    options = {"num_classes": 19, "ignore_index": UNLABELLED}
    iou = functional.multiclass_jaccard_index(*sides, average="none", **options).numpy()
    present = ~np.isnan(domain.iou)
    np.testing.assert_allclose(domain.iou[present], iou[present], rtol=1e-6)
    recall = functional.multiclass_accuracy(*sides, average="none", **options).numpy()
    assert domain.class_accuracy == pytest.approx(recall[present].mean(), rel=1e-5)
    ours = torch.from_numpy(confidence[seen] / 255), torch.from_numpy((prediction == ground_truth)[seen]).long()
    assert domain.ece == pytest.approx(float(functional.binary_calibration_error(*ours, n_bins=15)), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(MAPPINGS, st.lists(frames(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_split_over_workers_gives_the_identical_result(mapping, many, random):
    named = [(f"{index}", frame) for index, frame in enumerate(many)]
    alone = evaluated(mapping, named).result("x")
    shuffled = random.sample(named, len(named))
    cut = random.randint(0, len(named))
    assert evaluated(mapping, shuffled).result("x") == alone
    halves = [evaluated(mapping, part).result("x") for part in (shuffled[:cut], shuffled[cut:]) if part]
    assert (halves[0].merge(halves[1]) if len(halves) == 2 else halves[0]) == alone


def test_counts_by_image_add_up_to_the_confusion():
    domain = a_result().domains[0]
    ground_truth, predicted, hits = np.sum([image[1:] for image in domain.by_image], axis=0)
    assert mean_iou(class_iou(ground_truth, predicted, hits)) == domain.miou
    assert [image.name for image in domain.by_image] == ["image 0", "image 1", "image 2"]


def test_without_confidence_there_is_no_calibration():
    labels = np.zeros((2, 2), np.uint8)
    scorer = Scorer(label_mapping("train_ids"))
    scorer.update(labels, None, labels, "a")
    domain = scorer.result("x")
    assert (domain.miou, domain.ece, domain.calibration) == (1.0, None, None)


def test_an_image_counts_once_and_fits_its_labels():
    labels = np.zeros((2, 2), np.uint8)
    scorer = Scorer(label_mapping("train_ids"))
    scorer.update(labels, labels, labels, "a")
    with pytest.raises(ValueError, match="added before"):
        scorer.update(labels, labels, labels, "a")
    with pytest.raises(ValueError, match="ground truth"):
        scorer.update(labels, labels, labels[:1], "b")
    assert scorer.result("x").images == 1


def test_a_file_is_read_as_it_was_written(tmp_path):
    result = a_result()
    result.save(tmp_path / "result.json")
    assert Result.load(tmp_path / "result.json") == result
    raw = json.loads((tmp_path / "result.json").read_text())
    assert raw["domains"][0]["miou"] == result.domains[0].miou == raw["miou"]
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_merging_adds_domains_of_one_name_and_keeps_the_others():
    one, two = a_result(), a_result(data=[{"data_set": "camvid"}])
    merged = one.merge(two)
    assert merged.images == 6
    assert merged.domains[0].confusion == (2 * one.domains[0].counts).tolist()
    assert merged.domains[0].miou == one.miou
    assert len(merged.data) == 2
    other = evaluated("camvid", []).result("night")
    assert [d.name for d in one.merge(a_result(domains=(other,))).domains] == ["fog", "night"]


def test_only_results_of_one_model_and_the_same_classes_merge():
    with pytest.raises(QueryDiffError, match="sha256"):
        a_result().merge(a_result(model={"file": "a.onnx", "sha256": "1"}))
    with pytest.raises(QueryDiffError, match="camvid"):
        a_result().merge(a_result(domains=(evaluated("camvid", []).result("fog"),)))


def damaged(change):
    raw = json.loads(a_result().to_json())
    change(raw)
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no whole JSON"),
        ("[]", "no result"),
        ('{"miou": 1}', "no result"),
        (damaged(lambda raw: raw.update(format=2)), "format 2"),
        (damaged(lambda raw: raw.pop("model")), "model"),
        (damaged(lambda raw: raw["domains"][0]["confusion"].pop()), "confusion"),
        (damaged(lambda raw: raw["domains"][0]["confusion"][3].__setitem__(4, -1)), "confusion"),
        (damaged(lambda raw: raw["domains"][0]["by_image"][0].pop()), "image 0"),
        (damaged(lambda raw: raw["domains"][0]["calibration"]["hits"].pop()), "hits"),
        (damaged(lambda raw: raw["domains"][0].update(classes=None)), "damaged"),
    ],
)
def test_what_is_no_result_is_refused_in_one_sentence(text, said, tmp_path):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(QueryDiffError, match=said) as caught:
        Result.load(tmp_path / "bad.json")
    assert str(caught.value).startswith(str(tmp_path / "bad.json"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(QueryDiffError, match=r"none\.json"):
        Result.load(tmp_path / "none.json")


@pytest.mark.parametrize(("width", "tables"), [(50, 4), (60, 3), (70, 2), (80, 2), (200, 1)])
def test_a_narrow_terminal_gets_more_tables_and_no_number_is_cut(width, tables):
    result = a_result()
    domains = tuple(replace(result.domains[0], name=f"street_scenes_{name}") for name in "abcdefgh")
    terminal = Console(file=io.StringIO(), width=width)
    print_result(replace(result, domains=domains), terminal)
    printed = terminal.file.getvalue()
    assert "…" not in printed
    assert printed.count("IoU by class") == tables
    rows = [line.strip() for line in printed.splitlines() if line.startswith("│")]
    assert all(row.endswith("│") for row in rows)
    for name, iou in result.domains[0].iou_by_class.items():
        cells = [cell.strip() for row in rows for cell in row.split("│")[2:-1] if row.startswith(f"│ {name} ")]
        assert cells == [percent(iou)] * 8
    assert sum(row.count(" 3 ") for row in rows if row.startswith("│ images ")) == 8
