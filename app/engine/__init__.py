"""The durable workflow engine: workflows whose steps are remembered in PostgreSQL. This is its front door."""

from app.engine.actions import cancel, pause, pause_workflow, replay, rerun_from, resume, resume_workflow
from app.engine.bulk import bulk
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
from app.engine.isolated import run_isolated, run_worker
from app.engine.logs import LogLine, list_logs
from app.engine.metrics import metrics_page
from app.engine.options import CancelOn, Concurrency, Debounce, Isolated, On, RateLimit, Singleton, Throttle, Timeouts
from app.engine.process import run_upkeep
from app.engine.reads import (
    RunView,
    ScheduleView,
    StepView,
    WaitView,
    WorkerView,
    WorkflowView,
    get_event,
    get_run,
    last_upkeep,
    list_events,
    list_runs,
    list_schedules,
    list_steps,
    list_waits,
    list_workers,
    list_workflows,
)
from app.engine.registry import Workflow, workflow
from app.engine.runtime import Ports, Verdict
from app.engine.schedules import pause_schedule, resume_schedule, trigger_schedule
from app.engine.schema import create_schema, metadata
from app.engine.sending import send
from app.engine.start import start
from app.engine.steps import Step
from app.engine.store_events import Event
from app.engine.streams import StreamText, read_stream
from app.engine.why import Why, why_not_started

__all__ = [
    "CancelOn",
    "Concurrency",
    "Context",
    "Debounce",
    "EngineError",
    "Event",
    "ExpressionError",
    "Isolated",
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
    "ScheduleView",
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
    "WaitView",
    "Why",
    "WorkerView",
    "Workflow",
    "WorkflowView",
    "bulk",
    "cancel",
    "create_schema",
    "get_event",
    "get_run",
    "last_upkeep",
    "list_events",
    "list_logs",
    "list_runs",
    "list_schedules",
    "list_steps",
    "list_waits",
    "list_workers",
    "list_workflows",
    "metadata",
    "metrics_page",
    "pause",
    "pause_schedule",
    "pause_workflow",
    "read_stream",
    "replay",
    "rerun_from",
    "resume",
    "resume_schedule",
    "resume_workflow",
    "run_isolated",
    "run_upkeep",
    "run_worker",
    "send",
    "start",
    "trigger_schedule",
    "why_not_started",
    "workflow",
]
