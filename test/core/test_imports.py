"""Driving loads nothing of training, seen in fresh interpreters."""

import subprocess
import sys

import pytest
from paths import REPOSITORY

STUDENT = REPOSITORY / "querydiff_core" / "weights" / "small.safetensors"


@pytest.mark.parametrize(
    "code",
    [
        "import querydiff_core",
        "import querydiff_ros.executables, querydiff_ros.node.segment_node",
        f"from querydiff_core import Segmenter; Segmenter.load({str(STUDENT)!r}, device='cpu')",
    ],
)
def test_driving_loads_no_diffusion_model_and_no_training_loop(code):
    if "querydiff_ros" in code:
        pytest.importorskip("rclpy", reason="needs rclpy: pip install 'querydiff_ros[ros]' or a ROS workspace")
    unwanted = "'diffusers', 'lightning', 'torchmetrics', 'matplotlib', 'querydiff_core.teacher'"
    loaded = f"[name for name in ({unwanted}) if name in sys.modules]"
    script = f"import sys\n{code}\nprint({loaded})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_opencv_of_ubuntu_which_has_another_logging_is_silenced_too():
    script = (
        "import cv2\ndel cv2.utils.logging\nsaid = []\ncv2.setLogLevel = said.append\n"
        "import querydiff_core.utils.image_files\nprint(said)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[0]"
