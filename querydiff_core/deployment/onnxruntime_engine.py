"""ONNX Runtime: the default engine, on CPUs and wherever PyTorch is not welcome."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from querydiff_core.deployment.engine import EngineOptions
from querydiff_core.deployment.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.errors import QueryDiffError


class OnnxRuntimeEngine:
    """Run an exported `.onnx` file: input `images` uint8 (B, H, W, 3), outputs `labels` and `confidence` (B, H, W)."""

    name = "onnxruntime"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        providers, self.device = _providers(options.device)
        try:
            session = onnxruntime.InferenceSession(path, _session_options(options.threads), providers=providers)
        except Exception as error:  # ONNX Runtime raises a family of its own without a common base
            raise QueryDiffError(f"{path} is not a readable ONNX model: {_first_line(error)}") from error
        self._session: onnxruntime.InferenceSession | None = session
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.metadata = ModelMetadata.from_json(text, path)
        self._check_size(path, options.size)
        _check_interface(path, session)
        if self.device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
            raise QueryDiffError(
                f"ONNX Runtime could not start its CUDA provider for {path} and would run on the CPU instead: "
                "check the driver and the CUDA libraries, or use device cpu."
            )

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""
        if self._session is None:
            raise QueryDiffError("The engine is closed.")
        labels, confidence = self._session.run(["labels", "confidence"], {"images": np.ascontiguousarray(images)})
        return labels, confidence

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def _check_size(self, path: Path, size: tuple[int, int] | None) -> None:
        if size is not None and tuple(size) != self.metadata.input_size:
            built = "x".join(map(str, self.metadata.input_size))
            raise QueryDiffError(f"{path} is built for a network input of {built}: export it again for another size.")


def _check_interface(path: Path, session: onnxruntime.InferenceSession) -> None:
    found = [f"{v.name} {v.type}" for v in (*session.get_inputs(), *session.get_outputs())]
    expected = [f"{name} tensor(uint8)" for name in ("images", "labels", "confidence")]
    if found != expected:
        raise QueryDiffError(f"{path}: expected {', '.join(expected)}; found {', '.join(found)}: export it again.")


def _providers(device: str) -> tuple[list[str], str]:
    available = onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and "CUDAExecutionProvider" not in available):
        return ["CPUExecutionProvider"], "cpu"
    if "CUDAExecutionProvider" not in available:
        raise QueryDiffError(
            f"device {device} needs ONNX Runtime's CUDA provider and this one has {', '.join(available)}: "
            "install onnxruntime-gpu or use device cpu."
        )
    index = device.partition(":")[2] or "0"
    return [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"], f"cuda:{index}"  # type: ignore[list-item]


def _session_options(threads: int | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors reach the user as exceptions, warnings are not theirs to act on
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle cores belong to the other nodes
    return options


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
