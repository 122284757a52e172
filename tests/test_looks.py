"""The design holds together: no inline code, readable colours, fragments that say what they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
PAGES = [path for path in TEMPLATES if "emails" not in path.parts]  # mails must carry their style inside
FRAGMENTS = [path for path in PAGES if path.name.startswith("_")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_inline_style_or_script(path: Path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle\s*=", text), "style attribute: the CSP refuses it"
    assert not re.search(r"<style[\s>]", text), "style element: the CSP refuses it"
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "inline script: the CSP refuses it"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "inline handler: the CSP refuses it"
    assert "hx-on" not in text, "hx-on needs unsafe-eval"
    assert not re.search(r"(src|href)=[\"'](https?:)?//", text), "nothing is loaded from elsewhere"


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_fragment_begins_with_its_comment(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("{#"), "say what it is and what it needs in one comment"
    assert re.search(r"\bneeds?\b", text[: text.index("#}")], re.IGNORECASE), "say what it needs"


def test_the_error_page_is_a_whole_page(client):
    text = client.get("/nothing-here").get_data(as_text=True)
    assert '<html lang="en"' in text
    assert "<title>The line ends here" in text
    assert text.count("<h1") == 1


def test_a_crash_is_a_designed_page_although_the_database_is_lost(alice, monkeypatch):
    def lost(_cookie):
        raise ConnectionError("the database is away")

    monkeypatch.setattr("app.accounts.queries.find_session", lost)
    answer = alice.get("/")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 500
    assert_well_formed(text)
    assert "Something broke on our side" in text
    assert "the database is away" not in text


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 422, 429, 500, 502, 503])
def test_every_error_has_a_designed_page(app, status):
    from flask import g, render_template

    from app.errors import AppError

    error = AppError("Say what to do.")
    error.status = status
    with app.test_request_context("/somewhere"):
        g.request_id = "1234"
        text = render_template("errors/error.html", error=error)
    assert_well_formed(text)
    assert "Say what to do." in text
    assert "That did not work" not in text


def test_an_error_for_htmx_becomes_a_toast(alice):
    answer = alice.get("/nothing-here", headers={"HX-Request": "true"})
    assert answer.status_code == 404
    assert answer.headers["HX-Retarget"] == "#toasts"
    assert answer.get_data(as_text=True).strip().startswith('<div class="toast toast-bad"')


# ---- Tokens ----

TOKENS = (ROOT / "static" / "tokens.css").read_text(encoding="utf-8")
COLOURS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", TOKENS)
}
TEXT_PAIRS = [  # text, ground: WCAG AA wants 4.5
    *(
        (text, ground)
        for text in ("ink", "ink-soft", "ink-faint", "accent")
        for ground in ("page", "surface", "raised")
    ),
    *((text, "sunken") for text in ("ink", "ink-soft", "ink-faint")),
    *((text, "hover") for text in ("ink", "ink-soft", "ink-faint")),
    *((text, "quiet-soft") for text in ("ink", "ink-soft")),
    ("accent-ink", "accent"),
    ("accent-ink", "accent-hover"),
    ("accent", "accent-soft"),
    *((tone, f"{tone}-soft") for tone in ("ok", "warn", "bad")),
    *((tone, "surface") for tone in ("ok", "warn", "bad")),
    *(("ink", f"{tone}-soft") for tone in ("accent", "ok", "warn", "bad")),
    *(("ink-soft", f"{tone}-soft") for tone in ("accent", "ok", "warn", "bad")),
    ("bad-ink", "bad-fill"),
    ("ink", "mark"),
]
SHAPE_PAIRS = [  # borders of controls, focus rings, progress: WCAG 1.4.11 wants 3
    *(("line-strong", ground) for ground in ("page", "surface")),
    *(("accent", ground) for ground in ("page", "surface", "raised", "quiet-soft")),
]


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "ground", "least"),
    [(*pair, 4.5) for pair in TEXT_PAIRS] + [(*pair, 3.0) for pair in SHAPE_PAIRS],
)
def test_colours_can_be_read(front: str, ground: str, least: float, scheme: str):
    found = _contrast(COLOURS[front][scheme], COLOURS[ground][scheme])
    assert found >= least, f"{front} on {ground} in {scheme}: {found:.2f}, wanted {least}"


def test_black_on_white_is_the_known_contrast():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)


def test_colours_stand_in_the_tokens_only():
    """But for true black and white, which lie under and on pictures in either scheme."""
    for path in (ROOT / "static").rglob("*.css"):
        if path.name == "tokens.css" or "vendor" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            values = re.findall(r":[^;{}]*", line.split("/*")[0])
            colours = {colour for value in values for colour in re.findall(r"#[0-9a-fA-F]{3,8}\b", value)}
            assert colours <= {"#000", "#fff"}, f"{path.name}:{number}: {colours}: use a token"


# ---- Icons and vendored files ----


def test_every_icon_named_in_a_template_is_in_the_sprite():
    sprite = (ROOT / "static/vendor/tabler-icons-3.51.0.svg").read_text(encoding="utf-8")
    have = set(re.findall(r'symbol id="([\w-]+)"', sprite))
    named = {
        name: path.name
        for path in TEMPLATES
        for name in re.findall(r"(?:icon\(|icon=)\"([\w-]+)\"", path.read_text(encoding="utf-8"))
    }
    assert {name: where for name, where in named.items() if name not in have} == {}


def test_every_vendored_file_has_its_version_in_the_name_and_a_licence():
    licences = (ROOT / "static/vendor/LICENSES.md").read_text(encoding="utf-8")
    for path in (ROOT / "static/vendor").iterdir():
        if path.name == "LICENSES.md":
            continue
        assert re.search(r"-\d+\.\d+\.\d+", path.name), path.name
        assert re.match(r"[a-z-]+(?:-js)?(?:\.org)?-?\d*", path.name)
        stem = re.split(r"-\d", path.name)[0]
        assert stem.split("-")[0] in licences.lower(), path.name


def test_static_files_live_long_in_caches_and_change_address_with_their_content(client, app):
    text = client.get("/nothing-here").get_data(as_text=True)
    address = re.search(r'href="(/static/app\.css\?v=\w{10})"', text).group(1)
    with client.get(address) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    with client.get("/static/app.css") as answer:
        assert "immutable" not in answer.headers.get("Cache-Control", "")


# ---- Pages ----


def test_the_style_guide_is_not_in_production(settings):
    from app.home import routes, styles
    from app.web import Throughline

    app = Throughline("app")
    app.settings = settings.but(environment="production")
    routes.register(app)
    assert styles.bp.name not in app.blueprints


def test_the_style_guide_shows_every_fragment(alice):
    text = alice.get("/dev/styles").get_data(as_text=True)
    for wanted in ("btn-danger", "chip-warn", "<progress", "data-table", "empty-picture", "toast-bad", "<dialog"):
        assert wanted in text


@pytest.mark.parametrize("path", ["/", "/dev/styles", "/nothing-here"])
def test_every_page_has_a_title_a_heading_a_language_and_labelled_fields(alice, client, path):
    for browser in (alice, client):
        assert_well_formed(browser.get(path).get_data(as_text=True))


def assert_well_formed(text: str) -> None:
    """Fail when a page lacks its title, its one h1, its language, its skip link or a label on a field."""
    assert re.search(r'<html lang="en"', text)
    assert re.search(r"<title>\S.+ · Throughline</title>", text)
    assert len(re.findall(r"<h1[\s>]", text)) == 1
    assert 'href="#main"' in text
    labelled = set(re.findall(r'<label[^>]*\bfor="([^"]+)"', text))
    for control in re.findall(r"<(?:input|select|textarea)\b[^>]*>", text):
        if 'type="hidden"' in control or 'type="submit"' in control or "aria-label" in control:
            continue
        identity = re.search(r'\bid="([^"]+)"', control)
        assert identity, control
        assert identity.group(1) in labelled, control
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert sorted(ids) == sorted(set(ids)), "an id stands twice"
