"""Wording: what a person reads about an alert, from the template of its kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from detectors.alerts import Alert

from .figures import day, ending, figure, is_figure, moment, money, named, number

_LANGUAGE = "en"
_TEMPLATES = Path(__file__).parent / "templates"
_MAY_BE_MISSING = {
    "suspicious_charge": ("card_last4",),
    "plan_limit": ("breach_date", "chance", "currency", "cycle_end", "days_left", "overage", "plan"),
    "usage_spike": ("usual", "usual_low", "usual_high"),
}
_TELLING_LENGTH = 8  # a shorter account number may stand in a text by chance
_BLANK_LINES = re.compile(r"\n\s*\n")


class WordingError(Exception):
    """There are no words for this alert; the sentence names what is missing, and no fact of the customer's."""


@dataclass(frozen=True, slots=True)
class Words:
    """A message in words."""

    subject: str
    body: str


class Wording:
    """Put alerts into words, in English; with the templates in `templates/`."""

    def __init__(self) -> None:
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(_TEMPLATES),
            undefined=StrictUndefined,
            autoescape=False,  # plain text; Apprise escapes it for services that want HTML
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            day=day, ending=ending, figure=figure, moment=moment, money=money, named=named, number=number
        )
        self._environment.tests["figure"] = is_figure

    def word(self, alert: Alert) -> Words:
        """Return what to tell about `alert`.

        Raises:
            WordingError: its kind has no template, a fact is missing or of a wrong form, or the text would give away
                the account's number.
        """
        facts: dict[str, Any] = dict.fromkeys(_MAY_BE_MISSING.get(alert.kind, ())) | alert.facts
        context = facts | {"question": alert.question}
        try:
            template = self._environment.get_template(f"{_LANGUAGE}/{alert.kind}.txt.j2")
            told: Any = template.make_module(context)
            words = Words(" ".join(str(told.subject).split()), _tidy(told.body))
        except TemplateNotFound:
            raise WordingError(f"no template for the kind {alert.kind!r} in {_LANGUAGE!r}") from None
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise WordingError(f"the template of {alert.kind!r} fails: {error}") from None
        if len(alert.account) >= _TELLING_LENGTH and alert.account in words.subject + words.body:
            raise WordingError(f"the text of {alert.kind!r} would show the whole account number")
        return words


def _tidy(text: object) -> str:
    return _BLANK_LINES.sub("\n\n", str(text)).strip()
