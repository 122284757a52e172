"""Exports: what is written can be read again."""

import json

from app.videos import captions, exports
from app.videos.exports import Document, Line

LINES = [
    Line(0.0, 2.0, "Braces {x}, a < b\nand & more", "Ada", 0.9),
    Line(2.0, 3.5, "An arrow --> here."),
    Line(10.0, 3661.25, "After a pause."),
]
DOCUMENT = Document("A *talk*", "en", LINES, "https://example.org/videos/1")


def test_srt_and_vtt_are_read_back_the_same():
    for write in (exports.srt, exports.vtt):
        found = captions.parse(write(DOCUMENT).encode())
        assert [(each.start, each.end) for each in found] == [(0.0, 2.0), (2.0, 3.5), (10.0, 3661.25)]
        assert "a < b\nand & more" in found[0].text
        assert "{x}" in found[0].text


def test_text_is_in_paragraphs_without_times():
    assert exports.txt(DOCUMENT) == ("Ada: Braces {x}, a < b and & more\n\nAn arrow --> here.\n\nAfter a pause.\n")


def test_markdown_links_each_paragraph_to_its_moment():
    text = exports.markdown(DOCUMENT)
    assert text.startswith("# A \\*talk\\*\n")
    assert "[0:10](https://example.org/videos/1?t=10) After a pause." in text


def test_json_has_the_shape_of_the_contract():
    found = json.loads(exports.as_json(DOCUMENT))
    assert found["language"] == "en"
    assert found["segments"][0] == {
        "start_seconds": 0.0,
        "end_seconds": 2.0,
        "text": "Braces {x}, a < b\nand & more",
        "speaker": "Ada",
        "confidence": 0.9,
    }


def test_chinese_cues_join_without_spaces():
    lines = [Line(0, 1, "我们说"), Line(1, 2, "中文。")]
    assert exports.txt(Document("t", "zh", lines)) == "我们说中文。\n"


def test_an_empty_transcript_is_valid_in_every_format():
    for form in exports.FORMATS.values():
        assert isinstance(form.write(Document("t", "en", [])), str)
