"""The durable workflow engine: workflows whose steps are remembered in PostgreSQL. This is its front door."""

from app.engine.actions import cancel, rerun_from
from app.engine.errors import (
    EngineError,
    ExpressionError,
    LimitExceeded,
    NonRetriable,
    NotJson,
    OutsideCallRefused,
    RegistrationError,
    RetryAfter,
    RunActive,
    StepError,
    StepKindChanged,
    UnknownRun,
)
from app.engine.execution import Context
from app.engine.hooks import Outcome
from app.engine.logs import LogLine, list_logs
from app.engine.metrics import metrics_page
from app.engine.options import CancelOn, Concurrency, Debounce, On, RateLimit, Singleton, Throttle, Timeouts
from app.engine.process import run_upkeep, run_worker
from app.engine.reads import (
    RunView,
    StepView,
    WorkerView,
    get_run,
    last_upkeep,
    list_runs,
    list_steps,
    list_workers,
    list_workflows,
)
from app.engine.registry import Workflow, workflow
from app.engine.runtime import Ports, Verdict
from app.engine.schema import create_schema, metadata
from app.engine.sending import send
from app.engine.start import start
from app.engine.steps import Step
from app.engine.store_events import Event
from app.engine.streams import StreamText, read_stream

__all__ = [
    "CancelOn",
    "Concurrency",
    "Context",
    "Debounce",
    "EngineError",
    "Event",
    "ExpressionError",
    "LimitExceeded",
    "LogLine",
    "NonRetriable",
    "NotJson",
    "On",
    "Outcome",
    "OutsideCallRefused",
    "Ports",
    "RateLimit",
    "RegistrationError",
    "RetryAfter",
    "RunActive",
    "RunView",
    "Singleton",
    "Step",
    "StepError",
    "StepKindChanged",
    "StepView",
    "StreamText",
    "Throttle",
    "Timeouts",
    "UnknownRun",
    "Verdict",
    "WorkerView",
    "Workflow",
    "cancel",
    "create_schema",
    "get_run",
    "last_upkeep",
    "list_logs",
    "list_runs",
    "list_steps",
    "list_workers",
    "list_workflows",
    "metadata",
    "metrics_page",
    "read_stream",
    "rerun_from",
    "run_upkeep",
    "run_worker",
    "send",
    "start",
    "workflow",
]
