"""The durable workflow engine: workflows whose steps are remembered in PostgreSQL. This is its front door."""

from app.engine.actions import cancel, rerun_from
from app.engine.errors import (
    EngineError,
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
from app.engine.process import run_upkeep
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
from app.engine.registry import Concurrency, Isolated, Workflow, workflow
from app.engine.runtime import Ports, Verdict
from app.engine.schema import create_schema, metadata
from app.engine.sending import send
from app.engine.start import start
from app.engine.steps import Step
from app.engine.store_events import Event

__all__ = [
    "Concurrency",
    "Context",
    "EngineError",
    "Event",
    "Isolated",
    "LimitExceeded",
    "NonRetriable",
    "NotJson",
    "Outcome",
    "OutsideCallRefused",
    "Ports",
    "RegistrationError",
    "RetryAfter",
    "RunActive",
    "RunView",
    "Step",
    "StepError",
    "StepKindChanged",
    "StepView",
    "UnknownRun",
    "Verdict",
    "WorkerView",
    "Workflow",
    "cancel",
    "create_schema",
    "get_run",
    "last_upkeep",
    "list_runs",
    "list_steps",
    "list_workers",
    "list_workflows",
    "metadata",
    "rerun_from",
    "run_isolated",
    "run_upkeep",
    "run_worker",
    "send",
    "start",
    "workflow",
]
