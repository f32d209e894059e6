"""Backbones behind one interface: an image to four feature maps at strides 4, 8, 16 and 32."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import timm
import torch
from timm.models.vision_transformer_sam import Attention as SamAttention
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import SegformerConfig, SegformerModel

from querydiff_core.models.lite_weights import PACKAGES, lite_weights
from querydiff_core.models.rein import Rein, ReinBlock

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# False: random weights; True: the published ones from the network's hub; a path: that file or folder.
Pretrained = bool | str | Path


class Backbone(nn.Module):
    """What every backbone offers.

    Attributes:
        network: the part with pretrained weights; the rest of a backbone starts from scratch.
        channels: of the four maps.
        strides: of the four maps.
        mean, std: normalisation the weights expect, for RGB in 0..1.
    """

    network: Any
    channels: tuple[int, ...]
    strides: tuple[int, ...] = (4, 8, 16, 32)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    frozen: bool = False

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return maps `(B, channels[i], h_i, w_i)` of normalised images `(B, 3, H, W)`.

        h_i is H / strides[i], rounded up by most networks and down by ConvNeXt.
        """
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Return what the pretrained network brings: no projections, none of Rein's tokens."""
        return list(self.network.parameters())

    def freeze(self) -> None:
        """Keep the pretrained network as it is: no gradients, and BatchNorm and dropout in eval mode for good."""
        self.frozen = True
        self.network.requires_grad_(False)
        self.network.eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Switch to training, or out of it; a frozen network stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def checkpoint_gradients(self) -> None:
        """Compute activations a second time in the backward pass instead of keeping them: less memory, more time.

        Gradients stay the same. Running statistics of BatchNorm see each batch twice.
        """
        self.network.set_grad_checkpointing()


class TimmPyramid(Backbone):
    """A timm network that is a pyramid by itself: ResNet, ConvNeXt, MobileNet and the like.

    Args:
        name: timm's name of it.
        pretrained: where its weights come from; a path is a safetensors file of timm's layout.
        options: further arguments of `timm.create_model`.
    """

    def __init__(self, name: str, pretrained: Pretrained = False, **options: Any) -> None:
        super().__init__()
        # The last four of a network's maps are those at strides 4 to 32.
        self.network = create_timm(name, pretrained, options, features_only=True, out_indices=(-4, -3, -2, -1))
        self.channels = tuple(self.network.feature_info.channels())
        self.mean, self.std = normalisation(self.network)
        self.reins = nn.ModuleList()  # one for each map, with `add_rein`

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the network's four maps."""
        maps: list[Tensor] = self.network(images)
        if not self.reins:
            return maps
        pixels = [rein(each.permute(0, 2, 3, 1), 0) for rein, each in zip(self.reins, maps, strict=True)]
        return [each.permute(0, 3, 1, 2) for each in pixels]

    def add_rein(self, tokens: int = 100, rank: int = 16) -> None:
        """Freeze the network and let a Rein of its own width refine each of the four maps, which have several widths.

        This is Rein in style: the frozen stages do not read the refined maps, as the blocks of a ViT do.
        """
        self.freeze()
        self.reins.extend(Rein(1, width, tokens, rank) for width in self.channels)

    def token_sets(self) -> list[Tensor]:
        """Return Rein's tokens of each of the four maps, `(m, c_i)`."""
        reins: list[Any] = list(self.reins)
        return [rein.tokens(0) for rein in reins]


class MixTransformer(Backbone):
    """The Mix Transformer of Segformer (MiT-B0 to B5), from transformers.

    Args:
        name: its name on the Hugging Face hub.
        pretrained: where its weights come from; a path is a folder of the hub's layout.
        options: further arguments of `SegformerConfig`, for random weights.
    """

    def __init__(self, name: str, pretrained: Pretrained = False, **options: Any) -> None:
        super().__init__()
        if pretrained is False:
            self.network = SegformerModel(SegformerConfig(**options))
        else:
            self.network = SegformerModel.from_pretrained(name if pretrained is True else pretrained)
        self.channels = tuple(self.network.config.hidden_sizes)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the encoder's four maps."""
        return list(self.network(images, output_hidden_states=True).hidden_states)

    def checkpoint_gradients(self) -> None:
        """Compute activations a second time in the backward pass instead of keeping them: less memory, more time."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # transformers 5 has another name for it, 4 has not
            # The reentrant kind gives no gradients where the input needs none, and images need none.
            self.network.gradient_checkpointing_enable({"use_reentrant": False})


class VisionTransformerPyramid(Backbone):
    """A plain ViT of timm (DINOv2, CLIP, SAM) and a simple pyramid of four evenly spaced blocks.

    Images are resized to the nearest multiple of the patch size, and position embeddings follow. Block i's tokens are
    projected by a 1 x 1 convolution and resized to stride 4, 8, 16 or 32 of the image: early blocks give the fine maps.

    Args:
        name: timm's name of it.
        channels: of each of the four maps.
        pretrained: where its weights come from; a path is a safetensors file of timm's layout.
        options: further arguments of `timm.create_model`.
    """

    rein: Rein  # with `add_rein`

    def __init__(self, name: str, channels: int = 256, pretrained: Pretrained = False, **options: Any) -> None:
        super().__init__()
        self.network = create_timm(name, pretrained, options)
        self.blocks = [len(self.network.blocks) * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        self.network.prune_intermediate_layers(self.blocks, prune_norm=True, prune_head=True)
        for module in self.network.modules():
            if isinstance(module, SamAttention):
                # It has three dimensions, and ONNX's exporter knows four alone.
                module.fused_attn = False  # type: ignore[misc]  # Final means nothing without TorchScript
        self.patch: tuple[int, int] = self.network.patch_embed.patch_size
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(self.network.embed_dim, channels, 1), nn.GroupNorm(32, channels))
            for _ in self.blocks
        )
        self.channels = (channels,) * len(self.blocks)
        self.mean, self.std = normalisation(self.network)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the pyramid's four maps."""
        height, width = images.shape[-2:]
        tokens = self.network.forward_intermediates(self._fit(images), indices=self.blocks, intermediates_only=True)
        return [
            _resize(project(block), -(-height // stride), -(-width // stride))
            for project, block, stride in zip(self.projections, tokens, self.strides, strict=True)
        ]

    def add_rein(self, tokens: int = 100, rank: int = 16, shared: bool = True) -> None:
        """Freeze the network and let Rein refine the patches after every block; the arguments are `Rein`'s."""
        self.freeze()
        self.rein = Rein(len(self.network.blocks), self.network.embed_dim, tokens, rank, shared)
        prefix = getattr(self.network, "num_prefix_tokens", 0)  # SAM's ViT has patches alone
        blocks = enumerate(self.network.blocks)
        self.network.blocks = nn.Sequential(*(ReinBlock(block, self.rein, i, prefix) for i, block in blocks))

    def token_sets(self) -> list[Tensor]:
        """Return Rein's tokens of every block, `(m, c)`."""
        return [self.rein.tokens(layer) for layer in range(self.rein.layers)]

    def _fit(self, images: Tensor) -> Tensor:
        nearest = (
            max(1, round(size / patch)) * patch for size, patch in zip(images.shape[-2:], self.patch, strict=True)
        )
        return _resize(images, *nearest)


def create_timm(name: str, pretrained: Pretrained, options: Mapping[str, Any], **features: Any) -> Any:
    """Create a timm network with random, published or stored weights; `features` say which maps it returns.

    Raises:
        ValueError: if a file lacks weights of the network; timm would leave those random and say nothing.
    """
    if pretrained is True and name in PACKAGES:
        network: Any = timm.create_model(name, **options, **features)
        weights = lite_weights(name, [len(stage) for stage in network.blocks])
        network.load_state_dict({key: weights[key] for key in network.state_dict()})
        return network
    if isinstance(pretrained, bool):
        return timm.create_model(name, pretrained=pretrained, **options, **features)
    with torch.device("meta"):
        needed = set(timm.create_model(name, num_classes=0, **options).state_dict())
    with safetensors.safe_open(pretrained, "pt") as file:
        missing = sorted(needed - set(file.keys()))
    if missing:
        raise ValueError(f"it lacks {len(missing)} of {len(needed)} weights, {missing[0]} for one")
    stored = {"file": str(pretrained)}
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=stored, **options, **features)


def normalisation(network: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that a timm network was trained with, ImageNet's if it records none."""
    recorded = network.pretrained_cfg
    return tuple(recorded.get("mean", IMAGENET_MEAN)), tuple(recorded.get("std", IMAGENET_STD))


def _resize(maps: Tensor, height: int, width: int) -> Tensor:
    if maps.shape[-2:] == (height, width):
        return maps
    return interpolate(maps, (height, width), mode="bilinear", align_corners=False)
