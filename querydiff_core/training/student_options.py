"""What an experiment changes of a variant of the student."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass
class StudentOptions:
    """Settings of the student that differ from the variant's; None leaves the variant's.

    `scheme`: how the pretrained backbone is tuned (docs/method.md, section 6). `rein_options`: tokens, rank and shared
    of Rein. `queries`: r. `query_source`: `agent`, or `learned` or `rein` as baselines. `refinement`: whether maps read
    the agent queries. `others`: any other setting of `VariantConfig` by name, such as `channels`.
    """

    scheme: Literal["full", "frozen", "rein"] | None = None
    rein_options: dict[str, Any] | None = None
    queries: int | None = None
    query_source: Literal["agent", "learned", "rein"] | None = None
    refinement: bool | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def overrides(self) -> dict[str, Any]:
        """Return the settings by name, as `build_model` takes them."""
        named = {name: value for name, value in asdict(self).items() if name != "others" and value is not None}
        return {**self.others, **named}
