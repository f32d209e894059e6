"""What can be known of TensorRT without it: names and operators, as torch_tensorrt 2.14 declares them.

`torch_tensorrt_2_14.json` lists the parameters of the functions that are called, the operators that are decomposed or
kept before conversion, and the operators that have a converter ("static": for fixed shapes only; "first output": only
where no other output is used). Tests that build an engine run wherever torch_tensorrt imports.
"""

import dataclasses
import inspect
import json
from collections import Counter

import numpy as np
import pytest
import torch
from paths import REPOSITORY
from students import write_student
from torch._decomp import get_decompositions
from torch._export.utils import _collect_all_valid_cia_ops_for_aten_namespace, _get_decomp_for_cia

from querydiff_core.cli.export import main as export
from querydiff_core.errors import QueryDiffError
from querydiff_core.export.half_precision import in_precision
from querydiff_core.export.parity import bundled_frames
from querydiff_core.export.tensorrt_export import conversion_options, engine_key, load_torch_tensorrt, trace_labels
from querydiff_core.export.traced_program import check_precision
from querydiff_core.inference.build_target import BuildTarget, EngineBuild, target_here
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.build import build_model

FACTS = json.loads((REPOSITORY / "test" / "torch_tensorrt_2_14.json").read_text())
CONVERT = "dynamo.convert_exported_program_to_serialized_trt_engine"
BUILD = EngineBuild("tensorrt", "fp16", (1, 4), device="cuda", target=BuildTarget("GPU A", "9.0", tensorrt="10.1"))
METADATA = ModelMetadata("tiny", (64, 128), (0.5,) * 3, (0.2,) * 3, versions={"torch_tensorrt": "2.14"}, build=BUILD)

try:
    import torch_tensorrt
except ImportError as error:
    torch_tensorrt, WHY = None, str(error)
else:
    WHY = "no GPU"
needs_tensorrt = pytest.mark.skipif(not (torch_tensorrt and torch.cuda.is_available()), reason=f"no TensorRT: {WHY}")


def operator(name):
    """Return the operator, or all its overloads, that `name` such as aten.add.Tensor stands for."""
    found = torch.ops
    for part in name.split("."):
        found = getattr(found, part)
    return found


def lower(program):
    """Decompose operators as torch_tensorrt does before it converts them."""
    kept = {operator(name) for name in FACTS["kept"] if "." in name}
    kept |= {op for op in _collect_all_valid_cia_ops_for_aten_namespace() if "scaled_dot_product" in str(op)}
    table = {op: _get_decomp_for_cia(op) for op in _collect_all_valid_cia_ops_for_aten_namespace()}
    table = {op: function for op, function in table.items() if op not in kept and op.overloadpacket not in kept}
    return program.run_decompositions({**get_decompositions([operator(name) for name in FACTS["decomposed"]]), **table})


def without_converter(program, dynamic):
    """Return the operators that torch_tensorrt could not convert, with how many there are."""
    by_themselves = {*FACTS["lowered"], *FACTS["decomposed_by_torch_tensorrt"]}
    missing = Counter()
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        target = node.target
        name = str(target) if isinstance(target, torch._ops.OpOverload) else f"operator.{target.__name__}"
        if name in by_themselves or name.rpartition(".")[0] in by_themselves:
            continue
        converter = FACTS["converters"].get(name, FACTS["converters"].get(name.rpartition(".")[0], "none"))
        outputs = {user.args[1] for user in node.users if getattr(user.target, "__name__", "") == "getitem"}
        if converter == "none" or (dynamic and "static" in converter) or ("first" in converter and outputs - {0}):
            missing[name] += 1
    return dict(missing)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build_model("tiny").eval()


@pytest.mark.parametrize("batch", [(1, 4), (2, 2)])
def test_every_operator_of_the_graph_has_a_converter(tiny, batch):
    program = lower(trace_labels(SegmentationGraph(tiny, (64, 128)), batch, "cpu"))
    assert without_converter(program, dynamic=batch[0] != batch[1]) == {}
    names = Counter(str(node.target) for node in program.graph.nodes)
    assert names["aten.grid_sampler_2d.default"] > 0  # deformable attention
    assert names["aten.native_group_norm.default"] > 0


def test_an_operator_without_a_converter_is_found():
    class Both(torch.nn.Module):
        def forward(self, images):
            return (*images.max(1), torch.special.bessel_j0(images))

    program = lower(torch.export.export(Both(), (torch.rand(2, 3),)))
    assert without_converter(program, dynamic=False) == {
        "aten.max.dim": 1,
        "aten.special_bessel_j0.default": 1,
    }


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_asserted(precision):
    half = trace_labels(SegmentationGraph(in_precision(build_model("tiny"), precision), (64, 128)), (1, 2), "cpu")
    check_precision(half, precision)
    with pytest.raises(QueryDiffError, match=r"not fp32 throughout: .* computes in torch"):
        check_precision(half, "fp32")


def test_what_torch_tensorrt_is_asked_for_is_in_its_signatures(tmp_path, monkeypatch):
    monkeypatch.setenv("QUERYDIFF_CACHE", str(tmp_path))
    asked = {"arg_inputs", *conversion_options(BUILD)}
    assert asked <= set(FACTS["signatures"][CONVERT])
    assert {"arg_inputs", "dryrun", "min_block_size"} <= set(FACTS["signatures"]["dynamo.compile"])


@pytest.mark.skipif(torch_tensorrt is None, reason=f"no TensorRT: {WHY}")
def test_the_list_is_true_of_the_installed_version():
    for name, parameters in FACTS["signatures"].items():
        function = getattr(torch_tensorrt.dynamo, name.partition(".")[2])
        assert set(parameters) <= set(inspect.signature(function).parameters)


@pytest.mark.skipif(torch_tensorrt is not None, reason="torch_tensorrt is here")
def test_without_torch_tensorrt_it_is_one_sentence():
    with pytest.raises(QueryDiffError, match=r"needs torch_tensorrt and an NVIDIA GPU.*use --format onnx") as failure:
        load_torch_tensorrt()
    assert "\n" not in str(failure.value)


CHANGES = {
    "GPU": {"build": dataclasses.replace(BUILD, target=BuildTarget("GPU B", "9.0", tensorrt="10.1"))},
    "TensorRT": {"build": dataclasses.replace(BUILD, target=BuildTarget("GPU A", "9.0", tensorrt="10.2"))},
    "torch_tensorrt": {"versions": {"torch_tensorrt": "2.15"}},
    "weights": {"build": dataclasses.replace(BUILD, checkpoint_sha256="1")},
    "precision": {"build": dataclasses.replace(BUILD, precision="bf16")},
    "batch": {"build": dataclasses.replace(BUILD, batch=(1, 5))},
    "any GPU": {"build": dataclasses.replace(BUILD, any_gpu=True)},
    "size": {"input_size": (64, 160)},
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_cache_keeps_engines_apart_that_differ(what):
    assert engine_key(METADATA, "graph") != engine_key(dataclasses.replace(METADATA, **CHANGES[what]), "graph")


def test_the_cache_knows_an_engine_again():
    assert engine_key(METADATA, "graph") != engine_key(METADATA, "another graph")
    moved = dataclasses.replace(METADATA, build=dataclasses.replace(BUILD, checkpoint="elsewhere/a.safetensors"))
    assert engine_key(METADATA, "graph") == engine_key(moved, "graph")
    assert engine_key(ModelMetadata.from_json(METADATA.to_json(), "a file"), "graph") == engine_key(METADATA, "graph")


def test_hardware_compatible_engines_run_on_newer_gpus_only():
    def elsewhere(capability):
        return BUILD.target.differences(BuildTarget("GPU B", capability, tensorrt="10.1"), any_gpu=True)

    assert elsewhere("8.6") == []
    assert any("7.5" in difference for difference in elsewhere("7.5"))
    assert BUILD.target.differences(BuildTarget("GPU A", "9.0", tensorrt="10.1")) == []
    assert BUILD.target.differences(BuildTarget("GPU A", "9.0")) == ["TensorRT 10.1 (here none)"]


def test_onnx_is_tied_to_no_machine():
    assert target_here("onnx", "cpu") == BuildTarget()


@needs_tensorrt
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_agrees_with_its_checkpoint(tmp_path, monkeypatch, precision):
    monkeypatch.setenv("QUERYDIFF_CACHE", str(tmp_path / "cache"))
    checkpoint, output = write_student(tmp_path / "tiny.safetensors"), tmp_path / "tiny.engine"
    words = [str(checkpoint), "--output", str(output), "--precision", precision, "--batch", "1:4"]
    assert export(words) == 0
    frames = bundled_frames()
    plain, graphs = Segmenter.load(output), Segmenter.load(output, cuda_graphs=True)
    assert np.array_equal(plain(frames).labels, graphs(frames).labels)
    (kept,) = (tmp_path / "cache" / "tensorrt").glob("*.plan")
    written = kept.stat().st_mtime_ns
    assert export(words) == 0
    assert kept.stat().st_mtime_ns == written
