"""Which hosts would take one more task now, and why the others would not, by the planner's filters. For ``explain``."""

from reconciler.scheduler.cluster_view import ClusterView, Defined
from reconciler.scheduler.filters import Demand
from reconciler.scheduler.placement import Placer
from reconciler.scheduler.steps import Refusal


def survey(view: ClusterView, service: str, defined: Defined) -> tuple[Refusal, ...]:
    """The hosts that would not take a task of this definition, of that service, as they are now."""
    return Placer(view.hosts).refusals(Demand.in_view(view, service, defined.definition))
