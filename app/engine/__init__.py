"""The durable workflow engine: workflows whose steps are remembered in PostgreSQL. This is its front door."""

# What a workflow is made of.
from app.engine.execution import Context
from app.engine.hooks import Outcome
from app.engine.options import CancelOn, Concurrency, Debounce, Isolated, On, RateLimit, Singleton, Throttle, Timeouts
from app.engine.registry import Workflow, workflow
from app.engine.steps import Step

# What starts runs, and what people do to them.
from app.engine.actions import cancel, pause, pause_workflow, replay, rerun_from, resume, resume_workflow
from app.engine.bulk import bulk
from app.engine.schedules import pause_schedule, resume_schedule, trigger_schedule
from app.engine.sending import send

# What went wrong.
from app.engine.errors import EngineError, LimitExceeded, NonRetriable, NotJson, OutsideCallRefused, RegistrationError
from app.engine.errors import RetryAfter, RunActive, StepError, StepKindChanged, UnknownRun
from app.lib.expressions import ExpressionError

# What there is to see.
from app.engine.logs import LogLine, list_logs
from app.engine.metrics import metrics_page
from app.engine.reads import RunView, ScheduleView, StepView, WaitView, WorkerView, WorkflowView
from app.engine.reads import get_event, get_run, list_events, list_runs, list_steps, list_waits
from app.engine.reads import last_upkeep, list_schedules, list_workers, list_workflows
from app.engine.store_events import Event
from app.engine.streams import StreamText, read_stream
from app.engine.why import Why, why_not_started

# What runs it.
from app.engine.isolated import run_isolated, run_worker
from app.engine.process import run_upkeep
from app.engine.runtime import Ports, Verdict
from app.engine.schema import create_schema, metadata
from app.engine.start import start
