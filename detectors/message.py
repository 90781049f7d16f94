"""What every message on the wire has in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

Name = Annotated[str, Field(min_length=1, max_length=256)]
"""An account, a meter, a merchant: never empty, never long enough to hurt a log or a key."""

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]

_decimal_text = PlainSerializer(lambda number: format(number, "f"), return_type=str, when_used="json")
_number_or_decimal_text = WithJsonSchema(
    {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?\d+(\.\d+)?$"}]},
    mode="validation",
)

Quantity = Annotated[Decimal, _decimal_text, _number_or_decimal_text]
"""A JSON number or a decimal string; exact, so that ten times 0.1 is on the line of 1."""

Money = Annotated[Decimal, Field(max_digits=20, decimal_places=4), _decimal_text, _number_or_decimal_text]
"""An amount in a currency's major unit; the currency stands beside it."""


class Payload(BaseModel):
    """A frozen part of a message. Unknown fields are ignored: a newer sender must not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Envelope(Payload):
    """A CloudEvents 1.0 event: the envelope's attributes, beside them the fields of its data.

    Attributes:
        type_name: the CloudEvents `type`, chosen by us and never taken from a module path.
        subject_field: the field that travels as the CloudEvents `subject` and is the record's key.
    """

    type_name: ClassVar[str]
    subject_field: ClassVar[str]

    id: Name
    source: Name
    time: AwareDatetime

    @property
    def about(self) -> str:
        """The account, the incident, the merchant that it is about."""
        about: str = getattr(self, self.subject_field)
        return about

    def envelope(self) -> dict[str, Any]:
        """Return the CloudEvents attributes, without the data."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type_name,
            "subject": self.about,
            "time": self.time,
            "datacontenttype": "application/json",
        }


class Message(Envelope):
    """An event about one account."""

    subject_field = "account"

    account: Name


ENVELOPE_FIELDS = frozenset(Envelope.model_fields)
"""Fields that travel as CloudEvents attributes alone; what an event is about stands in its data too."""
