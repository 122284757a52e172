"""Languages: the offline recogniser knows English only, which is said where one is chosen and before work begins."""

from __future__ import annotations

import pytest

from app.adapters import llm
from app.adapters.llm import Capabilities
from app.engine import testing
from tests.videos.browsing import post
from tests.videos.talks import SRT, again, make_video, say_uploaded

WAYS_OUT = ("caption file (.srt or .vtt)", "an OpenAI key", "a local speech server")


@pytest.fixture
def offline(models):
    """Let the transcriber know English only, as the sandbox's."""
    models[0].capabilities = Capabilities(has_times=True, max_bytes=1 << 20, languages=("en",))
    return models[0]


@pytest.mark.parametrize("path", ["/videos", "/upload"])
def test_the_picker_says_so_while_the_offline_models_are_in_use(alice, offline, path):
    page = alice.get(path).get_data(as_text=True)
    assert "The offline models know English only." in page
    assert ">French (with captions only)</option>" in page
    assert ">English</option>" in page


def test_with_a_real_model_no_language_is_said_to_need_captions(alice, models):
    page = alice.get("/upload").get_data(as_text=True)
    assert ">French</option>" in page
    assert "English only" not in page


def test_another_language_is_refused_before_work_begins_with_the_ways_out(alice, offline, mails, tmp_path):
    video = make_video(alice.user, tmp_path, language="fr")
    say_uploaded(video)
    testing.drain(advance=True)
    video = again(video)
    assert (video.status, video.error_code, offline.calls) == ("failed", "language_not_supported", [])
    page = alice.get(f"/videos/{video.id}").get_data(as_text=True)
    for way in WAYS_OUT:
        assert way in page


def test_with_captions_any_language_works(alice, offline, mails, tmp_path):
    video = make_video(alice.user, tmp_path, language="fr", captions=SRT)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "completed"


def test_a_finished_video_in_another_language_stays_finished_when_its_sound_cannot_be_heard(
    alice, offline, mails, tmp_path
):
    video = make_video(alice.user, tmp_path, language="fr", captions=SRT)
    say_uploaded(video)
    testing.drain(advance=True)
    answer = post(alice, f"/videos/{video.id}/transcribe-again", follow_redirects=True).get_data(as_text=True)
    for way in WAYS_OUT:
        assert way in answer
    testing.drain(advance=True)
    assert (again(video).status, offline.calls) == ("completed", [])


def test_every_page_with_the_picker_opens_without_any_model(app, alice):
    llm.install(app)
    assert alice.get("/upload").status_code == 200


def test_of_many_videos_those_in_a_language_that_is_not_known_are_named_apart(alice, offline, tmp_path):
    known, unknown = (
        make_video(alice.user, tmp_path, sample="", status="completed", language=each) for each in ("en", "fr")
    )
    about = {"action": "transcribe", "video_ids": [str(known.id), str(unknown.id)], "confirmed": "1"}
    page = post(alice, "/videos/bulk", data=about, follow_redirects=True).get_data(as_text=True)
    assert "1 video being transcribed again; 1 in a language that the model set now does not know." in page
    assert [again(each).status for each in (known, unknown)] == ["pending", "completed"]
