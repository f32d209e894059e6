"""Count the labelled pixels of each class in each image, once: the count is kept."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import numpy as np

from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.parallel import each
from querydiff_core.utils.terminal import tracked


def class_pixels(pairs: LabelledPairs, *, workers: int = 0, cache: Path | None = None) -> np.ndarray:
    """Return the labelled pixels by image and class, int64 `(N, 19)`; images without labels have none.

    Args:
        pairs: what to count.
        workers: threads that decode; 0 is none beside this one.
        cache: folder to keep the counts in, under a name made of the files, their sizes and times, and the mapping.

    Raises:
        QueryDiffError: if a label file cannot be decoded.
    """
    kept = None if cache is None else cache / f"class_pixels_{_fingerprint(pairs)}.npy"
    if kept is not None and (counts := _read(kept, len(pairs))) is not None:
        return counts

    def count(index: int) -> np.ndarray:
        labels = pairs.labels(index)
        return np.zeros(len(cityscapes()), np.int64) if labels is None else count_classes(labels)

    rows = list(tracked(each(count, range(len(pairs)), workers), "counting classes", len(pairs)))
    counts = np.stack(rows) if rows else np.zeros((0, len(cityscapes())), np.int64)
    if kept is not None:
        _keep(kept, counts)
    return counts


def count_classes(labels: np.ndarray) -> np.ndarray:
    """Return the pixels of each class in uint8 trainIds `(H, W)`, int64 `(19,)`."""
    return np.bincount(labels.ravel(), minlength=256)[: len(cityscapes())]


def _fingerprint(pairs: LabelledPairs) -> str:
    digest = hashlib.sha256(pairs.mapping.table.tobytes())
    digest.update(repr((pairs.mapping.colors, pairs.mapping.first_channel)).encode())
    for _, labels in pairs.pairs:
        with explained(f"{labels} cannot be read: {{reason}}.", OSError):
            status = None if labels is None else labels.stat()
        size_and_time = status and (status.st_size, status.st_mtime_ns)
        digest.update(os.fsencode(f"{labels and labels.absolute()} {size_and_time}\n"))
    return digest.hexdigest()[:24]


def _keep(file: Path, counts: np.ndarray) -> None:
    """Write the counts; a disk that refuses them costs another count next time, not the run."""
    try:
        with atomic_file(file) as temporary:
            np.save(temporary, counts)
    except (QueryDiffError, OSError) as error:
        logging.getLogger(__name__).warning("The class counts are not kept: %s", error)


def _read(file: Path, images: int) -> np.ndarray | None:
    """Return the kept counts; None where there are none that can be used."""
    try:
        counts = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return counts if counts.shape == (images, len(cityscapes())) else None
