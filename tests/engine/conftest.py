"""Fixtures of the engine's tests: a registry of their own, a table to write to."""

from __future__ import annotations

import pytest

from app.engine.registry import registry as workflows
from app.engine.testing import isolated_registry


@pytest.fixture(autouse=True)
def registry(app):
    """Hide the product's workflows, and forget those of each test at its end."""
    with isolated_registry():
        workflows.by_name.clear()
        yield
