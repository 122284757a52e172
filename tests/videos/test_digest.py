"""One mail for what ended together: after the last of a person's videos, or after half an hour."""

from __future__ import annotations

import pytest

from app import engine
from app.accounts import service as accounts
from app.adapters.outbox import MailRow
from app.db import db
from app.engine import testing
from app.engine.testing import clock
from app.errors import Transient
from app.lib.ids import new_id
from app.videos import endings, events, notices, service, statuses
from app.videos.models import Notice
from tests.videos.talks import SRT, again, make_video, say_uploaded

CAPTIONS_BROKEN = b"1\nno time here\nwords\n"


def video(alice, tmp_path, title="A talk", status="embedding", **values):
    return make_video(alice.user, tmp_path, sample="", title=title, status=status, **values)


def end(one, kind="ready", error="Send another file."):
    """End a video as the last step of its workflow does."""
    run_id = new_id()
    if kind == "failed":
        endings.end_badly(one.owner_id, one.id, run_id, "failed", {"code": "unusable", "message": error})
    else:
        statuses.move(one.id, "completed")
        notices.note(one, run_id, "ready")
        engine.send(events.READY, events.payload(one, run_id, run_id=str(run_id)), owner_id=one.owner_id)
    db.session.commit()


def wait(seconds):
    clock.advance(seconds)
    testing.drain()


def runs(status=None):
    return engine.list_runs(workflow=notices.WORKFLOW, status=status)


def outcomes():
    return [run.output["mail"] for run in runs() if run.output]


def test_one_video_is_told_of_within_seconds_by_the_mail_of_one(alice, mails, tmp_path):
    one = video(alice, tmp_path, "On tides")
    end(one)
    testing.drain()
    assert mails.sent == []
    wait(6)
    (mail,) = mails.sent
    assert (mail.subject, mail.to) == ("Ready: On tides", "alice@example.org")
    assert f"/videos/{one.id}" in mail.text
    assert "Unsubscribe-Post" in " ".join(mail.headers)
    assert mails.keys[0].startswith("video-ready/")
    assert outcomes() == ["sent"]


def test_one_that_failed_is_told_of_with_what_to_do(alice, mails, tmp_path):
    end(video(alice, tmp_path, "On tides"), "failed")
    wait(6)
    assert [mail.subject for mail in mails.sent] == ["Not finished: On tides"]
    assert "Send another file." in mails.sent[0].text


def test_two_that_end_together_are_one_mail(alice, mails, tmp_path):
    first, second = video(alice, tmp_path, "On tides"), video(alice, tmp_path, "On bread")
    end(first)
    wait(6)
    assert mails.sent == [], "the other one is still under way"
    end(second, "failed", "Bake it again.")
    wait(6)
    (mail,) = mails.sent
    assert mail.subject == "1 video is ready, 1 not finished"
    for text in ("On tides", f"/videos/{first.id}", "On bread", "Bake it again.", f"/videos/{second.id}"):
        assert text in mail.text
        assert text in mail.html
    assert [run.status for run in runs()] == ["completed", "completed"]
    assert db.session.query(Notice).filter(Notice.sent_at.is_(None)).count() == 0


def test_fifty_are_one_mail_and_no_run_is_left_waiting(alice, mails, tmp_path):
    talks = [video(alice, tmp_path, f"Talk {n}") for n in range(50)]
    for number, talk in enumerate(talks):
        end(talk)
        if number % 7 == 0:
            wait(9)  # they end in groups
    wait(6)
    (mail,) = mails.sent
    assert mail.subject == "50 videos are ready"
    assert all(f"/videos/{talk.id}" in mail.text for talk in talks)
    assert {run.status for run in runs()} == {"completed"}
    wait(3600)
    assert len(mails.sent) == 1


def test_one_that_is_stuck_is_waited_for_half_an_hour_and_no_longer(alice, mails, tmp_path):
    done, also, stuck = (video(alice, tmp_path, title) for title in ("On tides", "On bread", "On trees"))
    end(done)
    wait(6)
    end(also)
    wait(6)
    wait(29 * 60)
    assert mails.sent == []
    wait(2 * 60)
    (mail,) = mails.sent
    assert mail.subject == "2 videos are ready"
    assert "On trees" not in mail.text
    end(stuck)
    wait(6)
    assert [mail.subject for mail in mails.sent[1:]] == ["Ready: On trees"]


def test_half_an_hour_counts_from_the_first_end_that_nobody_knows_of(alice, mails, tmp_path, execute):
    first, _stuck = video(alice, tmp_path, "On tides"), video(alice, tmp_path)
    end(first)
    execute("UPDATE notice SET created_at = created_at - interval '29 minutes'")
    wait(6)
    assert mails.sent == []
    wait(70)
    assert len(mails.sent) == 1


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_the_last_one_that_is_cancelled_or_deleted_keeps_nobody_waiting(alice, mails, tmp_path, verb):
    done, other = video(alice, tmp_path, "On tides"), video(alice, tmp_path, status="pending")
    say_uploaded(other)  # its run stands in the queue
    end(done)
    clock.advance(6)
    engine.pause(next(run.id for run in engine.list_runs(workflow="transcribe-video")))
    testing.drain()
    assert mails.sent == []
    getattr(service, verb)(again(other))
    db.session.commit()
    testing.drain()
    assert [mail.subject for mail in mails.sent] == ["Ready: On tides"]


def test_others_videos_are_not_waited_for(alice, charlie, mails, tmp_path):
    video(charlie, tmp_path)
    end(video(alice, tmp_path, "On tides"))
    wait(6)
    assert len(mails.sent) == 1


def test_videos_deleted_meanwhile_are_left_out(alice, mails, tmp_path):
    kept, gone = video(alice, tmp_path, "On tides"), video(alice, tmp_path, "On bread")
    end(kept)
    end(gone)
    service.delete(again(gone))
    db.session.commit()
    wait(6)
    assert [mail.subject for mail in mails.sent] == ["Ready: On tides"]


def test_one_that_failed_and_was_ready_after_all_is_told_of_as_ready(alice, mails, tmp_path):
    one = video(alice, tmp_path, "On tides")
    end(one, "failed")
    statuses.try_move(one.id, "embedding", also=("failed",))
    end(one)
    wait(6)
    assert [mail.subject for mail in mails.sent] == ["Ready: On tides"]


@pytest.mark.parametrize(
    ("wanted", "subjects"),
    [
        (["ready"], ["2 videos are ready"]),
        (["failed"], ["Not finished: On trees"]),
        ([], []),
    ],
)
def test_each_kind_is_told_of_to_those_who_want_it(alice, mails, tmp_path, wanted, subjects):
    accounts.choose_notices(alice.user.id, wanted)
    db.session.commit()
    talks = [video(alice, tmp_path, title) for title in ("On tides", "On bread", "On trees")]
    for talk, kind in zip(talks, ("ready", "ready", "failed"), strict=True):
        end(talk, kind)
    wait(6)
    assert [mail.subject for mail in mails.sent] == subjects
    assert outcomes() == ["sent" if subjects else "not wanted"]


@pytest.mark.parametrize(
    ("kinds", "left"),
    [(("ready", "ready"), {"failed"}), (("failed", "failed"), {"ready"}), (("ready", "failed"), set())],
)
def test_the_unsubscribe_link_of_a_digest_ends_what_it_is_about(alice, mails, tmp_path, kinds, left):
    from app.accounts import queries

    app_client = alice.application.test_client()
    talks = [video(alice, tmp_path) for _ in kinds]
    for talk, kind in zip(talks, kinds, strict=True):
        end(talk, kind)
    wait(6)
    address = mails.sent[0].headers["List-Unsubscribe"].strip("<>").partition("/notices/")[2]
    assert app_client.get(f"/notices/{address}").status_code == 200
    assert app_client.post(f"/notices/{address}", data={"List-Unsubscribe": "One-Click"}).status_code == 200
    db.session.rollback()
    assert queries.list_wanted_notices(alice.user.id) == left


@pytest.mark.parametrize("step", ["collect", "send-mail"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_killed_in_between_sends_nothing_twice(alice, mails, tmp_path, monkeypatch, step, count):  # noqa: PLR0917
    from app.engine import memory

    talks = [video(alice, tmp_path, f"Talk {n}") for n in range(count)]
    for talk in talks:
        end(talk)
    before, strikes = memory._commit, []

    def die(memo):
        if memo.key == step and not strikes:
            strikes.append(memo.key)
            db.session.rollback()
            raise testing.SimulatedCrash
        return before(memo)

    monkeypatch.setattr(memory, "_commit", die)
    clock.advance(6)
    with pytest.raises(testing.SimulatedCrash):
        testing.drain()
    late = video(alice, tmp_path, "Late")
    end(late)  # what comes meanwhile must not change the mail that may have gone out
    testing.drain(advance=True)
    assert strikes == [step]
    told = [str(talk.id) for mail in mails.sent for talk in [*talks, late] if str(talk.id) in mail.text]
    assert sorted(told) == sorted(str(talk.id) for talk in [*talks, late])
    assert len(set(mails.keys)) == len(mails.keys)


def test_a_mail_service_that_is_away_is_asked_again_under_the_same_key(alice, mails, tmp_path):
    end(video(alice, tmp_path, "On tides"))
    mails.failure = Transient("away")
    wait(6)
    mails.failure = None
    testing.drain(advance=True)
    assert len(mails.sent) == 1


def test_a_digest_in_the_outbox_has_links_that_work(alice, tmp_path):
    for title in ("On tides", "<b>On bread</b>"):
        end(video(alice, tmp_path, title))
    wait(6)
    row = db.session.query(MailRow).one()
    assert "&lt;b&gt;On bread" in row.html
    assert "http://127.0.0.1:5000/videos/" in row.text
    assert "List-Unsubscribe" in row.headers


def test_nothing_is_told_of_what_a_person_asked_for_themselves(alice, mails, tmp_path):
    one = video(alice, tmp_path)
    engine.send(events.READY, events.payload(one, new_id(), wants_notice=False), owner_id=one.owner_id)
    db.session.commit()
    wait(6)
    assert mails.sent == []
    assert outcomes() == ["nothing to tell"]


def test_the_whole_way_from_two_uploads_to_one_mail(alice, models, mails, tmp_path):
    for title in ("On tides", "On bread"):
        say_uploaded(make_video(alice.user, tmp_path, captions=SRT, title=title))
    say_uploaded(make_video(alice.user, tmp_path, captions=CAPTIONS_BROKEN, title="On trees"))
    testing.drain(advance=True)
    assert [mail.subject for mail in mails.sent] == ["2 videos are ready, 1 not finished"]


def test_the_settings_page_explains_the_one_mail(alice):
    assert "one e-mail" in alice.get("/account/notices").text
