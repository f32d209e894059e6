"""Which weather it is in CARLA, by name."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from std_msgs.msg import String

from querydiff_ros.common.topics import CONDITION_TOPIC, LATCHED

WEATHER_TOPIC = "/carla/weather_control"
NIGHT_BELOW = 0.0
FOG_FROM, RAIN_FROM = 20.0, 20.0
"""Of 100; less of either leaves the weather clear."""


class CarlaWeather:
    """Follow the weather: what the bridge is told to make it, and what `/condition` says.

    The bridge reads `/carla/weather_control` (`carla_msgs/CarlaWeatherParameters`) and reports the weather nowhere, so
    the same requests are read here, where carla_msgs is installed. CARLA's native interface knows no weather: publish
    its name on `/condition` (`std_msgs/String`, transient local), which works everywhere. The last of both counts.

    Attributes:
        condition: name of the weather, such as fog; at first the one given.
    """

    def __init__(self, node: Node, condition: str) -> None:
        self.condition = condition
        node.create_subscription(String, CONDITION_TOPIC, self._on_condition, LATCHED)
        kind = weather_message_type()
        if kind is not None:
            node.create_subscription(kind, WEATHER_TOPIC, self._on_weather, 10)

    def _on_condition(self, message: String) -> None:
        self.condition = message.data

    def _on_weather(self, message: Any) -> None:
        self.condition = condition_of(message)


def condition_of(weather: Any) -> str:
    """Name the weather of a `CarlaWeatherParameters`: night, fog, rain or clear, the first that holds."""
    if weather.sun_altitude_angle < NIGHT_BELOW:
        return "night"
    if weather.fog_density >= FOG_FROM:
        return "fog"
    return "rain" if weather.precipitation >= RAIN_FROM else "clear"


def weather_message_type() -> type | None:
    """Return `carla_msgs/CarlaWeatherParameters`, None where it is not installed."""
    try:
        from carla_msgs.msg import CarlaWeatherParameters
    except ImportError:
        return None
    kind: type = CarlaWeatherParameters
    return kind
