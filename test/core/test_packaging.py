"""`setup.py` works where colcon runs it."""

import subprocess
import sys

import pytest
from paths import REPOSITORY


def test_setup_runs_through_a_link_from_another_folder(tmp_path):
    pytest.importorskip("setuptools")
    link = tmp_path / "setup.py"  # as `colcon build --symlink-install` makes it in its build folder
    link.symlink_to(REPOSITORY / "setup.py")
    command = [sys.executable, link.name, "--name", "--version", "--long-description"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    name, version, description = result.stdout.split("\n", 2)
    assert (name, version) == ("querydiff_ros", "0.1.0")
    assert description.strip() == (REPOSITORY / "README.md").read_text().strip()
