"""One tree of errors; the class carries the HTTP status and whether trying again can help.

`message` is for the person: it says what to do next. What the log needs goes to the log as fields.
"""

from __future__ import annotations


class AppError(Exception):
    """Base of all errors that the product raises on purpose."""

    status = 500
    code = "error"
    is_retriable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(AppError):
    """Nothing here for this person: missing and forbidden look alike to strangers."""

    status = 404
    code = "not_found"

    def __init__(self, message: str = "There is nothing here. Check the address, or go back to your library.") -> None:
        super().__init__(message)


class Unauthenticated(AppError):
    """Nobody is signed in (API: 401; pages are sent to the sign-in page)."""

    status = 401
    code = "unauthenticated"

    def __init__(self, message: str = "Sign in first, or send a valid API key.") -> None:
        super().__init__(message)


class Forbidden(AppError):
    """The person may see it but not do it."""

    status = 403
    code = "forbidden"


class Invalid(AppError):
    """The input cannot be used; `fields` maps a field's name to a sentence about it."""

    status = 422
    code = "invalid"

    def __init__(self, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}


class Conflict(AppError):
    """The state has moved on; look again and repeat if still wanted."""

    status = 409
    code = "conflict"


class TooLarge(AppError):
    """The body or file is over a limit that the message names."""

    status = 413
    code = "too_large"


class TooMany(AppError):
    """Too many requests; `retry_after` is in seconds."""

    status = 429
    code = "too_many"

    def __init__(self, message: str, retry_after: float = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Transient(AppError):
    """Something outside failed in a way that may pass; `retry_after` (seconds) when the other side said so."""

    status = 503
    code = "transient"
    is_retriable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Transient):
    """A shared limiter said "not yet" before anything was sent: waiting for a turn is nobody's failure."""

    code = "busy"


class Permanent(AppError):
    """Something outside failed and will fail again the same way."""

    status = 502
    code = "permanent"
