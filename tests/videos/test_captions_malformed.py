"""Malformed caption files of every kind: repaired rightly, or refused with the line and what is wrong there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.videos import captions
from app.videos.captions import Malformed

ONE, TWO = "00:00:01,000 --> 00:00:02,000", "00:00:03,000 --> 00:00:04,000"
SRT = f"1\n{ONE}\none\n\n2\n{TWO}\ntwo\n"
VTT = "WEBVTT\n\n00:01.000 --> 00:02.000\none\n\n00:03.000 --> 00:04.000\ntwo\n"
BOTH = [(1.0, 2.0, "one"), (3.0, 4.0, "two")]

REPAIRED = {
    "numbers missing": f"{ONE}\none\n\n{TWO}\ntwo\n",
    "numbers wrong": f"7\n{ONE}\none\n\n7\n{TWO}\ntwo\n",
    "names for numbers": f"intro\n{ONE}\none\n\nEnd of it\n{TWO}\ntwo\n",
    "out of order": f"2\n{TWO}\ntwo\n\n1\n{ONE}\none\n",
    "dots in an SRT": SRT.replace(",", "."),
    "no empty line at the end": SRT.rstrip("\n"),
    "many empty lines": SRT.replace("\n\n", "\n\n\n\n\n"),
    "empty lines with spaces": SRT.replace("\n\n", "\n   \t \n"),
    "empty lines first": "\n\n\n" + SRT,
    "spaces around times": SRT.replace(ONE, f"   {ONE}   "),
    "no spaces around the arrow": SRT.replace(" --> ", "-->"),
    "Windows line ends": SRT.replace("\n", "\r\n"),
    "old Macintosh line ends": SRT.replace("\n", "\r"),
    "mixed line ends": SRT.replace("\n", "\r\n", 3),
    "a byte order mark": "\ufeff" + SRT,
    "position after the time": SRT.replace(ONE, ONE + " X1:40 X2:600 Y1:20 Y2:50"),
    "an empty caption between": SRT.replace("\n\n2", "\n\n9\n00:00:02,000 --> 00:00:03,000\n\n2"),
    "only tags in a caption": SRT.replace("\n\n2", "\n\n9\n00:00:02,000 --> 00:00:03,000\n<i></i>\n\n2"),
    "unclosed tags": SRT.replace("one", "<i>one"),
    "tags of other formats": SRT.replace("one", "{\\an8}<font color='#fff'>one</font>"),
    "control characters": SRT.replace("one", "o\x07ne\x1b"),
    "two digits of a thousandth": SRT.replace("01,000", "01,00"),
    "a VTT": VTT,
    "a VTT with a title": VTT.replace("WEBVTT", "WEBVTT - a talk"),
    "a VTT with header lines": VTT.replace("WEBVTT", "WEBVTT\nKind: captions\nLanguage: en"),
    "a VTT with hours": VTT.replace("00:0", "00:00:0"),
    "a VTT with settings": VTT.replace("02.000", "02.000 line:0 position:20% size:60% align:start"),
    "a VTT with comments": VTT.replace("\n\n", "\n\nNOTE not said\nnor this\n\n"),
    "a VTT with styles and regions": VTT.replace(
        "WEBVTT\n\n", "WEBVTT\n\nSTYLE\n::cue { color: lime }\n\nREGION\nid:fred\nwidth:40%\n\n"
    ),
    "a VTT with names": VTT.replace("\n\n00", "\n\na name: 1\n00"),
    "a VTT with inner times": VTT.replace("one", "<00:01.500>one"),
    "a VTT without an empty line after its header": VTT.replace("WEBVTT\n\n", "WEBVTT\n"),
    "a VTT with an arrow in its header": VTT.replace("WEBVTT", "WEBVTT-->"),
    "a VTT with entities": VTT.replace("one", "&lrm;one&rlm;").replace("&lrm;", "").replace("&rlm;", ""),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_what_can_only_mean_one_thing_is_read_as_that(name):
    found = captions.parse(REPAIRED[name].encode())
    assert [(each.start, each.end, each.text) for each in found] == BOTH


REFUSED = {
    "nothing": (b"", {"line 1": "no caption"}),
    "white space": (b" \n\t\n", {"line 1": "no caption"}),
    "a header alone": (b"WEBVTT", {"line 1": "no caption"}),
    "plain prose": ("Once upon a time\nthere was a talk.", {"line 1": "Once upon a time"}),
    "prose after a number": ("1\nOnce upon a time", {"line 2": "Once upon a time"}),
    "a web page": (b"<!doctype html>\n<title>404</title>\n", {"line 1": "<!doctype html>"}),
    "a short arrow": (SRT.replace("-->", "->", 1), {"line 2": "was expected"}),
    "a long dash for an arrow": (SRT.replace("-->", "\u2014>", 1), {"line 2": "was expected"}),
    "letters in a time": (SRT.replace("00:00:01", "00:oo:01"), {"line 2": "00:oo:01"}),
    "no thousandths": (SRT.replace("01,000", "01"), {"line 2": "00:00:01"}),
    "no end": (SRT.replace(" --> 00:00:02,000", " -->"), {"line 2": "not a time"}),
    "no start": (SRT.replace("00:00:01,000 --> ", "--> "), {"line 2": "not a time"}),
    "a negative time": (SRT.replace("00:00:01,000", "-00:00:01,000"), {"line 2": "-00:00:01"}),
    "an end before its start": (SRT.replace("02,000", "00,500"), {"line 2": "ends before"}),
    "no empty line between": (SRT.replace("\n\n", "\n"), {"line 5": "empty line is missing"}),
    "text without a time": (SRT.replace("\n\n2", "\n\nleft over\n\n2"), {"line 5": "left over"}),
    "two broken ones": ("1\nx\n\n2\ny\n", {"line 2": "“x”", "line 5": "“y”"}),
    "Latin-1": (SRT.replace("one", "\xe9t\xe9").encode("latin-1"), {"line 3": "UTF-8"}),
    "cut in the middle of a character": (SRT.replace("two", "\u00e9").encode()[:-2], {"line 7": "UTF-8"}),
    "half of a UTF-16 character": (SRT.encode("utf-16")[:-1], {"line": "UTF-8"}),
    "UTF-16 without its mark": (SRT.encode("utf-16-le"), {"line 1": "not a text file"}),
    "NUL": (SRT.replace("two", "t\0o"), {"line 7": "not a text file"}),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {"line 1": "UTF-8"}),
    "a caption without an end": (f"1\n{ONE}\n" + "x" * 6_000, {"line 3": "longer than 5,000"}),
    "a time in a VTT with a comma": (VTT.replace("01.000", "01;000"), {"line 3": "01;000"}),
    "a VTT whose time has letters": (VTT.replace("00:03.000", "00:0E.000"), {"line 6": "00:0E.000"}),
    "hours of many digits": (SRT.replace("00:00:02", "9" * 40 + ":00:02"), {"line 2": "not a time"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_mean_anything_is_refused_by_its_line(name):
    text, expected = REFUSED[name]
    with pytest.raises(Malformed) as caught:
        captions.parse(text.encode() if isinstance(text, str) else text)
    assert len(caught.value.fields) == len(expected)
    for (line, said), (wanted_line, wanted) in zip(caught.value.fields.items(), expected.items(), strict=True):
        assert line.startswith(wanted_line)
        assert wanted in said
    assert next(iter(caught.value.fields)) in str(caught.value)


@pytest.mark.timeout(60)
def test_fifty_thousand_captions_are_read_and_one_more_refused():
    cue = "00:00:01,000 --> 00:00:02,000\nx\n\n"
    assert len(captions.parse((cue * captions.MAX_CUES).encode())) == captions.MAX_CUES
    with pytest.raises(Malformed, match="more than 50,000"):
        captions.parse((cue * (captions.MAX_CUES + 1)).encode())


PIECES = st.sampled_from(
    ["\n", "\n\n", "\r", "-->", " --> ", "00:00:01,000", "00:01.000", "99:99:99,999", "-1", "<v ", "<i>", "{\\an8}", "&amp;",
     "&#0;", "&#xD800;", "WEBVTT", "NOTE", "STYLE", "\ufeff", "\u2028", "\x0b", "\x1c", "\x85", "1", "é", "中文", "\x00", "٣"]
)  # fmt: skip


def read(data):
    """Return the captions and the errors by line; one of them is empty."""
    try:
        return captions.parse(data), {}
    except Malformed as error:
        return [], error.fields


@settings(max_examples=400, deadline=2_000)
@given(st.sampled_from([SRT, VTT]), st.lists(st.tuples(st.integers(0, 120), st.integers(0, 12), PIECES), max_size=8))
def test_whatever_is_broken_in_a_file_gives_captions_in_order_or_lines(text, wounds):
    for at, length, piece in wounds:
        text = text[:at] + piece + text[at + length :]
    found, errors = read(text.encode())
    lines = len(text.encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    assert bool(found) != bool(errors)
    assert len(errors) <= captions.MAX_ERRORS
    assert all(1 <= int(line.removeprefix("line ")) <= lines for line in errors)
    assert [each.start for each in found] == sorted(each.start for each in found)
    for each in found:
        assert 0 <= each.start <= each.end
        assert each.text.strip()
        assert "\0" not in each.text
    for cue in captions.to_cues(found):
        assert cue.words
        assert all(cue.start - 0.001 <= word.start <= word.end <= cue.end + 0.001 for word in cue.words)


@settings(max_examples=200, deadline=2_000)
@given(st.binary(max_size=300))
def test_any_bytes_give_captions_or_lines(data):
    found, errors = read(b"WEBVTT\n\n" + data)
    assert bool(found) != bool(errors)
