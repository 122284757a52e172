"""The RQ dashboard, page by page and endpoint by endpoint, on a real Redis with real jobs of RQ 3."""

import re
from uuid import uuid4

import pytest
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from app.engine.testing import Hints
from app.extensions import redis_client
from app.runs.rq_dashboard import PREFIX


def add(one, two):
    return one + two


def fail():
    raise ValueError("it <broke>")


@pytest.fixture
def connection(app):
    with redis_client(app.settings, blocks=True) as client:
        yield client


@pytest.fixture
def queue(connection):
    return Queue("hints", connection=connection, serializer=JSONSerializer)


def work(queue):
    worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="ERROR")
    return worker


@pytest.fixture
def jobs(queue):
    """One job of each kind that an empty worker leaves behind."""
    done = queue.enqueue(add, 1, 2, description="demo done", result_ttl=500)
    failed = queue.enqueue(fail, description="demo failed")
    work(queue)
    first = queue.enqueue(add, 3, 4, description="demo first")
    return {"done": done, "failed": failed, "queued": first, "dependent": queue.enqueue(add, 5, 6, depends_on=first)}


def csrf_of(root):
    root.get(f"{PREFIX}/")
    return {"X-CSRFToken": root.get_cookie("_csrf_token", path=PREFIX).value}


PAGES = [
    "/",
    "/0/",
    "/0/view",
    "/0/view/queues",
    "/0/view/workers",
    "/0/view/jobs",
    "/0/view/jobs/hints/failed/8/asc/1",
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_for_administrators_only(root, alice, client, jobs, path):
    assert root.get(PREFIX + path, follow_redirects=True).status_code == 200
    assert alice.get(PREFIX + path, follow_redirects=True).status_code == 404
    answer = client.get(PREFIX + path)
    if answer.status_code == 308:  # the same page's shorter address
        answer = client.get(answer.location)
    assert answer.status_code == 302
    assert "/sign-in" in answer.location


def test_its_pages_have_a_way_back_and_an_icon_that_exists(root, jobs):
    for path in PAGES:
        page = root.get(PREFIX + path, follow_redirects=True).text
        assert page.count('<a class="back-home" href="/runs">') == 1, path
        assert "favicon.ico" not in page
        for address in re.findall(r'href="(/static/[^"]+)"', page):
            with root.get(address) as answer:
                assert answer.status_code == 200, address


def test_its_errors_are_our_pages_without_its_frame(root):
    assert "back-home" not in root.get(f"{PREFIX}/0/view/job/nonsense").text


def test_its_files_and_data_are_for_administrators_only(root, alice, client, jobs):
    for path in ("/static/css/main.css", "/0/data/queues.json", "/0/data/workers.json"):
        with root.get(PREFIX + path) as answer:
            assert answer.status_code == 200
        assert alice.get(PREFIX + path).status_code == 404
        assert client.get(PREFIX + path).status_code == 302


def test_posts_need_an_administrator_and_the_form_token(root, alice, jobs):
    path = f"{PREFIX}/job/{jobs['failed'].id}/requeue"
    assert root.post(path).status_code == 400
    assert root.post(path, headers=csrf_of(root)).json == {"status": "OK"}
    assert alice.post(path, headers={"X-CSRFToken": "x"}).status_code in (400, 404)


def test_the_rules_for_scripts_are_relaxed_here_and_nowhere_else(root, jobs):
    assert "unsafe-eval" in root.get(f"{PREFIX}/").headers["Content-Security-Policy"]
    assert "unsafe" not in root.get("/runs").headers["Content-Security-Policy"]


def test_the_queues_are_counted(root, jobs):
    (queue,) = root.get(f"{PREFIX}/0/data/queues.json").json["queues"]
    assert queue["name"] == "hints"
    assert queue["count"] == 1
    assert queue["failed_job_registry_count"] == 1
    assert queue["finished_job_registry_count"] == 1
    assert queue["deferred_job_registry_count"] == 1


@pytest.mark.parametrize(
    ("registry", "kind"), [("queued", "queued"), ("failed", "failed"), ("finished", "done"), ("deferred", "dependent")]
)
@pytest.mark.parametrize("order", ["asc", "dsc"])
def test_the_jobs_of_each_state_are_listed(root, jobs, registry, kind, order):
    found = root.get(f"{PREFIX}/0/data/jobs/hints/{registry}/8/{order}/1.json").json["jobs"]
    assert [job["id"] for job in found] == [jobs[kind].id]


@pytest.mark.parametrize("registry", ["started", "canceled", "scheduled"])
def test_a_state_without_jobs_is_an_empty_list(root, jobs, registry):
    assert root.get(f"{PREFIX}/0/data/jobs/hints/{registry}/8/asc/1.json").json["jobs"] == []


def test_a_failed_job_shows_why(root, jobs):
    job = root.get(f"{PREFIX}/0/data/job/{jobs['failed'].id}.json").json
    assert job["status"] == "failed"
    assert "it <broke>" in job["exc_info"]
    assert root.get(f"{PREFIX}/0/view/job/{jobs['failed'].id}").status_code == 200


def test_a_finished_job_shows_its_result(root, jobs):
    assert root.get(f"{PREFIX}/0/data/job/{jobs['done'].id}.json").json["result"] == 3


def test_a_job_with_a_dependency_is_shown(root, jobs):
    job = root.get(f"{PREFIX}/0/data/job/{jobs['dependent'].id}.json").json
    assert job["depends_on"] == [jobs["queued"].id]
    assert job["depends_on_status"] == ["active"]


def test_workers_are_listed_while_a_json_job_runs(root, queue, connection):
    job = queue.enqueue(add, 1, 2, description="demo running")
    worker = SimpleWorker([queue], connection=connection, serializer=JSONSerializer)
    worker.register_birth()
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    (shown,) = root.get(f"{PREFIX}/0/data/workers.json").json["workers"]
    assert shown["current_job"]["description"] == "demo running"
    worker.register_death()


@pytest.mark.parametrize(
    "path",
    [
        "/0/view/job/nonsense",
        "/0/data/job/nonsense.json",
        "/1/",
        "/7/data/queues.json",
        "/0/data/jobs/hints/nonsense/8/asc/1.json",
        "/0/data/jobs/hints/failed/0/asc/1.json",
        "/0/data/jobs/hints/failed/x/asc/1.json",
        "/0/data/jobs/hints/failed/8/up/1.json",
        "/0/data/jobs/hints/failed/8/asc/0.json",
        "/0/data/jobs/hints/failed/9999/asc/1.json",
        "/requeue/hints",
    ],
)
def test_what_is_not_there_is_a_404_and_no_crash(root, jobs, path):
    assert root.get(PREFIX + path).status_code == 404


def test_jobs_can_be_requeued_deleted_and_queues_emptied(root, jobs, queue):
    token = csrf_of(root)
    assert root.post(f"{PREFIX}/requeue/hints", headers=token).json == {"status": "OK", "count": 1}
    assert jobs["failed"].id in queue.job_ids
    assert root.post(f"{PREFIX}/job/{jobs['done'].id}/requeue", headers=token).status_code == 409
    assert root.post(f"{PREFIX}/job/nonsense/requeue", headers=token).status_code == 404
    assert root.post(f"{PREFIX}/job/{jobs['done'].id}/delete", headers=token).json == {"status": "OK"}
    assert root.post(f"{PREFIX}/queue/hints/compact", headers=token).json == {"status": "OK"}
    assert root.post(f"{PREFIX}/queue/hints/queued/empty", headers=token).json == {"status": "OK"}
    assert queue.count == 0


def test_a_hint_of_the_engine_says_workflow_and_run(root, app):
    run_id = str(uuid4())
    hints = Hints(app.settings.redis_url, app.settings.redis_namespace)
    hints.give([("transcribe-video", run_id)])
    name = hints.queue.name
    (job,) = root.get(f"{PREFIX}/0/data/jobs/{name}/queued/8/asc/1.json").json["jobs"]
    assert job["description"] == f"transcribe-video {run_id}"
    assert run_id in job["id"]
    hints.connection.close()


def test_a_queue_may_be_compacted_also_when_it_is_empty(root, queue):
    """RQ renames its list, and an empty queue has none: Redis has answered, and there is nothing to do."""
    headers = csrf_of(root)
    first = queue.enqueue(add, 1, 2)
    first.delete(remove_from_queue=False)
    for _ in ("with a dead job in it", "empty"):
        answer = root.post(f"{PREFIX}/queue/{queue.name}/compact", headers=headers)
        assert (answer.status_code, answer.json) == (200, {"status": "OK"})
        assert queue.count == 0


def test_without_redis_it_says_so(root, app, monkeypatch):
    monkeypatch.setitem(
        app.extensions, "throughline.rq_dashboard", redis_client(app.settings.but(redis_url="unix:///tmp/nowhere.sock"))
    )
    answer = root.get(f"{PREFIX}/0/data/queues.json")
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text
