"""What others have published: reference rows that this project did not measure."""

from __future__ import annotations

from typing import NamedTuple

COLUMNS = ("G→C", "G→B", "G→M", "C→B", "C→M", "fog", "night", "rain", "snow")
"""Trained on → tested on: G GTA5, C Cityscapes, B BDD100K, M Mapillary. The weather is ACDC's."""

NOTE = (
    "Published by the methods' authors and collected in docs/method.md, section 7; not measured by this project. "
    "mIoU, %; G GTA5, C Cityscapes, B BDD100K, M Mapillary: trained on → tested on; fog, night, rain, snow: ACDC. "
    "QPrompt-R1 (ICLR 2026, DINOv2-L) publishes a mean of three of 64.1 at 54 frames a second on an RTX 4090."
)


class Published(NamedTuple):
    """A method's published mIoU in percent by column of `COLUMNS`; None where nothing is published."""

    method: str
    backbone: str
    miou: tuple[float | None, ...]


_GAPS = (None,) * 4

PUBLISHED = (
    Published("DIDEX", "RN101", (52.4, 40.9, 49.2, None, None, *_GAPS)),
    Published("QueryDiff", "RN50", (52.5, 49.2, 53.3, 53.7, 64.1, 59.5, 37.4, 58.2, 60.1)),
    Published("DGInStyle", "MiT-B5", (58.6, 52.3, 62.5, 58.8, 68.0, *_GAPS)),
    Published("QueryDiff", "MiT-B5", (61.9, 55.4, 63.2, 61.9, 70.7, 73.1, 53.9, 72.9, 70.7)),
    Published("Rein", "DINOv2-L", (66.4, 60.4, 66.1, 63.5, 74.0, 76.4, 70.6, 78.2, 79.5)),
    Published("QueryDiff", "DINOv2-L", (69.1, 62.3, 68.6, 66.1, 75.9, 78.5, 72.5, 82.3, 82.4)),
    Published("SoMA (CVPR 2025)", "DINOv2-L", (71.8, 61.3, 71.7, 67.0, 76.5, *_GAPS)),
    Published("RecycleLoRA (CVPR 2026 Findings)", "DINOv2-L", (73.0, 61.8, 72.1, 66.7, 77.5, *_GAPS)),
)
