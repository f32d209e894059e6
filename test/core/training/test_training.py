"""Training through the real command: exact when interrupted, the same on one process as on two, clear when it fails."""

import contextlib
import csv
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from types import SimpleNamespace

import lightning
import numpy as np
import psutil
import pytest
import torch
import yaml
from teachers import UNET_OF_2, write_tiny_teacher

from querydiff_core.cli.main import main
from querydiff_core.data.data_source import DataSource
from querydiff_core.data.datamodule import SegmentationData
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.checkpoint import load_checkpoint
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.build import build_model
from querydiff_core.street_scenes import render_scene
from querydiff_core.teacher.linear_probe import labelled_cells, probe
from querydiff_core.teacher.teacher_probe import teacher_maps
from querydiff_core.training.distillation import TeacherOptions
from querydiff_core.training.start_from import start_from_weights
from querydiff_core.training.trained_module import polynomial_decay
from querydiff_core.utils.image_files import read_image, write_image


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for seed in range(4):
        scene = render_scene(seed, (96, 128))
        write_image(root / "images" / f"{seed}.jpg", scene.image)
        write_image(root / "labels" / f"{seed}.png", scene.labels)
    return root


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_tiny_teacher(tmp_path_factory.mktemp("teacher"))


def test_polynomial_decay_warms_up_and_ends_at_zero():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = polynomial_decay(optimizer, steps=100, warm_up=10)
    rates = []
    for _ in range(101):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(2.0 * 0.5**0.9)
    assert rates[100] == 0.0


@pytest.mark.parametrize("size", [(48, 64), 0.5])
def test_validation_images_can_be_resized_and_labels_stay(scenes, size):
    data = SegmentationData([DataSource(str(scenes))], {"x": DataSource(str(scenes), size=size)}, workers=0)
    images, labels = next(iter(data.val_dataloader()[0]))
    assert images.shape == (1, 3, 48, 64)
    assert labels.shape == (1, 96, 128)
    assert labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([], "nothing to train on"),
        ([{"weight": 1.0}, {}], "give all or none"),
        ([{"weight": 1.0}, {"weight": -1.0}], "greater than 0"),
        ([{"root": "nowhere"}], "nowhere"),
    ],
)
def test_sources_that_cannot_be_mixed_are_refused(scenes, sources, says):
    data = SegmentationData([DataSource(**{"root": str(scenes), **source}) for source in sources])
    with pytest.raises(QueryDiffError, match=says):
        data.setup("fit")


def configuration(scenes, runs, **model):
    """Return a small experiment that logs every step's losses in full precision."""
    return {
        "seed_everything": 1,
        "model": {"variant": "tiny", "warm_up": 2, **model},
        "data": {
            "train": [{"root": str(scenes)}],
            "validation": {"scenes": {"root": str(scenes)}},
            "crop": [64, 64],
            "short_side": None,
            "batch_size": 2,
            "workers": 0,
        },
        "student": {"input_size": [64, 96]},
        "pictures": {"images": 1},
        "checkpoint": {"dirpath": str(runs), "every_n_train_steps": 2},
        "trainer": {
            "accelerator": "cpu",
            "precision": "32-true",
            "max_steps": 4,
            "val_check_interval": 4,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(runs), "name": None, "version": "run", "flush_logs_every_n_steps": 1},
            },
        },
    }


def command(config, tmp_path, *flags):
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(config))
    return ["fit", "--config", str(file), *flags]


@pytest.fixture
def fit(tmp_path, monkeypatch, capfd):
    """Run the command in this process, in an empty folder; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(config, *flags, code=0):
        with pytest.raises(SystemExit) as stop:
            main(command(config, tmp_path, *flags))
        said = "".join(capfd.readouterr())
        assert stop.value.code == code, said
        assert "Traceback" not in said
        return said

    return run


def fit_apart(config, tmp_path, *flags, code=0, **options):
    """Run the command in a process of its own, which starts a second one where the flags say so; returns its errors."""
    arguments = [sys.executable, "-m", "querydiff_core", *command(config, tmp_path, *flags)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=280, **options)
    assert result.returncode == code, result.stderr
    return result.stderr


def losses(run):
    """Return the losses of each step, as they were written: `{step: {name: text}}`."""
    rows = csv.DictReader((run / "metrics.csv").open())
    return {
        int(row["step"]): {name: value for name, value in row.items() if name.startswith("train/")}
        for row in rows
        if row.get("train/loss")
    }


def test_both_phases_train_in_one_and_two_processes_and_write_a_student(fit, scenes, tmp_path):
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    fit_apart(configuration(scenes, tmp_path / "pixel_head", phase="pixel_head", average=0.5), tmp_path, *two)
    start = str(tmp_path / "pixel_head" / "last.ckpt")
    fit(configuration(scenes, tmp_path / "full", phase="full", start_from=start))

    student = tmp_path / "full" / "run" / "student.safetensors"
    model, metadata = load_checkpoint(student)
    assert metadata.variant == model.variant == "tiny"
    assert metadata.input_size == (64, 96)
    assert metadata.recipe["steps"] == 4
    assert "miou/scenes" in metadata.recipe["metrics"]
    assert Segmenter.load(student, device="cpu")(np.zeros((10, 20, 3), np.uint8)).labels.shape == (10, 20)


def test_a_killed_run_goes_on_to_bit_equal_losses(fit, scenes, teacher, tmp_path, monkeypatch):
    config = configuration(scenes, tmp_path / "killed", teacher={"source": str(teacher)}, average=0.9)
    config["data"] |= {
        "train": [{"root": str(scenes), "weight": 2.0}, {"root": str(scenes), "weight": 1.0}],
        "rare_classes": 0.05,
        "workers": 1,
    }
    config["trainer"] |= {"max_steps": 30, "accumulate_grad_batches": 2, "val_check_interval": 32}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    arguments = [sys.executable, "-m", "querydiff_core", *command(config, tmp_path)]
    killed = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (tmp_path / "killed" / "last.ckpt").exists():
        assert killed.poll() is None, killed.stderr.read().decode()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    fit(config, f"--resume={tmp_path / 'killed' / 'last.ckpt'}", "--trainer.logger.version=resumed")
    config["checkpoint"]["dirpath"] = str(tmp_path / "whole")
    fit(config, "--trainer.logger.version=whole")

    resumed, whole = losses(tmp_path / "killed" / "resumed"), losses(tmp_path / "killed" / "whole")
    assert min(resumed) >= 2
    assert sorted(resumed) == [step for step in sorted(whole) if step >= min(resumed)]
    assert len(resumed) >= 5
    assert {"train/loss", "train/sup", "train/dist", "train/bce"} <= set(next(iter(resumed.values())))
    assert resumed == {step: whole[step] for step in resumed}
    students = [load_checkpoint(tmp_path / "killed" / run / "student.safetensors")[0] for run in ("resumed", "whole")]
    for first, second in zip(*(student.state_dict().values() for student in students), strict=True):
        assert torch.equal(first, second)


def test_the_moving_average_is_what_is_saved_and_started_from(fit, scenes, tmp_path):
    fit(configuration(scenes, tmp_path, average=0.75, decay_power=0.0))
    states = [torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"] for name in ("previous", "last")]
    averages = [{n.removeprefix("averaged.module."): w for n, w in s.items() if n.startswith("a")} for s in states]
    name = "mask_decoder.class_head.weight"
    last = states[1][f"model.{name}"]
    assert (averages[1][name] - last).norm() > 0.01 * (last - states[0][f"model.{name}"]).norm()
    student = load_checkpoint(tmp_path / "run" / "student.safetensors")[0].state_dict()
    torch.testing.assert_close(student[name], averages[1][name], rtol=1e-3, atol=1e-4)  # fp16
    model = build_model("tiny")
    start_from_weights(model, str(tmp_path / "last.ckpt"))
    assert torch.equal(model.state_dict()[name], averages[1][name])


def test_ctrl_c_stops_after_a_step_and_the_run_goes_on_as_if_it_had_not(fit, scenes, tmp_path):
    config = configuration(scenes, tmp_path / "stopped")
    config["trainer"]["max_steps"] = 40

    def interrupt_after_the_first_state():
        while not (tmp_path / "stopped" / "last.ckpt").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt_after_the_first_state)
    watcher.start()
    said = fit(config, code=130)
    watcher.join()
    assert "go on with --resume" in said
    done = torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)["global_step"]
    assert 2 <= done < 40
    fit(config, f"--resume={tmp_path / 'stopped' / 'last.ckpt'}", "--trainer.logger.version=resumed")
    config["checkpoint"]["dirpath"] = str(tmp_path / "whole")
    fit(config, "--trainer.logger.version=whole")
    resumed, whole = losses(tmp_path / "stopped" / "resumed"), losses(tmp_path / "stopped" / "whole")
    assert sorted(resumed) == list(range(done, 40))
    assert resumed == {step: whole[step] for step in resumed}


def test_two_processes_lose_what_one_with_twice_the_batch_loses(fit, scenes, teacher, tmp_path):
    config = configuration(scenes, tmp_path, teacher={"source": str(teacher)}, frozen_batch_norm=True)
    fit_apart(config, tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.logger.version=two")
    config["data"]["batch_size"] = 4
    fit(config, "--trainer.logger.version=one")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert sorted(one) == sorted(two) == [0, 1, 2, 3]
    for step in one:
        for name, value in one[step].items():
            assert float(two[step][name]) == pytest.approx(float(value), rel=1e-5, abs=1e-6), (step, name)


def test_a_training_state_holds_the_student_and_the_projections_of_the_loss_alone(fit, scenes, teacher, tmp_path):
    fit(configuration(scenes, tmp_path, teacher={"source": str(teacher)}), "--trainer.max_steps=2")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    student = {f"model.{name}": value.shape for name, value in build_model("tiny").state_dict().items()}
    others = {name: value for name, value in state["state_dict"].items() if name not in student}
    assert student.keys() <= state["state_dict"].keys()
    assert {name.split(".linears.")[0] for name in others} == {
        "distillation.consistency",
        "loss.criterion.empty_weight",
    }
    trained = [value.shape for value in build_model("tiny").parameters()]
    trained += [value.shape for name, value in others.items() if name.startswith("distillation.")]
    moments = [moment["exp_avg"].shape for moment in state["optimizer_states"][0]["state"].values()]
    assert sorted(moments) == sorted(trained)
    assert sum(len(group["params"]) for group in state["optimizer_states"][0]["param_groups"]) == len(trained)


def test_the_default_precision_is_bf16_and_a_teacher_shaped_as_stable_diffusion_2_teaches(fit, scenes, tmp_path):
    teacher = write_tiny_teacher(tmp_path / "teacher", prediction_type="v_prediction", unet=UNET_OF_2)
    # Without weight decay, weights that change have had a gradient.
    config = configuration(scenes, tmp_path, teacher={"source": str(teacher)}, weight_decay=0.0)
    config["checkpoint"]["every_n_train_steps"] = 1
    fit(config, "--trainer.max_steps=2", "--trainer.logger.version=exact")
    del config["trainer"]["precision"]
    fit(config, "--trainer.max_steps=2")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trainer"]["precision"] == "bf16-mixed"

    exact, half = losses(tmp_path / "exact"), losses(tmp_path / "run")
    assert sorted(half) == [0, 1]
    for name in ("train/loss", "train/sup", "train/dist"):
        assert 0 < float(half[0][name]) == pytest.approx(float(exact[0][name]), rel=0.1)
        assert half[0][name] != exact[0][name]
        assert np.isfinite(float(half[1][name]))
    before, after = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"] for name in ("previous", "last")
    )
    assert all(value.isfinite().all() for value in after.values())
    still = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert still == {"loss.criterion.empty_weight"}, "all but the loss's constant"


def test_pictures_show_labels_and_what_queries_attend_to(fit, scenes, teacher, tmp_path):
    config = configuration(scenes, tmp_path, teacher={"source": str(teacher)})
    del config["trainer"]["logger"]
    fit(config)
    run = tmp_path / "runs" / "experiment" / "version_0"
    pictures = {file.name: read_image(file) for file in (run / "pictures").iterdir()}
    kinds = ["", "_attention_0", "_attention_1", "_queries_0", "_queries_1"]
    assert set(pictures) == {f"scenes_0{kind}_000004.jpg" for kind in kinds}
    assert all(picture.std() > 5 for picture in pictures.values())
    assert list(run.glob("events.out.tfevents.*"))
    assert (run / "config.yaml").is_file()


def test_a_run_goes_on_from_the_newest_state_of_its_experiment(fit, scenes, tmp_path):
    config = configuration(scenes, tmp_path)
    del config["trainer"]["logger"], config["checkpoint"]["dirpath"]
    assert "no run to resume" in fit(config, "--resume=last", code=1)
    fit(config)
    fit(config, "--resume=last", "--trainer.max_steps=6")
    student = tmp_path / "runs" / "experiment" / "version_1" / "student.safetensors"
    assert load_checkpoint(student)[1].recipe["steps"] == 6
    said = fit(config, "--resume=last", "--trainer.max_steps=5", code=1)
    assert "has done 6 steps and is asked for 5: give --trainer.max_steps more" in said


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"model": {"variant": "huge"}}, 1, "huge"),
        ({"model": {"variant": "huge"}, "data": {"train": [{"root": "/nowhere"}]}}, 1, "No folder /nowhere"),
        ({"model": {"variant": "huge"}, "data": {"train": [], "validation": {"a": {"root": "b"}}}}, 1, "No folder b"),
        ({"model": {"varaint": "tiny"}}, 2, "varaint"),
        ({"model": {"variant": "tiny", "teacher": {"source": "/no/teacher"}}}, 1, "/no/teacher"),
        ({"model": {"variant": "tiny", "phase": "pixel_head", "teacher": {"source": "/no/teacher"}}}, 1, "phase"),
        ({"trainer": {"max_steps": -1, "max_epochs": 1, "accelerator": "cpu", "logger": False}}, 1, "max_steps"),
        ({"trainer": {"accelerator": "cpu", "devices": 0, "logger": False}}, 1, "The run cannot begin"),
        ({"model": {"variant": "tiny", "backbone_learning_rate": -1.0}}, 1, "0 or more"),
        ({"model": {"variant": "tiny", "average": 1.0}}, 1, "above 0 and below 1"),
        ({"model": {"variant": "tiny", "student": {"queries": 0}}}, 1, "queries 1 or more"),
        ({"model": {"variant": "tiny", "student": {"others": {"channels": 33}}}}, 1, "multiple of 32"),
    ],
)
def test_a_wrong_experiment_is_said_in_a_sentence(fit, scenes, tmp_path, change, code, says):
    assert says in fit(configuration(scenes, tmp_path) | change, code=code)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"crop": [0, 0]}, "data.crop"),
        ({"batch_size": 0}, "data.batch_size"),
        ({"workers": -1}, "data.workers"),
        ({"photometric": 30.0}, "data.photometric"),
        ({"corruption": 2.0}, "data.corruption"),
        ({"short_side": [0, 0]}, "data.short_side"),
        ({"rare_classes": 0.0}, "data.rare_classes"),
        ({"train": [{"root": ".", "size": 512}]}, "factor"),
    ],
)
def test_a_setting_that_no_run_could_begin_with_is_said_in_a_sentence(fit, scenes, tmp_path, setting, says):
    config = configuration(scenes, tmp_path)
    config["data"] |= setting
    assert says in fit(config, code=1)


def test_a_teacher_that_does_not_fit_is_said_before_training(fit, scenes, teacher, tmp_path):
    config = configuration(scenes, tmp_path, teacher={"source": str(teacher)})
    config["data"]["crop"] = [64, 100]
    assert "64x100: change data.crop" in fit(config, code=1)
    config["model"]["teacher"]["features"] = ["up_blocks.9"]
    assert "up_blocks.9" in fit(config, code=1)


def test_another_experiment_is_not_resumed(fit, scenes, tmp_path):
    fit(configuration(scenes, tmp_path))
    state = f"--resume={tmp_path / 'last.ckpt'}"
    said = fit(configuration(scenes, tmp_path, student={"queries": 10}), state, code=1)
    assert "model.student was {} and is now {'queries': 10}" in said
    (tmp_path / "broken.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:1000])
    said = fit(configuration(scenes, tmp_path), f"--resume={tmp_path / 'broken.ckpt'}", code=1)
    assert "broken.ckpt cannot be read" in said


def test_a_loss_that_is_not_finite_stops_and_keeps_the_states(fit, scenes, tmp_path):
    config = configuration(scenes, tmp_path)
    config["checkpoint"]["every_n_train_steps"] = 1
    fit(config)
    kept = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("previous", "last")}
    assert [state["global_step"] for state in kept.values()] == [3, 4]
    broken = kept["last"]
    next(value for name, value in broken["state_dict"].items() if "mask_decoder" in name)[:] = float("nan")
    torch.save(broken, tmp_path / "broken.ckpt")
    said = fit(config, "--trainer.max_steps=20", f"--resume={tmp_path / 'broken.ckpt'}", code=1)
    assert "The loss is not finite at step 4" in said
    assert ".jpg" in said
    again = fit(config, "--trainer.max_steps=6", f"--resume={tmp_path / 'previous.ckpt'}")
    assert "3 to 6" in again


class PoisonedGradient(lightning.Callback):
    """Put a value that is not finite into a gradient at one step, as oneDNN was seen to do."""

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 2:
            next(pl_module.model.parameters()).grad[:] = float("nan")


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(fit, scenes, tmp_path):
    config = configuration(scenes, tmp_path)
    config["trainer"]["callbacks"] = [{"class_path": f"{__name__}.PoisonedGradient"}]
    assert "The gradient is not finite at step 2" in fit(config, code=1)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2
    assert all(value.isfinite().all() for value in state["state_dict"].values())


class PoisonedProcess(lightning.Callback):
    """Make a weight of the second process alone not finite at one step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and batch_idx == 2:
            next(pl_module.model.mask_decoder.parameters()).data[:] = float("nan")


def test_a_loss_that_is_not_finite_in_another_process_blames_no_file_of_this_one(scenes, tmp_path):
    config = configuration(scenes, tmp_path)
    config["trainer"]["callbacks"] = [{"class_path": f"{__name__}.PoisonedProcess"}]
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    importable = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = fit_apart(config, tmp_path, *two, code=1, env=importable)
    told = [message for message in said.split("error: ") if "in another process" in message]
    assert len(told) == 1
    assert told[0].startswith("The loss is not finite at step 2 in another process: training stopped")
    assert ".jpg" not in told[0]


def test_a_run_keeps_its_final_state_between_two_regular_ones(fit, scenes, tmp_path):
    fit(configuration(scenes, tmp_path), "--trainer.max_steps=3")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


def test_other_batches_of_as_many_crops_a_step_go_on_and_of_fewer_do_not(fit, scenes, tmp_path):
    config = configuration(scenes, tmp_path)
    fit(config, "--trainer.max_steps=2")
    config["data"]["batch_size"] = 1
    state = f"--resume={tmp_path / 'last.ckpt'}"
    assert "crops a step was 2 and is now 1" in fit(config, state, code=1)
    fit(config, state, "--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=8")


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_damaged_label_is_one_sentence_from_a_loader_process_too(fit, scenes, tmp_path, part):
    shutil.copytree(scenes, tmp_path / "damaged")
    for label in (tmp_path / "damaged" / "labels").iterdir():
        label.write_bytes(label.read_bytes()[:60])
    config = configuration(scenes, tmp_path)
    source = {"root": str(tmp_path / "damaged")}
    config["data"] |= {"workers": 1, part: [source] if part == "train" else {"damaged": source}}
    said = [line for line in fit(config, code=1).splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert str(tmp_path / "damaged" / "labels") in said[0]


class StopAfterThree(lightning.Callback):
    """End a run after three steps, or after the next one if it has had them."""

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step >= 3


def long_run(scenes, tmp_path):
    """Return a run of many steps that ends after three, hence with much time left, and that shows its progress."""
    config = configuration(scenes, tmp_path)
    del config["trainer"]["enable_progress_bar"]
    config["trainer"] |= {"max_steps": 400, "callbacks": [{"class_path": f"{__name__}.StopAfterThree"}]}
    return config


def seconds(clock):
    hours, minutes, seconds = map(int, clock.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def test_a_log_file_gets_lines_with_the_time_that_remains(fit, scenes, tmp_path):
    said = fit(long_run(scenes, tmp_path))
    lines = re.findall(r"^step (\d) of 400, (\d+:\d\d:\d\d) left, (\S+) steps/s: .*loss \S+", said, re.MULTILINE)
    assert [step for step, _, _ in lines] == ["1", "2", "3"]
    for step, left, rate in lines:
        assert seconds(left) == pytest.approx((400 - int(step)) / float(rate), rel=0.01, abs=1)


@pytest.fixture
def shown(fit, monkeypatch):
    """Run the command in a terminal; returns what that shows, without its control codes."""

    def run(*arguments):
        master, slave = os.openpty()
        shown = bytearray()

        def read():
            with contextlib.suppress(OSError):  # what a terminal gives once nothing writes to it any more
                while received := os.read(master, 65536):
                    shown.extend(received)

        reader = threading.Thread(target=read)
        reader.start()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
        with open(slave, "w") as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            fit(*arguments)
        reader.join()
        os.close(master)
        return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown.decode())

    return run


def test_a_terminal_gets_a_bar_with_the_time_that_remains(shown, scenes, tmp_path):
    plain = shown(long_run(scenes, tmp_path))
    left = re.findall(r"Training .*?3/400 \d+:\d\d:\d\d • (\d+:\d\d:\d\d)", plain)
    assert seconds(left[-1]) > 0
    assert " 4/400 " in shown(long_run(scenes, tmp_path), f"--resume={tmp_path / 'last.ckpt'}")


def test_processes_share_validation_images_equally_often(scenes):
    data = SegmentationData([DataSource(str(scenes))], {"x": DataSource(str(scenes))}, workers=0)
    shares = []
    for process in range(3):
        data.trainer = SimpleNamespace(global_rank=process, world_size=3)
        shares.append([labels for _, labels in data.val_dataloader()[0]])
    assert [len(share) for share in shares] == [2, 2, 2]
    labelled = [sum((labels != 255).any() for labels in share) for share in shares]
    assert labelled == [2, 1, 1]


def test_out_of_memory_names_the_knobs(fit, scenes, tmp_path):
    config = configuration(scenes, tmp_path)
    config["data"]["crop"] = [4096, 4096]
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**30, hard))
    try:
        assert "--data.batch_size" in fit(config, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_the_gate_shows_what_teacher_and_student_know_before_the_first_step(fit, scenes, teacher, tmp_path):
    options = TeacherOptions(str(teacher), strong_timestep=900, gate="force")
    config = configuration(scenes, tmp_path / "gate", teacher={**asdict(options), "features": list(options.features)})
    config["trainer"] |= {"max_steps": 1, "val_check_interval": 1}
    config["model"] |= {"gradient_share": 0.1}
    said = fit(config)
    weak, strong, student = (float(re.search(rf"{name} (\d+\.\d)", said)[1]) for name in ("weak", "strong", "student"))
    cells = labelled_cells(DataSource(str(scenes)).open(), (64, 64))
    assert strong == round(100 * probe(teacher_maps(options.load(), strong=True), *cells).miou, 1)
    (row,) = [row for row in csv.DictReader((tmp_path / "gate" / "run" / "metrics.csv").open()) if row["train/loss"]]
    assert float(row["teaching/queries"]) == pytest.approx(0.1, rel=1e-3)
    config["model"]["teacher"]["gate"] = "on"
    if weak <= student:
        two = ("--trainer.devices=2", "--trainer.strategy=ddp")  # neither waits for the other
        assert f"{weak} mIoU, one of the student's backbone {student}" in fit_apart(config, tmp_path, *two, code=1)
    else:
        fit(config, "--trainer.logger.version=again")
