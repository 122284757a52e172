"""Live updates over WebSockets: a room says what changed, browsers get the changed fragment.

Owns the Redis channel `<namespace>:live`, the endpoint `/live` and nothing in the database. It knows no room: each
room registers who may see a topic and how its fragment is rendered.

    live.register("video", "card", authorise=may_see, render=card)    # at start-up: topic `video:<id>`, view `card`
    live.touch(f"video:{video.id}")                                   # in a transaction: told after its commit
    hx-ws:connect="{{ live_url('video:%s/card' % video.id) }}"        # in a page
"""

from app.live.bus import publish, publisher, recheck, touch
from app.live.drain import close_all, close_when_stopping
from app.live.topics import register

__all__ = ["close_all", "close_when_stopping", "publish", "publisher", "recheck", "register", "touch"]
