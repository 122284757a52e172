"""Caption files: what is read, what is refused and how the refusal names the line."""

import pytest

from app.videos import captions
from app.videos.captions import Malformed
from tests.videos.test_cues import assert_readable

SRT = """1
00:00:00,000 --> 00:00:02,500
Welcome to the talk.

2
00:00:02,500 --> 00:00:05,000
<i>Two</i> lines
{\\an8}of text.
"""

VTT = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE
00:00.000 is not a cue here

intro
00:00.000 --> 00:02.000 align:start
<v Ada>Hello &amp; welcome</v>

01:00:02.000 --> 01:00:04.000
Later<00:00:03.000> on
"""


def problems(text):
    with pytest.raises(Malformed) as caught:
        captions.parse(text.encode() if isinstance(text, str) else text)
    return caught.value.fields


def test_srt_is_read_and_a_cue_at_zero_is_right():
    found = captions.parse(SRT.encode())
    assert [(each.start, each.end, each.text) for each in found] == [
        (0.0, 2.5, "Welcome to the talk."),
        (2.5, 5.0, "Two lines\nof text."),
    ]


def test_vtt_is_read_without_its_comments_styles_and_names():
    found = captions.parse(VTT.encode())
    assert [(each.start, each.end, each.text, each.speaker) for each in found] == [
        (0.0, 2.0, "Hello & welcome", "Ada"),
        (3602.0, 3604.0, "Later on", None),
    ]


@pytest.mark.parametrize(
    "encode",
    [lambda s: s.encode("utf-8-sig"), lambda s: s.encode("utf-16"), lambda s: s.replace("\n", "\r\n").encode()],
)
def test_byte_order_marks_and_line_ends_do_not_matter(encode):
    assert len(captions.parse(encode(SRT))) == 2


def test_a_broken_time_is_named_by_its_line():
    found = problems(SRT.replace("00:00:02,500 --> 00:00:05,000", "00:00:0x,500 --> 00:00:05,000"))
    assert list(found) == ["line 6"]
    assert "00:00:0x,500" in found["line 6"]


@pytest.mark.parametrize("time", [":00:01.000", "00:00:01", "1:2:3.4.5", "-1:00:01.000"])
def test_what_only_looks_like_a_time_is_named_too(time):
    for times in (f"{time} --> 00:09.000", f"00:00.000 --> {time}"):
        assert list(problems(f"WEBVTT\n\n{times}\nhi\n")) == ["line 3"], times


@pytest.mark.timeout(60)
@pytest.mark.parametrize("body", ["<v" + " " * 4_900, "<v " * 1_600])
def test_tags_that_never_end_take_no_longer_than_other_text(body):
    cue = f"00:00.000 --> 00:01.000\n{body}\n\n"
    count = captions.MAX_BYTES // len(cue) - 1
    assert len(captions.parse(("WEBVTT\n\n" + cue * count).encode())) == count


def test_every_broken_block_is_named_up_to_ten():
    assert list(problems("1\nnonsense\n\n2\nmore nonsense\n")) == ["line 2", "line 5"]
    assert len(problems("1\nnonsense\n\n" * 100)) == captions.MAX_ERRORS


def test_a_missing_empty_line_is_named():
    found = problems("1\n00:00:00,000 --> 00:00:01,000\none\n2\n00:00:01,000 --> 00:00:02,000\ntwo\n")
    assert list(found) == ["line 5"]


def test_an_end_before_its_start_is_named():
    assert "ends before" in problems("1\n00:00:05,000 --> 00:00:04,000\nx\n")["line 2"]


def test_latin_1_is_refused_with_what_to_do():
    assert "UTF-8" in problems("1\n00:00:00,000 --> 00:00:01,000\nété\n".encode("latin-1"))["line 3"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"WEBVTT\n",
        b"\0\0\0",
        b"\xff\xfe\x00",
        b"\n\n\n",
        b"x" * (captions.MAX_BYTES + 1),
        b"1\n00:00:00,000 --> 00:00:01,000\n\n",
    ],
)
def test_what_holds_no_captions_is_refused(data):
    assert problems(data)


def test_a_file_without_an_empty_line_after_its_header_is_read():
    assert captions.parse(b"WEBVTT\n00:00.000 --> 00:01.000\nhi\n")[0].text == "hi"


def test_readable_captions_stay_as_they_are():
    made = captions.to_cues(captions.parse(SRT.encode()))
    assert [(cue.start, cue.end, cue.text) for cue in made] == [
        (0.0, 2.5, "Welcome to the talk."),
        (2.5, 5.0, "Two lines\nof text."),
    ]
    assert made[1].words[0].start == 2.5


def test_long_captions_are_cut_to_the_limits():
    text = "1\n00:00:00,000 --> 00:01:00,000\n" + "a sentence that goes on and on " * 20
    made = captions.to_cues(captions.parse(text.encode()))
    assert_readable(made)
    assert made[0].start == 0.0
    assert made[-1].end == pytest.approx(60, abs=0.01)


def test_a_huge_chinese_caption_is_bounded():
    text = "1\n00:00:00,000 --> 00:10:00,000\n" + "这是一个没有空格的很长的句子" * 300
    made = captions.to_cues(captions.parse(text.encode()))
    assert_readable(made)
    assert len(made) > 50


def test_braces_that_are_no_tags_stay():
    found = captions.parse(b"1\n00:00:00,000 --> 00:00:01,000\nuse {x} and a < b\n")
    assert found[0].text == "use {x} and a < b"
