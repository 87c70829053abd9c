"""What ``benchmarks.fleet`` is compared with: the same records, written by programs that do nothing else.

*A bare loop* writes one record after the other, as a script does. It writes every tenth, and is taken for ten times
as long, as it would need minutes.

*A bare loop in transactions* writes all of them in transactions as large as Consul takes: the least that storing them
can cost.

*Each by its writer* is what the protocol asks for: one writer stores what schedulers do in full transactions, and each
host writes its own status over a connection of its own. Nobody reads, watches, decides or says that it lives. What is
between the two is the protocol's price on this machine, what is above it is ours.
"""

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import psutil

from reconciler.model import keys
from reconciler.store import chunks
from reconciler.store.connect import open_store
from reconciler.store.interface import Committed, Entry, Operation, Put, Store
from tests.support.consul import ConsulAgent

HOSTS_AT_ONCE = 8
ONE_OF = 10


class Cost(msgspec.Struct):
    """Seconds by the clock, and processor time of what would be servers in a real fleet."""

    taken_s: float = 0.0
    servers_s: float = 0.0


def commit(store: Store, operations: Sequence[Operation]) -> None:
    """Write all of it, in as many transactions as it takes."""
    for chunk in chunks.split([[each] for each in operations], store.limits):
        outcome = store.commit(chunk)
        assert isinstance(outcome, Committed), outcome


def one_by_one(servers: Sequence[ConsulAgent], records: Sequence[Entry]) -> Cost:
    """All records by one writer, each in a request of its own."""
    with contextlib.closing(servers[0].store()) as store, _measured(servers) as cost:
        some = records[::ONE_OF]
        for each in some:
            outcome = store.commit([Put(each.key, each.value)])
            assert isinstance(outcome, Committed), outcome
    times = len(records) / len(some)
    return Cost(taken_s=times * cost.taken_s, servers_s=times * cost.servers_s)


def in_transactions(servers: Sequence[ConsulAgent], records: Sequence[Entry]) -> Cost:
    """All records by one writer, in as few requests as can be."""
    with contextlib.closing(servers[0].store()) as store, _measured(servers) as cost:
        commit(store, [Put(each.key, each.value) for each in records])
    return cost


def each_by_its_writer(servers: Sequence[ConsulAgent], records: Sequence[Entry]) -> Cost:
    """The statuses by their hosts, a few at once, while another writer writes the rest."""
    statuses = [each for each in records if each.key.startswith(keys.STATUSES)]
    others = [Put(each.key, each.value) for each in records if not each.key.startswith(keys.STATUSES)]
    root = servers[0].new_url().removeprefix(servers[0].url)
    with contextlib.ExitStack() as stack:
        hosts: list[Callable[[], None]] = []
        for number, each in enumerate(statuses):
            url = servers[number % len(servers)].url + root
            store = stack.enter_context(contextlib.closing(open_store(url, environ={})))
            store.get(each.key)  # a host is connected long before
            hosts.append(lambda store=store, each=each: commit(store, [Put(each.key, each.value)]))  # type: ignore[misc]
        writer = stack.enter_context(contextlib.closing(open_store(servers[0].url + root, environ={})))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(HOSTS_AT_ONCE))
        with _measured(servers) as cost:
            published = [pool.submit(host) for host in hosts]
            commit(writer, others)
            for done in published:
                done.result()
    return cost


@contextlib.contextmanager
def _measured(servers: Sequence[ConsulAgent]) -> Iterator[Cost]:
    """The cost of what is done inside: to Consul, and in this thread, which stands for the scheduler."""
    processes = [psutil.Process(server.pid) for server in servers]
    cost = Cost()
    began, before_s, own_s = time.perf_counter(), sum(map(cpu_s, processes)), time.thread_time()
    yield cost
    cost.taken_s = time.perf_counter() - began
    cost.servers_s = sum(map(cpu_s, processes)) - before_s + time.thread_time() - own_s


def cpu_s(process: psutil.Process) -> float:
    """The processor time that a process has used up."""
    used = process.cpu_times()
    return float(used.user + used.system)
