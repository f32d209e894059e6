"""The managed node: cameras in, labels out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from querydiff_core.errors import described
from querydiff_core.inference.segmenter import Segmenter
from querydiff_ros.common.node_parameters import ParameterReader
from querydiff_ros.node.frame_labeller import FrameLabeller
from querydiff_ros.node.segment_parameters import Parameters


class SegmentNode(LifecycleNode):
    """Load on configure, label while active, free on cleanup.

    A transition that fails says why in one sentence and leaves the node in the state where it was, ready to try again.
    """

    def __init__(self, **node_options: Any):
        super().__init__("segment_node", automatically_declare_parameters_from_overrides=True, **node_options)
        self._labeller: FrameLabeller | None = None
        self._parameter_reader = ParameterReader(
            self, Parameters, in_use=lambda: self._labeller is not None, use=self._use
        )
        self._survive_impossible_transitions()

    def bring_up_if_asked(self) -> None:
        """Configure and activate when the parameter `bring_up` says that nobody else will."""
        if not self.get_parameter("bring_up").value:
            self.get_logger().info(
                "Unconfigured, and waiting for a lifecycle manager, or for `ros2 lifecycle set "
                f"{self.get_fully_qualified_name()} configure` and `activate`; bring_up:=true does both."
            )
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, load and warm up the engine, and announce the outputs."""
        return self._attempt("configure", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start labelling."""
        super().on_activate(state)  # lets the publishers send
        outcome = self._attempt("activate", self._activate)
        if outcome != TransitionCallbackReturn.SUCCESS:
            super().on_deactivate(state)
        return outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop labelling; the engine stays loaded."""
        if self._labeller is not None:
            self._labeller.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine and withdraw the outputs."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do as for cleanup, from any state."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start afresh: free everything, so that the node can be configured again."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Free everything, also when no transition did."""
        self._release()
        super().destroy_node()

    def _configure(self) -> None:
        parameters, started = self._parameter_reader.read(), time.monotonic()
        segmenter = Segmenter.open(parameters.engine_options)
        segmenter.warm_up()
        self._labeller = FrameLabeller(self, parameters, segmenter)
        self.get_logger().info(
            f"{segmenter.metadata.variant} loaded and warmed up in {time.monotonic() - started:.1f} s: "
            f"{segmenter.engine_name} on {segmenter.device}, cameras {', '.join(map(repr, parameters.cameras))}."
        )
        if parameters.publish_confidence and not segmenter.has_confidence:
            self.get_logger().warning(
                "No confidence is published: the engine was exported with --labels-only; set publish_confidence to "
                "false, or export it again without."
            )

    def _use(self, parameters: Parameters) -> None:
        assert self._labeller is not None
        self._labeller.update(parameters)

    def _activate(self) -> None:
        assert self._labeller is not None
        self._labeller.start()
        self.get_logger().info("Active.")

    def _release(self) -> None:
        labeller, self._labeller = self._labeller, None
        if labeller is not None:
            labeller.close()

    def _attempt(self, transition: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
            return TransitionCallbackReturn.SUCCESS
        except Exception as error:  # rclpy would swallow it without a word
            if self.context.ok():
                self.get_logger().error(f"Cannot {transition}: {described(error)}")
            return TransitionCallbackReturn.FAILURE

    def _survive_impossible_transitions(self) -> None:
        """Answer requests such as activating twice with a refusal; rclpy lets them end the process."""
        for service in self.services:
            if service.srv_type is ChangeState:
                service.callback = self._refusing(service.callback)

    def _refusing(self, change_state: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            try:
                return change_state(request, response)
            except RuntimeError:  # rcl has logged what is impossible
                if not self.context.ok():
                    raise
                response.success = False
                return response

        return answer
