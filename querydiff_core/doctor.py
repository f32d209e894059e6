"""What the model that comes with this package needs of a machine, piece by piece; `querydiff doctor` prints it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from querydiff_core.errors import described, one_line

State = Literal["ok", "absent", "warning", "fault"]
PYTHONS = ((3, 10), (3, 13))
"""The oldest and the newest that the tests have run with."""
IMAGE = (270, 480, 3)
SECONDS = 20
"""What a tool of the driver's may take to answer."""


@dataclass(frozen=True)
class Check:
    """What was found of one piece.

    `state`: "absent" is fine, with a "warning" something does not work or works badly, with a "fault" the default model
    does not run. `advice`: what to do about it, nothing where all is well.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def engine_checks() -> Iterator[Check]:
    """Look at what runs models; the last check runs the default."""
    yield python()
    yield images()
    yield onnx_runtime()
    yield optional("OpenVINO", "openvino", "for bf16 on CPUs: pip install openvino")
    yield optional("PyTorch", "torch", "for training, checkpoints and .pt2 files: pip install 'querydiff_ros[torch]'")
    yield gpu()
    yield tensorrt()
    yield from weights()
    yield default_model()


def python(version: Sequence[int] = sys.version_info[:3]) -> Check:
    """Compare this Python with those that the tests have run with."""
    found = f"{'.'.join(map(str, version))}, {sys.prefix}"
    oldest, newest = (".".join(map(str, each)) for each in PYTHONS)
    if tuple(version[:2]) < PYTHONS[0]:
        return Check("Python", "fault", found, f"{oldest} is the oldest that can be used")
    untried = tuple(version[:2]) > PYTHONS[1]
    return Check("Python", *(("warning", found, f"newer than {newest}: not tried") if untried else ("ok", found, "")))


def images() -> Check:
    """Import what reads images and videos, and what this package makes of it."""
    packages = {"numpy": "numpy", "cv2": "opencv-python-headless", "av": "av"}
    found = needed("images", packages, "fault")
    if found.state != "ok":
        return found
    ours = needed("images", {"querydiff_core.utils.image_files": packages["cv2"]}, "fault")
    return found if ours.state == "ok" else ours


def needed(name: str, packages: dict[str, str], state: State) -> Check:
    """Import modules, given with the package of each; `state` is what it means that one is missing or broken."""
    versions = []
    for module, package in packages.items():
        try:
            versions.append(f"{module} {getattr(import_module(module), '__version__', '')}".strip())
        except Exception as error:  # compiled modules fail in many ways: wrong numpy, a missing library
            return Check(name, state, f"import {module} fails: {described(error)}", f"pip install {package}")
    return Check(name, "ok", ", ".join(versions))


def onnx_runtime() -> Check:
    """Look at ONNX Runtime, the default engine, and its providers."""
    from querydiff_core.inference.build_target import installed_versions

    installed = installed_versions(("onnxruntime", "onnxruntime-gpu"))
    try:
        import onnxruntime

        providers = ", ".join(onnxruntime.get_available_providers()).replace("ExecutionProvider", "")
        found = f"{onnxruntime.__version__} with {providers}"
    except Exception as error:
        found = f"import onnxruntime fails: {described(error)}"
        return Check("ONNX Runtime", "fault", found, "pip install onnxruntime, or onnxruntime-gpu for an NVIDIA GPU")
    if len(installed) > 1:
        return Check("ONNX Runtime", "warning", f"{found}; two packages overwrite each other", "uninstall one of them")
    return Check("ONNX Runtime", "ok", found)


def optional(name: str, module: str, use: str) -> Check:
    """Look at a library that few need, without importing it: that takes seconds."""
    from querydiff_core.inference.build_target import installed_versions

    version = installed_versions((module,)).get(module)
    return Check(name, "ok", version) if version else Check(name, "absent", "not installed", use)


def gpu() -> Check:
    """Ask NVIDIA's driver for GPUs, and ONNX Runtime whether it can use one."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return Check("GPU", "absent", "no nvidia-smi: models run on the CPU")
    query = [command, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("GPU", "warning", f"nvidia-smi does not run: {one_line(error)}", "install the driver again")
    gpus = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    if answer.returncode or not gpus:
        said = " ".join(f"{answer.stdout} {answer.stderr}".split()) or "nothing"
        return Check("GPU", "warning", f"nvidia-smi says: {said}", "start again, or install the driver again")
    return _with_provider("GPU", "; ".join(gpus), "CUDAExecutionProvider")


def tensorrt() -> Check:
    """Look for TensorRT: PyTorch's way to it, and ONNX Runtime's."""
    from querydiff_core.inference.build_target import installed_versions

    found = installed_versions(("tensorrt", "torch-tensorrt"))
    if not found:
        return Check("TensorRT", "absent", "not installed", "for .engine files: pip install 'querydiff_ros[tensorrt]'")
    return Check("TensorRT", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))


def _with_provider(name: str, found: str, provider: str) -> Check:
    try:
        import onnxruntime

        usable = provider in onnxruntime.get_available_providers()
    except Exception:  # said of ONNX Runtime itself
        usable = False
    if usable:
        return Check(name, "ok", found)
    advice = "pip install onnxruntime-gpu in place of onnxruntime"
    return Check(name, "warning", f"{found}, which this ONNX Runtime cannot use", advice)


def weights() -> Iterator[Check]:
    """Name the files of the default model by their hashes."""
    from querydiff_core.inference.engine import default_model as default_file
    from querydiff_core.utils.file_hash import file_hash

    file = default_file()
    if not file.is_file():
        yield Check("weights", "fault", f"{file} is missing", "install the package again")
    for each in sorted(file.parent.glob("*")):
        found = f"{each.name}, {each.stat().st_size / 1e6:.1f} MB, SHA-256 {file_hash(each)[:16]}"
        yield Check("weights", "ok", f"{found}, {each.parent}")


def default_model() -> Check:
    """Run the default model on one small image."""
    try:
        import numpy as np

        from querydiff_core.inference.engine import EngineOptions
        from querydiff_core.inference.segmenter import Segmenter

        image = np.random.default_rng(0).integers(0, 256, IMAGE, np.uint8)
        start = time.perf_counter()
        segmenter = Segmenter.open(EngineOptions())
        opened = time.perf_counter()
        labels = segmenter(image).labels
        first = time.perf_counter()
        segmenter(image)
        again = time.perf_counter()
    except Exception as error:  # whatever it is, this is the place to say so
        return Check("default model", "fault", f"does not run: {described(error)}", "see the lines above")
    if labels.shape != IMAGE[:2]:
        return Check("default model", "fault", f"gives labels of {labels.shape}", "install the package again")
    times = f"opened in {opened - start:.1f} s, {IMAGE[1]} x {IMAGE[0]} pixels in {1000 * (again - first):.0f} ms"
    where = f"{segmenter.metadata.variant} on {segmenter.engine_name} ({segmenter.device})"
    return Check("default model", "ok", f"{where}: {times}")
