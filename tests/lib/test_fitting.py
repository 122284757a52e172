"""Fields that hold what their annotations say, and the sentences about those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from app.lib.fitting import Fit, misfits, whole


def even(number):
    if number > 100:
        raise ValueError(f"{number} is beyond a hundred.")
    return number % 2 == 0


Even = Annotated[int, Fit("an even number", even)]


@dataclass
class Inner:
    number: Even = 2


@dataclass
class Outer:
    text: str = "a"
    number: float = 1
    count: Annotated[int, whole(1, 9)] = 1
    is_so: bool = True
    mode: Literal["a", "b"] = "a"
    call: Callable[..., Any] = print
    inner: Inner | None = None
    inners: Sequence[Inner] = ()
    either: Even | str | None = None
    any: Any = None


FITTING = [
    {},
    {"number": 1.5, "count": 9},
    {"inner": Inner(4), "inners": [Inner(), Inner(6)]},
    {"inners": (Inner(),), "either": "odd", "any": object()},
    {"either": 4},
]
MISFITTING = [
    ({"text": 5}, "text must be a text, not 5."),
    ({"number": "1"}, "number must be a number, not '1'."),
    ({"number": True}, "number must be a number, not True."),
    ({"number": float("inf")}, "number must be a number, not inf."),
    ({"count": 1.0}, "count must be a whole number from 1 to 9, not 1.0."),
    ({"count": 10}, "count must be a whole number from 1 to 9, not 10."),
    ({"is_so": 1}, "is_so must be True or False, not 1."),
    ({"mode": "c"}, "mode must be 'a' or 'b', not 'c'."),
    ({"mode": []}, "mode must be 'a' or 'b', not []."),
    ({"call": "print"}, "call must be a function, not 'print'."),
    ({"inner": 5}, "inner must be Inner(...), not 5."),
    ({"inner": Inner(3)}, "inner.number must be an even number, not 3."),
    ({"inner": Inner(102)}, "inner.number: 102 is beyond a hundred."),
    ({"inners": Inner()}, "inners must be a list of Inner(...), not Inner(number=2)."),
    ({"inners": [Inner(), 5]}, f"inners must be a list of Inner(...), not {[Inner(), 5]!r}."),
    ({"inners": [Inner(), Inner("x")]}, "inners.number must be an even number, not 'x'."),
    ({"either": 3}, "either must be an even number or a text, not 3."),
    ({"either": 102}, "either: 102 is beyond a hundred."),
    ({"text": ["x" * 1000]}, f"text must be a text, not ['{'x' * 198}."),
]


@pytest.mark.parametrize("values", FITTING)
def test_what_fits_is_not_mentioned(values):
    assert list(misfits(Outer(**values))) == []


@pytest.mark.parametrize(("values", "sentence"), MISFITTING)
def test_a_misfit_is_one_sentence_with_the_way_to_it(values, sentence):
    assert list(misfits(Outer(**values))) == [sentence]
