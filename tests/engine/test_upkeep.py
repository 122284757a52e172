"""A pass of upkeep does all its parts, whatever happens in one of them."""

from __future__ import annotations

import pytest
import structlog

from app.engine import retention, schedules, upkeep, waits


@pytest.mark.parametrize(
    ("module", "name", "part"), [(schedules, "tick", "schedules"), (waits, "look_for_forgotten", "waits")]
)
def test_what_breaks_in_one_part_of_a_pass_keeps_no_other_part_from_being_done(app, monkeypatch, module, name, part):
    done = []

    def broken(_connection):
        raise ValueError("one bad row")

    monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr(retention, "sweep", done.append)
    with structlog.testing.capture_logs() as lines:
        upkeep.run_pass()
    assert len(done) == 1
    assert [(line["event"], line["part"]) for line in lines] == [("upkeep.part_failed", part)]
