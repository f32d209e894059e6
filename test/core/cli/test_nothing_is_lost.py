"""What a command has measured survives whatever happens to its terminal, its output and its disk."""

import errno
import io
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from engines import expected_labels, write_pixel_engine
from rich.table import Table

from querydiff_core.cli import benchmark, compare, evaluate, segment
from querydiff_core.cli import data as data_command
from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.utils.atomic_file import atomic_file, check_writable
from querydiff_core.utils.image_files import write_image
from querydiff_core.utils.terminal import console
from querydiff_ros.cli import evaluate_bag


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """An engine, a folder of labelled images, and a result of one on the other."""
    root = tmp_path_factory.mktemp("measured [night]")
    for name in ("images", "labels"):
        (root / name).mkdir()
    for index in range(2):
        image = np.random.default_rng(index).integers(0, 256, (20, 30, 3), np.uint8)
        write_image(root / "images" / f"{index}.png", image)
        write_image(root / "labels" / f"{index}.png", expected_labels(image))
    write_pixel_engine(root / "pixel [b].onnx")
    assert evaluate.main([str(root / "pixel [b].onnx"), "--images", str(root), "--output", str(root / "r.json")]) == 0
    return root


COMMAND = """
import sys, rich.table
from querydiff_core.cli.main import exit_cleanly
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.terminal import console

def command():
    table = rich.table.Table("≥ [night]")
    for _ in range(1000):
        console().print(table)
        print("≥ 0.40", file=sys.stderr)
    print("≥ 0.40 and a name that is no UTF-8:", "caf\\udce9", flush=True)
    with atomic_file(sys.argv[1]) as file:
        file.write_text("whole")
    return 0

exit_cleanly(command)
"""


def run(result, **options):
    return subprocess.run([sys.executable, "-c", COMMAND, result], check=False, timeout=60, **options)


@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_goes_does_not_end_the_work(tmp_path, both):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(tmp_path / "r", stdout=writer, stderr=writer if both else subprocess.PIPE)
    os.close(writer)
    assert (tmp_path / "r").read_text() == "whole"
    assert done.returncode == 141
    assert "Traceback" not in (done.stderr or b"").decode()


def test_a_full_disk_behind_the_terminal_is_said_at_the_end(tmp_path):
    with open("/dev/full", "w") as full:
        done = run(tmp_path / "r", stdout=full, stderr=subprocess.PIPE)
    assert (tmp_path / "r").read_text() == "whole"
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == "error: Not everything could be printed: No space left on device."


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_shows_what_it_can(tmp_path, encoding):
    done = run(tmp_path / "r", capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert (tmp_path / "r").read_text() == "whole"
    assert done.returncode == 0, done.stderr
    sign = "≥" if encoding == "utf-8" else "\\u2265"
    assert done.stdout.decode(encoding).splitlines()[-1] == f"{sign} 0.40 and a name that is no UTF-8: caf\\udce9"
    assert f"{sign} [night]" in done.stdout.decode(encoding)


def test_closed_streams_do_not_end_the_work(tmp_path):
    script = f'exec {sys.executable} -c "$0" {tmp_path / "r"} >&- 2>&-'
    assert subprocess.run(["sh", "-c", script, COMMAND], check=False, timeout=60).returncode == 0
    assert (tmp_path / "r").read_text() == "whole"


def test_what_the_system_refuses_anywhere_is_one_sentence(tmp_path):
    script = "from querydiff_core.cli.main import exit_cleanly; exit_cleanly(lambda: open('/nowhere/a', 'w').close())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: /nowhere/a: No such file or directory.\n")


def test_brackets_are_no_markup_and_colons_no_emoji():
    table = Table("[red]x", title="drive [night] :car:", min_width=50)
    table.add_row("[/b] [bold]y")
    file = io.StringIO()
    console(file=file, width=60).print(table)
    assert all(name in file.getvalue() for name in ("[red]x", "drive [night] :car:", "[/b] [bold]y"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), PermissionError(13, "Permission")])
def test_a_write_that_fails_midway_is_one_sentence_and_leaves_the_old_file(tmp_path, error):
    file = tmp_path / "r.json"
    file.write_text("old")

    def write():
        with atomic_file(file) as part:
            part.write_text("half")
            raise error

    with pytest.raises(QueryDiffError, match=rf"Cannot write .*r\.json: {error.strerror}\."):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert file.read_text() == "old"


def test_where_nothing_can_be_written_is_found_out_without_a_trace(tmp_path):
    (tmp_path / "file").touch()
    for path, says in (
        (tmp_path, "it is a folder"),
        (tmp_path / "file" / "deep" / "r.json", "Not a directory"),
        ("/proc/r.json", "No such file"),
    ):
        for attempt in (check_writable, lambda path: atomic_file(path).__enter__()):
            with pytest.raises(QueryDiffError, match=rf"Cannot write {path}: {says}"):
                attempt(path)
    check_writable(tmp_path / "a" / "b" / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_outputs_are_tried_before_the_work(measured, tmp_path):
    """The models do not exist, which would be said first if the work came first."""
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "r.json"
    for command, arguments in (
        (evaluate, ["no.onnx", "--images", measured, "--output", below]),
        (compare, ["no.json", "--output", below]),
        (benchmark, ["no.onnx", "--json", below]),
        (benchmark, ["no.onnx", "--plot", below.with_suffix(".png")]),
        (segment, [measured / "images", "--model", "no.onnx", "--output", below]),
        (data_command, ["check", "folder", tmp_path / "nowhere", "--output", below]),
        (evaluate_bag, [tmp_path / "nowhere", "--output", below]),
    ):
        with pytest.raises(QueryDiffError, match=r"Cannot write .*: Not a directory"):
            command.main([str(argument) for argument in arguments])


def test_names_with_brackets_are_shown_whole(measured, tmp_path, capsys):
    engine, root = str(measured / "pixel [b].onnx"), str(measured)
    assert evaluate.main([engine, "--data", f"drive [/night]=folder={root}", "--output", str(tmp_path / "r.json")]) == 0
    assert data_command.main(["check", "folder", root]) == 0
    names = (f"old [a]={tmp_path / 'r.json'}", f"[red]new={measured / 'r.json'}")
    assert compare.main([*names, "--output", str(tmp_path / "comparison")]) == 0
    said = capsys.readouterr().out
    assert "pixel [b].onnx" in said
    assert "[/night]" in said
    assert "[night]" in said
    assert "old [a]" in said
    assert "[red]new" in said


def test_a_result_is_saved_before_it_is_printed(measured, tmp_path, monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise OSError(errno.EIO, "the terminal is gone")

    monkeypatch.setattr(sys, "stdout", Gone())
    output = tmp_path / "r.json"
    with pytest.raises(OSError, match="terminal is gone"):
        evaluate.main([str(measured / "pixel [b].onnx"), "--images", str(measured), "--output", str(output)])
    assert Result.load(output).images == 2
    with pytest.raises(OSError, match="terminal is gone"):
        compare.main([f"a={output}", f"b={output}", "--output", str(tmp_path / "comparison")])
    assert (tmp_path / "comparison" / "comparison.html").stat().st_size > 1000


def test_two_folders_of_one_set_are_two_domains(measured, tmp_path):
    words = [str(measured / "pixel [b].onnx"), "--output", str(tmp_path / "r.json")]
    with pytest.raises(QueryDiffError, match=r"folder is asked for twice: .*--data NAME=SET=ROOT"):
        evaluate.main([*words, "--data", f"folder={measured}", "--data", f"folder={measured}"])
    assert evaluate.main([*words, "--data", f"gate=folder={measured}", "--data", f"acdc=folder={measured}"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert [domain["name"] for domain in result["domains"]] == ["gate", "acdc"]
    assert [source["domain"] for source in result["data"]] == ["gate", "acdc"]


@pytest.mark.parametrize("names", [("a/1.png", "b/1.png"), ("a/1.png", "a/1.jpg"), ("a/1.mp4", "a/1.avi")])
def test_segment_writes_no_two_results_to_one_file(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(QueryDiffError, match=r"would both be labelled into .*1_label"):
        segment.main([*(str(tmp_path / name) for name in names), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_segment_replaces_no_input(tmp_path):
    labels = np.zeros((4, 4), np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), labels)
    cv2.imwrite(str(tmp_path / "1_label.png"), labels)
    with pytest.raises(QueryDiffError, match=r"1_label\.png would replace an input"):
        segment.main([str(tmp_path), "--output", str(tmp_path)])


def test_segment_leaves_hidden_files_out(tmp_path, measured):
    (tmp_path / "._0.png").write_bytes(b"what macOS leaves")
    write_image(tmp_path / "0.png", np.zeros((4, 6, 3), np.uint8))
    assert (
        segment.main([str(tmp_path), "--model", str(measured / "pixel [b].onnx"), "--output", str(tmp_path / "o")]) == 0
    )
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["0_label.png", "0_overlay.jpg"]
