"""What is said about a file that comes in, and how names from outside are made fit to be shown. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST_NAME = 200
LONGEST_TITLE = 300
LONGEST_VOCABULARY = 1000
MOST_TAGS, LONGEST_TAG = 20, 60
JOINERS = "\u200c\u200d"  # spelling in Persian and the scripts of India, and what makes one emoji of several
KEPT = "\t\r\n" + JOINERS
LANGUAGES = (
    ("en", "English"),
    ("de", "German"),
    ("fr", "French"),
    ("es", "Spanish"),
    ("it", "Italian"),
    ("pt", "Portuguese"),
    ("nl", "Dutch"),
    ("pl", "Polish"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("sv", "Swedish"),
    ("nb", "Norwegian"),
    ("fi", "Finnish"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("ru", "Russian"),
    ("ar", "Arabic"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("zh", "Chinese"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
)


@dataclass(frozen=True)
class Details:
    """What somebody says about a file they upload."""

    title: str = ""
    language: str = "en"
    vocabulary: str = ""  # names and terms that the model may not know
    keep_both: bool = False  # also when they have this content already


def languages_with(code: str) -> tuple[tuple[str, str], ...]:
    """Return the languages to choose from, and `code` too where it is another one (a program may set any)."""
    return LANGUAGES if not code or code in dict(LANGUAGES) else (*LANGUAGES, (code, code))


def clean(text: str, most: int) -> str:
    """Return one line of text without control and direction-changing characters, at most `most` long."""
    normal = unicodedata.normalize("NFC", text[: most * 4])
    kept = "".join(" " if character in "\t\r\n" else character for character in normal if is_shown(character))
    line = " ".join(kept.split())[:most].strip()
    return line if line.strip(JOINERS) else ""


def clean_filename(name: str | None) -> str:
    """Return the last part of a file's name as it may be shown; it is never used as a path."""
    last = re.split(r"[/\\]", name or "")[-1]
    return clean(last, LONGEST_NAME).lstrip(".") or "file"


def title_of(filename: str) -> str:
    """Return a title made of a file's name: without its extension, underscores as spaces."""
    stem, dot, extension = filename.rpartition(".")
    named = stem if dot and stem and len(extension) <= 5 else filename  # noqa: PLR2004
    return clean(named.replace("_", " "), LONGEST_TITLE) or "Untitled"


def is_shown(character: str) -> bool:
    """Tell whether a character may stand in what people see: no controls, no direction changes."""
    if character in KEPT:
        return True
    category = unicodedata.category(character)
    if category == "Cn":  # emoji that are younger than our tables, but never what stays unassigned for ever
        return not ("\ufdd0" <= character <= "\ufdef" or ord(character) & 0xFFFE == 0xFFFE)  # noqa: PLR2004
    return category not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
