"""One file per outside world: a Protocol, a real class, a fake, and `from_settings`.

create_app() makes each adapter named here and keeps it as `app.extensions["throughline.<name>"]`.
"""

ADAPTERS = ("mailer", "media", "storage")
