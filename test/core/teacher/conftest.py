"""The teacher, images and noise that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from teachers import SIZE, write_tiny_teacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    return torch.randn(2, 4, SIZE[0] // 8, SIZE[1] // 8, generator=torch.Generator().manual_seed(2))
