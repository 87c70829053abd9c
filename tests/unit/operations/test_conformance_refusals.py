"""``conformance`` pretends to have hosts, so it begins nowhere where something real could be scheduled on them."""

import pytest

from reconciler.errors import UsageError
from reconciler.model import codec, keys
from reconciler.model.manifests import Cluster, Host
from reconciler.model.task import ClusterHead, HostState, HostStatus
from reconciler.operations.conformance.run import run
from reconciler.store import sentinel
from reconciler.store.interface import Put
from reconciler.store.memory import MemoryStore

IN_USE = {
    keys.cluster("demo"): Cluster(name="demo"),
    keys.cluster("other"): Cluster(name="other", managed_by="conformance-another"),
    keys.host("web-1"): Host(name="web-1", managed_by="production"),
    keys.host_state("web-1"): HostState(host="web-1", machine="m", address="a", memory=1, cpu_units=1),
    keys.status("web-1"): HostStatus(host="web-1"),
    keys.cluster_head("demo"): ClusterHead(cluster="demo", scheduler="default", seq=3),
}


def snapshot(store: MemoryStore) -> list[tuple[str, bytes]]:
    return [(entry.key, entry.value) for entry in store.list("").entries]


@pytest.mark.parametrize("key", IN_USE)
def test_a_store_that_is_in_use_is_refused_and_left_as_it_is(key: str) -> None:
    store = MemoryStore()
    sentinel.ensure(store, "id")
    store.commit([Put(key, codec.encode(IN_USE[key]))])
    before = snapshot(store)
    with pytest.raises(UsageError) as refused:
        run(store, cluster="demo", scheduler="default", patience_s=1)
    assert key in refused.value.message
    assert "--store" in str(refused.value.hint)
    assert snapshot(store) == before


def test_a_record_of_a_task_is_never_removed_because_its_cluster_has_our_name() -> None:
    store = MemoryStore()
    sentinel.ensure(store, "id")
    store.commit([Put(keys.task_by_id("demo-web-1-0"), b"{}")])
    with pytest.raises(UsageError, match="demo-web-1-0"):
        run(store, cluster="demo", scheduler="default", patience_s=1)


@pytest.mark.parametrize(
    ("cluster", "parts", "what"), [("a/b", (), "a/b"), ("x" * 41, (), "at most 40"), ("demo", ("scael",), "scale")]
)
def test_names_and_parts_that_make_no_sense_are_refused(cluster: str, parts: tuple[str, ...], what: str) -> None:
    store = MemoryStore()
    sentinel.ensure(store, "id")
    with pytest.raises(UsageError, match=what):
        run(store, cluster=cluster, scheduler="default", parts=parts, patience_s=1)
