"""What two sequences of words have in common."""

from hypothesis import given
from hypothesis import strategies as st

from app.lib.alike import changes

WORDS = st.lists(st.sampled_from(["the", "tide", "comes", "in", "out", "moon"]), max_size=40)


@given(WORDS, WORDS)
def test_the_changes_make_the_new_words_of_the_old_ones_without_gaps_and_alternate(old, new):
    made = []
    i = j = 0
    before = None
    for tag, i1, i2, j1, j2 in changes(old, new):
        assert (i1, j1) == (i, j)
        assert (tag == "equal") != (before == "equal") or before is None
        assert tag != "equal" or old[i1:i2] == new[j1:j2]
        assert {"replace": i1 < i2 and j1 < j2, "insert": i1 == i2, "delete": j1 == j2, "equal": i1 < i2}[tag]
        made += old[i1:i2] if tag == "equal" else new[j1:j2]
        i, j, before = i2, j2, tag
    assert (i, j) == (len(old), len(new))
    assert made == new


def test_a_refrain_that_has_no_word_of_its_own_keeps_what_stayed():
    refrain = ["row", "row", "your", "boat", "gently", "down", "the", "stream"] * 200
    edited = [*refrain]
    edited[803] = "ship"
    del edited[1200]
    assert changes(refrain, edited) == [
        ("equal", 0, 803, 0, 803),
        ("replace", 803, 804, 803, 804),
        ("equal", 804, 1200, 804, 1200),
        ("delete", 1200, 1201, 1200, 1200),
        ("equal", 1201, 1600, 1200, 1599),
    ]
