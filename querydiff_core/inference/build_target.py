"""What a compiled engine was built for: the machine, the libraries, the request and the checkpoint."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Format = Literal["onnx", "torch", "tensorrt"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torch": ".pt2", "tensorrt": ".engine"}

_AMPERE = 8
"""Major compute capability from which TensorRT's hardware-compatible engines run."""


@dataclass(frozen=True)
class BuildTarget:
    """The machine and the libraries that compiled code is tied to; an empty string where nothing ties it.

    `hardware`: the GPU's name, or the CPU's instruction sets. `capability`: the GPU's compute capability, or the CPU's
    architecture. `abi`: of C++ in PyTorch's libraries. `torch`, `tensorrt`: versions.
    """

    hardware: str = ""
    capability: str = ""
    abi: str = ""
    torch: str = ""
    tensorrt: str = ""

    def differences(self, here: BuildTarget, *, any_gpu: bool = False) -> list[str]:
        """Return what differs `here`, such as "GPU A instead of B"; `any_gpu` takes every GPU from Ampere on.

        PyTorch may differ in its patch level, TensorRT in nothing.
        """
        ties = {
            "hardware": (self.hardware, here.hardware),
            "compute capability or architecture": (self.capability, here.capability),
            "C++ ABI": (self.abi, here.abi),
            "PyTorch": (_minor(self.torch), _minor(here.torch)),
            "TensorRT": (self.tensorrt, here.tensorrt),
        }
        if any_gpu and int(here.capability.partition(".")[0] or 0) >= _AMPERE:
            del ties["hardware"], ties["compute capability or architecture"]
        return [
            f"{name} {built} (here {found or 'none'})"
            for name, (built, found) in ties.items()
            if built not in ("", found)
        ]


@dataclass(frozen=True)
class EngineBuild:
    """How an engine file was made, so that it can be made again.

    `batch`: fewest and most images an inference. `camera`: (height, width) of the images if it is built in. `device`:
    "cpu" or "cuda". `any_gpu`: TensorRT's hardware-compatible mode. `checkpoint`: its path, seen from the engine's
    folder. `checkpoint_sha256`: of its bytes.
    """

    format: Format
    precision: Precision = "fp32"
    batch: tuple[int, int] = (1, 8)
    camera: tuple[int, int] | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    any_gpu: bool = False
    target: BuildTarget = BuildTarget()
    checkpoint: str = ""
    checkpoint_sha256: str = ""

    @classmethod
    def from_fields(cls, raw: Mapping[str, Any]) -> EngineBuild:
        """Read what `asdict` made, after a passage through JSON.

        Raises:
            KeyError, TypeError, ValueError: if it is damaged.
        """
        if raw["format"] not in get_args(Format) or raw["precision"] not in get_args(Precision):
            raise ValueError(f"unknown format or precision {raw['format']} {raw['precision']}")
        camera = raw["camera"]
        changed = {
            "batch": (int(raw["batch"][0]), int(raw["batch"][1])),
            "camera": camera and (int(camera[0]), int(camera[1])),
            "target": BuildTarget(**raw["target"]),
        }
        return cls(**{**raw, **changed})

    def command(self, input_size: tuple[int, int], output: object, checkpoint: object) -> str:
        """Return the command that builds the engine again."""
        words = ["querydiff", "export", str(checkpoint), "--format", self.format, "--size", _cross(input_size)]
        words += ["--batch", f"{self.batch[0]}:{self.batch[1]}", "--precision", self.precision]
        words += ["--camera", _cross(self.camera)] if self.camera else []
        words += ["--device", self.device] if self.format == "torch" else []
        words += ["--any-gpu"] if self.any_gpu else []
        return shlex.join([*words, "--output", str(output)])

    def fields(self) -> dict[str, Any]:
        """Return plain JSON of it, the same for equal builds."""
        return asdict(self)


def target_here(engine_format: Format, device: str) -> BuildTarget:
    """Return what an engine of that format, for "cpu" or "cuda[:N]", would be tied to on this machine."""
    if engine_format == "onnx":
        return BuildTarget()
    import torch

    if device == "cpu":
        hardware, capability = _processor(torch.backends.cpu.get_cpu_capability()), platform.machine()
    else:
        hardware = torch.cuda.get_device_name(device)
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
    if engine_format == "tensorrt":
        return BuildTarget(hardware, capability, tensorrt=_version("tensorrt"))
    abi = "cxx11" if torch.compiled_with_cxx11_abi() else "pre-cxx11"
    return BuildTarget(hardware, capability, abi, torch.__version__)


def library_versions(engine_format: Format) -> dict[str, str]:
    """Return the versions of the libraries that make engines of that format."""
    libraries: dict[Format, tuple[str, ...]] = {
        "onnx": ("torch", "onnx", "onnxscript"),
        "torch": ("torch",),
        "tensorrt": ("torch", "torch_tensorrt", "tensorrt"),
    }
    return installed_versions(libraries[engine_format])


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the version of each distribution that is installed."""
    return {name: version for name in distributions if (version := _version(name))}


def _processor(instructions: str) -> str:
    """Return the processor's name and vector instructions: compilers tune for the very one they run on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} {instructions}".strip()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _cross(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
