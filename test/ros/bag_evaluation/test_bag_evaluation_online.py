"""`querydiff evaluate-bag --online`: the real node in its own process, over real DDS."""

import pytest
from drives import START, STEP, record, rewritten

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_ros.cli import evaluate_bag


def evaluate(bag, engine, output, *arguments):
    words = [*map(str, (bag, *arguments)), "--threads", "1", "--model", str(engine), "--output", str(output)]
    assert evaluate_bag.main(words) == 0
    return Result.load(output)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_lockstep_gets_the_labels_of_offline_bit_for_bit(tmp_path, pixel_engine, storage):
    bag = record(tmp_path / "bag", 8, ["fog", "rain"], storage=storage)
    offline = evaluate(bag, pixel_engine, tmp_path / "offline.json")
    online = evaluate(bag, pixel_engine, tmp_path / "online.json", "--online", "--lockstep")
    measured = online.data[0].pop("online")
    assert (measured["frames_published"], measured["frames_labelled"], measured["drop_rate"]) == (8, 8, 0)
    assert online.data == offline.data
    assert online.domains == offline.domains
    assert online.settings["mode"] == "online, lockstep"


def test_frames_of_unset_or_repeated_stamps_get_their_own_labels_and_one_without_is_skipped(
    tmp_path, pixel_engine, capsys
):
    def spoil(topic, index, message):
        if topic == "/front/image" and index == 6:
            return bytes([0, 1, 0, 0, 1, 2, 3, 4])
        if topic == "/front/image":
            stamp = {1: 0, 2: 0, 3: 0, 5: START + 4 * STEP}.get(index)
            if stamp is not None:
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        return message if topic == "/front/image" else None

    bag = rewritten(record(tmp_path / "bag", 8), tmp_path / "spoilt", spoil)
    offline = evaluate(bag, pixel_engine, tmp_path / "offline.json")
    online = evaluate(bag, pixel_engine, tmp_path / "online.json", "--online", "--lockstep")
    measured = online.data[0].pop("online")
    assert (measured["frames_published"], measured["frames_labelled"], measured["drop_rate"]) == (7, 7, 0)
    assert online.data == offline.data
    assert "1 of 8 frames cannot be used: the first /front/image is too short for a header." in capsys.readouterr().err


def test_the_shipped_default_labels_alike_on_both_ways(tmp_path):
    bag = record(tmp_path / "bag", 3)
    offline = evaluate(bag, "default", tmp_path / "offline.json")
    online = evaluate(bag, "default", tmp_path / "online.json", "--online", "--lockstep")
    assert online.data[0]["labels_sha256"] == offline.data[0]["labels_sha256"]
    assert online.data[0]["conditions"] == offline.data[0]["conditions"]
    assert online.domains == offline.domains


def test_free_running_counts_what_a_slow_engine_drops(tmp_path, slow_engine, capsys):
    bag = record(tmp_path / "bag", 60, step=STEP // 6)
    result = evaluate(bag, slow_engine, tmp_path / "online.json", "--online", "--rate", "2")
    (entry,) = result.data
    measured = entry["online"]
    assert measured["frames_published"] == 60
    assert 0 < measured["frames_labelled"] < 60
    assert measured["drop_rate"] == pytest.approx(1 - measured["frames_labelled"] / 60)
    assert measured["frames_labelled"] == entry["frames_labelled"] == result.images
    latency = measured["latency_from_stamp_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert measured["rate_wanted_hz"] == pytest.approx(120, rel=0.01)
    assert 0 < measured["rate_labelled_hz"] < measured["rate_published_hz"]
    assert result.domains[0].pixel_accuracy == 0.75  # the labels belong to their frames
    last = (tmp_path / "online_bags" / "bag_over_time.csv").read_text().splitlines()[-1]
    assert last.startswith(str(START + 59 * (STEP // 6)))
    assert f"{measured['frames_labelled']} of 60 frames labelled" in capsys.readouterr().out


def test_a_drive_that_cannot_be_played_at_its_rate_is_said_to_be_so(tmp_path, pixel_engine, capsys):
    bag = record(tmp_path / "bag", 30)
    result = evaluate(bag, pixel_engine, tmp_path / "online.json", "--online", "--rate", "10000")
    assert result.data[0]["online"]["rate_wanted_hz"] == pytest.approx(100_000, rel=0.01)
    assert "Hz instead of 100000.0 Hz: this machine is too busy" in capsys.readouterr().err


def test_a_node_that_does_not_start_is_one_sentence_with_its_last_word(tmp_path):
    bag = record(tmp_path / "bag", 3)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(QueryDiffError, match=r"broken\.onnx") as error:
        evaluate(bag, tmp_path / "broken.onnx", tmp_path / "online.json", "--online")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "online.json").exists()


def test_online_and_ray_exclude_each_other(tmp_path, pixel_engine):
    with pytest.raises(QueryDiffError, match="exclude each other"):
        evaluate(record(tmp_path / "bag", 2), pixel_engine, tmp_path / "x.json", "--online", "--ray")
