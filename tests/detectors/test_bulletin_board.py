"""The board that keeps what is known about many accounts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.bulletin_board import BulletinBoard
from detectors.bulletins import (
    Bulletin,
    IncidentReported,
    IncidentResolved,
    IncidentUpdated,
    MerchantDenied,
    NoticePublished,
)
from detectors.state import StateError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)

ids = st.text("abc", min_size=1, max_size=3)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
moments = st.integers(0, 7200).map(lambda seconds: NOON + timedelta(seconds=seconds))
some_names = st.none() | st.lists(names, min_size=1, max_size=3).map(tuple)
stamp = {"id": ids, "source": st.sampled_from(["/a", "/b"]), "time": moments}
facts: dict[str, st.SearchStrategy[Any]] = {
    "incident": st.sampled_from(["i1", "i2"]),
    "accounts": some_names,
    "component": st.none() | names,
    "started_at": st.none() | moments,
    "expected_end": st.none() | moments,
    "planned": st.none() | st.booleans(),
}
reports = st.builds(IncidentReported, **stamp, **facts, service=names, areas=st.lists(names, min_size=1).map(tuple))
updates = st.builds(IncidentUpdated, **stamp, **facts, service=st.none() | names, areas=some_names)
resolutions = st.builds(IncidentResolved, **stamp, **facts, service=st.none(), areas=st.none())
denials = st.builds(MerchantDenied, **stamp, merchant=st.sampled_from(["m1", "m2", "m3"]) | names)
notices = st.builds(
    NoticePublished,
    **stamp,
    notice=st.sampled_from(["n1", "n2"]),
    audience=st.dictionaries(st.sampled_from(["segment", "area", "did"]), st.lists(names, max_size=2).map(tuple)),
    template=names,
    facts=st.dictionaries(names, names | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.booleans()),
    spread_over=st.none() | st.timedeltas(timedelta(), timedelta(days=30)),
    legal=st.booleans(),
)
bulletins = st.lists(st.one_of(reports, updates, resolutions, denials, notices), max_size=12)


def board_of(heard: Sequence[Bulletin]) -> BulletinBoard:
    board = BulletinBoard()
    for bulletin in heard:
        board.hear(bulletin)
    return board


def what_it_shows(board: BulletinBoard, merchants: Sequence[str]) -> tuple[Any, ...]:
    return dict(board.incidents), dict(board.notices), [board.denials(merchant) for merchant in merchants]


def merchants_of(heard: Sequence[Bulletin]) -> list[str]:
    return [bulletin.merchant for bulletin in heard if isinstance(bulletin, MerchantDenied)]


def report(number: int = 1, time: datetime = NOON, **facts: Any) -> IncidentReported:
    given = {"incident": "i1", "service": "water", "areas": ("north",)} | facts
    return IncidentReported(id=f"r{number}", source="/ops", time=time, **given)


def update(number: int = 1, time: datetime = NOON, **facts: Any) -> IncidentUpdated:
    return IncidentUpdated(id=f"u{number}", source="/ops", time=time, **({"incident": "i1"} | facts))


def resolution(time: datetime, **facts: Any) -> IncidentResolved:
    return IncidentResolved(id="x", source="/ops", time=time, incident="i1", **facts)


def denial(number: int, merchant: str = "m1", time: datetime = NOON) -> MerchantDenied:
    return MerchantDenied(id=str(number), source="/foretell", time=time, merchant=merchant)


def notice(number: int = 1, time: datetime = NOON, **facts: Any) -> NoticePublished:
    return NoticePublished(id=f"n{number}", source="/ops", time=time, **({"notice": "n", "template": "t"} | facts))


@given(heard=bulletins, later=bulletins)
def test_a_restored_board_shows_the_same_and_goes_on_alike(heard: list[Bulletin], later: list[Bulletin]) -> None:
    board = board_of(heard)

    restored = BulletinBoard()
    restored.restore(board.save())

    merchants = merchants_of(heard + later)
    assert what_it_shows(restored, merchants) == what_it_shows(board, merchants)
    assert restored.save() == board.save()
    assert [restored.hear(bulletin) for bulletin in later] == [board.hear(bulletin) for bulletin in later]
    assert what_it_shows(restored, merchants) == what_it_shows(board, merchants)
    assert restored.save() == board.save()


@given(heard=bulletins, data=st.data())
def test_neither_order_nor_repetition_changes_what_is_known(heard: list[Bulletin], data: st.DataObject) -> None:
    once = list({(bulletin.source, bulletin.id): bulletin for bulletin in heard}.values())
    shuffled = data.draw(st.permutations(once))
    repeats = data.draw(st.lists(st.sampled_from(once), max_size=5)) if once else []

    merchants = merchants_of(once)
    assert what_it_shows(board_of([*shuffled, *repeats]), merchants) == what_it_shows(board_of(once), merchants)


@given(heard=bulletins)
def test_the_same_bulletins_give_the_same_bytes(heard: list[Bulletin]) -> None:
    assert board_of(heard).save() == board_of(heard).save()


@given(kind=st.sampled_from(["heard", "incidents", "merchants", "notices"]), garbage=st.binary(max_size=60))
def test_garbage_is_refused(kind: str, garbage: bytes) -> None:
    board = board_of([denial(1)])

    with pytest.raises(StateError, match=r"damaged|newer"):
        board.restore({f"{kind}/0": garbage})
    assert board.denials("m1") == 1


@given(heard=bulletins.filter(bool), data=st.data())
def test_a_flipped_bit_is_noticed(heard: list[Bulletin], data: st.DataObject) -> None:
    parts = board_of(heard).save()
    name = data.draw(st.sampled_from(sorted(parts)))
    place = data.draw(st.integers(0, len(parts[name]) - 1))
    flipped = bytearray(parts[name])
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(StateError):
        BulletinBoard().restore(parts | {name: bytes(flipped)})


def test_a_kind_of_a_newer_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(StateError, match=r"'cohorts', which this version .* run the version that wrote it"):
        BulletinBoard().restore({"cohorts/0": b"x"})
    with pytest.raises(StateError, match=r"format 9, this version of Foretell reads up to 1; run the version"):
        BulletinBoard().restore({"heard/0": b"\x09......"})


def test_what_is_large_is_saved_in_parts_that_fit_a_record_and_parts_of_a_longer_past_do_not_count() -> None:
    board = board_of(
        [
            report(number, incident=f"i{number}", accounts=tuple("x" * 90 + str(each) for each in range(9000)))
            for number in range(2)
        ]
    )
    long = board.save()
    board.forget(NOON + 60 * DAY)
    short = board.save()

    restored = BulletinBoard()
    restored.restore(long)
    assert len(restored.incidents["i1"].accounts) == 9000
    assert len([name for name in long if name.startswith("incidents/")]) == 4
    assert max(map(len, long.values())) < 600_000
    restored.restore(long | short)
    assert restored.incidents == {}


def test_a_part_that_has_not_changed_is_the_same_object() -> None:
    board = board_of([denial(1), report()])

    before = board.save()
    board.hear(denial(2))
    after = board.save()

    assert after["incidents/0"] is before["incidents/0"]
    assert after["merchants/0"] != before["merchants/0"]


def test_a_repeated_bulletin_is_no_news() -> None:
    board = BulletinBoard()

    assert board.hear(denial(1))
    assert not board.hear(denial(1))
    assert board.denials("m1") == 1


def test_an_older_update_does_not_undo_a_newer_one() -> None:
    board = board_of(
        [
            report(),
            update(2, NOON + 2 * DAY, planned=True, component="c"),
            update(1, NOON + DAY, planned=False, service="gas"),
        ]
    )

    incident = board.incidents["i1"]
    assert (incident.planned, incident.component, incident.service) == (True, "c", "gas")
    assert incident.started_at == NOON
    assert incident.reported_at == NOON + 2 * DAY


def test_a_resolved_incident_is_gone_even_if_its_report_comes_late() -> None:
    board = board_of([report(), resolution(NOON + DAY)])
    late = board_of([resolution(NOON + DAY), report()])

    assert board.incidents == late.incidents == {}


def test_a_word_after_the_end_opens_an_incident_again_only_if_it_is_a_report() -> None:
    board = board_of([report(), resolution(NOON + DAY)])

    board.hear(update(1, NOON + 2 * DAY, service="water", areas=("south",)))
    assert board.incidents == {}
    board.hear(report(2, NOON + 3 * DAY, areas=("west",)))
    assert board.incidents["i1"].areas == {"west"}
    assert board.incidents["i1"].started_at == NOON + 3 * DAY


def test_an_incident_is_known_once_service_and_scope_are() -> None:
    board = board_of([update(1, service="water")])
    assert board.incidents == {}

    board.hear(update(2, NOON + DAY, component="c7"))
    assert board.incidents["i1"].component == "c7"


@pytest.mark.parametrize(
    ("facts", "kept_days"),
    [({}, 30), ({"expected_end": NOON + DAY}, 8), ({"started_at": NOON + 20 * DAY}, 50)],
    ids=["without end", "with end", "planned"],
)
def test_an_incident_that_nobody_resolves_is_forgotten(facts: dict[str, Any], kept_days: int) -> None:
    board = board_of([report(**facts)])

    board.hear(denial(1, time=NOON + kept_days * DAY))
    assert "i1" in board.incidents
    board.hear(denial(2, time=NOON + kept_days * DAY + timedelta(seconds=1)))
    assert board.incidents == {}


def test_a_notice_is_replaced_by_a_newer_one_of_its_name_and_forgotten_after_30_days() -> None:
    board = board_of([notice(2, NOON + DAY, template="new"), notice(1, template="old")])
    assert board.notices["n"].template == "new"

    board.forget(NOON + 31 * DAY)
    assert "n" in board.notices
    board.forget(NOON + 32 * DAY)
    assert board.notices == {}


def test_changes_are_counted_for_those_who_keep_an_index() -> None:
    board = BulletinBoard()
    counts = [board.changes]
    for bulletin in (report(), denial(1), notice(), resolution(NOON + DAY)):
        board.hear(bulletin)
        counts.append(board.changes)
    board.restore({})

    assert counts == [0, 1, 1, 2, 3]
    assert board.changes > 3


def test_of_very_many_merchants_the_ones_denied_longest_ago_are_forgotten() -> None:
    board = board_of([denial(number, f"m{number}") for number in range(10_000)])
    board.hear(denial(10_001, "m0"))

    board.hear(denial(10_002, "one more"))

    assert (board.denials("m0"), board.denials("m1"), board.denials("one more")) == (2, 0, 1)
