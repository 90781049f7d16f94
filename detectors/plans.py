"""What the company sells: meters and plans, as `foretell.yaml` names them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .message import Currency, Money, Name


class Meter(BaseModel):
    """What is counted, and in which unit every reading of it comes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Name


class Allowance(BaseModel):
    """How much of a meter a plan includes in one cycle.

    Attributes:
        quantity: what is included, in the meter's unit; 0 is not included: all use is beyond it.
        overage: the price of one unit more, in the plan's currency; None where usage just stops or slows.
        packages: more of the same, used up in this order after `quantity`; alerts name the one in use.
        rolls_over: what is not used is added to the next cycle, at most so much of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantity: Annotated[Decimal, Field(ge=0, le=10**15)]
    unit: Name
    overage: Annotated[Money, Field(ge=0)] | None = None
    packages: dict[Name, Annotated[Decimal, Field(gt=0, le=10**15)]] = Field(default_factory=dict)
    rolls_over: Annotated[Decimal, Field(ge=0)] = Decimal(0)

    @property
    def included(self) -> Decimal:
        """All that a cycle includes, packages with it."""
        return self.quantity + sum(self.packages.values()) if self.packages else self.quantity

    def package_in_use(self, used: Decimal) -> str | None:
        """Return which package is being used up when so much is used; None while it is `quantity` itself, or none is left.

        >>> plan = Allowance(quantity=Decimal(10), unit="GB", packages={"music": Decimal(5), "holiday": Decimal(5)})
        >>> plan.package_in_use(Decimal(9)), plan.package_in_use(Decimal(12)), plan.package_in_use(Decimal(15))
        (None, 'music', 'holiday')
        """
        left = used - self.quantity
        for name, quantity in self.packages.items():
            if left < 0:
                return None
            if left < quantity:
                return name
            left -= quantity
        return None


class Bundle(Allowance):
    """One allowance for several meters of the same unit.

    Attributes:
        meters: whose usage counts; the bundle is told of under its own name.
    """

    meters: Annotated[tuple[Name, ...], Field(min_length=1)]


class Plan(BaseModel):
    """A plan that accounts can be on.

    Attributes:
        bundles: allowances that several meters share, by a name that is no meter's of the plan.
        on_change: what who comes to this plan within a cycle has until it ends: its `whole` allowance, or `pro_rata`, of
            the old and the new by the time on each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    price: Annotated[Money, Field(ge=0)] | None = None
    currency: Currency
    allowances: dict[Name, Allowance] = Field(default_factory=dict)
    bundles: dict[Name, Bundle] = Field(default_factory=dict)
    on_change: Literal["whole", "pro_rata"] = "whole"

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        meters = set(chain(self.allowances, *(bundle.meters for bundle in self.bundles.values())))
        for name in self.bundles:
            if name in meters:
                raise ValueError(
                    f"bundle {name!r} has the name of a meter; expected one of its own, like '{name}_together'"
                )
        return self

    def limit_of(self, subject: str) -> Allowance | None:
        """Return the allowance of a meter, or of a bundle."""
        return self.allowances.get(subject) or self.bundles.get(subject)

    def bundles_of(self, meter: str) -> Iterator[str]:
        """Yield the bundles that a meter's usage counts in."""
        return (name for name, bundle in self.bundles.items() if meter in bundle.meters)
