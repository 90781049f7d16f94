"""What comes in: usage, charges and account changes."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from .message import Currency, Message, Money, Name, Payload, Quantity

_MOST_DIGITS = 15
_ZONES = available_timezones()


def _known_zone(name: str) -> str:
    if name not in _ZONES:
        raise ValueError(f"{name!r} is no IANA time zone; expected one like 'Europe/Stockholm'")
    return name


TimeZoneName = Annotated[str, AfterValidator(_known_zone)]
LocalTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="local time, HH:MM")]


class UsageRecorded(Message):
    """A meter of an account used something: a piece of an hour, a day, or a running counter's reading.

    Attributes:
        quantity: how much was used since the last reading, or the counter's value if `cumulative`.
        cumulative: `quantity` is a counter that only grows; a smaller value than before is a reset to zero.
        correction: `quantity` mends an earlier total and may be negative; it is no usage of the moment and teaches no habit.
        component: the part of the network or product that measured it.
        member: who of those that share the account used it, as a family does an allowance.
    """

    type_name = "usage.recorded"

    meter: Name
    quantity: Quantity
    unit: Name
    cumulative: bool = False
    correction: bool = False
    component: Name | None = None
    member: Name | None = None

    @model_validator(mode="after")
    def _is_of_this_world(self) -> Self:
        if self.quantity < 0 and not self.correction:
            raise ValueError(f"quantity {self.quantity} is negative; only a correction may be")
        # here and not as max_digits of the field, which takes pydantic 3.5 us an event
        if self.quantity and abs(self.quantity.adjusted()) > _MOST_DIGITS:
            raise ValueError(f"quantity {self.quantity} has more than {_MOST_DIGITS} digits before or after the point")
        return self


class Merchant(Payload):
    """Who was paid."""

    id: Name
    name: Name | None = None
    category: Name | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2")] | None = None

    @property
    def label(self) -> str:
        """The name a person knows, else the id."""
        return self.name or self.id


class ChargePosted(Message):
    """Money left the account. A negative amount is a refund."""

    type_name = "charge.posted"

    amount: Money
    currency: Currency
    merchant: Merchant
    channel: Literal["card_present", "online", "recurring", "withdrawal"] | None = None
    card_last4: Annotated[str, Field(pattern=r"^\d{4}$")] | None = None
    approved: bool = True
    invoice: Name | None = None


CycleKind = Literal["month", "week", "days", "prepaid", "rolling"]


class Cycle(Payload):
    """How the account is billed.

    Attributes:
        kind: `month` and `week` start on `anchor`'s day; `days` repeats every `length` days from it; `prepaid` has no end;
            `rolling` counts, on each day, the last `length` days with it.
        anchor: the local date and time a cycle started; without it cycles start with the calendar month or on Monday.
        length: days in a cycle, for `days` and `rolling` only.
    """

    kind: CycleKind = "month"
    anchor: AwareDatetime | None = None
    length: Annotated[int, Field(ge=1, le=366)] = 30


class Contact(Payload):
    """One address of the account's holder."""

    channel: Name
    address: Name
    verified: bool = False


class Consent(Payload):
    """Whether a channel may be used, since when, and how that was said."""

    state: Literal["given", "withdrawn"]
    at: AwareDatetime
    how: Name | None = None


class QuietHours(Payload):
    """Local hours in which only fraud may disturb; they may run past midnight."""

    start: LocalTime = Field(alias="from")
    end: LocalTime = Field(alias="to")


class AccountUpdated(Message):
    """Facts about an account. Each field that is named replaces what was known; the others stay."""

    type_name = "account.updated"

    plan: Name | None = None
    cycle: Cycle | None = None
    language: Name | None = None
    timezone: TimeZoneName | None = None
    segment: Name | None = None
    area: Name | None = None
    contacts: tuple[Contact, ...] | None = None
    preferences: dict[Name, Literal["off"] | list[Name] | dict[Literal["all"], list[Name]]] | None = None
    quiet_hours: QuietHours | None = None
    consent: dict[Name, Consent] | None = None
    vulnerable: bool | None = None
    components: tuple[Name, ...] | None = None

    @property
    def zone(self) -> ZoneInfo | None:
        """The account's time zone, if this event names one."""
        return ZoneInfo(self.timezone) if self.timezone else None


class AllowanceAdded(Message):
    """More may be used of a meter than the plan says: a top-up of this cycle's allowance, or of a prepaid balance.

    Attributes:
        quantity: how much more.
        expires_at: until when what is left of it stays; without it until the cycle ends. A prepaid balance has no such end.
    """

    type_name = "allowance.added"

    meter: Name
    quantity: Quantity
    unit: Name
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _is_more(self) -> Self:
        if self.quantity <= 0 or abs(self.quantity.adjusted()) > _MOST_DIGITS:
            raise ValueError(
                f"quantity {self.quantity} adds nothing, or has more than {_MOST_DIGITS} digits before or after the point"
            )
        return self


class AccountClosed(Message):
    """The account has ended; nobody is to be told anything about it any more."""

    type_name = "account.closed"

    why: str | None = None
