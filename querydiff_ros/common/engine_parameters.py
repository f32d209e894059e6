"""The options of an engine as parameters of a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.engine import EngineOptions, Provider
from querydiff_ros.common.node_parameters import parameter


@dataclass(frozen=True)
class EngineParameters:
    """Which model a node runs, and how."""

    engine: str = parameter(
        "", "Exported engine (.onnx, .pt2, .engine) or checkpoint (.safetensors). Empty: the default that is shipped."
    )
    device: str = parameter("auto", "Where the engine runs: auto, cpu, cuda or cuda:N.")
    provider: str = parameter(
        "auto",
        "What runs .onnx engines: ONNX Runtime's cpu, cuda or tensorrt, or openvino. auto: the device's own.",
        one_of=get_args(Provider),
    )
    cuda_graphs: bool = parameter(False, "Whether .pt2 and .engine engines on a GPU are replayed as CUDA graphs.")
    fallback: bool = parameter(
        False,
        "Whether the checkpoint runs that a .pt2 or .engine file names, where the file does not fit this machine.",
    )
    threads: int = parameter(0, "CPU threads of the engine. 0: the engine's own choice.", between=(0, 1024))
    window: int = parameter(0, "Side of the sliding window in pixels. 0: the whole image at once.", between=(0, 8192))
    stride: int = parameter(0, "Step of the sliding window in pixels. 0: two thirds of window.", between=(0, 8192))

    def __post_init__(self) -> None:
        if self.stride > self.window:
            raise QueryDiffError(
                f"Parameter stride is {self.stride}, but window is {self.window}: a stride must not exceed its window."
            )

    @property
    def engine_options(self) -> EngineOptions:
        """Return what they say of the model and how it runs."""
        return EngineOptions(
            model=self.engine,
            device=self.device,
            threads=self.threads or None,
            provider=cast(Provider, self.provider),  # checked when it was read
            cuda_graphs=self.cuda_graphs,
            fallback=self.fallback,
            window=self.window or None,
            stride=self.stride or None,
        )


def engine_parameters(options: EngineOptions) -> dict[str, object]:
    """Return `options` as parameters of the node; `size`, which only checkpoints take, is none of them."""
    return {
        "engine": str(options.file.resolve()) if options.model else "",
        "device": options.device,
        "threads": options.threads or 0,
        "provider": options.provider,
        "cuda_graphs": options.cuda_graphs,
        "fallback": options.fallback,
        "window": options.window or 0,
        "stride": options.stride or 0,
    }
