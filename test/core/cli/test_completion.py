"""Tab completion, asked for as the shell functions of argcomplete ask."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
BASH = """
eval "$({python} {register} querydiff)"
querydiff() {{ {python} -m querydiff_core "$@"; }}
export -f querydiff
COMP_LINE={line!r} COMP_POINT={point} COMP_TYPE=9 COMP_WORDBREAKS=' ' COMP_CWORD=0
_python_argcomplete querydiff
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def querydiff(argument):
    command = [sys.executable, "-m", "querydiff_core", argument]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def completed(tmp_path, line, first=1):
    """Return what may follow; `first` is where the script's own words begin, as argcomplete counts."""
    answer = tmp_path / "answer"
    protocol = {"_ARGCOMPLETE": str(first), "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\013"}
    environment = {**os.environ, **protocol, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    command = [sys.executable, "-m", "querydiff_core"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return [word.strip() for word in answer.read_text().split("\013") if word] if answer.exists() else []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("querydiff evalu", ["evaluate", "evaluate-bag"]),
        ("querydiff --v", ["--version"]),
        ("querydiff segment --pro", ["--provider"]),
        ("querydiff segment --provider t", ["tensorrt"]),
        ("querydiff evaluate-bag drive --lock", ["--lockstep"]),
        ("querydiff scenes dr", ["drive"]),
        ("querydiff scenes drive --stor", ["--storage"]),
        ("querydiff teacher sh", ["show"]),
        ("querydiff nothing --x", []),
    ],
)
def test_what_follows(tmp_path, line, expected):
    assert completed(tmp_path, line) == expected


def test_subcommands_are_those_of_the_help(tmp_path):
    rows = [row.split()[0] for row in querydiff("--help").splitlines() if row.startswith("  ")]
    assert completed(tmp_path, "querydiff ") == rows
    assert completed(tmp_path, "python -m querydiff_core ", first=3) == rows


def test_files_are_offered_where_a_file_is_wanted(tmp_path):
    (tmp_path / "drive.mp4").touch()
    (tmp_path / "drives").mkdir()
    assert completed(tmp_path, f"querydiff segment {tmp_path}/dri") == [f"{tmp_path}/drive.mp4", f"{tmp_path}/drives/"]


def test_bash_completes(tmp_path):
    line = "querydiff evaluate-bag --onl"
    register = Path(sys.executable).with_name("register-python-argcomplete")
    script = BASH.format(python=sys.executable, register=register, line=line, point=len(line))
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.split() == ["--online"], result.stderr


def test_the_version_is_printed():
    assert querydiff("--version") == f"querydiff {version('querydiff_ros')}\n"
