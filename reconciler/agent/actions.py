"""What a plan may ask for: the whole list of things that an agent does to a host. Pure values; ``apply`` does them."""

from typing import TypeAlias

import msgspec

from reconciler.agent.lifecycle import TaskKey
from reconciler.executors.interface import Ref, Spec
from reconciler.model.manifests import BashContainer, Container
from reconciler.model.ports import HostPort


class Start(msgspec.Struct, frozen=True):
    """Fetch what these containers need, then start them in this order.

    ``ports`` of the host must be free: those of the task when nothing of it runs yet.
    """

    key: TaskKey
    specs: tuple[Spec, ...]
    ports: tuple[HostPort, ...] = ()

    @property
    def fetches(self) -> bool:
        """Whether something may have to be fetched, or to be found missing, before anything starts.

        Not for a single process without an artifact.
        """
        container = self.specs[0].container
        return len(self.specs) > 1 or not isinstance(container, BashContainer) or bool(container.executor.artifact)

    def describe(self) -> str:
        """For people."""
        return f"start {self.key.id} (issue {self.key.issue}, attempt {self.specs[0].attempt})"


class Fetch(msgspec.Struct, frozen=True):
    """Fetch what these containers need, and start nothing; ``name`` is the preparation's."""

    name: str
    specs: tuple[Spec, ...]

    def describe(self) -> str:
        """For people."""
        return f"fetch what {self.name} needs"


class Target(msgspec.Struct, frozen=True):
    """A container to stop, the executor that has it, and its definition if that is still known."""

    kind: str
    ref: Ref
    container: Container | None


class TakeDown(msgspec.Struct, frozen=True):
    """Stop these containers in this order; ``remove``: and remove what is left of them.

    Each has ``timeout_s`` to end. ``ends_by`` (monotonic): all have ended by then, whatever they say themselves.
    """

    key: TaskKey
    targets: tuple[Target, ...]
    timeout_s: float
    remove: bool
    ends_by: float | None = None

    def patience_s(self, position: int, now: float) -> float:
        """How long the target at ``position`` has to end now: at most its share of what is left for all of them."""
        if self.ends_by is None:
            return self.timeout_s
        share_s = (self.ends_by - now) / (len(self.targets) - position)
        return max(0.0, min(self.timeout_s, share_s))

    def describe(self) -> str:
        """For people."""
        return f"stop {self.key.id} (issue {self.key.issue})"


class Cancel(msgspec.Struct, frozen=True):
    """Start nothing more of a start that is under way; end the setup that runs for it, break off what is fetched."""

    key: TaskKey

    def describe(self) -> str:
        """For people."""
        return f"cancel the start of {self.key.id} (issue {self.key.issue})"


class CancelFetch(msgspec.Struct, frozen=True):
    """Break off what is fetched for the preparation of this name."""

    name: str

    def describe(self) -> str:
        """For people."""
        return f"break off what is fetched for {self.name}"


Action: TypeAlias = Start | Fetch | TakeDown | Cancel | CancelFetch
