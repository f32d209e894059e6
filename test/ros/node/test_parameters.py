"""What users may set, and the sentence that answers what they may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import yaml
from image_messages import picture, raw
from peer import Peer
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.engine import EngineOptions, default_model
from querydiff_ros.common.engine_parameters import engine_parameters
from querydiff_ros.common.install_paths import share_directory
from querydiff_ros.node.segment_parameters import Parameters

MakeNode = Callable[..., Any]

WRONG = [
    ("overlay_opacity", 1.5, "Parameter overlay_opacity must lie between 0.0 and 1.0, found 1.5."),
    ("overlay_opacity", "half", "Parameter overlay_opacity must be a number, found 'half'."),
    ("overlay_opacity", float("nan"), "Parameter overlay_opacity must lie between 0.0 and 1.0, found nan."),
    ("max_age", -1.0, "Parameter max_age must lie between 0.0 and 3600.0, found -1.0."),
    ("diagnostics_period", 0.0, "Parameter diagnostics_period must lie between 0.05 and 3600.0, found 0.0."),
    ("threads", -1, "Parameter threads must lie between 0 and 1024, found -1."),
    ("threads", 1.5, "Parameter threads must be an integer, found 1.5."),
    ("threads", True, "Parameter threads must be an integer, found True."),
    ("transport", "carrier pigeon", "must be one of raw, compressed, both, found 'carrier pigeon'."),
    ("provider", "abacus", "must be one of auto, cpu, cuda, tensorrt, openvino, found 'abacus'."),
    ("cuda_graphs", 1, "Parameter cuda_graphs must be true or false, found 1."),
    ("fallback", "yes", "Parameter fallback must be true or false, found 'yes'."),
    ("input_reliability", "maybe", "must be one of best_effort, reliable, found 'maybe'."),
    ("publish_confidence", "yes", "Parameter publish_confidence must be true or false, found 'yes'."),
    ("engine", 7, "Parameter engine must be a string, found 7."),
    ("cameras", "front", "Parameter cameras must be a list of strings, found 'front'."),
    ("cameras", ["a", "/a"], "Parameter cameras must not name a camera twice, found ['a', '/a']."),
    ("cameras", ["front left"], "Parameter cameras holds 'front left', which cannot begin a topic name"),
    ("cameras", ["1st"], "topic name token must not start with a number"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG)
def test_a_wrong_value_fails_configure_until_it_is_set_right(
    peer: Peer, make_node: MakeNode, name: str, value: Any, sentence: str
) -> None:
    node = make_node(**{name: value})
    with pytest.raises(QueryDiffError) as refusal:
        node._parameter_reader.read()
    assert sentence in str(refusal.value)
    assert node.trigger_configure().name == "FAILURE"
    default = next(f.default for f in fields(Parameters) if f.name == name)
    right = list(default) if isinstance(default, tuple) else default
    assert node.set_parameters([Parameter(name, value=right)])[0].successful
    assert getattr(node._parameter_reader.read(), name) == default


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG)
def test_a_running_node_refuses_a_wrong_value(
    peer: Peer, make_node: MakeNode, name: str, value: Any, sentence: str
) -> None:
    node = make_node()
    before = node._parameter_reader.read()
    assert not node.set_parameters([Parameter(name, value=value)])[0].successful
    assert node._parameter_reader.read() == before


@pytest.mark.parametrize("options", [{"stride": 64}, {"window": 64, "stride": 65}])
def test_options_that_contradict_each_other_fail_configure(
    peer: Peer, make_node: MakeNode, options: dict[str, int]
) -> None:
    assert make_node(**options).trigger_configure().name == "FAILURE"


def test_an_unknown_device_fails_configure(peer: Peer, make_node: MakeNode) -> None:
    assert make_node(device="abacus").trigger_configure().name == "FAILURE"


def test_a_whole_number_passes_for_a_number(peer: Peer, make_node: MakeNode) -> None:
    assert make_node(max_age=2)._parameter_reader.read().max_age == 2.0


def test_every_parameter_describes_itself(peer: Peer, make_node: MakeNode) -> None:
    node = make_node()
    for option in fields(Parameters):
        descriptor = node.describe_parameter(option.name)
        assert descriptor.description
        assert descriptor.type != 0
        if option.metadata["between"]:
            assert descriptor.integer_range or descriptor.floating_point_range


def test_the_shipped_file_holds_the_defaults() -> None:
    text = (share_directory() / "config" / "ros" / "segment.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    defaults = {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in fields(Parameters)}
    assert values == {name: value for name, value in defaults.items() if name != "bring_up"}


def test_every_option_of_an_engine_but_its_size_is_a_parameter_and_comes_back() -> None:
    options = EngineOptions("/a/model.onnx", "cuda:1", 2, None, "openvino", True, True, 64, 32)
    parameters = engine_parameters(options)
    assert len(parameters) == len(fields(EngineOptions)) - 1
    assert Parameters(**parameters).engine_options == options
    assert Parameters(**engine_parameters(EngineOptions())).engine_options.file == default_model()


def test_what_may_change_at_any_time_does_so_at_once(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node()
    changes = {"max_rate": 2.0, "max_age": 7, "overlay_opacity": 1, "publish_confidence": False}
    for name, value in changes.items():
        assert node.set_parameters([Parameter(name, value=value)])[0].successful
        assert getattr(node._labeller._parameters, name) == value
    assert node.set_parameters([Parameter("max_age", value=0.0)])[0].successful  # the frame is from 1970
    assert peer.label_of(Image, "/front/image", raw(picture())).encoding == "mono8"


@pytest.mark.parametrize(("name", "value"), [("engine", "x.onnx"), ("cameras", ["rear"]), ("transport", "raw")])
def test_what_is_read_at_configure_is_refused_while_it_holds(
    peer: Peer, make_active_node: MakeNode, name: str, value: Any
) -> None:
    node = make_active_node()
    before = node.get_parameter(name).value
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert result.reason == f"Parameter {name} is read when the node is configured: clean it up, then set it."
    assert node.set_parameters([Parameter(name, value=before)])[0].successful  # as a loaded file does
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.set_parameters([Parameter(name, value=value)])[0].successful


def test_descriptions_tell_when_a_change_holds(peer: Peer, make_node: MakeNode) -> None:
    node = make_node()
    assert node.describe_parameter("max_rate").description.endswith("A change holds at once.")
    assert node.describe_parameter("engine").description.endswith("Read when the node is configured.")


def test_confidence_can_be_switched_on_later(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node(publish_confidence=False)
    assert node.set_parameters([Parameter("publish_confidence", value=True)])[0].successful
    peer.label_of(Image, "/front/image", raw(picture()), "/front/confidence")


def test_an_unknown_parameter_is_named(peer: Peer, start_process: Callable[..., Any]) -> None:
    node = start_process("segment_node", "--ros-args", "-p", "max_aeg:=1.0", "-p", "use_sim_time:=true")
    node.wait_for_line("Parameter max_aeg is unknown and changes nothing; did you mean max_age?")
    assert "use_sim_time" not in node.output
