"""What the company sells: meters and plans, as `foretell.yaml` names them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .message import Currency, Money, Name


class Meter(BaseModel):
    """What is counted, and in which unit every reading of it comes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Name


class Allowance(BaseModel):
    """How much of a meter a plan includes in one cycle.

    Attributes:
        quantity: what is included, in the meter's unit.
        overage: the price of one unit more, in the plan's currency; None where usage just stops or slows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantity: Annotated[Decimal, Field(gt=0)]
    unit: Name
    overage: Annotated[Money, Field(ge=0)] | None = None


class Plan(BaseModel):
    """A plan that accounts can be on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    price: Annotated[Money, Field(ge=0)] | None = None
    currency: Currency
    allowances: dict[Name, Allowance] = Field(default_factory=dict)
