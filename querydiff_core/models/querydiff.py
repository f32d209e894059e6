"""The student: the network that is trained and that runs on the robot (docs/method.md, sections 1 and 4)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from querydiff_core.models.backbone import Backbone


class QueryDiffOutput(NamedTuple):
    """What the student predicts for a batch, at 1/4 scale (h, w); the last decoder layer comes last.

    Attributes:
        masks: mask logits `(B, r, h, w)` of each decoder layer (outside training: of the last only).
        classes: class logits `(B, r, classes + 1)` of the same layers; the last class is `no object`.
        agent_queries: `(B, r, c)`.
        pixel_logits: `(B, classes, h, w)` of the auxiliary head; None outside training or without that head.
    """

    masks: list[Tensor]
    classes: list[Tensor]
    agent_queries: Tensor
    pixel_logits: Tensor | None


class QueryDiff(nn.Module):
    """Segment images by agent queries.

    Args:
        backbone: images to four feature maps.
        agent_queries: the backbone's maps to `(B, r, c)`: `AgentQueries`, or `LearnedQueries` as a baseline.
        pixel_decoder: the backbone's maps, agent queries and refinements to a mask feature and three refined maps of c
            channels: `PixelDecoder` or `PyramidDecoder`.
        refinements: of the maps, in the order that the pixel decoder asks for.
        mask_decoder: agent queries, mask feature and maps to masks and classes.
        pixel_head: mask feature to class logits, for training alone.
        variant: name in `querydiff_core.models.variants.VARIANTS`.
        config: what `build_model(variant, **config)` needs to build this model again; JSON can hold it.
    """

    def __init__(
        self,
        backbone: Backbone,
        agent_queries: nn.Module,
        pixel_decoder: nn.Module,
        refinements: Sequence[nn.Module],
        mask_decoder: nn.Module,
        pixel_head: nn.Module | None = None,
        *,
        variant: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.config = dict(config or {})
        self.backbone = backbone
        self.agent_queries = agent_queries
        self.pixel_decoder: Any = pixel_decoder
        self.refinements = nn.ModuleList(refinements)
        self.mask_decoder = mask_decoder
        self.pixel_head = pixel_head

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean that the images are normalised with, for RGB in 0..1."""
        return self.backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation that the images are normalised with, for RGB in 0..1."""
        return self.backbone.std

    def forward(self, images: Tensor) -> QueryDiffOutput:
        """Segment normalised images `(B, 3, H, W)`."""
        features = self.backbone(images)
        queries = self.agent_queries(features)  # (B, r, c)
        mask_feature, maps = self.pixel_decoder(features, queries, self.refinements)
        masks, classes = self.mask_decoder(queries, mask_feature, maps)
        pixel_logits = self.pixel_head(mask_feature) if self.training and self.pixel_head is not None else None
        return QueryDiffOutput(masks, classes, queries, pixel_logits)

    def pixel_path(self, images: Tensor) -> Tensor:
        """Return class logits `(B, classes, H/4, W/4)` of the auxiliary head, without running the mask decoder.

        It trains all but the mask decoder and the refinements of its three maps at a fraction of the cost of a full
        step. The model must have its auxiliary head.
        """
        if self.pixel_head is None:
            raise RuntimeError("The pixel path needs a model built with auxiliary_head=True.")
        features = self.backbone(images)
        queries = self.agent_queries(features)
        return self.pixel_head(self.pixel_decoder.mask_feature(features, queries, self.refinements))


def semantic_probabilities(output: QueryDiffOutput) -> Tensor:
    """Return class scores `(B, classes, h, w)`: the sum over queries of class probability times mask probability.

    They are not negative and need not sum to 1 over the classes. `no object` has no part in them. In memory the classes
    lie last, where they are enlarged and compared fastest.
    """
    classes = output.classes[-1].softmax(-1)[..., :-1]  # (B, r, classes)
    masks = output.masks[-1].sigmoid()  # (B, r, h, w)
    scores = masks.flatten(2).transpose(1, 2) @ classes  # (B, h w, classes)
    return scores.unflatten(1, masks.shape[-2:]).permute(0, 3, 1, 2)
