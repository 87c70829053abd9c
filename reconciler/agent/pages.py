"""What an agent serves over HTTP: its status, its tasks and their logs, and where tasks report their own checks.

Called by ``loop``, which shares its newest plan and look; requests come in threads of the server.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from reconciler.agent import metrics
from reconciler.agent.case import definition_of
from reconciler.agent.host_view import HostView, ours
from reconciler.agent.lifecycle import Life, TaskKey
from reconciler.agent.plan import Plan
from reconciler.errors import ExecutorError, StoreError
from reconciler.executors.interface import Executor, Ref
from reconciler.health.interface import HealthProvider
from reconciler.model import codec
from reconciler.model.manifests import TaskDefinition
from reconciler.model.task import Health, HostStatus, Phase, TaskStatus
from reconciler.runtime.http import Request, Response, Route, StreamCut, json_response
from reconciler.runtime.http_access import Guard

MOST_READERS: Final = 32
"""Of logs, at once."""
MOST_LINES: Final = 100_000
_DIGITS: Final = len(str(MOST_LINES))
_LINES: Final = 100
_REPORTS: Final = {"pass": Health.PASSING, "warn": Health.WARNING, "fail": Health.CRITICAL}
_OF_RECORD: Final = ("cluster", "service", "task_name", "task_version", "instance")


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a task, as its executor shows it; ``attempt`` 0: there is none of it now."""

    name: str
    executor: str
    running: bool = False
    attempt: int = 0
    started_at: float = 0.0
    exit_code: int | None = None


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """A task on this host. Fields are only ever added. Those of the record are empty once that is gone."""

    id: str
    host: str
    issue: int
    cluster: str = ""
    service: str = ""
    task_name: str = ""
    task_version: int = 0
    instance: int = 0
    phase: Phase
    health: Health
    healthy: bool
    attempt: int
    exit_code: int | None
    reason: str
    since: float
    port: int
    ports: dict[str, int] | UnsetType = UNSET
    published: tuple[tuple[int, int], ...] | UnsetType = UNSET
    memory: int
    cpu_units: int
    disk: int
    outdated: str
    containers: tuple[ContainerRow, ...] = ()


class _Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Pages:
    """The pages of one agent."""

    def __init__(
        self,
        host: str,
        executors: Mapping[str, Executor],
        health: HealthProvider,
        *,
        plan: Callable[[], Plan],
        look: Callable[[], HostView],
        unready: Callable[[], Sequence[str]],
        runs: Callable[[], bool],
    ) -> None:
        """``plan`` and ``look`` give the newest; ``runs`` is False once the agent stops."""
        self._host = host
        self._executors = executors
        self._health = health
        self._plan = plan
        self._look = look
        self._unready = unready
        self._runs = runs
        self._places = threading.BoundedSemaphore(MOST_READERS)

    def routes(self) -> list[Route]:
        """All under ``/v1``."""
        return [
            Route("GET", "/v1/status", lambda _: json_response(self.status())),
            Route("GET", "/v1/tasks", lambda _: json_response({"host": self._host, "tasks": self._tasks()})),
            Route("GET", r"/v1/tasks/([^/]+)", self._answering(self._task)),
            Route("GET", r"/v1/tasks/([^/]+)/logs", self._answering(self._logs)),
            Route("PUT", r"/v1/checks/([^/]+)/(pass|warn|fail)", self._take_report, Guard.LOCAL),
        ]

    def status(self) -> dict[str, Any]:
        """The host's status, with what the records say of each task, and who else has something here."""
        plan = self._plan()
        page: dict[str, Any] = codec.to_builtins(plan.status or HostStatus(host=self._host))
        page["strangers"] = sorted(f"{each.machine}, store {each.store_id}" for each in plan.strangers)
        for key, life in plan.lives.items():
            shown = page["tasks"].get(key.id)
            if shown is not None and shown["issue"] == key.issue and life.record is not None:
                shown |= {name: getattr(life.record, name) for name in _OF_RECORD}
        return page

    def _answering(self, handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            try:
                return handler(request)
            except _Refused as refused:
                return json_response({"error": refused.why, "host": self._host}, refused.status)
            except ExecutorError as error:
                return json_response({"error": error.message, "host": self._host}, 503)

        return answer

    def _tasks(self) -> list[TaskPage]:
        plan, view = self._plan(), self._look()
        shown = plan.status.tasks if plan.status is not None else {}
        return [self._page(task_id, status, plan, view) for task_id, status in sorted(shown.items())]

    def _task(self, request: Request) -> Response:
        return json_response(self._find(request.args[0]))

    def _find(self, task_id: str) -> TaskPage:
        plan = self._plan()
        status = plan.status.tasks.get(task_id) if plan.status is not None else None
        if status is not None:
            return self._page(task_id, status, plan, self._look())
        if (left := self._left(task_id, plan)) is not None:
            return left
        if reasons := self._unready():
            raise _Refused(503, f"the agent does not know its tasks yet: {'; '.join(reasons)}")
        raise _Refused(404, f"there is no task {task_id} on host {self._host}")

    def _left(self, task_id: str, plan: Plan) -> TaskPage | None:
        """What is still there of a task that is gone: of its newest issue."""
        key = max((key for key in plan.remains if key.id == task_id), default=None)
        if key is None:
            return None
        last = max((each.container for each in plan.remains[key]), key=lambda each: each.ended_at)
        status = TaskStatus(
            phase=Phase.STOPPED,
            issue=key.issue,
            attempt=last.attempt,
            exit_code=last.exit_code,
            reason=last.reason,
            since=last.ended_at,
        )
        return self._page(task_id, status, plan, self._look())

    def _page(self, task_id: str, status: TaskStatus, plan: Plan, view: HostView) -> TaskPage:
        key = TaskKey(task_id, status.issue)
        life = plan.lives.get(key)
        record = life.record if life is not None else None
        return TaskPage(
            id=task_id,
            host=self._host,
            healthy=status.healthy,
            containers=_containers(key, life, view),
            **{name: getattr(status, name) for name in TaskStatus.__struct_fields__},
            **({name: getattr(record, name) for name in _OF_RECORD} if record is not None else {}),
        )

    def _logs(self, request: Request) -> Response:
        if (wanted := request.query.get("host", self._host)) != self._host:
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, f"this is the agent of {self._host}, not of {wanted}")
        page = self._find(request.args[0])
        container = _chosen(page, request.query.get("container"))
        lines = _number(request.query.get("tail", str(_LINES)))
        executor = self._executors.get(container.executor)
        if executor is None:
            raise _Refused(503, f"the agent was started without the executor {container.executor}")
        ref = Ref(page.id, page.issue, container.name)
        if not self._places.acquire(blocking=False):
            raise _Refused(503, f"{MOST_READERS} others read logs here already; try again in a while")
        with contextlib.ExitStack() as stack:
            stack.callback(self._places.release)
            metrics.LOG_READERS.inc()
            stack.callback(metrics.LOG_READERS.dec)
            if request.query.get("follow", "0") in ("0", "", "false"):
                return Response(executor.logs(ref, lines), content_type="text/plain; charset=utf-8")
            pieces = executor.follow(ref, lines)
            first = next(pieces)  # what can't be read at all is an error, not an empty answer
            body = self._followed(TaskKey(page.id, page.issue), first, pieces, stack.pop_all())
            next(body)
            return Response(body, content_type="text/plain; charset=utf-8")

    def _followed(
        self, key: TaskKey, first: bytes, pieces: Iterator[bytes], held: contextlib.ExitStack
    ) -> Iterator[bytes]:
        """Begins with an empty piece, so that from then on closing it gives back what is ``held``.

        Once the task is gone everything that there still was is read, and then it ends.
        """
        with held, contextlib.closing(pieces):  # type: ignore[type-var]  # generators, all of them
            yield b""
            yield first
            was_gone = False
            for piece in pieces:
                yield piece
                life = self._plan().lives.get(key)
                is_gone = life is None or life.phase is Phase.STOPPED
                if is_gone and not piece and (was_gone or not self._runs()):
                    return
                if not is_gone and not self._runs():
                    raise StreamCut("the agent is being stopped")
                was_gone = is_gone

    def _take_report(self, request: Request) -> Response:
        check_id, verb = request.args
        output = request.body.decode(errors="replace") or request.query.get("note", "")
        try:
            known = self._health.report(check_id, _REPORTS[verb], output)
        except StoreError as error:
            return json_response({"error": error.message}, 503)
        return json_response({}) if known else json_response({"error": f"no ttl check {check_id} runs here"}, 404)


def _containers(key: TaskKey, life: Life | None, view: HostView) -> tuple[ContainerRow, ...]:
    """Those of the definition, in its order, and whatever else there is of the task."""
    definition = definition_of(view, life.record) if life is not None else None
    declared = definition.containers if isinstance(definition, TaskDefinition) else ()
    rows = {each.name: ContainerRow(name=each.name, executor=each.type) for each in declared}
    for seen in sorted(ours(view).get(key, ()), key=lambda each: each.container.attempt):
        found = seen.container
        rows[found.ref.container] = ContainerRow(
            name=found.ref.container,
            executor=seen.kind,
            running=found.running,
            attempt=found.attempt,
            started_at=found.started_at,
            exit_code=found.exit_code,
        )
    return tuple(rows.values())


def _chosen(page: TaskPage, name: str | None) -> ContainerRow:
    if not page.containers:
        raise _Refused(404, f"nothing of {page.id} has been started yet, and its definition is not known here")
    names = ", ".join(each.name for each in page.containers)
    if name is None and len(page.containers) > 1:
        raise _Refused(400, f"{page.id} has several containers: name one of {names}")
    for each in page.containers:
        if name in (None, each.name):
            return each
    raise _Refused(400, f"{page.id} has no container {name}; it has {names}")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS) or int(text) > MOST_LINES:
        raise _Refused(400, f"tail must be a number of lines, up to {MOST_LINES}")
    return int(text)
