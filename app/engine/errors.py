"""What can go wrong in the engine, and the interrupts by which a run leaves its thread."""

from asyncio import CancelledError
from datetime import datetime
from typing import Any

from app.lib import durations

# What fails a try. Any other BaseException is an interrupt, or the end of the process.
FAILED = (Exception, SystemExit, CancelledError)


class EngineError(Exception):
    """Base of the engine's own errors."""

    code = "engine_error"


class NonRetriable(Exception):
    """Raise it in a step: trying again cannot help, so the step fails at once."""

    code = "non_retriable"


class RetryAfter(Exception):
    """Raise it in a step: not now, but in `seconds`, or "5m" (1 s to 24 h). Costs no attempt; 24 h in all."""

    code = "retry_after"

    def __init__(self, seconds: durations.Duration, message: str = "") -> None:
        try:
            asked = seconds if isinstance(seconds, int | float) else durations.seconds(seconds)
        except ValueError as error:
            raise EngineError(f"RetryAfter: {error}") from error
        self.seconds = float(min(max(1.0, asked), 86_400.0))  # in this order: of NaN it makes 1
        super().__init__(message or f"try again in {self.seconds:g} s")


class StepError(Exception):
    """A step failed for good. Caught, the run goes on; escaping, the run fails with the step's error."""

    def __init__(self, step: str, error: dict[str, Any]) -> None:
        super().__init__(f"step {step!r} failed: {error.get('class', 'Error')}: {error.get('message', '')}")
        self.step = step
        self.error = error
        self.code = str(error.get("code") or "error")
        self.message = str(error.get("message", ""))


class LimitExceeded(NonRetriable, EngineError):
    """A documented limit was exceeded; `limit` names it."""

    code = "limit_exceeded"

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class NotJson(NonRetriable, EngineError):
    """A result or a payload is not JSON; the message names the step or event, and the place in it."""

    code = "not_json"


class StepKindChanged(NonRetriable, EngineError):
    """The code now has another kind of step under a remembered key."""

    code = "step_kind_changed"


class OutsideCallRefused(NonRetriable, EngineError):
    """An outside call was tried inside `step.transaction`, or with events or cancellations not yet committed."""

    code = "outside_call_refused"


class RegistrationError(EngineError):
    """A workflow's options are illegal or its name is taken."""

    code = "registration"


class UnknownRun(EngineError):
    """There is no such run, or it has no such step."""

    code = "unknown_run"


class RunActive(EngineError):
    """The run has not ended yet; cancel it first."""

    code = "run_active"


class Interrupt(BaseException):
    """Leaves the workflow's body. Not an Exception, so that `except Exception` in a body lets it pass."""


class Leave(Interrupt):
    """The run goes on later, or elsewhere: it has this `status` until then."""

    status = "queued"
    due_at: datetime | None = None
    is_failure = False  # of the body


class Park(Leave):
    """Nothing to do before `due_at`."""

    status = "waiting"

    def __init__(self, due_at: datetime, *, is_failure: bool = False) -> None:
        super().__init__(due_at)
        self.due_at: datetime = due_at
        self.is_failure = is_failure


class LostLease(Interrupt):
    """The run is, or may be, no longer this worker's, or the database cannot be reached: stop without a trace."""


class Cancelled(Interrupt):
    """Somebody asked for the run to be cancelled."""


class Paused(Leave):
    """Somebody asked for the run to be paused."""

    status = "paused"


class GiveBack(Leave):
    """This worker is shutting down: the run goes back to the queue."""
