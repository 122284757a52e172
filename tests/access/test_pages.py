"""Every rule of the url_map is placed in the table, and answers as the table says."""

from __future__ import annotations

import pytest
from werkzeug.routing import Rule

from tests.access.filling import addresses, body
from tests.access.table import TABLE, Line
from tests.access.world import CONTENTS, EMAIL, WHO, World

SAFE = ("GET", "HEAD", "OPTIONS")
# Alice's contents an administrator sees here and nowhere else: a run by the audited "show", and mails that had
# nowhere to go, in the development outbox.
SHOWN_TO_ADMINISTRATORS = ("runs.show_contents", "outbox.index", "outbox.show", "outbox.show_html")


def rules(world: World) -> dict[tuple[str, str], Rule]:
    """Every method of every rule; HEAD, then OPTIONS, only where there is nothing else."""
    found = {}
    for rule in world.app.url_map.iter_rules():
        methods = rule.methods or set()
        for method in methods - {"HEAD", "OPTIONS"} or methods - {"OPTIONS"} or methods:
            found[method, rule.rule] = rule
    return found


def test_every_rule_is_in_the_table_and_every_line_is_a_rule(world: World):
    assert sorted(rules(world)) == sorted((line.method, line.rule) for line in TABLE)


def test_the_table_has_no_line_twice():
    assert len({(line.method, line.rule) for line in TABLE}) == len(TABLE)


@pytest.mark.parametrize("line", TABLE, ids=str)
def test_who_may(world: World, line: Line, monkeypatch: pytest.MonkeyPatch):
    # The real one looks at three films for each who asks.
    monkeypatch.setattr("app.videos.samples.add_to_library", lambda _owner: 3)
    rule = rules(world)[line.method, line.rule]
    found = {}
    for who in WHO:
        statuses = {_status(world, line, rule, address, who) for address in addresses(world, rule, who)}
        found[who] = statuses.pop() if len(statuses) == 1 else statuses
    assert found == line.statuses


def _status(world: World, line: Line, rule: Rule, address: str, who: str) -> int:
    """Ask, see that no secret is in the answer, and put back what a success has changed."""
    answer = world.ask(who, line.method, address, **body(world, rule.endpoint))
    text = f"{answer.headers} {answer.get_data().decode(errors='replace')}"
    assert answer.status_code < 500 or rule.endpoint == "health.ready", text  # 503: no worker runs beside the tests
    leaked = [word for word in _secrets(rule.endpoint, who) if word in text]
    assert not leaked, f"{who} is shown {leaked}"
    is_refused = answer.status_code >= 400 or answer.headers.get("Location", "").startswith("/sign-in?")
    if line.method not in SAFE and not is_refused:
        world.restore()
    return answer.status_code


def _secrets(endpoint: str, who: str) -> tuple[str, ...]:
    name = who.partition("-")[0]
    if name == "alice" or (name == "root" and endpoint in SHOWN_TO_ADMINISTRATORS):
        return ()
    return CONTENTS if name == "root" else (*CONTENTS, EMAIL)  # whose a run is, an administrator may know
