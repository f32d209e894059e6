"""How a file finds its engine, or the checkpoint that stands in where a compiled one does not fit this machine.

What an engine needs is imported only when a file asks for it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.archive import read_archive_metadata
from querydiff_core.inference.build_target import EngineBuild, target_here
from querydiff_core.inference.engine import Engine, EngineMismatchError, EngineOptions, check_size
from querydiff_core.inference.metadata import ModelMetadata, refuse_training_state
from querydiff_core.utils.file_hash import file_hash


def open_engine(path: Path, options: EngineOptions) -> Engine:
    """Open `path` with the engine that its suffix names; PyTorch is imported only for files that need it.

    Raises:
        QueryDiffError: if the file is missing, damaged, foreign, needs what is not installed, or does not fit the
            machine and `options.fallback` is not set.
    """
    if not path.is_file():
        raise QueryDiffError(
            f"No model file {path}: give an exported engine (.onnx, .pt2, .engine) or a checkpoint (.safetensors)."
        )
    refuse_training_state(path)
    if path.suffix == ".onnx":
        return _open_onnx(path, options)
    if path.suffix in (".pt2", ".engine"):
        return _open_compiled(path, options)
    if path.suffix != ".safetensors":
        raise QueryDiffError(
            f"{path}: expected an exported engine (.onnx, .pt2, .engine) or a checkpoint (.safetensors)."
        )
    missing = (
        f"{path} is a checkpoint and needs PyTorch ({{reason}}): pip install 'querydiff_ros[torch]', or export it to "
        ".onnx where PyTorch is installed."
    )
    with explained(missing, ImportError):
        from querydiff_core.inference.torch_engine import open_checkpoint

        return open_checkpoint(path, options)


def _open_onnx(path: Path, options: EngineOptions) -> Engine:
    from querydiff_core.inference.onnxruntime_engine import OnnxRuntimeEngine

    if options.provider != "openvino":
        engine = OnnxRuntimeEngine(path, options)
        if engine.metadata.precision != "bf16":
            return engine
        if options.provider != "auto":
            raise QueryDiffError(
                f"{path} was exported in bf16, which ONNX Runtime does not compute in: choose provider openvino, or "
                "export it in another precision."
            )
    otherwise = "choose another provider" if options.provider == "openvino" else "export it in another precision"
    missing = f"{path} needs OpenVINO ({{reason}}): pip install 'querydiff_ros[openvino]', or {otherwise}."
    with explained(missing, ImportError):
        from querydiff_core.inference.openvino_engine import OpenVinoEngine
    return OpenVinoEngine(path, options)


def _open_compiled(path: Path, options: EngineOptions) -> Engine:
    metadata = read_archive_metadata(path)
    check_size(path, metadata, options.size)
    try:
        return _open_where_it_fits(path, metadata, options)
    except EngineMismatchError as mismatch:
        if not options.fallback:
            raise
        checkpoint = _named_checkpoint(path, metadata)
        logging.getLogger(__name__).warning("%s Running %s instead.", mismatch, checkpoint)
        return open_engine(checkpoint, replace(options, size=metadata.input_size))


def _open_where_it_fits(path: Path, metadata: ModelMetadata, options: EngineOptions) -> Engine:
    missing = f"{path} needs PyTorch ({{reason}}): pip install 'querydiff_ros[torch]', or use an .onnx engine."
    with explained(missing, ImportError):
        from querydiff_core.inference.tensorrt_engine import open_plan
        from querydiff_core.inference.torch_engine import open_package
    device = _check_target(path, metadata, options.device)
    open_file = open_plan if path.suffix == ".engine" else open_package
    return open_file(path, metadata, device, options)


def _check_target(path: Path, metadata: ModelMetadata, device: str) -> str:
    """Return where the engine runs, "cpu" or "cuda:N", for the user's choice "auto", "cpu" or "cuda[:N]".

    Raises:
        QueryDiffError: if the user's choice is not there.
        EngineMismatchError: if it was built for something else; it names what runs here.
    """
    from querydiff_core.inference.device_runner import torch_device

    build = metadata.build
    assert build is not None  # `read_archive_metadata` has seen to it
    wanted = build.device if device == "auto" else torch_device(device)
    differences = _differences(build, wanted)
    if differences:
        raise EngineMismatchError(
            f"{path} was built for {', '.join(differences)}: {_advice(path, metadata, wanted)}, or set fallback to run "
            "its checkpoint."
        )
    return torch_device(wanted)


def _advice(path: Path, metadata: ModelMetadata, wanted: str) -> str:
    """Return how to get an engine that runs on the device `wanted` of this machine."""
    import torch

    build = metadata.build
    assert build is not None
    on_gpu = wanted != "cpu"
    if not torch.cuda.is_available() if on_gpu else build.format == "tensorrt":
        return "use an .onnx engine"
    build = replace(build, device="cuda" if on_gpu else "cpu")
    return f"build it here with `{build.command(metadata.input_size, path, _checkpoint_path(path, build))}`"


def _named_checkpoint(path: Path, metadata: ModelMetadata) -> Path:
    """Return the checkpoint that the engine `path` was made from.

    Raises:
        QueryDiffError: if it is not there, or is another than the engine was made from.
    """
    build = metadata.build
    assert build is not None
    checkpoint = _checkpoint_path(path, build)
    if not checkpoint.is_file():
        raise QueryDiffError(
            f"{path} does not fit this machine and its checkpoint {checkpoint} is not there: put it there, or build "
            "the engine again."
        )
    if file_hash(checkpoint) != build.checkpoint_sha256:
        raise QueryDiffError(
            f"{path} does not fit this machine and {checkpoint} is not the checkpoint that it was made from (its "
            "SHA-256 differs): build the engine again, or give the checkpoint itself."
        )
    return checkpoint


def _checkpoint_path(engine: Path, build: EngineBuild) -> Path:
    return Path(os.path.normpath(engine.parent / build.checkpoint))


def _differences(build: EngineBuild, wanted: str) -> list[str]:
    import torch

    from querydiff_core.inference.device_runner import torch_device

    kind = wanted.partition(":")[0]
    if kind != build.device:
        return [f"device {build.device} (here {wanted})"]
    if kind == "cuda" and not torch.cuda.is_available():
        return [f"the GPU {build.target.hardware} (here none)"]
    return build.target.differences(target_here(build.format, torch_device(wanted)), any_gpu=build.any_gpu)
