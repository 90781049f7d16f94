"""Facts about many accounts, as they are told: incidents, notices and denied merchants."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema, model_validator

from .message import Envelope, Name, Payload

_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_DURATION = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _of_our_age(moment: datetime) -> datetime:
    if not _FIRST_YEAR < moment.year < _LAST_YEAR:
        raise ValueError(f"expected a time between {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment


def _duration(given: Any) -> Any:
    found = _DURATION.fullmatch(given) if isinstance(given, str) else None
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else given


Moment = Annotated[AwareDatetime, AfterValidator(_of_our_age)]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    Field(ge=timedelta(0), le=timedelta(days=30)),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}, mode="validation"),
]
"""Seconds, `90s`, `15m`, `2h`, `1d`, or ISO 8601 (`PT2H`)."""


class Bulletin(Envelope):
    """An event about many accounts. It is published once and reaches every partition."""

    time: Moment


class IncidentChange(Bulletin):
    """What the three events about an incident have in common. A later event replaces each fact that it names.

    Attributes:
        incident: its name, the same in all events about it.
        service: what does not work.
        areas: where, as accounts name their `area`.
        accounts: whom it concerns, where that is known one by one.
        component: the part of the network that failed, as accounts and readings name it.
        started_at: when it began, or will begin; the time of the report that does not say.
        planned: it is work that was announced.
    """

    subject_field = "incident"

    incident: Name
    service: Name | None = None
    areas: Annotated[tuple[Name, ...], Field(max_length=10_000)] | None = None
    accounts: Annotated[tuple[Name, ...], Field(max_length=10_000)] | None = None
    component: Name | None = None
    started_at: Moment | None = None
    expected_end: Moment | None = None
    planned: bool | None = None


class IncidentReported(IncidentChange):
    """Something is out of order, or will be."""

    type_name = "incident.reported"

    service: Name

    @model_validator(mode="after")
    def _says_whom_it_concerns(self) -> Self:
        if not (self.areas or self.accounts or self.component):
            raise ValueError("it names nobody whom it concerns; expected areas, accounts or component")
        return self


class IncidentUpdated(IncidentChange):
    """More is known of an incident."""

    type_name = "incident.updated"


class IncidentResolved(IncidentChange):
    """The incident is over."""

    type_name = "incident.resolved"


class Place(Payload):
    """A circle on the map."""

    name: Name
    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    within_m: Annotated[float, Field(gt=0)]


class NoticePublished(Bulletin):
    """Something to tell all accounts of a kind.

    Attributes:
        audience: fact of an account -> the values that are meant; all must hold, and none named means everybody.
            `did` names an interaction that was seen. A fact that is not known here is refused: to ignore it would
            tell people who are not meant.
        template: the text.
        facts: what the template may say.
        spread_over: the time over which the messages are spread.
        legal: the law wants it told.
        places: only to those who are there.
    """

    type_name = "notice.published"
    subject_field = "notice"

    notice: Name
    audience: dict[Literal["segment", "area", "plan", "language", "component", "did"], tuple[Name, ...]] = Field(
        default_factory=dict
    )
    template: Name
    facts: dict[str, str | int | float | bool] = Field(default_factory=dict)
    spread_over: Duration | None = None
    legal: bool = False
    places: tuple[Place, ...] = ()


class MerchantDenied(Bulletin):
    """A charge of this merchant was denied, or labelled bad. We say it ourselves, to every partition.

    Attributes:
        charged_at: when the charge was made; the bulletin's own time for a sender that does not say.
        blames_card: its size was out of the card's habit, so that the card was stolen and the merchant is not to blame.
    """

    type_name = "merchant.denied"
    subject_field = "merchant"

    merchant: Name
    charged_at: Moment | None = None
    blames_card: bool = False


REPORTED: tuple[type[Bulletin], ...] = (IncidentReported, IncidentUpdated, IncidentResolved, NoticePublished)
"""The bulletins that others send."""

BULLETINS: tuple[type[Bulletin], ...] = (*REPORTED, MerchantDenied)
"""All bulletins, those that we send ourselves included."""
