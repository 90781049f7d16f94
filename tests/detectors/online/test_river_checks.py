"""What River asks of every estimator, asked of every one that `detectors.online` exports."""

import copy
import pickle
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import base, checks, datasets

import detectors.online

NOT_APPLICABLE: dict[tuple[str, str], str] = {}
"""By estimator and check, why the check cannot apply. One that names what does not exist fails."""

_SEED = 20_130_901
_FIRST_ODD = 300


class CardsAlike:
    """Stands for River's `CreditCard`, which is fetched from a server: the same keys, seeded, some amounts absurdly large."""

    def take(self, count: int) -> Iterator[tuple[dict[str, float], int]]:
        random, seconds = Random(_SEED), 0.0
        for number in range(count):
            seconds += random.expovariate(1 / 900)
            is_odd = number > _FIRST_ODD and random.random() < 0.01
            amount = random.lognormvariate(3, 0.5) * (1000 if is_odd else 1)
            yield (
                {"Time": seconds, "Amount": amount, **{f"V{at}": random.gauss(0, 1) for at in range(1, 29)}},
                int(is_odd),
            )


@pytest.fixture(autouse=True)
def _nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "CreditCard", CardsAlike)


def exported() -> Iterator[type[base.Base]]:
    for name in detectors.online.__all__:
        found = getattr(detectors.online, name)
        if isinstance(found, type) and issubclass(found, base.Base):
            yield found


def instances() -> Iterator[Any]:
    for kind in exported():
        tested = getattr(kind, "_unit_test_params", None)
        for params in tested() if tested is not None else [{}]:
            yield kind(**params)


def pairs() -> Iterator[Any]:
    """Yield each instance with each of River's checks; what a check iterates over is made when it runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "CreditCard", CardsAlike)
        for number, model in enumerate(instances()):
            if not isinstance(model, base.Estimator):
                continue
            kind = type(model).__name__
            for place, check in enumerate(checks.yield_checks(model)):
                reason = NOT_APPLICABLE.get((kind, check.__name__))
                marks = [pytest.mark.skip(reason=reason)] if reason else []
                name = f"{kind}-{number}-{check.__name__}-{place}"
                yield pytest.param(model, place, check.__name__, id=name, marks=marks)


@pytest.mark.parametrize(("model", "place", "name"), list(pairs()))
def test_rivers_check_passes(model: Any, place: int, name: str) -> None:
    check = next(islice(checks.yield_checks(model), place, None))  # anew: its data may be an iterator
    assert check.__name__ == name

    check(model.clone())


def test_every_check_left_out_exists_and_has_a_reason() -> None:
    known = {
        (type(model).__name__, check.__name__)
        for model in instances()
        if isinstance(model, base.Estimator)
        for check in checks.yield_checks(model)
    }

    assert set(NOT_APPLICABLE) <= known
    assert all(reason.endswith(".") for reason in NOT_APPLICABLE.values())


def test_no_estimator_hides_checks_from_river() -> None:
    """What does not apply stands in the table above, with its reason, and not in the estimator."""
    hidden = {type(m).__name__: m._unit_test_skips() for m in instances() if isinstance(m, base.Estimator)}

    assert [kind for kind, skips in hidden.items() if skips] == []


# laws of our own, for those that learn from a mapping --------------------------------------------------------------------


def learners() -> list[Any]:
    return [model for model in instances() if isinstance(model, base.AnomalyDetector | base.Classifier)]


def events_for(model: Any, count: int) -> list[tuple[Any, Any]]:
    """Return what River's own checks give to such a model."""
    source = CardsAlike() if isinstance(model, base.AnomalyDetector) else datasets.Phishing()
    return list(source.take(count))


def taught(model: Any, events: list[tuple[Any, Any]]) -> list[Any]:
    """Return what the model says of each event before it learns it."""
    found = []
    for x, y in events:
        found.append(asked(model, x))
        if isinstance(model, base.AnomalyDetector):
            model.learn_one(x)
        else:
            model.learn_one(x, y)
    return found


def asked(model: Any, x: Any) -> Any:
    return model.score_one(x) if isinstance(model, base.AnomalyDetector) else model.predict_proba_one(x)


by_learner = pytest.mark.parametrize("model", learners(), ids=lambda model: type(model).__name__)


@by_learner
def test_a_clone_has_learned_nothing(model: Any) -> None:
    first, events = model.clone(), events_for(model, 400)
    found = taught(first, events)

    assert any(found)
    assert taught(first.clone(), events) == found


@by_learner
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],  # noqa: S301 - our own bytes
    ids=["deepcopy", "pickle"],
)
@pytest.mark.parametrize("after", [0, 1, 59, 61, 500])
def test_a_copy_says_and_learns_what_the_original_does(model: Any, copied: Callable[[Any], Any], after: int) -> None:
    original, events = model.clone(), events_for(model, after + 400)
    taught(original, events[:after])
    twin = copied(original)

    found = taught(original, events[after:])

    assert any(found)
    assert taught(twin, events[after:]) == found


@by_learner
@settings(max_examples=15, deadline=None)
@given(places=st.lists(st.integers(0, 299), max_size=60))
def test_asking_whatever_changes_nothing(model: Any, places: list[int]) -> None:
    curious, quiet, events = model.clone(), model.clone(), events_for(model, 300)
    for number, event in enumerate(events):
        for place in places[number % 7 :: 7]:
            now = {"Time": event[0]["Time"]} if "Time" in event[0] else {}
            asked(curious, events[place][0] | now)  # whoever asks of a later hour says that this one has ended
        assert taught(curious, [event]) == taught(quiet, [event])


@by_learner
def test_what_is_kept_stops_growing(model: Any) -> None:
    grown, events = model.clone(), events_for(model, 8_000)
    quarter = len(events) // 4
    taught(grown, events[:quarter])
    before = grown._raw_memory_usage
    taught(grown, events[quarter:])

    assert grown._raw_memory_usage <= 1.05 * before + 512
