"""The reader of any folder of images and folder of labels, described by a label mapping."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.labelled_folder import IMAGE_ENDINGS, LABEL_ENDINGS
from querydiff_core.data.pairing import NamedFiles
from querydiff_core.label_space import LabelMapping, label_mapping


class Folder(DataSet):
    """Folders of yours; values outside the map are an error, since the map is yours too."""

    name = "folder"
    title = "Any folder of images and folder of labels"
    layout = """\
images/**/*.{png,jpg,...}
labels/**/*.png
or <split>/images and <split>/labels, or images/<split> and labels/<split>"""
    source = "your own"
    terms = "yours"
    mapping_name = "train_ids"
    refuses_values_outside = True

    def __init__(self, mapping: str | None = None) -> None:
        """Take the bundled mapping of that name or a YAML file; by default labels are trainIds."""
        self._mapping = label_mapping(mapping or self.mapping_name)

    def mapping(self, root: Path) -> LabelMapping:
        """Return the mapping that was given."""
        return self._mapping

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the two folders that the mapping names."""
        base, inner = (root / split, "") if (root / split / self._mapping.images).is_dir() else (root, split)
        images, labels = base / self._mapping.images / inner, base / self._mapping.labels / inner
        unlabelled = not (base / self._mapping.labels).is_dir()
        return [Part(NamedFiles(images, IMAGE_ENDINGS), None if unlabelled else NamedFiles(labels, LABEL_ENDINGS))]

    def _known_split(self, split: str | None) -> str:
        return split or ""
