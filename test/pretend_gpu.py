"""A GPU for machines that have none: tensors on "cuda:0" whose values lie on the CPU, and what a real one refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
TAKE_BOTH = {"_to_copy", "copy_", "index", "index_put", "index_put_"}
"""Operators that take tensors of the CPU beside those of a GPU; numbers (tensors without dimension) may go anywhere."""
ONE_TYPE = {"convolution", "mm", "bmm", "addmm", "baddbmm"}
"""Operators whose tensors must have one type; the CPU's are as strict, but for some."""


class OnGpu(Tensor):
    """A tensor that says it is on the GPU."""

    values: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> OnGpu:
        """Wrap `values`, a tensor of the CPU."""
        layout = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        tensor = Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype, device=GPU, **layout)
        tensor.values = values
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operator: Any, _: Any, args: Any = (), named: Any = None) -> Any:
        return PretendGpu.run(operator, args, named or {}, [])

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.values!r})"

    def tolist(self) -> Any:
        """Return the values, which PyTorch would look for in memory that is not there."""
        return self.values.tolist()


class PretendGpu(TorchDispatchMode):
    """Let operators run on this GPU.

    Attributes:
        uploads: what copied a tensor from the CPU to the GPU, operator by operator: there the CPU waits for the GPU.
    """

    _mode_key = torch._C._TorchDispatchModeKey.FAKE  # PyTorch then starts no driver where a device is named

    def __init__(self) -> None:
        super().__init__()
        self.uploads: list[str] = []

    def __torch_dispatch__(self, operator: Any, _: Any, args: Any = (), named: Any = None) -> Any:
        return self.run(operator, args, named or {}, self.uploads)

    @staticmethod
    def run(operator: Any, args: Any, named: dict[str, Any], uploads: list[str]) -> Any:
        """Run an operator on the values, and let its results be where a GPU would leave them."""
        name = operator.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
        other = [tensor for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.dim()]
        if here and other and name not in TAKE_BOTH:
            raise RuntimeError(f"Expected all tensors to be on the same device: {operator} takes both, {GPU} and cpu.")
        if name in ONE_TYPE and len({tensor.dtype for tensor in tensors}) > 1:
            raise RuntimeError(f"Expected all tensors to have the same type: {operator}.")
        device = named.get("device")
        goes_here = isinstance(args[0], OnGpu) if name == "copy_" else bool(here)
        if device is not None:
            goes_here, named = torch.device(device).type == "cuda", {**named, "device": torch.device("cpu")}
        if goes_here and other and name in ("_to_copy", "copy_"):
            uploads.append(f"{operator} {tuple(other[0].shape)}")
        by_values = {id(tensor.values): tensor for tensor in here}  # in place, the tensor itself comes back
        result = operator(*tree_map(_values, args), **tree_map(_values, named))
        return tree_map(
            lambda each: by_values.get(id(each), OnGpu(each)) if _is_plain(each, goes_here) else each, result
        )


@contextmanager
def pretend_gpu() -> Iterator[PretendGpu]:
    """Run the block with a GPU, to which modules and tensors move by `to("cuda:0")`; there is no backward pass."""
    generator = type("Generator", (), {"__new__": lambda _, device="cpu": torch._C.Generator("cpu")})
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "Generator", generator))
        stack.enter_context(mock.patch.object(torch.cuda, "get_rng_state"))
        stack.enter_context(mock.patch.object(torch.cuda, "set_rng_state"))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        overwrites, lifts = (
            torch.__future__.get_overwrite_module_params_on_conversion(),
            torch._C._only_lift_cpu_tensors(),
        )
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifts)
        torch._C._ensureCUDADeviceGuardSet()
        yield stack.enter_context(PretendGpu())


@contextmanager
def gpu_autocast(dtype: torch.dtype) -> Iterator[None]:
    """Do as `torch.autocast("cuda", dtype)`, which is switched off where there is no GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def _values(leaf: Any) -> Any:
    return leaf.values if isinstance(leaf, OnGpu) else leaf


def _is_plain(leaf: Any, goes_here: bool) -> bool:
    return goes_here and isinstance(leaf, Tensor) and not isinstance(leaf, OnGpu)
