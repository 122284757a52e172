"""Captions in Chinese and in French through the whole pipeline: bounded chunks, right times, found and marked."""

# ruff: noqa: RUF001  (full-width punctuation and typographic apostrophes are what this is about)

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import pytest

from app.engine import testing
from app.lib.words import count_tokens, split_words
from app.videos import chunks
from tests.videos.browsing import post_video

SECONDS_EACH = 4.0
ABOUT = [
    "潮汐",
    "月亮",
    "海岸",
    "风车",
    "铁路",
    "桥梁",
    "冰川",
    "种子",
    "蜂群",
    "灯塔",
    "河流",
    "星图",
    "陶器",
    "竹林",
    "茶园",
]
SAID = [
    "今天我们先来谈谈{}的历史，它比大多数人想象的要长得多。",
    "关于{}，老师们常常这样说：“看得见的只是一小部分。”",
    "如果没有{}，这座城市的冬天会是什么样子呢？",
    "研究人员在三个村子里记录了{}，一共用了十二年。",
    "请注意，{}并不会自己消失；它只是换了一个地方。",
    "最后，我想用一句话总结{}：耐心比力气更重要！",
]
SUJETS = [
    "la marée", "l’hôpital", "le phare", "la rivière", "l’été", "le glacier", "la forêt", "le théâtre", "l’école",
    "le château", "la fenêtre", "l’océan", "le garçon", "la leçon", "le cœur",
]  # fmt: skip
DIT = [
    "Commençons par {} : son histoire est plus longue qu’on ne le croit.",
    "À propos de {}, on répète souvent « ce qui se voit n’est qu’une partie ».",
    "Sans {}, à quoi ressemblerait l’hiver dans cette ville ?",
    "Des chercheurs ont noté {} dans trois villages, pendant douze années.",
    "Attention : {} ne disparaît jamais tout à fait, ça change de place !",
    "Enfin, résumons {} en un mot : la patience vaut mieux que la force.",
]


@dataclass
class Talk:
    """A video that was made from captions, and what was said in it: `(start, text)`."""

    id: str
    said: list[tuple[float, str]]


def srt(said: list[tuple[float, str]]) -> bytes:
    def clock(seconds: float) -> str:
        return f"{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02},000"

    blocks = (f"{n}\n{clock(at)} --> {clock(at + SECONDS_EACH)}\n{text}\n" for n, (at, text) in enumerate(said, 1))
    return "\ufeff".encode() + "\n".join(blocks).encode()


def vtt(said: list[tuple[float, str]]) -> bytes:
    blocks = (
        f"{int(at // 60):02}:{at % 60:06.3f} --> {int((at + SECONDS_EACH) // 60):02}:{(at + SECONDS_EACH) % 60:06.3f} "
        f"align:start\n<v Zoé>{text}</v>\n"
        for at, text in said
    )
    return ("WEBVTT\nLanguage: fr\n\n" + "\n".join(blocks)).encode()


@pytest.fixture
def upload(alice, models, mails, tmp_path):
    with wave.open(str(tmp_path / "talk.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(1_000)
        sound.writeframes(b"\x80" * int(1_000 * 6 * 15 * SECONDS_EACH))
    data = (tmp_path / "talk.wav").read_bytes()

    def do(captions: bytes, name: str, language: str, said: list[tuple[float, str]]) -> Talk:
        made = post_video(alice, data, "talk.wav", captions=(io.BytesIO(captions), name), language=language)
        assert made.status_code == 201, made.text
        testing.drain(advance=True)
        assert alice.get(f"/api/videos/{made.json['id']}").json["status"] == "completed"
        assert models[0].calls == [], "captions cost nothing"
        return Talk(made.json["id"], said)

    return do


@pytest.fixture
def chinese(upload):
    said = [(n * SECONDS_EACH, SAID[n % 6].format(ABOUT[n // 6])) for n in range(6 * 15)]
    return upload(srt(said), "talk.zh.srt", "zh", said)


@pytest.fixture
def french(upload):
    said = [(n * SECONDS_EACH, DIT[n % 6].format(SUJETS[n // 6])) for n in range(6 * 15)]
    return upload(vtt(said), "talk.fr.vtt", "fr", said)


def search(alice, text, talk):
    return alice.get("/api/search", query_string={"q": text, "video": talk.id}).json["results"]


def squeezed(text):
    return "".join(text.split())


def assert_chunks_are_bounded(alice, talk):
    made = alice.get(f"/api/videos/{talk.id}/chunks").json["items"]
    assert len(made) > 1
    for chunk in made:
        words = split_words(chunk["text"])
        assert chunk["words"] == len(words) <= chunks.MOST_WORDS
        assert count_tokens(chunk["text"]) <= chunks.MOST_TOKENS
        inside = [at for at, text in talk.said if squeezed(text) in squeezed(chunk["text"])]
        assert inside[0] - SECONDS_EACH <= chunk["start_seconds"] <= inside[0]
        assert inside[-1] + SECONDS_EACH - 0.1 <= chunk["end_seconds"] <= inside[-1] + 2 * SECONDS_EACH
    assert made[0]["start_seconds"] == 0.0
    assert made[-1]["end_seconds"] == pytest.approx(talk.said[-1][0] + SECONDS_EACH, abs=0.1)


def assert_cues_are_readable(alice, talk):
    segments = alice.get(f"/api/videos/{talk.id}/transcript.json").json["segments"]
    for cue in segments:
        assert all(len(line) <= 42 for line in cue["text"].split("\n"))
        assert cue["text"].count("\n") <= 1
        assert cue["end_seconds"] - cue["start_seconds"] <= 5.5
    said = squeezed("".join(text for _, text in talk.said))
    assert squeezed("".join(cue["text"] for cue in segments)) == said, "no character is lost or added"


def test_chinese_captions_are_chunked_found_and_marked(alice, chinese):
    assert_chunks_are_bounded(alice, chinese)
    assert_cues_are_readable(alice, chinese)
    for subject in ("灯塔", "竹林"):
        n = ABOUT.index(subject) * 6
        hits = search(alice, f"记录了{subject}", chinese)
        assert abs(hits[0]["start_seconds"] - (n + 3) * SECONDS_EACH) <= 5
        assert hits[0]["end_seconds"] - hits[0]["start_seconds"] <= 15
        assert subject in hits[0]["snippet"]
    page = alice.get("/search", query_string={"q": "灯塔"}).get_data(as_text=True)
    assert "<mark>灯塔</mark>" in page.replace("</mark><mark>", "")


def test_french_captions_are_chunked_found_with_and_without_accents_and_marked(alice, french):
    assert_chunks_are_bounded(alice, french)
    assert_cues_are_readable(alice, french)
    assert {cue["speaker"] for cue in alice.get(f"/api/videos/{french.id}/transcript.json").json["segments"]} == {"Zoé"}
    for asked, subject, said in (
        ("chercheurs hopital", "l’hôpital", "chercheurs"),
        ("CHERCHEURS L'HÔPITAL", "l’hôpital", "chercheurs"),
        ("«\u202fnoté le théâtre\u202f»", "le théâtre", "chercheurs"),
        ("patience coeur", "le cœur", "patience"),
        ("patience cœur", "le cœur", "patience"),
        ("résumons ocean", "l’océan", "résumons"),
    ):
        [at] = [at for at, text in french.said if subject in text and said in text]
        hits = search(alice, asked, french)
        assert abs(hits[0]["start_seconds"] - at) <= 5, asked
        assert hits[0]["end_seconds"] - hits[0]["start_seconds"] <= 15
        assert subject in hits[0]["snippet"]
    page = alice.get("/search", query_string={"q": "chercheurs théâtre"}).get_data(as_text=True)
    assert "<mark>théâtre</mark>" in page
    assert "<mark>chercheurs</mark>" in page
