"""`evaluate_bag` as its own process: exit codes, one sentence, and what Ctrl-C leaves."""

import signal
import subprocess
import sys
import time

import psutil
import pytest
from drives import record

from querydiff_core.evaluation.result import Result

COMMAND = [sys.executable, "-c", "from querydiff_ros.executables import evaluate_bag; evaluate_bag()"]


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False)


def test_a_bag_is_evaluated(tmp_path, pixel_engine):
    bag = record(tmp_path / "bag", 3, ["fog"])
    result = run(bag, "--model", pixel_engine, "--output", tmp_path / "x.json")
    assert (result.returncode, result.stderr) == (0, "")
    assert "fog" in result.stdout
    assert Result.load(tmp_path / "x.json").domain("fog").pixel_accuracy == 0.75


def test_a_user_error_is_one_sentence(tmp_path):
    result = run(tmp_path / "nowhere", "--output", tmp_path / "x.json")
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: No bag {tmp_path / 'nowhere'}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_online_it_ends_its_node_and_keeps_the_bags_that_are_done(tmp_path, pixel_engine, end):
    record(tmp_path / "drives" / "a", 2)
    record(tmp_path / "drives" / "b", 400)
    words = ["--online", "--model", pixel_engine, "--output", tmp_path / "x.json"]
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path / "drives"), *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    done, node = tmp_path / "x_bags" / "a.json", None
    while process.poll() is None and not (done.exists() and (node := _node_of(process.pid))):
        time.sleep(0.01)
    process.send_signal(end)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "interrupted\n")
    assert not psutil.pid_exists(node)
    assert [file.name for file in done.parent.glob("*.json")] == ["a.json"]
    assert not (tmp_path / "x.json").exists()


def _node_of(pid):
    children = [child for child in psutil.Process(pid).children() if "segment_node" in " ".join(child.cmdline())]
    return children[0].pid if children else None
