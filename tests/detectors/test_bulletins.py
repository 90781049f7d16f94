"""What is said about many accounts, and what cannot be meant."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from detectors.bulletins import Bulletin, IncidentReported, IncidentUpdated, NoticePublished

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "fields", "said"),
    [
        (IncidentReported, {"incident": "i", "service": "water"}, "names nobody whom it concerns"),
        (IncidentReported, {"incident": "i", "service": "water", "areas": []}, "names nobody whom it concerns"),
        (IncidentUpdated, {"incident": "i", "expected_end": "9999-12-31T00:00:00Z"}, "between 1970 and 2200"),
        (IncidentUpdated, {"incident": "i", "time": "0001-01-01T00:00:00+14:00"}, "between 1970 and 2200"),
        (NoticePublished, {"notice": "n", "template": "t", "audience": {"mood": ["good"]}}, "segment"),
        (NoticePublished, {"notice": "n", "template": "t", "spread_over": "a while"}, "spread_over"),
    ],
)
def test_a_bulletin_that_cannot_be_meant_is_refused(model: type[Bulletin], fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        model.model_validate({"id": "1", "source": "/ops", "time": NOON} | fields)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("PT2H", timedelta(hours=2)),
        (60, timedelta(minutes=1)),
    ],
)
def test_a_duration_is_read_as_people_write_it(given: Any, meant: timedelta) -> None:
    notice = NoticePublished(id="1", source="/ops", time=NOON, notice="n", template="t", spread_over=given)

    assert notice.spread_over == meant
