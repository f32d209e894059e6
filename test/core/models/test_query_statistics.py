"""What says whether queries carry the image, on queries whose composition is known."""

import pytest
import torch

from querydiff_core.models.query_statistics import BetweenImages, perplexity_share


@pytest.mark.parametrize(("slots", "images", "share"), [(2.0, 1.0, 0.2), (1.0, 0.0, 0.0), (0.0, 1.0, 1.0)])
def test_the_share_between_images_is_that_of_the_variances(slots: float, images: float, share: float) -> None:
    torch.manual_seed(0)
    constant = 5 + slots * torch.randn(1, 200, 16)
    between = BetweenImages()
    for _ in range(4):  # batch by batch
        between.update(constant + images * torch.randn(50, 200, 16))
    assert between.share() == pytest.approx(share, abs=0.01)
    torch.testing.assert_close(between.mean.float(), constant[0], atol=0.4, rtol=0)


def test_perplexity_counts_what_is_attended_to() -> None:
    attention = torch.zeros(2, 3, 8)
    attention[0, :, 2] = 1  # one of eight
    attention[1, :, :4] = 0.25  # four of eight
    assert perplexity_share(attention[0]) == pytest.approx(1 / 8)
    assert perplexity_share(attention[1]) == pytest.approx(4 / 8)
    assert perplexity_share(attention) == pytest.approx((1 / 8 + 4 / 8) / 2)
