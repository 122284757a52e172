"""What is told once a transaction has committed: to workers, waits and browsers. After a rollback nobody hears."""

from dataclasses import dataclass, field
from uuid import UUID

from app.engine.runtime import runtime
from app.engine.store import Claimed, RunRow
from app.engine.store_starting import NewRun


@dataclass
class After:
    """What has gathered in a transaction."""

    started: list[NewRun] = field(default_factory=list)
    hints: list[tuple[str, str]] = field(default_factory=list)  # workflow and run that a worker may claim
    topics: set[str] = field(default_factory=set)
    sent: list[UUID] = field(default_factory=list)  # events that waits have not been looked for yet

    def queued(self, runs: list[tuple[str, str]]) -> None:
        """Tell of runs (workflow, id) that can be claimed now."""
        self.hints += runs
        self.topics.update(f"run:{run_id}" for _, run_id in runs)

    def changed(self, run: Claimed | RunRow | NewRun) -> None:
        """Tell of a run that looks different now."""
        self.topics.update(topics(run.id, run.subject, run.owner_id))

    def add(self, other: "After") -> None:
        """Tell of what another transaction has gathered, too."""
        self.started += other.started
        self.hints += other.hints
        self.topics |= other.topics
        self.sent += other.sent

    def tell(self) -> None:
        """Give workers their hints, browsers their topics, and waits their events. Call it after the commit."""
        state = runtime()
        for run in self.started:
            self.changed(run)
        self.hints += [(run.workflow, str(run.id)) for run in self.started if run.status == "queued"]
        if self.hints:
            state.hint(self.hints)
        if self.topics:
            state.announce(self.topics)
        if self.sent:
            state.look_for_waits(self.sent)


def topics(run_id: UUID, subject: str | None, owner_id: UUID | None) -> list[str]:
    """Return the live topics that a change of this run touches."""
    return [f"run:{run_id}", *([subject] if subject else []), *([f"runs:{owner_id}"] if owner_id else [])]
