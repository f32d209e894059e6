"""How many queries a cell's attention (Eq. 8) is spread over after training the consistency loss on made-up features.

Features have 8 kinds of cell, a part that all cells share, and noise; 20 queries, 250 steps of Adam. A spread of 20
means that all queries are alike.

python benchmarks/similarity_softness.py
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from querydiff_core.teacher.consistency_loss import ConsistencyLoss
from querydiff_core.teacher.frozen_teacher import TeacherFeatures

QUERIES, SIZE = 20, (8, 8)


def main() -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    print("| channels | L_sup and L_dist | without scale | L_sup alone | L_dist alone |\n|---|---|---|---|---|")
    for channels in (16, 24, 64, 128, 640):
        both, unscaled = spread(channels), spread(channels, scaled=False)
        sup, dist = spread(channels, distribution_weight=0), spread(channels, supervision_weight=0)
        print(f"| {channels} | {both:.1f} | {unscaled:.1f} | {sup:.1f} | {dist:.1f} |", flush=True)


def spread(channels: int, **options: float) -> float:
    """Return the exponential of the mean entropy of S's rows after training: 1 to `QUERIES`."""
    torch.manual_seed(0)
    features = made_up_features(channels)
    loss = ConsistencyLoss(64, (channels,), **options)
    queries = torch.randn(2, QUERIES, 64, requires_grad=True)
    optimizer = torch.optim.Adam([queries, *loss.parameters()], 3e-3)
    for _ in range(250):
        optimizer.zero_grad()
        loss(queries, features)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        (similarity,) = loss.similarity(queries, features)
    return float(torch.special.entr(similarity).sum(-1).mean().exp())


def made_up_features(channels: int) -> TeacherFeatures:
    kinds = torch.randn(8, channels) + 2 * torch.randn(1, channels)
    cells = torch.arange(2 * SIZE[0] * SIZE[1]).reshape(2, -1) % 8
    weak = kinds[cells] + 0.3 * torch.randn(*cells.shape, channels)
    strong = weak + 0.3 * torch.randn_like(weak)
    return TeacherFeatures([normed(weak)], [normed(strong)], [SIZE])


def normed(features: Tensor) -> Tensor:
    return layer_norm(features, features.shape[-1:])


if __name__ == "__main__":
    main()
