"""Arithmetic that does not round: a quantity has at most 30 digits, a long sum of them a few more."""

from __future__ import annotations

from decimal import Context, Inexact

EXACT = Context(prec=60, traps=[Inexact])
