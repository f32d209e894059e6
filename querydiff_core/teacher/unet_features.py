"""Activations of a diffusion UNet's up blocks, computed without anything past the last of them (Eq. 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from diffusers.models import UNet2DConditionModel
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError

# The semantic middle of the UNet: 16 x 16 and 32 x 32 cells of a 512 x 512 image.
DEFAULT_FEATURES = ("up_blocks.1.resnets.2", "up_blocks.2.resnets.2")


class UNetFeatures(nn.Module):
    """Run a UNet up to the last of the named activations and return them.

    What never runs is removed from `unet`: its memory is free, and compilers see a smaller network.

    Args:
        unet: of Stable Diffusion; it is changed.
        names: module paths such as `up_blocks.1.resnets.2`, `up_blocks.2.attentions.0` or `up_blocks.1` (a whole block,
            upsampled), in the order in which the activations are wanted.

    Raises:
        QueryDiffError: for no name, a name twice, or one that the UNet does not have.
    """

    def __init__(self, unet: UNet2DConditionModel, names: Sequence[str]) -> None:
        super().__init__()
        channels = feature_channels(unet)
        _check_names(names, list(channels))
        self.names = tuple(names)
        self.channels = tuple(channels[name] for name in names)
        self.unet = unet
        self._outputs: dict[str, Tensor] = {}
        for name in names:
            unet.get_submodule(name).register_forward_hook(partial(self._keep, name))
        _remove_after(unet, max(names, key=list(channels).index))

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor) -> list[Tensor]:
        """Return `(B, c_j, h_j, w_j)` of each name.

        Args:
            latents: noised, `(B, 4, h, w)`.
            timesteps: `(B,)`.
            text: embedding `(B, n, d)`.
        """
        self.unet(latents, timesteps, text, return_dict=False)
        return [self._outputs.pop(name) for name in self.names]

    def _keep(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Tensor | tuple[Tensor]) -> None:
        self._outputs[name] = output[0] if isinstance(output, tuple) else output  # attentions return a tuple of one


def feature_channels(unet: UNet2DConditionModel) -> dict[str, int]:
    """Return the names that a feature can have and their channels, in the order in which they are computed."""
    channels: dict[str, int] = {}
    blocks: Iterable[Any] = unet.up_blocks
    for i, block in enumerate(blocks):
        attentions = getattr(block, "attentions", ())  # blocks of ResNets alone have no such attribute
        for j, resnet in enumerate(block.resnets):
            channels[f"up_blocks.{i}.resnets.{j}"] = resnet.out_channels
            if j < len(attentions):
                channels[f"up_blocks.{i}.attentions.{j}"] = attentions[j].out_channels
        channels[f"up_blocks.{i}"] = block.resnets[-1].out_channels
    return channels


def _check_names(names: Sequence[str], available: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise QueryDiffError(f"The teacher's features must be one or more different names, not {list(names)}.")
    for name in names:
        if name not in available:
            raise QueryDiffError(
                f"The teacher's UNet has no feature {name!r}: choose among {', '.join(sorted(available))}."
            )


def _remove_after(unet: UNet2DConditionModel, last: str) -> None:
    """Remove from a UNet what runs after the named module; what it returns then has no meaning."""
    block_index, *within = last.removeprefix("up_blocks.").split(".")
    unet.up_blocks = unet.up_blocks[: int(block_index) + 1]
    unet.register_module("conv_norm_out", None)
    unet.register_module("conv_out", nn.Identity())
    if within:
        kind, index = within[0], int(within[1])
        _remove_within(unet.up_blocks[-1], index, keep_attention=kind == "attentions")


def _remove_within(block: Any, index: int, keep_attention: bool) -> None:
    # Skip connections are taken from the end of a list, so the first ResNets keep theirs when later ones are gone.
    block.resnets = block.resnets[: index + 1]
    block.upsamplers = None
    if hasattr(block, "attentions"):
        attentions = list(block.attentions[: index + 1])
        block.attentions = nn.ModuleList(attentions if keep_attention else [*attentions[:-1], _NoAttention()])


class _NoAttention(nn.Module):
    """Stand where an attention was, as blocks walk through ResNets and attentions in pairs."""

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor]:
        return (hidden_states,)
