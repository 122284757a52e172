"""A real sandbox, for what is asked of models."""

from tests.sandbox.conftest import _sandbox, sandbox  # noqa: F401  (fixtures)
