"""Train a network and keep the moving average of its weights, in a state that can be put down and taken up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file

WARM_UP = 100  # steps of linear warm-up
DECAY = 0.999  # of the average; it is shorter in the beginning, (1 + step) / (10 + step)
LARGEST_GRADIENT = 1.0  # norm


class AveragedTraining:
    """AdamW with warm-up and a constant rate, clipped gradients, and the average of the weights.

    Args:
        network: what to train; its parameters are changed in place.
        learning_rate: after the warm-up.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self.network = network
        self.learning_rate = learning_rate
        self.step = 0
        self._parameters = list(network.parameters())
        self._optimizer = torch.optim.AdamW(self._parameters, learning_rate, fused=True)
        self._average = EMAModel(self._parameters, decay=DECAY, foreach=True)

    def descend(self, loss: Tensor) -> bool:
        """Do one step down `loss`; return False and change nothing if the gradient is not finite."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate * min(1.0, (self.step + 1) / WARM_UP)
        self._optimizer.zero_grad()
        loss.backward()
        if not nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT).isfinite():
            return False
        self._optimizer.step()
        self._average.step(self._parameters)
        self.step += 1
        return True

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have its averaged weights, in evaluation mode, for a while."""
        self._average.store(self._parameters)
        self._average.copy_to(self._parameters)
        self.network.eval()
        try:
            yield
        finally:
            self.network.train()
            self._average.restore(self._parameters)

    def keep_average(self) -> None:
        """Give the network its averaged weights for good."""
        self._average.copy_to(self._parameters)
        self.network.eval()

    def save(self, path: Path) -> None:
        """Write weights, average and optimiser as one safetensors file, whole or not at all."""
        tensors = {
            name: tensor.detach().contiguous()
            for values in (self._weights(), self._averages(), self._moments())
            for name, tensor in values.items()
        }
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, metadata={"step": str(self.step)})

    def load(self, path: Path) -> None:
        """Take up the state at `path`.

        Raises:
            QueryDiffError: if it is damaged or of another network.
        """
        try:
            with safe_open(path, framework="pt") as file:
                self.step = int(file.metadata()["step"])
                saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not iterable itself)
            self._take_up(saved)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise QueryDiffError(
                f"{path} cannot be read as the state of this training ({error}): begin anew with --no-resume."
            ) from error

    def _take_up(self, saved: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for values in (self._weights(), self._averages()):
                for name, tensor in values.items():
                    tensor.copy_(saved[name])
        self._average.optimization_step = self.step
        if self.step:
            moments = {
                i: {key: saved[f"optimizer.{i}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
                for i in range(len(self._parameters))
            }
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _weights(self) -> dict[str, Tensor]:
        return {f"weight.{i}": parameter for i, parameter in enumerate(self._parameters)}

    def _averages(self) -> dict[str, Tensor]:
        return {f"average.{i}": average for i, average in enumerate(self._average.shadow_params)}

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"optimizer.{i}.{key}": value
            for i, state in self._optimizer.state_dict()["state"].items()
            for key, value in state.items()
        }
