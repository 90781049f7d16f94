"""The one-hot crosses of a charge: their numbers, what each is about, and the few bits from which they are told again."""

# ruff: noqa: FURB136, PLR2004 - min and max are calls; the edges of bins stand where they are used

from __future__ import annotations

NEWS = ("merchant", "category", "country", "channel")
"""What of a charge can be new to an account, in this order."""

BASE = "base"

_MERCHANT = range(2000, 3400)
_NEWS = 4000  # two of each of NEWS: known, new
_VELOCITY = 4020
_CHANNEL = 4040
_TIME = 4060
_CURRENCY = 4080
_DENIED = 4090
_CATEGORY = 4200

Bins = tuple[int, int, int, int, int, int]


def crosses_of(bins: Bins, run: int, extra: int) -> dict[int, float]:
    """Return the crosses as River's models take them.

    Args:
        bins: how the charge looks on its card, see `Look`.
        run: the merchant's, as `run_bits` packs it; 0 for none.
        extra: what else is known, as `extra_bits` packs it; 0 for nothing.
    """
    first, second, third, fourth, fifth, sixth = bins
    crosses = {
        0: 1.0,
        100 + first: 1.0,
        200 + second: 1.0,
        500 + third: 1.0,
        800 + fourth: 1.0,
        1000 + fifth: 1.0,
        1300 + sixth: 1.0,
    }
    if run:
        _add_run(crosses, run)
    if extra:
        _add_extra(crosses, extra)
    return crosses


def run_bits(age: float, quiet: float, bads: int, goods: int, since: int, share: int) -> int:
    """Return how a merchant's run stands, in 24 bits of which one is always set.

    Args:
        age: days since its first bad charge; from 48 on all are alike.
        quiet: days since its last; from 32 on all are alike.
        bads: how many, in steps 0..6.
        goods: confirmed since the last, 0..5.
        since: charges since the last, in steps 0..8.
        share: of goods among what was within the run, in quarters 0..3.
    """
    days, silence = 48 if age > 48 else int(age), 16 if quiet > 32 else int(quiet) >> 1
    return 1 | goods << 1 | bads << 4 | share << 7 | days << 9 | silence << 15 | since << 20


def _add_run(crosses: dict[int, float], run: int) -> None:
    """Add the crosses of a run. Those of its age let a model learn the hazard of any length of a run."""
    goods, bads, share = run >> 1 & 7, run >> 4 & 7, run >> 7 & 3
    days, silence, since = run >> 9 & 63, run >> 15 & 31, run >> 20 & 15
    crosses[2000 + (days >> 1) * 4 + (goods if goods < 3 else 3)] = 1.0
    crosses[3000 + (goods * 7 + bads) * 4 + share] = 1.0
    crosses[2200 + silence * 6 + goods] = 1.0
    crosses[2400 + bads * 16 + (days if days < 45 else 45) // 3] = 1.0
    crosses[2600 + (since * 7 + bads) * 3 + (goods if goods < 2 else 2)] = 1.0


def extra_bits(
    part_of_day: int,
    news: tuple[int, int, int, int],
    velocity: int,
    channel: int,
    category: int,
    is_strange_currency: bool,
    denials: int,
) -> int:
    """Return what else an event says, in 31 bits.

    Args:
        part_of_day: three hours each, 1..8; 0 for not known.
        news: of each of `NEWS`: 0 for not said, 1 for known, 2 for new.
        velocity: charges within an hour, 2..15; 0 for this one alone.
        channel: 1..7; 0 for not said.
        category: 1..256; 0 for not said.
        is_strange_currency: the account never paid in it.
        denials: of the merchant, 0..3.
    """
    first, second, third, fourth = news
    return (
        part_of_day
        | first << 4
        | second << 6
        | third << 8
        | fourth << 10
        | velocity << 12
        | channel << 16
        | category << 19
        | is_strange_currency << 28
        | denials << 29
    )


def _add_extra(crosses: dict[int, float], extra: int) -> None:
    if extra & 15:
        crosses[_TIME - 1 + (extra & 15)] = 1.0
    for number in range(4):
        said = extra >> 4 + 2 * number & 3
        if said:
            crosses[_NEWS + 2 * number + said - 1] = 1.0
    for bits, base in ((extra >> 12 & 15, _VELOCITY), (extra >> 16 & 7, _CHANNEL), (extra >> 19 & 511, _CATEGORY - 1)):
        if bits:
            crosses[base + bits] = 1.0
    if extra >> 28 & 1:
        crosses[_CURRENCY] = 1.0
    if extra >> 29:
        crosses[_DENIED + (extra >> 29)] = 1.0


def name_of(cross: int) -> str:
    """Return what a cross is about: base, card, amount, run, a name of `NEWS`, velocity, time, currency, denied."""
    if cross == 0:
        return BASE
    if _NEWS <= cross < _VELOCITY:
        return NEWS[(cross - _NEWS) // 2]
    return next(name for crosses, name in _NAMES if cross in crosses)


_NAMES = (
    (range(100, 500), "card"),
    (range(800, 1000), "card"),
    (_MERCHANT, "run"),
    (range(_VELOCITY, _CHANNEL), "velocity"),
    (range(_CHANNEL, _TIME), "channel"),
    (range(_TIME, _CURRENCY), "time"),
    (range(_CURRENCY, _DENIED), "currency"),
    (range(_DENIED, _CATEGORY), "denied"),
    (range(_CATEGORY, _CATEGORY + 256), "category"),
    (range(500, 2000), "amount"),
)
