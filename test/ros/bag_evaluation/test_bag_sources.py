"""Bags in folders: which they are, what they are called, and the weather that names tell."""

import pytest
from drives import record

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bag_evaluation.bag_sources import find_bags


def found(*paths):
    return [(source.name, source.condition) for source in find_bags(paths)]


def test_bags_of_nested_folders_in_the_order_of_their_paths(tmp_path):
    for bag in ("b", "fog/monday/x", "fog/a", "y"):
        record(tmp_path / "drives" / bag, 1)
    (tmp_path / "drives" / "fog" / "notes.txt").write_text("no bag")
    assert found(tmp_path / "drives") == [("b", ""), ("fog_a", "fog"), ("fog_monday_x", "fog"), ("y", "")]


def test_known_words_in_names_tell_the_weather(tmp_path):
    bag = record(tmp_path / "night" / "one", 1)
    assert found(bag) == [("one", "night")]
    assert found(tmp_path / "night") == [("one", "night")]
    assert found(record(tmp_path / "night" / "2026-03-01_Rain_A7", 1)) == [("2026-03-01_Rain_A7", "rain")]


def test_loose_files_are_bags_and_a_folder_without_metadata_is_one(tmp_path):
    lost = record(tmp_path / "drives" / "lost", 1)
    (lost / "metadata.yaml").unlink()
    whole = record(tmp_path / "whole", 1)
    (whole / "whole.mcap").rename(tmp_path / "drives" / "loose.mcap")
    assert [name for name, _ in found(tmp_path / "drives")] == ["loose.mcap", "lost"]


def test_names_are_told_apart(tmp_path):
    bags = [record(tmp_path / bag, 1) for bag in ("a/drive", "a/drive_2", "b/drive", "b/drive_2")]
    assert [name for name, _ in found(*bags)] == ["drive", "drive_2", "drive_3", "drive_2_2"]


def test_the_fingerprint_follows_the_bytes(tmp_path):
    (source,) = find_bags([record(tmp_path / "drive", 3)])
    before = source.fingerprint
    assert source.fingerprint == before
    file = source.path / "drive.mcap"
    file.write_bytes(file.read_bytes() + b"x")
    assert source.fingerprint != before


def test_a_folder_without_bags_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("")
    for path in (tmp_path, tmp_path / "x.txt"):
        with pytest.raises(QueryDiffError, match="is no bag and holds none"):
            find_bags([path])
