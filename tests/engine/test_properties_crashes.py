"""Random workflows driven by hand: single claims, passes of upkeep, jumps of the clock and crashes in any order."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from app.engine import advance, store_upkeep, upkeep
from app.engine.runtime import runtime
from tests.engine import chaos, play
from tests.engine.programs import Interpreter, blocks, counted

pytestmark = pytest.mark.timeout(play.TIMEOUT)
MOST_LOSSES = 4  # of workers: as in test_properties_programs


@pytest.fixture
def house(app, monkeypatch):
    with play.house(monkeypatch):
        yield


class Crashes(RuleBasedStateMachine):
    """Two programs of two owners, and as many workers as there are open claims."""

    def __init__(self) -> None:
        super().__init__()
        play.empty()
        self.losses = 0
        self.open: list[tuple[object, float]] = []  # claims of workers that are alive, whether or not still theirs
        self.games: list[play.Play] = []

    @initialize(programs=st.lists(blocks(1), min_size=1, max_size=2))
    def start(self, programs):
        interpreter = Interpreter()
        for number, program in enumerate(programs):
            first = 1000 * number
            self.games.append(play.Play(counted(program, first + 1), interpreter, first))

    def do(self, work, fault):
        """Do `work` as a process that has a fault, as long as no run could die of too many."""
        faults = [fault] if fault is not None and self.losses < MOST_LOSSES else []
        self.losses += len(faults)
        return chaos.live(work, faults)

    @rule(fault=st.none() | chaos.faults(most=30), limit=st.integers(1, 3))
    def claim(self, fault, limit):
        found = self.do(lambda: advance.claim_batch(f"worker-{len(self.open)}", limit), fault)
        self.open += found or []

    @rule(number=st.integers(0, 9), times=st.integers(1, 3))
    def give_a_hint_more_than_once(self, number, times):
        ids = sorted(run_id for game in self.games for run_id in game.runs().values())
        for _ in range(times):
            found = advance.claim_one("hinted", ids[number % len(ids)])
            self.open += [found] if found else []

    @rule(number=st.integers(0, 9), fault=st.none() | chaos.faults())
    def advance(self, number, fault):
        if not self.open:  # no precondition: what is drawn must not depend on what the clock has let happen
            return
        claimed = self.open.pop(number % len(self.open))
        epoch, status = chaos.owner(claimed[0].id)
        is_mine = (epoch, status) == (claimed[0].epoch, "running")
        known = chaos.look(claimed[0].id)
        result = self.do(lambda: chaos.advancing(*claimed), fault)
        if not is_mine and not (fault and fault.kind in ("freeze", "others")):  # else others work at the run meanwhile
            assert result in ("lost", None)
            assert chaos.look(claimed[0].id) == known

    @rule(fault=st.none() | chaos.faults(most=30))
    def keep_time(self, fault):
        self.do(upkeep.run_pass, fault)

    @rule()
    def renew_the_leases(self):
        """Of all that are alive, also those that have lost their run and do not know it."""
        leases = {run.id: run.epoch for run, _ in self.open}
        with runtime().pool.connection() as connection:
            renewed = store_upkeep.heartbeat(connection, leases, chaos.LEASE)
        assert all(chaos.owner(run_id) == (leases[run_id], "running") for run_id in renewed)

    @rule()
    def jump(self):
        due = play.seconds_to_next()
        if due is None or due[0] > play.A_WEEK or (due[1] and self.losses >= MOST_LOSSES):
            return  # the waits that an event from outside is to end do not end without it
        self.losses += due[1]
        chaos.clock.advance(due[0])

    @rule(number=st.integers(0, 1))
    def send_an_event_from_outside(self, number):
        self.games[number % len(self.games)].send_outside()

    def teardown(self):
        if not self.games:
            return
        play.finish(self.games)
        for claimed in self.open:  # who wakes up last of all changes nothing
            assert chaos.live(lambda claimed=claimed: chaos.advancing(*claimed)) == "lost"
        for game in self.games:
            game.check()


def test_whatever_order_crashes_claims_and_the_clock_come_in_each_remembered_step_takes_effect_once(house):
    run_state_machine_as_test(Crashes, settings=play.bounded(12, stateful_step_count=25))
