"""`querydiff doctor`: what runs models, with each piece broken on purpose."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import querydiff_core
from querydiff_core.doctor import gpu, needed, optional, python

REPOSITORY = Path(__file__).parents[2]


def doctor(*, packages=REPOSITORY, **environment):
    """Run the command with the code in the folder `packages`; return its exit code and its lines by name."""
    variables = {**os.environ, "PYTHONPATH": str(packages), "COLUMNS": "80", **environment}
    command = [sys.executable, "-m", "querydiff_core", "doctor"]
    result = subprocess.run(command, capture_output=True, text=True, env=variables, cwd="/", check=False)
    assert result.stderr == ""
    lines = {line[5:20].strip(): line for line in result.stdout.splitlines()[:-1]}
    return result.returncode, lines, result.stdout.splitlines()[-1]


def executable(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_sound_machine_runs_the_default():
    code, lines, verdict = doctor()
    assert code == 0, lines
    assert {line[:4] for line in lines.values()} <= {"ok  ", "-   ", "warn"}
    assert " on onnxruntime (cpu): opened in " in lines["default model"]
    size = (Path(querydiff_core.__file__).parent / "weights" / "small.safetensors").stat().st_size
    assert f"small.safetensors, {size / 1e6:.1f} MB, SHA-256 " in lines["weights"]
    assert f"{sys.version_info[0]}.{sys.version_info[1]}." in lines["Python"]
    assert "with " in lines["ONNX Runtime"]
    assert verdict.startswith("The default model runs here")


def test_a_runtime_that_does_not_load_is_a_fault(tmp_path):
    """Everything else is still looked at."""
    broken = tmp_path / "onnxruntime" / "__init__.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('libonnxruntime.so.1: cannot open shared object file')\n")
    code, lines, verdict = doctor(packages=f"{tmp_path}:{REPOSITORY}")
    assert code == 1
    assert lines["ONNX Runtime"].startswith(
        "FAIL ONNX Runtime    import onnxruntime fails: ImportError: libonnxruntime."
    )
    assert "-> pip install onnxruntime" in lines["ONNX Runtime"]
    assert lines["default model"].startswith("FAIL default model   does not run: ")
    assert verdict == "The default model does not run here: see FAIL above."
    assert lines["shared memory"]


def test_cut_and_missing_weights_are_faults(tmp_path):
    source = Path(querydiff_core.__file__).parent
    shutil.copytree(source, tmp_path / "querydiff_core", ignore=shutil.ignore_patterns("weights", "__pycache__"))
    weights = tmp_path / "querydiff_core" / "weights"
    weights.mkdir()
    code, lines, _ = doctor(packages=f"{tmp_path}:{REPOSITORY}")
    assert code == 1
    assert "small.onnx is missing -> install the package again" in lines["weights"]
    (weights / "small.onnx").write_bytes((source / "weights" / "small.onnx").read_bytes()[:100_000])
    code, lines, _ = doctor(packages=f"{tmp_path}:{REPOSITORY}")
    assert code == 1
    assert "small.onnx, 0.1 MB" in lines["weights"]
    assert "does not run: " in lines["default model"]
    assert "is not a readable ONNX model" in lines["default model"]


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo 'NVIDIA H200, 570.1, 143771 MiB'", "warning", "NVIDIA H200, 570.1, 143771 MiB, which this ONNX Runtime"),
        ("echo 'could not talk to the driver'; exit 9", "warning", "nvidia-smi says: could not talk to the driver"),
        ("exit 0", "warning", "nvidia-smi says: nothing"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_said(tmp_path, monkeypatch, script, state, found):
    executable(tmp_path / "nvidia-smi", script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    check = gpu()
    assert (check.state, bool(check.advice)) == (state, True)
    assert check.found.startswith(found)


def test_without_a_driver_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu().state == "absent"


@pytest.mark.parametrize(
    ("version", "state"), [((3, 9, 1), "fault"), ((3, 10, 0), "ok"), ((3, 13, 5), "ok"), ((3, 14, 0), "warning")]
)
def test_pythons(version, state):
    assert python(version).state == state
    assert python(version).found.startswith(".".join(map(str, version)))


def test_libraries_that_are_not_there():
    assert optional("TensorRT", "no_such_library", "for engines").state == "absent"
    check = needed("images", {"numpy": "numpy", "no_such_library": "its-package"}, "fault")
    assert (check.state, check.advice) == ("fault", "pip install its-package")
    assert "import no_such_library fails: ModuleNotFoundError" in check.found
