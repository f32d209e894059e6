"""`querydiff evaluate-bag --ray`: the same files as without Ray, bit for bit, and a run that goes on where it was."""

import importlib.util
import sys

import pytest
from drives import record

from querydiff_core.errors import QueryDiffError
from querydiff_ros.cli import evaluate_bag

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)")


@pytest.fixture
def drives(tmp_path):
    for condition in ("fog", "rain"):
        for number in range(2):
            record(tmp_path / "drives" / condition / f"drive{number}", 4 + number)
    (tmp_path / "drives" / "broken.mcap").write_bytes(b"no bag")
    return tmp_path / "drives"


def evaluate(drives, engine, output, *arguments):
    with pytest.raises(QueryDiffError, match="1 of 5 bags could not be evaluated"):
        evaluate_bag.main([str(drives), "--model", str(engine), "--output", str(output), *arguments])
    files = [output, *sorted(output.with_name(f"{output.stem}_bags").iterdir())]
    return {file.name.replace(output.stem, "x"): file.read_bytes() for file in files}


@needs_ray
@pytest.mark.timeout(600)
def test_with_and_without_ray_all_files_are_identical(tmp_path, drives, pixel_engine, capsys):
    here = evaluate(drives, pixel_engine, tmp_path / "here.json")
    ray = evaluate(drives, pixel_engine, tmp_path / "ray.json", "--ray")
    assert here == ray
    assert {"fog_drive0.json", "rain_drive1_over_time.png"} <= ray.keys()
    assert "broken.mcap cannot be read as a rosbag2" in capsys.readouterr().err
    (tmp_path / "ray_bags" / "fog_drive1.json").unlink()
    assert evaluate(drives, pixel_engine, tmp_path / "ray.json", "--ray") == here
    assert "3 of 5 bags are as evaluated before" in capsys.readouterr().err


@needs_ray
def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path, drives, pixel_engine):
    arguments = [str(drives), "--model", str(pixel_engine), "--output", str(tmp_path / "x.json"), "--ray", "nonsense"]
    with pytest.raises(QueryDiffError, match="Ray does not answer at nonsense") as error:
        evaluate_bag.main(arguments)
    assert "\n" not in str(error.value)


def test_without_ray_installed_the_sentence_says_what_to_install(tmp_path, drives, pixel_engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = [str(drives), "--model", str(pixel_engine), "--output", str(tmp_path / "x.json"), "--ray"]
    with pytest.raises(QueryDiffError, match=r"pip install 'querydiff_ros\[ray\]'"):
        evaluate_bag.main(arguments)
