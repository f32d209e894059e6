import dataclasses
import logging
import os
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from students import SIZE as CAMERA
from students import write_foreign_engine, write_student

from querydiff_core.cli.export import main as export
from querydiff_core.cli.export import parser as export_parser
from querydiff_core.errors import QueryDiffError
from querydiff_core.export.parity import bundled_frames
from querydiff_core.inference.archive import read_archive_metadata
from querydiff_core.inference.device_runner import DeviceRunner
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.inference.segmenter import Segmenter

pytestmark = pytest.mark.timeout(2400)  # whichever test comes first waits for the compiler


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("compiled") / "tiny.safetensors")


@pytest.fixture(scope="module")
def package(checkpoint):
    """Compile once: a minute or two of g++."""
    path, threads = checkpoint.with_name("tiny.pt2"), torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() + 1)  # which must not matter
    assert export([str(checkpoint), "--output", str(path), "--batch", "2:3", "--camera", "64x128"]) == 0
    torch.set_num_threads(threads)
    return path


@pytest.fixture(scope="module")
def frames():
    return bundled_frames(CAMERA)


def change_metadata(package, output, **changes):
    """Copy a package as if it had been built for something else."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(output, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(f"extra/{METADATA_KEY}"):
                metadata = ModelMetadata.from_json(content.decode(), package)
                content = dataclasses.replace(metadata, build=dataclasses.replace(metadata.build, **changes)).to_json()
            new.writestr(name, content)
    return output


def test_a_compiled_package_labels_batches_of_any_number_as_its_checkpoint_does(checkpoint, package, frames):
    eager, compiled = Segmenter.load(checkpoint, device="cpu"), Segmenter.load(package, threads=1)
    assert (compiled.engine_name, compiled.device) == ("inductor", "cpu")
    expected = eager(frames)
    assert len(np.unique(expected.labels)) > 2  # or parity would say nothing
    for number in range(1, 6):
        found = compiled(frames[:number])
        assert found.labels.shape == found.confidence.shape == (number, *CAMERA)
        assert (found.labels == expected.labels[:number]).mean() > 0.995
        assert np.abs(found.confidence.astype(int) - expected.confidence[:number]).mean() < 1
    frozen = frames[0].copy()
    frozen.flags.writeable = False  # as messages of ROS are
    assert np.array_equal(compiled(frozen).labels, compiled(frames[0]).labels)


def test_a_package_carries_its_metadata_and_no_sources(package):
    build = Segmenter.load(package).metadata.build
    assert (build.format, build.precision, build.batch, build.camera) == ("torch", "fp32", (2, 3), CAMERA)
    assert build.target.torch == torch.__version__
    assert build.target.hardware
    with zipfile.ZipFile(package) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".cpp", ".pkl", ".pt"))]


def test_a_package_needs_no_networks_of_other_libraries_and_no_more_threads_than_it_is_given(package):
    code = f"""
import os, sys
from querydiff_core import Segmenter
segmenter = Segmenter.load({str(package)!r}, threads=1)
before = os.listdir("/proc/self/task")
segmenter.warm_up()
print([name for name in ("timm", "transformers", "diffusers", "lightning", "onnxruntime") if name in sys.modules])
print(len(os.listdir("/proc/self/task")) - len(before))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["[]", "0"]
    assert not result.stderr


def test_images_of_another_size_than_the_camera_are_one_sentence(package):
    with pytest.raises(QueryDiffError, match="built for images of 64x128 and this one has 32x32"):
        Segmenter.load(package)(np.zeros((32, 32, 3), np.uint8))


def test_a_closed_package_says_so(package, frames):
    segmenter = Segmenter.load(package)
    segmenter.close()
    with pytest.raises(QueryDiffError, match="closed"):
        segmenter(frames)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hardware": "Imaginary CPU"}, r"hardware Imaginary CPU \(here "),
        ({"capability": "sparc"}, r"architecture sparc \(here "),
        ({"abi": "pre-cxx11"}, r"C\+\+ ABI pre-cxx11 \(here cxx11\)"),
        ({"torch": "1.9.1"}, r"PyTorch 1.9 \(here "),
    ],
)
def test_a_package_for_another_machine_names_the_command_that_builds_it_here(package, tmp_path, changes, says):
    target = Segmenter.load(package).metadata.build.target
    foreign = change_metadata(package, tmp_path / "foreign.pt2", target=dataclasses.replace(target, **changes))
    with pytest.raises(QueryDiffError, match=says) as failure:
        Segmenter.load(foreign)
    assert "\n" not in str(failure.value)
    words = shlex.split(str(failure.value).split("`")[1])
    assert words[:2] == ["querydiff", "export"]
    asked = export_parser().parse_args(words[2:])
    assert (asked.output, asked.batch, asked.camera, asked.device) == (foreign, (2, 3), CAMERA, "cpu")


def test_a_package_of_the_same_pytorch_but_for_its_patch_level_is_opened(package, tmp_path):
    target = Segmenter.load(package).metadata.build.target
    patched = ".".join([*torch.__version__.split(".")[:2], "99"])
    Segmenter.load(
        change_metadata(package, tmp_path / "patched.pt2", target=dataclasses.replace(target, torch=patched))
    )


@pytest.mark.parametrize("suffix", [".engine", ".pt2"])
def test_an_engine_for_another_gpu_names_what_helps_here(checkpoint, suffix):
    kind = {".engine": "tensorrt", ".pt2": "torch"}[suffix]
    engine = write_foreign_engine(checkpoint.with_name(f"my foreign{suffix}"), checkpoint, format=kind)
    with pytest.raises(QueryDiffError, match=r"was built for .*Imaginary GPU") as failure:
        Segmenter.load(engine)
    if not torch.cuda.is_available():
        assert "(here none): use an .onnx engine, or set fallback to run its checkpoint." in str(failure.value)
        return
    words = shlex.split(str(failure.value).split("`")[1])
    assert words[:3] == ["querydiff", "export", str(checkpoint)]
    assert words[-2:] == ["--output", str(engine)]


def test_the_device_that_is_wanted_is_in_the_command_or_said_to_be_missing(checkpoint):
    of_gpu = write_foreign_engine(checkpoint.with_name("gpu.pt2"), checkpoint, format="torch")
    with pytest.raises(QueryDiffError, match=r"device cuda \(here cpu\): .* --device cpu --output .*gpu\.pt2`"):
        Segmenter.load(of_gpu, device="cpu")
    of_cpu = write_foreign_engine(checkpoint.with_name("cpu.pt2"), checkpoint, format="torch", device="cpu")
    here = torch.cuda.is_available()
    says = r"device cpu \(here cuda:0\): .* --device cuda --output" if here else "device cuda is not there"
    with pytest.raises(QueryDiffError, match=says):
        Segmenter.load(of_cpu, device="cuda")


def test_an_engine_for_another_machine_can_be_replaced_by_its_checkpoint(checkpoint, frames, caplog):
    engine = write_foreign_engine(checkpoint.with_name("replaced.engine"), checkpoint)
    with caplog.at_level(logging.WARNING):
        segmenter = Segmenter.load(engine, device="cpu", fallback=True)
    assert "was built for" in caplog.text
    assert f"Running {checkpoint} instead" in caplog.text
    assert segmenter.engine_name == "torch"
    assert np.array_equal(segmenter(frames).labels, Segmenter.load(checkpoint, device="cpu")(frames).labels)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"checkpoint": "gone.safetensors"}, "gone.safetensors is not there"), ({"checkpoint_sha256": "0"}, "SHA-256")],
)
def test_a_checkpoint_that_is_gone_or_another_replaces_nothing(checkpoint, changes, says):
    engine = write_foreign_engine(checkpoint.with_name("lost.engine"), checkpoint, **changes)
    with pytest.raises(QueryDiffError, match=says) as failure:
        Segmenter.load(engine, device="cpu", fallback=True)
    assert "\n" not in str(failure.value)


def damage(file, kind):
    content = file.read_bytes()
    if kind == "empty":
        file.write_bytes(b"")
    elif kind == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif kind == "text":
        file.write_text("not an engine")
    elif kind == "foreign":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("model/data.txt", "x")
    elif kind == "checkpoint's metadata":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"extra/{METADATA_KEY}", ModelMetadata("tiny", CAMERA, (0.5,), (0.2,)).to_json())
    elif kind == "pickle inside":
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("tiny/data/constants/custom_obj_0", b"cos\nsystem\n(S'false'\ntR.")


@pytest.mark.parametrize("suffix", [".pt2", ".engine"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("empty", "not a readable engine"),
        ("truncated", "not a readable engine"),
        ("flipped", "not a readable engine"),
        ("text", "not a readable engine"),
        ("foreign", "not made by this project"),
        ("checkpoint's metadata", "does not say what it was built for"),
        ("pickle inside", "carries tiny/data/constants/custom_obj_0"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(checkpoint, tmp_path, suffix, kind, says):
    file = write_foreign_engine(tmp_path / f"bad{suffix}", checkpoint)
    damage(file, kind)
    with pytest.raises(QueryDiffError, match=says) as failure:
        Segmenter.load(file)
    assert "\n" not in str(failure.value)


def test_no_flipped_bit_of_the_directory_is_more_than_one_sentence(checkpoint, tmp_path):
    file = write_foreign_engine(tmp_path / "bad.engine", checkpoint)
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        bits = range(8 * archive.start_dir, 8 * len(whole))
    refused = 0
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            read_archive_metadata(file)
        except QueryDiffError:
            refused += 1
    assert refused > 0.5 * len(bits)  # the rest are dates, attributes and the like


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_images_cross_the_bus_and_come_back(cuda_graphs):
    def infer(images):
        return images[..., 0] % 19, images[..., 1]

    runner = DeviceRunner(infer, "cuda:0", (2, 3), cuda_graphs=cuda_graphs)
    for number in (1, 2, 3, 5, 2):
        images = np.random.default_rng(number).integers(0, 256, (number, 30, 40, 3), np.uint8)
        labels, confidence = runner(images)
        assert np.array_equal(labels, images[..., 0] % 19)
        assert np.array_equal(confidence, images[..., 1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_package_for_a_gpu_agrees_in_half_precision(checkpoint, tmp_path, frames):
    output = tmp_path / "gpu.pt2"
    words = [str(checkpoint), "--output", str(output), "--device", "cuda", "--precision", "fp16", "--camera", "64x128"]
    assert export(words) == 0
    graphs, plain = Segmenter.load(output, cuda_graphs=True), Segmenter.load(output)
    assert np.array_equal(graphs(frames).labels, plain(frames).labels)
