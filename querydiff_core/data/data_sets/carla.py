"""The reader of recordings of CARLA."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles


class Carla(DataSet):
    """Frames of a recording, from CARLA 0.9.14 on; semantic frames hold tags or are painted."""

    name = "carla"
    title = "A recording of CARLA 0.9.14 or later (Dosovitskiy et al., CoRL 2017)"
    layout = """\
rgb/*.{png,jpg}
semantic/*.png"""
    source = "record your own: rgb and semantic frames of one stamp have one name"
    terms = "yours; CARLA's assets are CC BY"
    mapping_name = "carla"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the two folders."""
        return [Part(NamedFiles(root / "rgb"), NamedFiles(root / "semantic", suffixes=(".png",)))]


class Carla0913(Carla):
    """Frames of a recording of CARLA up to 0.9.13, whose tags and colours differ."""

    name = "carla_0_9_13"
    title = "A recording of CARLA up to 0.9.13"
    mapping_name = "carla_0_9_13"
