"""The agent as a daemon: observe, plan, apply, on one host. ``wiring`` builds it.

One loop plans; it never blocks. Beside it each source of knowledge, and the publishing, have loops of their own, woken
by what they watch; every new result wakes the planner. Wakes in quick succession make one plan.
"""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from reconciler.agent import metrics, pace
from reconciler.agent.apply import Hands
from reconciler.agent.guard import Guard
from reconciler.agent.host_view import HostView, Outcome, Report
from reconciler.agent.identity import HostLock
from reconciler.agent.lifecycle import Now, TaskKey
from reconciler.agent.memory import Memory
from reconciler.agent.observe import ExecutorSource, HealthSource, IssuedSource
from reconciler.agent.pages import Pages
from reconciler.agent.plan import Plan, plan
from reconciler.agent.publish import Publisher
from reconciler.agent.secrets import Secrets
from reconciler.agent.settings import AgentSettings
from reconciler.agent.sweep import Sweeper
from reconciler.errors import ReconcilerError, UsageError
from reconciler.executors.interface import Executor, Owner
from reconciler.health.interface import HealthProvider
from reconciler.model.events import Emit, Event, Level
from reconciler.model.task import HostStatus
from reconciler.runtime.backoff import Backoff
from reconciler.runtime.clock import Clock, SystemClock
from reconciler.runtime.http import Site
from reconciler.runtime.runner import Loop, Waker, no_rest
from reconciler.store.interface import Store

WATCH_S: Final = 30.0
FINISH_S: Final = 5.0
"""How long starts and stops under way may take when the agent itself stops."""
_IMPATIENT: Final = Backoff(first_s=0.2, most_s=3.0)
"""What is looked at again and again: the store, engines, health."""


class AgentDaemon:
    """The agent of one host."""

    def __init__(
        self,
        store: Store,
        settings: AgentSettings,
        executors: Mapping[str, Executor],
        health: HealthProvider,
        *,
        owner: Owner,
        guard: Guard | None = None,
        memory: Memory | None = None,
        clock: Clock | None = None,
        emit: Emit,
    ) -> None:
        """``owner``: see ``identity.owner``. Without a ``guard`` the host's policy is the one in its usual place.
        ``memory`` is where to note what is issued.
        """
        self._settings = settings
        self._executors = executors
        self._health = health
        self._owner = owner
        self._guard = guard or Guard()
        self._clock = clock or SystemClock()
        self._emit = emit
        self._rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._settled: frozenset[TaskKey] = frozenset()
        self._ending = False
        self._started = False
        self._strangers: frozenset[Owner] = frozenset()
        self._conditions: tuple[bool, Sequence[str] | None] = (False, None)
        self._changed = threading.Condition()
        self._reports: list[Report] = []
        self._last = Plan()
        self._memory = memory = memory or Memory(settings, store.url)
        self._lock = HostLock(settings, owner.store_id)
        self._secrets = Secrets(store, settings, self._clock)
        self._hands = Hands(
            executors,
            self._report,
            self._clock,
            permit=self._guard.require,
            secrets=self._secrets,
            before_stop=memory.write,
            parallel_starts=settings.parallel_starts,
        )
        recalled, definitions = memory.recalled, memory.definitions
        self._issued = IssuedSource(store, owner, settings, self._clock, recalled=recalled, definitions=definitions)
        self._sources = {name: ExecutorSource(each, self._clock, self._lock.held) for name, each in executors.items()}
        self._checks = HealthSource(health, self._clock)
        self._publisher = Publisher(
            store,
            settings,
            self._lock,
            self._clock,
            executors=self._usable_executors,
            trusted=lambda: self._issued.view.problem is None,
            on_session=lambda: self._publish_loop.wake(),  # noqa: PLW0108 - there is none yet
            on_written=self._issued.note_status,
            on_back=self._issued.note_back,
        )
        self._pages = Pages(
            settings.host,
            executors,
            health,
            plan=lambda: self._last,
            look=lambda: self._view((), hold=None),
            unready=self._unready,
            runs=lambda: self._started,
        )
        self.sweeper = Sweeper(
            executors, settings, self._clock, plan=lambda: self._last, issued=lambda: self._issued.view, emit=emit
        )
        self._make_loops()

    def _make_loops(self) -> None:
        settings = self._settings
        self._sweep_loop = Loop("agent sweep", self.sweeper.sweep, clock=self._clock, resync_s=settings.sweep_s)
        rest_s, poll_s = pace.after_a_plan_s, settings.poll_s
        self._plan_loop = Loop("agent", self._pass, clock=self._clock, resync_s=poll_s, rest_s=rest_s)
        self._memory_loop = Loop("agent memory", self._memory.write, clock=self._clock, resync_s=poll_s)
        self._issued_loop = self._loop("agent issued", self._issued.look)
        self._health_loop = self._loop("agent health", self._checks.look, lambda: self._checks.view)
        self._secrets_loop = self._loop("agent secrets", self._secrets.look, lambda: self._secrets.view)
        self._publish_loop = self._loop("agent publish", self._publisher.publish, self._publisher.found)
        self._executor_loops = {
            name: self._loop(f"agent {name}", source.look, rest_s=pace.after_a_look_s)
            for name, source in self._sources.items()
        }
        self._wakers = [
            Waker("watch issued", lambda: self._issued.wait(WATCH_S), [self._issued_loop]),
            Waker("watch health", lambda: self._checks.wait(WATCH_S), [self._health_loop]),
            Waker("watch secrets", lambda: self._secrets.wait(WATCH_S), [self._secrets_loop]),
            *(
                Waker(f"watch {name}", partial(source.wait, WATCH_S), [self._executor_loops[name]])
                for name, source in self._sources.items()
            ),
        ]

    @property
    def loops(self) -> Sequence[Loop]:
        """The loops inside, for ``/healthz``."""
        sources = (self._issued_loop, self._health_loop, self._secrets_loop, *self._executor_loops.values())
        return [self._plan_loop, *sources, self._publish_loop, self._memory_loop, self._sweep_loop]

    @property
    def status(self) -> HostStatus:
        """The tasks of this host as they are now; what is published follows it."""
        return self._last.status or HostStatus(host=self._settings.host)

    def start(self) -> None:
        """Raises UsageError when another agent is this host already."""
        self._lock.take()
        try:
            self._publisher.open()
        except UsageError:
            self._lock.release()
            raise
        self._started = True
        for loop in self.loops:
            loop.start()
        for waker in self._wakers:
            waker.start()

    def stop(self) -> None:
        """End this process's part: tasks keep running, and the session stays for the next agent."""
        self._stop(keep_session=True)

    def stop_everything(self, timeout_s: float = 60.0) -> bool:
        """Stop all tasks of ours on this host and then the agent, for good. False: not all ended in time."""
        if not self._started:
            return True
        self._ending = True
        self._plan_loop.wake()
        with self._changed:
            done = self._changed.wait_for(lambda: self._last.ended and not self._checks.view.registered, timeout_s)
        self._stop(keep_session=False)
        return done

    def dry_run(self) -> Plan:
        """What would be done now. Looks at everything once, changes nothing."""
        self._look_once(self._issued)
        for source in self._sources.values():
            self._look_once(source)
        self._issued.held = plan(self._view((), hold=None), self._now()).held
        self._look_once(self._issued)
        self._last = plan(self._view((), hold=None), self._now())
        return self._last

    @property
    def site(self) -> Site:
        """What to serve over HTTP."""
        return Site(self._pages.routes(), self._unready, self._publisher.announce)

    def _unready(self) -> list[str]:
        """What has not happened yet in this process's life, or what keeps the host's name from being ours."""
        reasons = [] if self._publisher.hold is None else [self._publisher.hold]
        if not self._issued.view.known:
            reasons.append(f"the issued tasks have not been read: {self._issued.view.problem}")
        reasons += [
            f"{name} has not been looked at" for name, source in self._sources.items() if not source.view.looked
        ]
        return reasons

    def _look_once(self, source: IssuedSource | ExecutorSource) -> None:
        try:
            source.look()
        except ReconcilerError as error:
            self._emit(Event(loop="agent", subject=self._settings.host, message=error.message, level=Level.WARNING))

    def _loop(
        self,
        name: str,
        look: Callable[[], float | None] | Callable[[], None],
        shows: Callable[[], object] = object,
        rest_s: Callable[[float], float] = no_rest,
    ) -> Loop:
        """A loop whose every result, good or bad, wakes the planner; but not when ``shows`` is as it was before."""

        def step() -> float | None:
            before = shows()
            try:
                return look()
            finally:
                if shows() != before:
                    self._plan_loop.wake()

        return Loop(name, step, clock=self._clock, resync_s=self._settings.poll_s, backoff=_IMPATIENT, rest_s=rest_s)

    def _pass(self) -> float | None:
        if (news := self._guard.look()) is not None:
            self._emit(news)
        with self._changed:
            reports = tuple(self._reports)
        view = self._view(reports, hold=self._publisher.hold)
        made = plan(view, self._now())
        if view.published is not None:
            shown = {TaskKey(task_id, task.issue) for task_id, task in view.published.tasks.items()}
            ended = (self._settled | self._last.lives.keys()) - made.lives.keys()
            self._settled = frozenset(ended & shown)
        metrics.note(self._last.lives, made.lives)
        if made.status != self._last.status:
            metrics.show(made.status)
        metrics.show_executors(view.executors)
        with self._changed:
            del self._reports[: len(reports)]
            before, self._last = self._last, made
            self._changed.notify_all()
        for event in made.events:
            self._emit(event)
        for stranger in made.strangers - self._strangers:
            text = f"leaves alone what another agent made here ({stranger.machine}, store {stranger.store_id})"
            self._emit(Event(loop="agent", subject=self._settings.host, message=text))
        self._strangers |= made.strangers
        # before anything is stopped: what is taken back must not be begun again by an agent without the store
        keeps = view.issued.known and not view.ending
        if keeps and self._memory.note(self._owner.store_id, made.lives, view.issued.definitions):
            self._memory_loop.wake()
        self._hands.carry_out(made.actions)
        self._tell_sources(before, made, reports)
        return made.look_again_s

    def _tell_sources(self, before: Plan, made: Plan, reports: Sequence[Report]) -> None:
        """Hand on what the plan wants of the sources, and have those look at once whose turn it is."""
        self._issued.held = made.held
        if made.confirm:
            self._issued_loop.wake()
        if (made.registrations, made.keep) != (before.registrations, before.keep):
            self._checks.wanted = None if made.registrations is None else (made.registrations, made.keep)
            self._health_loop.wake()
        if self._secrets.want(made.secrets):
            self._secrets_loop.wake()
        if made.status is not None and made.status != self._publisher.wanted:
            self._publisher.wanted = made.status
            self._publish_loop.wake()
        conditions = (self._issued.view.problem is None, self._usable_executors())
        if conditions != self._conditions:
            self._conditions = conditions
            self._publish_loop.wake()
        ended = [each.at for each in reports if isinstance(each, Outcome)]
        for name, loop in self._executor_loops.items():
            if ended and self._sources[name].view.began <= max(ended):
                loop.wake()

    def _view(self, reports: tuple[Report, ...], hold: str | None) -> HostView:
        return HostView(
            owner=self._owner,
            settings=self._settings,
            issued=self._issued.view,
            executors={name: source.view for name, source in self._sources.items()},
            health=self._checks.view,
            secrets=self._secrets.view,
            lives=self._last.lives,
            standing=self._last.standing,
            fetching=self._last.fetching,
            outcomes=reports,
            published=self._publisher.published or self._issued.published,
            settled=self._settled,
            refusals=self._guard.refusals(self._issued.view.definitions),
            policy_problem=self._guard.problem,
            hold=hold,
            ending=self._ending,
            contact_at=self._publisher.contact_at,
            jitter=self._rng.random(),
        )

    def _report(self, report: Report) -> None:
        with self._changed:
            self._reports.append(report)
        self._plan_loop.wake()

    def _now(self) -> Now:
        return Now(self._clock.monotonic(), self._clock.wall())

    def _usable_executors(self) -> Sequence[str] | None:
        views = {name: source.view for name, source in self._sources.items()}
        if not all(view.looked for view in views.values()):
            return None
        allowed = self._guard.policy.executors
        return [name for name, view in views.items() if view.unavailable is None and name in allowed]

    def _stop(self, *, keep_session: bool) -> None:
        if not self._started:
            return
        self._started = False
        for waker in self._wakers:
            waker.stop()
        self._plan_loop.stop()
        self._hands.close(FINISH_S)
        for loop in self.loops:
            loop.stop(0.0)
        deadline = self._clock.monotonic() + FINISH_S
        for loop in self.loops:
            # one that hangs on a store or an engine is left to end with the process
            loop.stop(max(0.0, deadline - self._clock.monotonic()))
        self._publisher.flush()
        self._publisher.close(keep_session=keep_session)
        self._health.close()
        for executor in self._executors.values():
            executor.close()
        self._lock.release()
