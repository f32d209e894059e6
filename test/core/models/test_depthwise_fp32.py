import copy

import torch
from torch import nn

from querydiff_core.models.depthwise_fp32 import keep_depthwise_in_fp32


def test_depthwise_convolutions_compute_in_fp32_and_the_others_in_bf16():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    images = torch.randn(1, 8, 16, 16)
    exact = model[0](images)
    keep_depthwise_in_fp32(model)
    with torch.autocast("cpu", torch.bfloat16):
        found, after = model[0](images), model(images)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)
    assert after.dtype == torch.bfloat16


def test_a_copy_computes_with_its_own_weights():
    model = nn.Conv2d(8, 8, 3, groups=8, bias=False)
    keep_depthwise_in_fp32(model)
    average = copy.deepcopy(model)
    with torch.no_grad():
        average.weight.zero_()
    images = torch.randn(1, 8, 16, 16)
    assert average(images).abs().max() == 0
    assert model(images).abs().max() > 0.1
