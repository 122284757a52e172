"""The pages of runs: one's own whole, other people's as metadata for administrators, nothing for strangers."""

import re

import pytest
import sqlalchemy as sa

from app import engine
from app.db import db
from app.engine import workflow
from app.engine.testing import drain
from app.lib.ids import new_id
from app.runs.models import AuditEntry
from tests.accounts.pages import token
from tests.videos.talks import make_video


def post(browser, path, page="/runs", **fields):
    return browser.post(path, data={"csrf_token": token(browser.get(page)), **fields})


def test_the_owner_sees_steps_times_inputs_and_outputs(alice, make_run):
    run = make_run(alice)
    page = alice.get(f"/runs/{run.id}").text
    assert "demo" in page
    assert page.count('class="run-step"') == 2
    assert "&lt;b&gt;talk&lt;/b&gt;" in page
    assert "&#34;size&#34;: 11" in page
    assert "took" in page
    assert "waited" in page
    assert f"topics=run:{run.id}/page" in page


def test_a_failed_run_says_why_and_offers_a_retry(alice, make_run):
    run = make_run(alice, "broken")
    page = alice.get(f"/runs/{run.id}").text
    assert "the measure &lt;broke&gt;" in page
    assert "Retry" in page
    assert "1 failed try" in page


@pytest.mark.parametrize("path", ["", "/steps/load"])
def test_a_stranger_gets_404(alice, charlie, make_run, path):
    run = make_run(alice)
    assert charlie.get(f"/runs/{run.id}{path}").status_code == 404
    assert charlie.get(f"/runs/{new_id()}{path}").status_code == 404


@pytest.mark.parametrize("verb", ["cancel", "rerun", "show"])
def test_a_stranger_can_do_nothing(alice, charlie, make_run, verb):
    run = make_run(alice, done=False)
    assert post(charlie, f"/runs/{run.id}/{verb}", step="load").status_code == 404
    assert engine.get_run(run.id).status == "queued"


def test_nobody_is_sent_to_sign_in(client, alice, make_run):
    run = make_run(alice)
    for path in ("/runs", f"/runs/{run.id}"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert "/sign-in" in answer.location


def test_an_administrator_sees_metadata_and_contents_only_after_an_audited_show(alice, root, make_run):
    run = make_run(alice, "broken")
    page = root.get(f"/runs/{run.id}").text
    for secret in ("&lt;b&gt;", "&lt;broke&gt;", "secret-progress", "Input", "Run again"):
        assert secret not in page
    assert "measure" in page
    assert "alice@example.org" in page
    assert f"topics=run:{run.id}/meta" in page
    assert root.get(f"/runs/{run.id}/steps/load").status_code == 404
    assert db.session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == 0

    shown = post(root, f"/runs/{run.id}/show", page=f"/runs/{run.id}").text
    assert "the measure &lt;broke&gt;" in shown
    assert "Run again" not in shown
    entry = db.session.scalar(sa.select(AuditEntry))
    assert (entry.user_id, entry.action, entry.subject) == (root.user.id, "run.show", f"run:{run.id}")

    again = root.get(f"/runs/{run.id}").text  # only that page view
    assert "&lt;broke&gt;" not in again
    assert "run.show" in again
    assert "run.show" not in alice.get(f"/runs/{run.id}").text


def test_showing_ones_own_run_is_nothing_to_write_down(alice, make_run):
    run = make_run(alice)
    assert post(alice, f"/runs/{run.id}/show").status_code == 200
    assert db.session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == 0


def test_the_owner_cancels_a_waiting_run_once(alice, make_run):
    run = make_run(alice, done=False)
    assert post(alice, f"/runs/{run.id}/cancel").status_code == 303
    assert engine.get_run(run.id).status == "cancelled"
    assert post(alice, f"/runs/{run.id}/cancel").status_code == 409


def test_an_administrators_cancelling_is_written_down(alice, root, make_run):
    run = make_run(alice, done=False)
    assert post(root, f"/runs/{run.id}/cancel").status_code == 303
    assert db.session.scalar(sa.select(AuditEntry.action)) == "run.cancel"


def test_a_rerun_with_edited_input_goes_on_at_that_step(alice, make_run):
    run = make_run(alice, "broken")
    answer = post(alice, f"/runs/{run.id}/rerun", step="measure", input='["mended"]')
    assert answer.status_code == 303
    drain()
    new_id = answer.location.rpartition("/")[2]
    page = alice.get(answer.location).text
    assert engine.get_run(new_id).output == {"size": 6}
    assert f"/runs/{run.id}" in page  # a link to the original


def test_a_rerun_with_the_input_as_it_was_edits_nothing(alice, make_run, execute):
    run = make_run(alice)
    page = alice.get(f"/runs/{run.id}").text
    shown = re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)[0]
    import html

    post(alice, f"/runs/{run.id}/rerun", step="load", input=html.unescape(shown))
    edited = execute("SELECT edited FROM run WHERE forked_from = :id", id=run.id).scalar_one()
    assert edited is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}', "must be a list"),
        ("[NaN]", "is not JSON"),
        ("[1e400]", "is not JSON"),
        ("[1]" * 6000, "too long"),
        ("[" * 9000, "not JSON"),
    ],
)
def test_bad_input_for_a_rerun_is_refused_with_a_sentence(alice, make_run, text, says):
    run = make_run(alice)
    answer = post(alice, f"/runs/{run.id}/rerun", step="load", input=text)
    assert answer.status_code == 422
    assert says in answer.text


def test_a_rerun_of_an_unknown_step_or_an_unfinished_run_is_refused(alice, make_run):
    run = make_run(alice)
    assert post(alice, f"/runs/{run.id}/rerun", step="nonsense").status_code == 404
    assert post(alice, f"/runs/{run.id}/rerun").status_code == 404


def test_an_administrator_cannot_rerun_what_is_not_theirs(alice, root, make_run):
    run = make_run(alice)
    assert post(root, f"/runs/{run.id}/rerun", step="load").status_code == 404


def test_all_of_a_step_is_one_click_away(alice, make_run):
    run = make_run(alice, "x" * 9000)
    page = alice.get(f"/runs/{run.id}").text
    assert f"/runs/{run.id}/steps/load" in page
    assert "Only the beginning" in page
    assert "x" * 9000 in alice.get(f"/runs/{run.id}/steps/load").json["output"]
    assert alice.get(f"/runs/{run.id}/steps/nonsense").status_code == 404


def test_the_list_shows_ones_own_runs_newest_first(alice, charlie, make_run):
    first, second, other = make_run(alice), make_run(alice, "broken"), make_run(charlie)
    page = alice.get("/runs").text
    assert page.index(str(second.id)) < page.index(str(first.id))
    assert str(other.id) not in page
    assert f"topics=runs:{alice.user.id}/list" in page


def test_the_list_can_be_filtered(alice, make_run):
    done, failed = make_run(alice), make_run(alice, "broken")
    page = alice.get("/runs?status=failed&workflow=demo").text
    assert str(failed.id) in page
    assert str(done.id) not in page
    assert "No runs here" in alice.get("/runs?workflow=other").text
    for nonsense in ("/runs?status=nonsense", "/runs?before=x", "/runs?workflow=%00", "/runs?of=everyone"):
        assert str(done.id) in alice.get(nonsense).text or nonsense.endswith("%00")


def test_the_list_goes_on_page_by_page(alice, make_run, monkeypatch):
    monkeypatch.setattr("app.runs.queries.PAGE", 2)
    made = [make_run(alice, done=False) for _ in range(5)]
    seen, path = [], "/runs"
    while path:
        page = alice.get(path).text
        seen += re.findall(r'id="run-row-([0-9a-f-]+)"', page)
        found = re.search(r'href="([^"]+)" rel="next"', page)
        path = found[1].replace("&amp;", "&") if found else None
    assert seen == [str(run.id) for run in reversed(made)]


def test_an_administrator_may_list_everyones_runs(alice, root, charlie, make_run):
    run = make_run(alice, "broken")
    assert str(run.id) not in root.get("/runs").text
    page = root.get("/runs?of=everyone").text
    assert str(run.id) in page
    assert "broke" not in page
    assert str(run.id) not in charlie.get("/runs?of=everyone").text


def test_the_api_gives_the_owner_all_an_administrator_metadata_and_strangers_404(
    alice, root, charlie, client, make_run
):
    run = make_run(alice)
    answer = alice.get(f"/api/runs/{run.id}").json
    assert answer["status"] == "completed"
    assert answer["output"] == {"size": 11}
    assert [step["key"] for step in answer["steps"]] == ["load", "measure"]
    meta = root.get(f"/api/runs/{run.id}").json
    assert meta["status"] == "completed"
    assert "output" not in meta
    assert "input" not in meta["steps"][0]
    assert charlie.get(f"/api/runs/{run.id}").status_code == 404
    assert client.get(f"/api/runs/{run.id}").status_code == 401


def test_a_traceback_is_on_the_run_page_and_not_in_the_api(alice):
    @engine.workflow("shaky", on="demo/shaky", retries=1)
    def shaky(ctx, step):
        step.run("tip", lambda: 1 / 0)

    engine.send("demo/shaky", {}, owner_id=alice.user.id)
    db.session.commit()
    drain()
    [run] = engine.list_runs(workflow="shaky")
    assert "Traceback (most recent call last)" in alice.get(f"/runs/{run.id}").text
    answer = alice.get(f"/api/runs/{run.id}")
    assert answer.json["steps"][0]["error"]["class"] == "ZeroDivisionError"
    assert "Traceback" not in answer.text


def test_a_run_says_which_video_it_is_about_to_its_owner_only(alice, root, tmp_path):
    video = make_video(alice.user, tmp_path)
    video.title = "Rye <bread>"

    @workflow("about-video", on="demo/about", subject="video:{event.data.video_id}")
    def about_video(ctx, step):
        return None

    engine.send("demo/about", {"video_id": str(video.id)}, owner_id=alice.user.id)
    db.session.commit()
    drain()
    run = engine.list_runs(owner_id=alice.user.id, workflow="about-video")[0]
    for path in ("/runs", "/runs?workflow=about-video", f"/runs/{run.id}"):
        assert "Rye &lt;bread&gt;" in alice.get(path).text, path
    for path in ("/runs?of=everyone", f"/runs/{run.id}"):
        page = root.get(path)
        assert page.status_code == 200
        assert "Rye" not in page.text, path
