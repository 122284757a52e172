"""How a written word is said: numbers as words, acronyms as letters, and sounds for words no dictionary has. Pure.

English only. The sounds are rough (rules for letters, not for words), which is enough to find where a word is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

_words = str.split  # lists of words read better as one line than as quoted items

_ONES = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
_TENS = ["", "", *_words("twenty thirty forty fifty sixty seventy eighty ninety")]
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_SIGNS = {
    "%": "percent",
    "&": "and",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "$": "dollars",
    "€": "euros",
    "£": "pounds",
}
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_PARTS = re.compile(r"\d+(?:,\d{3})+|\d+|[^\W\d_]+(?:['\u2019][^\W\d_]+)*|[%&+=@$€£]", re.UNICODE)
LONGEST_NUMBER = 10**12
LONGEST_ACRONYM = 5

# Letters and groups of letters, longest first, and their sounds in the dictionary's alphabet (ARPAbet).
_SOUNDS = [
    (letters, phones.replace("-", " "))
    for letters, _, phones in (
        rule.partition("=")
        for rule in _words(
            "tion=SH-AH-N sion=ZH-AH-N eigh=EY ough=AO augh=AO igh=AY tch=CH sch=SH ch=CH sh=SH th=TH ph=F ck=K ng=NG"
            " qu=K-W wh=W kn=N wr=R gh=G dg=JH ee=IY ea=IY oo=UW ou=AW ow=OW ai=EY ay=EY ei=EY ey=IY ie=IY oa=OW oe=OW"
            " oi=OY oy=OY au=AO aw=AO eu=UW ew=UW ue=UW ui=UW er=ER ir=ER ur=ER ar=AA-R or=AO-R ce=S-EH ci=S-IH cy=S-AY"
            " ge=JH-EH gi=JH-IH a=AE b=B c=K d=D e=EH f=F g=G h=HH i=IH j=JH k=K l=L m=M n=N o=AA p=P q=K r=R s=S t=T"
            " u=AH v=V w=W x=K-S y=IY z=Z"
        )
    )
]


def spoken(word: str, known: Container[str]) -> list[str]:
    """Return the words that are said for one written word: "25%" is ["twenty", "five", "percent"]; signs alone are [].

    Args:
        word: as it is written, with its punctuation.
        known: words that have an entry in the dictionary (lower case); decides what is read letter by letter.
    """
    said: list[str] = []
    for part in _PARTS.findall(word):
        lower = _plain(part)
        if part[0].isdigit():
            said.extend(_number(part, is_ordinal=bool(re.search(r"\d(st|nd|rd|th)\b", word))))
        elif part in _SIGNS:
            said.append(_SIGNS[part])
        elif said and re.search(r"\d" + re.escape(part) + r"\b", word) and lower in ("st", "nd", "rd", "th"):
            continue  # the ending of an ordinal, already said
        elif lower in known:
            said.append(lower)
        elif part.isupper() and 1 < len(part) <= LONGEST_ACRONYM and lower.isascii():
            said.extend(lower)
        elif lower:
            said.append(lower)
    return said


def sounds(word: str) -> str:
    """Return a rough pronunciation of a lower-case word in ARPAbet; empty when it has no letter that we can say."""
    found: list[str] = []
    rest = "".join(sign for sign in word if "a" <= sign <= "z")
    if len(rest) > 3 and rest.endswith("e"):  # noqa: PLR2004  (a final e is silent)
        rest = rest[:-1]
    rest = re.sub(r"(.)\1", r"\1", rest) if not re.search("ee|oo", rest) else rest
    while rest:
        for letters, phones in _SOUNDS:
            if rest.startswith(letters):
                found.append(phones)
                rest = rest[len(letters) :]
                break
    return " ".join(found)


def _plain(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.casefold().replace("\u2019", "'"))
    return "".join(sign for sign in folded if not unicodedata.combining(sign))


def _number(digits: str, *, is_ordinal: bool) -> list[str]:
    value = int(digits.replace(",", ""))
    if value >= LONGEST_NUMBER or (len(digits) > 1 and digits[0] == "0"):
        return [_ONES[int(digit)] for digit in digits if digit != ","]
    if len(digits) == 4 and 1100 <= value <= 2099 and value % 1000 > 9:  # noqa: PLR2004  (most likely a year)
        rest = _cardinal(value % 100) if value % 100 > 9 else ["oh", *_cardinal(value % 100)]  # noqa: PLR2004
        words = [*_cardinal(value // 100), *(rest if value % 100 else ["hundred"])]
    else:
        words = _cardinal(value)
    return [*words[:-1], _ordinal(words[-1])] if is_ordinal else words


def _cardinal(value: int) -> list[str]:
    if value < len(_ONES):
        return [_ONES[value]]
    if value < 100:  # noqa: PLR2004
        return [_TENS[value // 10], *([_ONES[value % 10]] if value % 10 else [])]
    for size, name in _SCALES:
        if value >= size:
            return [*_cardinal(value // size), name, *(_cardinal(value % size) if value % size else [])]
    raise AssertionError(value)


def _ordinal(word: str) -> str:
    if word in _ORDINALS:
        return _ORDINALS[word]
    return f"{word[:-1]}ieth" if word.endswith("y") else f"{word.removesuffix('e') if word == 'twelve' else word}th"
