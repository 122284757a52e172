"""Typed reads of the environment, and of files like `.env`; only `app.settings` and what starts processes use it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SettingsError(Exception):
    """A setting is wrong; the message names it and says what it should be."""


def environment(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child process: ours, plus `defaults` for what is unset or blank.

    A secret counts as set when its `X_FILE` is, and the other way round.
    """
    found = dict(os.environ)
    for name, value in defaults.items():
        twin = name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE"
        if not found.get(name, "").strip() and not found.get(twin, "").strip():
            found[name] = value
    return found


def load_env_file(path: Path) -> None:
    """Read `NAME=value` lines from `path`, when it exists, for what the environment does not set.

    Blank lines and lines that begin with `#` are skipped; a value may stand in quotes.

    Raises:
        SettingsError: a line is neither; the message gives its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error}.") from error
    for number, raw in enumerate(lines, 1):
        line = raw.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise SettingsError(f"Line {number} of {path} must look like NAME=value.")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        os.environ.setdefault(name.strip(), value)


@dataclass(frozen=True)
class Environment:
    """Typed reads of the environment whose errors name the variable."""

    values: Mapping[str, str]

    def text(self, name: str, default: str) -> str:
        """Return a value without the spaces around it, or `default` when it is unset or blank."""
        return self.values.get(name, "").strip() or default

    def secret(self, name: str, default: str) -> str:
        """Return a value that may also stand in the file named by `NAME_FILE`."""
        path = self.values.get(f"{name}_FILE", "").strip()
        if not path:
            return self.text(name, default)
        try:
            return Path(path).read_text(encoding="utf-8").strip() or default
        except OSError as error:
            raise SettingsError(f"{name}_FILE names {path}, which cannot be read: {error.strerror}.") from error
        except ValueError as error:  # the bytes are not repeated: they may be the secret
            raise SettingsError(f"{name}_FILE names {path}, which is not a text file.") from error

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Return one of `allowed`, in lower case; the first when it is unset."""
        value = self.text(name, allowed[0]).lower()
        if value not in allowed:
            raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.text(name, str(default))
        try:
            number = int(value)
        except ValueError:
            raise SettingsError(f"{name} must be a whole number, not {value!r}.") from None
        if not low <= number <= high:
            raise SettingsError(f"{name} must be between {low} and {high}, not {number}.")
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        """Return whether something is switched on."""
        return (
            self.choice(name, ("1", "0", "true", "false", "on", "off", "yes", "no")) in ("1", "true", "on", "yes")
            if self.text(name, "")
            else default
        )

    def words(self, name: str) -> tuple[str, ...]:
        """Return what stands between commas, in lower case."""
        return tuple(word.strip().lower() for word in self.text(name, "").split(",") if word.strip())
