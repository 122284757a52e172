"""`step.ai`: a step around the model call that the application hands in."""

from collections.abc import Callable
from typing import Any

from app.engine import current
from app.engine.errors import EngineError
from app.engine.execution import Execution, idempotency_key
from app.engine.runtime import runtime


def asker(execution: Execution) -> Callable[..., dict[str, Any]]:
    """Return the work of an `ai` step: `{"output": ..., "usage": {model, tokens, cost, ...}}`.

    Raises:
        EngineError: there is no port.
    """
    port = runtime().ports.ai
    if port is None:
        raise EngineError("step.ai needs a model: give the engine one when it starts, as Ports(ai=...).")

    def ask(**prompt: Any) -> dict[str, Any]:
        step = current.key()
        key = idempotency_key(execution.run.id, step)
        usage = dict(port(**prompt, key=key, write=execution.stream(step).write))
        return {"output": usage.pop("output", None), "usage": usage}

    return ask
