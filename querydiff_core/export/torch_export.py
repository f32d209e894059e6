"""Write a checkpoint as a `.pt2` package: `torch.export`, then AOTInductor to a shared library."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from querydiff_core.errors import explained
from querydiff_core.export.traced_program import check_precision, trace
from querydiff_core.inference.archive import add_metadata
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.utils.quiet import quiet

THREADS = {"cpp.dynamic_threads": True, "cpp.threads": 16}
"""Inductor's options by which whoever opens a package says how many threads it has, not the process that exports it.

`cpp.threads` is then a mere hint of how many loops to share out: above the batch that is traced, or single images would
get one thread."""


def write_package(graph: nn.Module, metadata: ModelMetadata, path: Path) -> None:
    """Compile `graph` for this machine's CPU or GPU, with the sizes in `metadata.build`.

    Raises:
        QueryDiffError: if there is no compiler, or it fails.
    """
    build = metadata.build
    assert build is not None
    program = trace(graph, build.batch, build.camera, build.device)
    check_precision(program, build.precision)
    failed = (
        "AOTInductor could not compile the graph ({reason}): it needs g++ and Python's headers for a CPU, Triton for a "
        "GPU."
    )
    # Inductor's errors have no common base; those of the compiler are hundreds of lines.
    with explained(failed, Exception, only=0), quiet(), torch._inductor.config.patch(THREADS):
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    add_metadata(path, metadata)
