"""ONNX Runtime: the default engine, on CPUs and wherever PyTorch is not welcome."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.engine import EngineOptions, Provider, check_camera, check_size
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.utils.cache_folder import cache_folder
from querydiff_core.utils.file_hash import file_hash

PROVIDERS: Mapping[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

SHRINKS_RIGHT = (1, 27)
"""The first ONNX Runtime whose antialiased bilinear Resize is right on GPUs. Before, the first of its two passes is run
for as many values as the result has, which are fewer than it must write where images shrink."""

SLOWER = ["SkipLayerNormFusion"]
"""Optimisations that make the CPU slower: the fused operator takes six times as long as an Add and a normalisation."""


class OnnxRuntimeEngine:
    """Run an exported `.onnx` file: `images` uint8 (B, H, W, 3) to `labels` (B, H, W), and `confidence` if any."""

    name = "onnxruntime"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        provider, self.device = _choose(options)
        session = _open(path, provider, self.device, options)
        self._session: onnxruntime.InferenceSession | None = session
        self.metadata = _read_metadata(session, path)
        check_size(path, self.metadata, options.size)
        if self.metadata.precision == "int8":
            _check_int8(path, provider)
        if self.device != "cpu":
            _check_resizing(path, self.metadata)
        self._outputs = _check_interface(path, session)
        self.has_confidence = len(self._outputs) == 2
        if PROVIDERS[provider] not in session.get_providers():
            raise QueryDiffError(
                f"ONNX Runtime could not start its {provider} provider for {path} and would run on the CPU instead: "
                "check the driver and the provider's libraries, or use device cpu."
            )
        session.disable_fallback()  # a provider that fails later is an error too, not a slow success

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return labels and confidence, uint8 `(B, H, W)`, None without one, of uint8 RGB `images` `(B, H, W, 3)`.

        Raises:
            QueryDiffError: if the images are not of the size that is built in, or memory runs out.
        """
        if self._session is None:
            raise QueryDiffError("The engine is closed.")
        check_camera(self.metadata, images)
        size = "x".join(map(str, images.shape[:3]))
        # ONNX Runtime raises a family of its own without a common base.
        with explained(f"ONNX Runtime failed on images of {size}: {{reason}}.", Exception, only=0):
            results = self._session.run(self._outputs, {"images": np.ascontiguousarray(images)})
        return results[0], results[1] if self.has_confidence else None

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _check_int8(path: Path, provider: Provider) -> None:
    if provider != "cpu":
        raise QueryDiffError(
            f"{path} was exported in int8, which is for CPUs: choose provider cpu or openvino, or export it in fp16."
        )
    if not multiplies_int8():
        logging.getLogger(__name__).warning(
            "%s is in int8 and this CPU has no instructions that multiply it (VNNI): it may run no faster than an fp32 "
            "file, and label less well.",
            path,
        )


def _check_resizing(path: Path, metadata: ModelMetadata) -> None:
    """Refuse a GPU where this ONNX Runtime would give the network something else than the camera's image."""
    if metadata.build and metadata.build.camera:  # resized by products of matrices
        return
    version = onnxruntime.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < SHRINKS_RIGHT:
        raise QueryDiffError(
            f"ONNX Runtime {version} resizes images wrongly on GPUs, and {path} would label noise: update it to "
            f"{'.'.join(map(str, SHRINKS_RIGHT))} or newer, export the file with --camera, or use device cpu."
        )


def multiplies_int8() -> bool:
    """Return whether the CPU has instructions for sums of products of bytes; True where the system does not say."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return True
    return not words.isdisjoint({"avx512_vnni", "avx_vnni", "asimddp"})


def _check_interface(path: Path, session: onnxruntime.InferenceSession) -> list[str]:
    """Return the names of the outputs: labels, and confidence unless it was left out."""
    found = [f"{v.name} {v.type}" for v in (*session.get_inputs(), *session.get_outputs())]
    expected = [f"{name} tensor(uint8)" for name in ("images", "labels", "confidence")]
    if found not in (expected, expected[:2]):
        raise QueryDiffError(f"{path}: expected {', '.join(expected)}; found {', '.join(found)}: export it again.")
    return [output.name for output in session.get_outputs()]


def _read_metadata(session: onnxruntime.InferenceSession, path: Path) -> ModelMetadata:
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise QueryDiffError(f"{path} has damaged metadata, which is no text: export it again.") from error
    return ModelMetadata.from_json(text, path)


def _open(path: Path, provider: Provider, device: str, options: EngineOptions) -> onnxruntime.InferenceSession:
    index = device.partition(":")[2]
    chosen: list[tuple[str, dict[str, Any]]] = []
    if provider == "tensorrt":
        chosen.append((PROVIDERS["tensorrt"], _tensorrt_options(path, index)))
    if provider in ("tensorrt", "cuda"):  # CUDA takes what TensorRT cannot build
        chosen.append((PROVIDERS["cuda"], {"device_id": index}))
    return _start(path, _session_options(options.threads), [*chosen, (PROVIDERS["cpu"], {})])


def _start(
    path: Path, options: onnxruntime.SessionOptions, providers: list[tuple[str, dict[str, Any]]]
) -> onnxruntime.InferenceSession:
    with explained(f"{path} is not a readable ONNX model: {{reason}}.", Exception, only=0):
        return onnxruntime.InferenceSession(path, options, providers=providers, disabled_optimizers=SLOWER)


def _choose(options: EngineOptions) -> tuple[Provider, str]:
    """Return the provider and the device, "cpu" or "cuda:N"."""
    here = onnxruntime.get_available_providers()
    provider = options.provider
    if provider == "auto":
        cuda = options.device.startswith("cuda") or (options.device == "auto" and PROVIDERS["cuda"] in here)
        provider = "cuda" if cuda else "cpu"
    if PROVIDERS[provider] not in here:
        names = [name for name, long_name in PROVIDERS.items() if long_name in here]
        raise QueryDiffError(
            f"device {options.device} with provider {options.provider} needs ONNX Runtime's {PROVIDERS[provider]}, and "
            f"this one has {', '.join(names)}: pip install onnxruntime-gpu in place of onnxruntime, or choose another."
        )
    on_gpu = provider in ("cuda", "tensorrt")
    if (on_gpu and options.device == "cpu") or (not on_gpu and options.device.startswith("cuda")):
        raise QueryDiffError(
            f"provider {provider} runs on {'a GPU' if on_gpu else 'the CPU'}, but device is {options.device}."
        )
    return provider, f"cuda:{options.device.partition(':')[2] or 0}" if on_gpu else "cpu"


def _tensorrt_options(path: Path, index: str) -> dict[str, Any]:
    """Half precision where the file is in half precision, and engines that are built once for each size of images.

    ONNX Runtime names an engine in its cache by the model's file name, its tensors' names, the GPU and TensorRT's
    version, but not by its weights: each file has a folder of its own.
    """
    timings, engines = (cache_folder(f"onnxruntime_tensorrt/{name}") for name in ("timings", file_hash(path)[:16]))
    return {
        "device_id": index,
        "trt_fp16_enable": read_onnx(path)[0].precision == "fp16",
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(timings),
    }


def read_onnx(path: Path) -> tuple[ModelMetadata, list[str]]:
    """Return what an exported file says of itself, and the names of its outputs: labels, and confidence if any.

    Raises:
        QueryDiffError: if it is damaged, foreign, or its data lies outside its folder.
    """
    unoptimised = _session_options(None)
    unoptimised.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _start(path, unoptimised, [(PROVIDERS["cpu"], {})])
    return _read_metadata(session, path), _check_interface(path, session)


def _session_options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors reach the user as exceptions, warnings are not theirs to act on
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle cores belong to the other nodes
    return options
