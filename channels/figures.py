"""Figures, money and times as customers read them: the filters of the templates."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

_WITHOUT_MINOR_UNIT = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_LONGEST_NAME = 60
_LINK = re.compile(r"(?i)\b(?:https?://|www\.)+")
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){8,}[ -]?(\d{4})")
_ENDING = 4


def is_figure(fact: Any) -> bool:
    """Return whether `fact` is a number, or text that is one.

    >>> is_figure("80.5"), is_figure(80), is_figure("forecast"), is_figure(None)
    (True, True, False, False)
    """
    try:
        figure(fact)
    except ValueError:
        return False
    return True


def figure(fact: Any) -> Decimal:
    """Return `fact` as a number.

    Raises:
        ValueError: it is none.
    """
    try:
        found = Decimal(str(fact))
    except InvalidOperation:
        raise ValueError(f"expected a number, got {type(fact).__name__}") from None
    if isinstance(fact, bool) or not found.is_finite():
        raise ValueError("expected a number")
    return found


def number(fact: Any) -> str:
    """Return a number with at most two decimals, large ones with none.

    >>> number("1234.5"), number(3.14159), number("0.80"), number(8)
    ('1,234', '3.14', '0.8', '8')
    """
    found = figure(fact)
    if abs(found) >= 100:  # noqa: PLR2004 - decimals of hundreds are noise to a reader
        return f"{found:,.0f}"
    text = f"{found:,.2f}"
    return text.rstrip("0").rstrip(".")


def money(fact: Any, currency: str) -> str:
    """Return an amount with its currency.

    >>> money("2500", "EUR"), money("1200.00", "JPY")
    ('2,500.00 EUR', '1,200 JPY')
    """
    decimals = 0 if currency in _WITHOUT_MINOR_UNIT else 2
    return f"{figure(fact):,.{decimals}f} {currency}"


def day(fact: Any) -> str:
    """Return the day of a date or a time.

    >>> day("2026-03-28"), day("2026-03-28T23:30:00+01:00")
    ('28 March 2026', '28 March 2026')
    """
    found = fact if isinstance(fact, date) else _time(fact)
    return f"{found.day} {found:%B %Y}"


def moment(fact: Any) -> str:
    """Return a time to the minute, with its zone, which is the one that the fact is given in.

    >>> moment("2026-03-28T21:00:00Z"), moment("2026-03-28T21:00:00+01:00")
    ('28 March 2026 at 21:00 UTC', '28 March 2026 at 21:00 (UTC+01:00)')
    """
    found = _time(fact)
    offset = found.utcoffset()
    if offset is None:
        raise ValueError("expected a time with its offset from UTC")
    ahead = f"{found:%z}"
    zone = "UTC" if offset == timedelta(0) else f"(UTC{ahead[:3]}:{ahead[3:5]})"
    return f"{day(found)} at {found:%H:%M} {zone}"


def ending(fact: Any) -> str:
    """Return the last four characters, which prove that a message is genuine and give nothing away.

    >>> ending("acct-000000001234"), ending("1234")
    ('1234', '1234')
    """
    return str(fact)[-_ENDING:]


def named(fact: Any) -> str:
    r"""Return a name that came from outside, fit to be read: one line, short, no link, no long number in full.

    >>> named("https://www.evil.example/pay\n now"), named("water_flow"), named("SHOP 4111 1111 1111 1111")
    ('evil.example/pay now', 'water flow', 'SHOP ...1111')
    """
    words = "".join(character if character.isprintable() else " " for character in str(fact)).replace("_", " ").split()
    text = _LONG_NUMBER.sub(r"...\1", _LINK.sub("", " ".join(words)))
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3].rstrip() + "..."


def _time(fact: Any) -> datetime:
    if isinstance(fact, datetime):
        return fact
    try:
        return datetime.fromisoformat(str(fact))
    except ValueError:
        raise ValueError(f"expected a time like 2026-03-28T21:00:00+01:00, got {type(fact).__name__}") from None
