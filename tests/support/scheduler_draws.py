"""What hypothesis draws for the random worlds of the scheduler: definitions, policies, placements."""

import hypothesis.strategies as st

from reconciler.model.manifests import Constraint, NamedPort, Placement, RolloutPolicy

HOSTS = ("h1", "h2", "h3", "h4", "h5")
SERVICES = ("api", "db", "web")
VERSIONS = (1, 2, 3)

definitions = st.builds(
    lambda memory, cpu_units, disk, port, checks: {
        "memory": memory,
        "cpu_units": cpu_units,
        "disk": disk,
        **port,
        **checks,
    },
    st.sampled_from([0, 100, 250, 500]),
    st.sampled_from([0, 100]),
    st.sampled_from([0, 0, 400]),
    st.sampled_from(
        [
            {},
            {"provide_port": True},
            {"port": 80},
            {"port": 81},
            {"provide_port": True, "ports": (NamedPort(name="a"), NamedPort(name="b"))},
            {"ports": (NamedPort(name="a", port=80), NamedPort(name="b"), NamedPort(name="c", port=81))},
        ]
    ),
    st.sampled_from([{}, {}, {"checks": ()}]),
)
policies = st.builds(
    RolloutPolicy,
    parallel=st.integers(0, 2),
    order=st.sampled_from(["start_first", "stop_first"]),
    healthy_after=st.sampled_from([None, "10s", "2m"]),
    deadline=st.sampled_from(["5m", "10m"]),
    on_failure=st.sampled_from(["halt", "revert"]),
    canary=st.integers(0, 2),
)
placements = st.one_of(
    st.none(),
    st.builds(
        Placement,
        constraints=st.lists(
            st.sampled_from(
                [
                    Constraint(key="tag.zone", value="a"),
                    Constraint(key="tag.zone", operator="!=", value="a"),
                    Constraint(key="tag.zone", operator="in", values=("a", "b")),
                    Constraint(key="attribute.arch", operator="regex", value="x.*|arm"),
                    Constraint(key="name", operator="regex", value="h[1-3]"),
                ]
            ),
            max_size=2,
            unique=True,
        ).map(tuple),
        strategy=st.sampled_from(["spread", "binpack"]),
        spread_over=st.sampled_from([None, "zone"]),
        distinct_hosts=st.booleans(),
        apart_from=st.lists(st.sampled_from(SERVICES), max_size=1).map(tuple),
    ),
)
counts = st.integers(min_value=0, max_value=4)
numbers = st.integers(min_value=0, max_value=1000)
