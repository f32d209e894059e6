"""`querydiff calibrate`: the confidence of a checkpoint becomes that of its hits, and its labels hardly change."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from querydiff_core.cli.main import main
from querydiff_core.inference.checkpoint import load_checkpoint, save_checkpoint
from querydiff_core.inference.engine import default_checkpoint
from querydiff_core.street_scenes.scene_folder import SceneFolder

HEAD = "mask_decoder.class_head.weight"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    list(SceneFolder(folder, 3, (128, 256), seed=5).write(1))
    return folder


@pytest.fixture
def querydiff(capfd):
    def run(*words, code=0):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        said = capfd.readouterr()
        assert stop.value.code == code, said.err
        return said.out + said.err

    return run


def test_a_student_that_doubts_itself_too_much_is_made_surer(tmp_path, scenes, querydiff):
    model, metadata = load_checkpoint(default_checkpoint())
    with torch.no_grad():
        for parameter in model.mask_decoder.class_head.parameters():
            parameter.div_(1.5)
    save_checkpoint(model, metadata, tmp_path / "doubting.safetensors")
    data = f"street_scenes={scenes}"
    made, sure = tmp_path / "doubting.safetensors", tmp_path / "sure.safetensors"
    said = querydiff("calibrate", made, "--data", data, "--output", sure, "--size", "128x256")
    fitted = load_checkpoint(sure)[1].recipe["calibration"]
    assert fitted["temperature"] < 0.9
    assert fitted["ece"][1] < 0.7 * fitted["ece"][0]
    assert f"temperature {fitted['temperature']:.2f}" in said
    heads = [load_file(file)[HEAD].float() for file in (made, sure)]
    torch.testing.assert_close(heads[1], heads[0] / fitted["temperature"], rtol=2e-3, atol=1e-4)
    results = []
    for file in (made, sure):
        output = file.with_suffix(".json")
        querydiff("evaluate", file, "--data", data, "--size", "128x256", "--output", output)
        results.append(json.loads(output.read_text())["domains"][0])
    np.testing.assert_allclose([result["ece"] for result in results], fitted["ece"], atol=0.005)
    assert abs(results[0]["miou"] - results[1]["miou"]) < 0.03


def test_what_cannot_be_calibrated_on_is_said_in_a_sentence(tmp_path, scenes, querydiff):
    student, output = default_checkpoint(), tmp_path / "out.safetensors"
    shutil.copytree(scenes / "images", tmp_path / "unlabelled" / "images")
    for data, file, says in (
        (f"street_scenes={scenes}::each", output, "One temperature serves all conditions"),
        (f"folder={tmp_path / 'unlabelled'}", output, "has no labels"),
        (f"street_scenes={scenes}", tmp_path / "out.onnx", "--output must end in .safetensors"),
    ):
        said = querydiff("calibrate", student, "--data", data, "--output", file, code=1)
        assert says in said
        assert "Traceback" not in said
        assert not file.exists()
