"""An engine, asked event by event, as a test reads it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from detectors.alerts import Alert
from detectors.codec import EVENT_TYPES
from detectors.engine import Engine, EngineSettings, Origin


class Asked:
    """An engine and a count of the events it was given."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.engine = Engine(EngineSettings.model_validate(settings))
        self._count = 0

    def tell(self, type_name: str, at: datetime, /, account: str = "acct-1234", **fields: Any) -> list[Alert]:
        """Give the engine an event and return its alerts."""
        self._count += 1
        event = EVENT_TYPES[type_name].model_validate(
            {"id": f"e{self._count}", "source": "/t", "time": at, "account": account, **fields}
        )
        return self.engine.handle(event, Origin("t", 0, self._count))


@pytest.fixture
def ask() -> Callable[..., Asked]:
    return lambda **settings: Asked(settings)
