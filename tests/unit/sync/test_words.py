"""What is said of revisions, and what is not: from one record of a source to the next."""

import msgspec

from reconciler.model.intents import Rollback, SourceIntent
from reconciler.model.reports import MOST_WORDS, Declared, Reports
from reconciler.model.source_state import PastRevision, SourceState, SyncMark, Trial
from reconciler.sync import words
from reconciler.sync.gate import Look, Pair

WEB, API = ("main", "web"), ("main", "api")
WELL = Look()
SICK = Look(failed=("main/web: version 2 was given up: exit code 3",), waiting=("main/web: 0 of 1 healthy",))


def state(revision: str, seen: str = "", *past: tuple[str, str, str], **more: object) -> SourceState:
    """A record of a source; ``past`` is (revision, result, detail), the newest last."""
    history = tuple(
        PastRevision(revision=each, result=result, at=0.0, author="Ann", subject=f"Change {each}", detail=detail)
        for each, result, detail in past or ((revision, "applied", ""),)
    )
    mark = SyncMark(settled=True, revision=revision)
    made = SourceState(source="fleet", kind="git", location="x", mark=mark, seen=seen or revision, history=history)
    return msgspec.structs.replace(made, **more)


class Teller:
    """What was said so far of one source, by whoever."""

    def __init__(self) -> None:
        self.reports = Reports(source="fleet")
        self.declared = Declared()
        self.prints: dict[Pair, str] = {}
        self.own = state("")

    def sees(self, own: SourceState, intent: SourceIntent | None = None, **prints: str) -> list[str]:
        """What is said anew now; ``prints`` are the services' declarations, if another revision is applied."""
        before, self.own = self.reports.seq, own
        self.reports = words.on_the_newest(self.reports, own, intent, 0.0)
        if own.mark.revision != self.reports.applied:
            self.prints = {("main", name): each for name, each in prints.items()}
            self.reports, self.declared = words.on_another_applied(self.reports, self.declared, own, self.prints, 0.0)
        return self._since(before)

    def looks(self, look: Look = WELL, *, is_steady: bool = True, own: SourceState | None = None) -> list[str]:
        before = self.reports.seq
        steady = is_steady and look.is_healthy
        self.reports = words.on_how_it_is(self.reports, own or self.own, self.waits_for(), look, 0.0, is_steady=steady)
        return self._since(before)

    def waits_for(self) -> frozenset[Pair]:
        return words.concerned(self.declared, self.prints)

    def _since(self, seq: int) -> list[str]:
        return [f"{each.revision} {each.event}: {each.reason}" for each in self.reports.words if each.seq > seq]


def test_a_revision_is_rolled_out_until_what_it_changes_is_healthy_and_said_once() -> None:
    told = Teller()
    assert told.sees(state("a"), web="1", api="1") == ["a started: main/api, main/web"]
    assert told.looks(is_steady=False) == []
    assert told.looks() == ["a healthy: main/api, main/web"]
    assert not words.is_open(told.reports)
    assert told.sees(state("b"), web="2", api="1") == ["b started: main/web"]
    assert told.looks(Look(waiting=("main/web: 0 of 1 healthy",))) == []
    assert told.sees(state("b"), web="2", api="1") == []
    assert told.looks() == ["b healthy: main/web"]
    assert told.sees(state("c"), web="2") == ["c healthy: it changes no service here"]
    assert [(each.author, each.subject) for each in told.reports.words[-1:]] == [("Ann", "Change c")]


def test_a_revision_that_was_superseded_hands_on_what_it_had_not_shown() -> None:
    told = Teller()
    told.sees(state("a"), web="1", api="1")
    told.looks()
    told.sees(state("b"), web="2", api="1")
    assert told.sees(state("c"), web="2", api="2") == ["b superseded: by c", "c started: main/api, main/web"]
    told.looks(SICK)
    assert told.sees(state("d"), web="2", api="3") == ["d started: main/api"]


def test_what_was_given_up_is_said_and_taken_back_when_an_operator_mends_it() -> None:
    told = Teller()
    told.sees(state("a"), web="1")
    assert told.looks(SICK) == ["a failed: main/web: version 2 was given up: exit code 3"]
    assert told.looks(SICK) == []
    assert words.is_open(told.reports)
    assert told.looks() == ["a healthy: main/web"]


def test_a_refused_revision_leaves_the_one_before_on_its_way() -> None:
    told = Teller()
    told.sees(state("a"), web="1")
    refused = state("a", "b", ("a", "applied", ""), ("b", "refused", "web.yml:1:1: error RC020 …"))
    assert told.sees(refused) == ["b refused: web.yml:1:1: error RC020 …"]
    assert told.sees(refused) == []
    assert told.looks() == ["a healthy: main/web"]


def test_a_revision_on_its_way_is_not_forgotten_over_many_refused_ones() -> None:
    told = Teller()
    told.sees(state("a"), web="1")
    for number in range(MOST_WORDS + 5):
        told.sees(state("a", f"x{number}", (f"x{number}", "refused", "no")))
    assert len(told.reports.words) == MOST_WORDS
    assert told.looks() == ["a healthy: main/web"]


def test_what_the_gate_takes_back_is_said_and_nothing_of_what_comes_back() -> None:
    told = Teller()
    told.sees(state("a"), web="1", api="1")
    told.looks()
    trial = Trial(revision="b", good="a", limit_s=60.0)
    told.sees(state("b", trial=trial), web="2", api="1")
    assert told.looks(SICK) == []  # the gate decides
    quarantine = Rollback(revision="a", skips=("b",), by="the gate", reason="main/web: exit code 3", since=1.0)
    back = state("a", "b", ("b", "quarantined", ""), ("a", "rolled back", ""), quarantine=quarantine)
    assert told.sees(back, web="1", api="1") == ["b taken_back: a is applied again; main/web: exit code 3"]
    assert not words.is_open(told.reports)
    assert told.sees(state("c"), web="1", api="2") == ["c started: main/api"]
    again = state("b", trial=msgspec.structs.replace(trial, failed=("nothing to go back to",)))
    told.sees(again, web="2", api="2")
    assert told.looks(own=again) == ["b failed: nothing to go back to"]


def test_an_operators_rollback_is_said_with_who_and_why() -> None:
    told = Teller()
    told.sees(state("a"), web="1")
    told.looks()
    told.sees(state("b"), web="2")
    told.looks()
    intent = SourceIntent(
        source="fleet", rollback=Rollback(revision="a", skips=("b",), by="ann@laptop", reason="slow", since=1.0)
    )
    back = state("a", "b", ("a", "rolled back", ""))
    assert told.sees(back, intent, web="1") == ["b taken_back: ann@laptop went back to a: slow"]
    assert told.sees(state("b"), web="2") == ["b started: main/web"]


def test_while_a_revision_is_half_applied_nothing_is_said_of_the_newest() -> None:
    told = Teller()
    told.sees(state("a"), web="1")
    half = state("a", "b", mark=SyncMark(settled=False, revision="a", to="b"))
    assert words.on_the_newest(told.reports, half, None, 0.0) == told.reports


def test_too_many_services_to_remember_are_all_waited_for() -> None:
    told = Teller()
    many = {f"service-{number}": "1" for number in range(words.MOST_CHARACTERS // 10)}
    told.sees(state("a"), **many)
    told.looks()
    told.sees(state("b"), **(many | {"service-0": "2"}))
    assert len(told.waits_for()) == len(many)
    assert told.declared == Declared()
