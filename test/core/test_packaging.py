"""What is installed is what is meant to be: version, dependencies, data; and the files that build tools read."""

import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement
from paths import REPOSITORY

PACKAGE_XML = ElementTree.parse(REPOSITORY / "package.xml")
VERSION = PACKAGE_XML.findtext("version")

APT_NAMES = {
    "opencv-python-headless": "python3-opencv",
    "pillow": "python3-pil",
    "pyyaml": "python3-yaml",
}
"""Of what pip calls otherwise; the rest is python3-<name>."""
BY_MCAP = {"lz4", "zstandard"}
"""What mcap brings."""
ONLY_WITH_A_DISTRIBUTION = {"cv_bridge", "vision_msgs", "launch", "launch_ros", "ament_index_python"}
"""ROS packages without a wheel, which the code does without."""


@pytest.fixture(scope="module")
def distribution():
    """What setup.py says."""
    pytest.importorskip("setuptools")
    from distutils.core import run_setup  # of setuptools

    return run_setup(str(REPOSITORY / "setup.py"), stop_after="init")


def names(requirements):
    return {Requirement(text).name.lower() for text in requirements}


def test_setup_runs_through_a_link_from_another_folder(tmp_path):
    pytest.importorskip("setuptools")
    link = tmp_path / "setup.py"  # as `colcon build --symlink-install` makes it in its build folder
    link.symlink_to(REPOSITORY / "setup.py")
    command = [sys.executable, link.name, "--name", "--version", "--long-description"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    name, version, description = result.stdout.split("\n", 2)
    assert (name, version) == ("querydiff_ros", VERSION)
    assert description.strip() == (REPOSITORY / "README.md").read_text().strip()


def test_a_tag_and_the_citation_name_the_version_of_package_xml():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert {author["family-names"] for author in citation["references"][0]["authors"]} == {
        *("Li", "Wang", "Qi", "Zhang", "Xu")
    }
    if not (REPOSITORY / ".git").exists():
        pytest.skip("no git repository, so no tag")
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD", "v*"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tags) <= {f"v{VERSION}"}


def test_pip_installs_what_package_xml_says(distribution):
    declared = {element.text for element in PACKAGE_XML.iter("exec_depend")}
    by_apt = {name for name in declared if name.startswith("python3-")}
    run = names(distribution.install_requires)
    by_pip = {name for name in run if APT_NAMES.get(name, f"python3-{name}") not in by_apt}
    assert len(run) - len(by_pip) == len(by_apt)
    named = set(re.search(r"`pip install ([\w ]+)`", (REPOSITORY / "package.xml").read_text())[1].split())
    assert by_pip == named | BY_MCAP
    wheels = {name.removeprefix("ros-jazzy-").replace("-", "_") for name in names(distribution.extras_require["ros"])}
    ros = declared - by_apt
    assert wheels <= ros
    assert ros - wheels - ONLY_WITH_A_DISTRIBUTION == {"builtin_interfaces", "rcl_interfaces", "rosgraph_msgs"}
    try:
        brought = names(requires("mcap") or [])
    except PackageNotFoundError:
        pytest.skip("mcap is not installed by pip")
    assert brought >= BY_MCAP


def test_the_readme_names_what_only_pip_has():
    named = re.search(r"`pip install ([\w ]+)`", (REPOSITORY / "package.xml").read_text())[1]
    for file in ("README.md", "Dockerfile"):
        lines = [line for line in (REPOSITORY / file).read_text().splitlines() if "pip install" in line]
        assert any(f"pip install {named}" in line.replace(" --no-cache-dir", "") for line in lines), file


def test_the_constraints_fit_the_requirements(distribution):
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert re.fullmatch(r"# The tests ran with these: Python 3\.\d+\.\d+, Linux x86_64\.", lines[0])
    pins = dict(re.fullmatch(r"([\w.-]+)==([\w.+!-]+)", line).groups() for line in lines[1:])  # no file, no address
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    wanted = [
        *distribution.install_requires,
        *(each for extra in distribution.extras_require.values() for each in extra),
    ]
    for requirement in map(Requirement, wanted):
        pin = pins.get(requirement.name.lower().replace("_", "-"))
        assert requirement.name == "torch-tensorrt" or pin, f"{requirement.name} has no version: make constraints"
        assert pin is None or requirement.specifier.contains(pin), requirement


def test_continuous_integration_runs_the_same_script():
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
    assert {"make check", "make test"} <= set((REPOSITORY / ".ci" / "run").read_text().splitlines())


def test_a_wheel_of_the_source_distribution_holds_all_that_is_not_code(tmp_path):
    """From a tarball without git, as bloom and colcon get it."""
    pytest.importorskip("setuptools")
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("no git repository to tell what belongs to the package")
    files = tracked.stdout.split("\n")[:-1]
    source = tmp_path / "source"
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, source / file)
    subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=source, check=True, capture_output=True)
    (archive,) = (source / "dist").iterdir()
    assert archive.name == f"querydiff_ros-{VERSION}.tar.gz"
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", archive]
    subprocess.run([*map(str, command), "-w", str(tmp_path)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(wheel).namelist()
    core = [file for file in files if file.startswith("querydiff_core/") and Path(file).name != "README.md"]
    assert [file for file in core if file not in held] == []
    share = f"querydiff_ros-{VERSION}.data/data/share/querydiff_ros/"
    shared = [file for file in files if file.startswith(("launch/", "config/")) or file == "package.xml"]
    assert [file for file in shared if share + file not in held] == []
