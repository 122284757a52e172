"""Who may do what: one line for every method of every rule of the url_map.

The statuses stand for: nobody, Alice (whose things they are), Charlie (a stranger), Root (an administrator, on room
pages as strange as Charlie), then API keys of Alice, Charlie and Root, and last a forged key sent with Alice's cookie.
302 for nobody is the way to the sign-in page. A new endpoint must be placed here, or test_pages.py fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.access.world import WHO


@dataclass(frozen=True)
class Line:
    """One line of the table; `statuses` by who asks."""

    method: str
    rule: str
    statuses: dict[str, int]

    def __str__(self) -> str:
        return f"{self.method} {self.rule}"


def _parse(text: str) -> Line:
    method, *statuses, rule = text.split(maxsplit=len(WHO) + 1)
    return Line(method, rule, dict(zip(WHO, map(int, statuses), strict=True)))


# method nobody alice charlie root keys: alice charlie root forged, rule
TABLE = [
    _parse(line)
    for line in """
GET     200 200 200 200 200 200 200 200  /
GET     302 200 200 200 403 403 403 302  /account
POST    302 303 303 303 403 403 403 302  /account
GET     302 200 200 200 403 403 403 302  /account/keys
POST    302 201 201 201 403 403 403 302  /account/keys
POST    302 303 404 404 403 403 403 302  /account/keys/<key_id>/revoke
GET     302 200 200 200 403 403 403 302  /account/notices
POST    302 303 303 303 403 403 403 302  /account/notices
GET     302 200 200 200 403 403 403 302  /account/sessions
POST    302 303 404 404 403 403 403 302  /account/sessions/<session_id>/revoke
POST    302 303 303 303 403 403 403 302  /account/sessions/revoke-all
GET     302 200 200 200 403 403 403 302  /account/usage
GET     302 200 200 200 403 403 403 302  /account/usage.csv
POST    302 404 404 303 403 403 403 302  /admin/invitations/<invitation_id>/withdraw
GET     302 404 404 200 403 403 403 302  /admin/models
POST    302 404 404 200 403 403 403 302  /admin/models/<any(transcription, embeddings, chat, images):capability>/test
GET     302 404 404 200 403 403 403 302  /admin/people
POST    302 404 404 303 403 403 403 302  /admin/people/<user_id>/<any(disable, enable, promote, demote):change>
GET     302 404 404 200 403 403 403 302  /admin/people/<user_id>/limits
POST    302 404 404 303 403 403 403 302  /admin/people/<user_id>/limits
POST    302 404 404 303 403 403 403 302  /admin/people/invite
GET     302 404 404 200 404 404 200 302  /admin/rq/
GET     308 308 308 308 308 308 308 308  /admin/rq/<int:instance_number>/
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/data/job/<job_id>.json
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/data/jobs/<queue_name>/<registry_name>/<per_page>/<order>/<page>.json
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/data/queues.json
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/data/workers.json
GET     308 308 308 308 308 308 308 308  /admin/rq/<int:instance_number>/view
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/view/job/<job_id>
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/view/jobs
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/view/jobs/<queue_name>/<registry_name>/<int:per_page>/<order>/<int:page>
GET     308 308 308 308 308 308 308 308  /admin/rq/<int:instance_number>/view/queues
GET     302 404 404 200 404 404 200 302  /admin/rq/<int:instance_number>/view/workers
GET     302 404 404 200 404 404 200 302  /admin/rq/favicon.ico
POST    302 404 404 200 404 404 200 302  /admin/rq/job/<job_id>/delete
POST    302 404 404 200 404 404 200 302  /admin/rq/job/<job_id>/requeue
POST    302 404 404 200 404 404 200 302  /admin/rq/queue/<queue_name>/<registry_name>/empty
POST    302 404 404 200 404 404 200 302  /admin/rq/queue/<queue_name>/compact
GET     302 404 404 404 404 404 404 302  /admin/rq/requeue/<queue_name>
POST    302 404 404 200 404 404 200 302  /admin/rq/requeue/<queue_name>
GET     302 404 404 200 404 404 200 302  /admin/rq/static/<path:filename>
GET     302 404 404 200 403 403 403 302  /admin/usage
GET     302 404 404 200 403 403 403 302  /admin/usage.csv
GET     401 200 200 200 200 200 200 401  /api/me
GET     401 200 404 200 200 404 200 401  /api/runs/<uuid:run_id>
POST    401 200 404 404 200 404 404 401  /api/runs/<uuid:run_id>/cancel
POST    401 200 404 200 200 404 200 401  /api/runs/<uuid:run_id>/pause
POST    401 201 404 404 201 404 404 401  /api/runs/<uuid:run_id>/replay
POST    401 201 404 404 201 404 404 401  /api/runs/<uuid:run_id>/rerun
POST    401 200 404 200 200 404 200 401  /api/runs/<uuid:run_id>/resume
GET     401 200 404 404 200 404 404 401  /api/search
POST    401 201 404 404 201 404 404 401  /api/video/upload
GET     401 200 200 200 200 200 200 401  /api/videos
POST    401 201 404 404 201 404 404 401  /api/videos
DELETE  401 204 404 404 204 404 404 401  /api/videos/<uuid:video_id>
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>
PATCH   401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/cancel
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/chapters.vtt
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/chunks
POST    401 409 404 404 409 404 404 401  /api/videos/<uuid:video_id>/describe
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/outline
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/reprocess
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/restore
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/retry
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcribe
DELETE  401 204 404 404 204 404 404 401  /api/videos/<uuid:video_id>/share
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/share
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcript
PATCH   401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcript
PUT     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcript
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcript.<form>
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcripts
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcripts/<uuid:version_id>.<form>
GET     401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcripts/<uuid:version_id>/changes
POST    401 200 404 404 200 404 404 401  /api/videos/<uuid:video_id>/transcripts/<uuid:version_id>/restore
POST    401 200 404 404 200 404 404 401  /api/videos/bulk
POST    401 202 404 404 202 404 404 401  /api/videos/reprocess-embeddings
GET     404 404 404 200 404 404 200 404  /dev/outbox
GET     404 404 404 200 404 404 200 404  /dev/outbox/<mail_id>
GET     404 404 404 200 404 404 200 404  /dev/outbox/<mail_id>/html
GET     200 200 200 200 200 200 200 200  /dev/styles
GET     200 200 200 200 200 200 200 200  /health
GET     200 200 200 200 200 200 200 200  /healthz
GET     400 400 400 400 400 400 400 400  /live
GET     404 200 404 404 200 404 404 404  /media/<token>
GET     404 404 404 404 404 404 404 404  /metrics
GET     404 200 404 404 200 404 404 404  /notices/unsubscribe/<token>
POST    404 200 404 404 200 404 404 404  /notices/unsubscribe/<token>
GET     503 503 503 503 503 503 503 503  /readyz
GET     302 200 200 200 200 200 200 302  /runs
GET     302 200 404 200 200 404 200 302  /runs/<uuid:run_id>
POST    302 303 404 303 303 404 303 302  /runs/<uuid:run_id>/cancel
POST    302 303 404 303 303 404 303 302  /runs/<uuid:run_id>/pause
POST    302 303 404 404 303 404 404 302  /runs/<uuid:run_id>/replay
POST    302 303 404 404 303 404 404 302  /runs/<uuid:run_id>/rerun
POST    302 303 404 303 303 404 303 302  /runs/<uuid:run_id>/resume
POST    302 200 404 200 200 404 200 302  /runs/<uuid:run_id>/show
GET     302 200 404 404 200 404 404 302  /runs/<uuid:run_id>/steps/<path:key>
GET     404 200 404 404 200 404 404 404  /s/<token>
GET     404 200 404 404 200 404 404 404  /s/files/<token>
GET     302 200 200 200 200 200 200 302  /search
GET     200 302 302 302 302 302 302 200  /sign-in
POST    303 303 303 303 303 303 303 303  /sign-in
GET     302 302 302 302 302 302 302 302  /sign-in/code
POST    303 303 303 303 303 303 303 303  /sign-in/code
GET     410 200 410 410 200 410 410 410  /sign-in/link/<token>
POST    410 303 410 410 303 410 410 410  /sign-in/link/<token>
POST    303 303 303 303 303 303 303 303  /sign-out
GET     200 200 200 200 200 200 200 200  /static/<path:filename>
GET     302 200 200 200 200 200 200 302  /upload
POST    302 422 422 422 422 422 422 302  /upload
POST    302 303 404 404 303 404 404 302  /upload/<uuid:upload_id>/discard
POST    302 303 404 404 303 404 404 302  /upload/<uuid:upload_id>/finish
OPTIONS 204 204 204 204 204 204 204 204  /uploads/
POST    401 201 201 201 201 201 201 401  /uploads/
DELETE  401 204 404 404 204 404 404 401  /uploads/<upload_id>
HEAD    401 200 404 404 200 404 404 401  /uploads/<upload_id>
OPTIONS 204 204 204 204 204 204 204 204  /uploads/<upload_id>
PATCH   401 204 404 404 204 404 404 401  /uploads/<upload_id>
POST    401 204 404 404 204 404 404 401  /uploads/<upload_id>
GET     302 200 200 200 200 200 200 302  /videos
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/<any(source, rendition, poster, captions):kind>
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/cancel
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/card
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/chunk-again
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/delete
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/describe
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/make-rendition
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/details
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/details
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/restore
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/retry
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/share
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/transcribe-again
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/transcript
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/use-title
POST    302 303 303 303 303 303 303 302  /videos/renew
POST    401 200 404 404 200 404 404 401  /videos/<uuid:video_id>/transcript
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/transcript/cues/<int:index>
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/transcript/import
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/transcripts/<uuid:version_id>/restore
POST    302 303 404 404 303 404 404 302  /videos/<uuid:video_id>/unshare
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/versions
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/versions/<int:number>
GET     302 200 404 404 200 404 404 302  /videos/<uuid:video_id>/versions/compare
POST    302 303 303 303 303 303 303 302  /videos/bulk
POST    302 303 303 303 303 303 303 302  /videos/samples
""".strip().splitlines()
]
