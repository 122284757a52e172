"""The adapters against a real sandbox."""

from tests.sandbox.conftest import _sandbox, piece, sandbox  # noqa: F401  (fixtures)
