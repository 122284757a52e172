from app.videos import service_transcript, cues as C, editing
from app.videos.operations import *
from app.lib.ids import new_id
from tests.browser.test_editor import *
LONG = ("Good evening and welcome to this talk about consistent hashing. Tonight we put every server on a ring, and we ask what happens to the keys when one of them leaves. "
 "The answer is surprisingly calm: only its neighbours notice. Rendezvous hashing does the same without a ring, and Amazon wrote about it in a paper named Dynamo. ") * 6
@pytest.fixture
def rich(app, alice, tmp_path):
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    v = make_video(alice.user, tmp_path, sample="tides", title="Consistent hashing, explained on a ring")
    words = split_words(LONG)
    made = C.build([C.Word(w, n*.4, n*.4+.36, 0.1 if n % 13 == 5 else 0.9) for n, w in enumerate(words)], "Ada Lovelace")
    service_transcript.save_transcript(v.owner_id, v.id, new_id(), made, source="model", model="sandbox-whisper")
    db.session.info.pop("collected", None)
    v.status = "completed"; db.session.commit()
    def e(*ops, note=""):
        f = again(v); service_editing.edit_transcript(f, f.transcript_id, list(ops), note); db.session.commit()
    e(SetText(1, "Tonight we will put each server on a ring,"), note="The first page read against the slides")
    e(Replace("Dynamo", "“Dynamo”"), SetSpeaker(4, "Grace Hopper", 8), Delete(9))
    yield v
    llm.install(app)
def shot(page, name, full=False):
    page.wait_for_timeout(400)
    page.screenshot(path=f"/tmp/shots-editui/{name}.png", full_page=full)
def test_one(open_page, alice, rich):
    for w, h, scheme in ((1440, 900, "light"), (390, 844, "dark"), (360, 740, "light")):
        p = open_page(f"/videos/{rich.id}", user=alice.user, width=w, height=h, scheme=scheme)
        p.wait_for_timeout(500)
        p.keyboard.press("n"); shot(p, f"read-{w}")
        p.keyboard.press("e")
        p.locator(".cue-text").nth(2).click()
        p.get_by_label("Text of this cue").fill("and we ask what happens to all of the keys when one of them leaves us without a word of warning, which they do.")
        shot(p, f"edit-{w}")
        if w == 1440:
            p.get_by_role("button", name="Replace", exact=True).click(); p.get_by_label("Find").fill("ring"); p.get_by_label("Replace with").fill("circle"); shot(p, "replace"); p.keyboard.press("Escape")
            p.get_by_role("button", name="Keys", exact=True).click(); shot(p, "keys"); p.keyboard.press("Escape")
            p.get_by_role("button", name="Speakers", exact=True).click(); shot(p, "speakers"); p.keyboard.press("Escape")
            edit_elsewhere(rich, 2, "Something else stands here now")
            p.wait_for_timeout(1200); shot(p, "news")
            p.get_by_role("button", name="Look at it").click(); shot(p, "conflict"); p.keyboard.press("Escape")
        p.on("dialog", lambda d: d.accept())
        for path, name in (("versions", "versions"), ("versions/1", "version"), ("versions/compare?from=1", "compare")):
            p.evaluate("Object.keys(localStorage).forEach(k => localStorage.removeItem(k))")
            p.goto(f"/videos/{rich.id}/{path}"); shot(p, f"{name}-{w}"); assert_fits(p); assert_accessible(p)
        p.evaluate("Object.keys(localStorage).filter(k => k.includes('draft')).forEach(k => localStorage.removeItem(k))")
        p.goto(f"/videos/{rich.id}?edit=3"); shot(p, f"form-{w}", True); assert_fits(p); assert_accessible(p)
        p.goto(f"/videos/{rich.id}"); p.get_by_title("More").click(); shot(p, f"menu-{w}")
        p.get_by_role("button", name="Transcribe again").first.click(); shot(p, f"again-{w}"); assert_accessible(p)
        p.goto("/upload"); p.locator(".upload-vocabulary summary").click(); shot(p, f"upload-{w}"); assert_fits(p); assert_accessible(p)
    for c in [p.context]: pass
