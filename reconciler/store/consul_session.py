"""Consul sessions as signs of life. Used by ``store.consul`` only.

A session is bound to two checks: serfHealth (the node died) and a TTL check of a service that we register with the
agent we speak to (this process died). So a killed holder loses its locks after the TTL, a dead node as soon as the
others see it, and neither needs Consul's session TTL, which takes 10 to 20 s and starts anew with each leader. Lock
delay is 0: every write is fenced, so a delay would only slow the next holder.
"""

import logging
import re
import time

from reconciler.errors import StoreError
from reconciler.runtime.ids import new_id
from reconciler.store.commits import AnswerLost
from reconciler.store.consul_agent import CheckDefinition, LocalAgent, ServiceDefinition
from reconciler.store.consul_client import ConsulClient

log = logging.getLogger(__name__)

SERVICE = "reconciler"
"""The service whose instances are the processes that hold sessions."""

CLEAN_UP_AFTER_S = 60.0
"""When Consul itself removes the service of a process that crashed; it takes no less."""

SETTLE_S = 8.0
"""How long a new service may take from the agent to the servers."""

_ALIVE = "alive"


class ConsulSession:
    """A session; its name is the id of the service that it rests on."""

    def __init__(self, client: ConsulClient, agent: LocalAgent, session_id: str, service_id: str, ttl_s: float) -> None:
        self._client = client
        self._agent = agent
        self._id = session_id
        self._service_id = service_id
        self._ttl_s = ttl_s

    @property
    def id(self) -> str:
        return self._id

    @property
    def ttl_s(self) -> float:
        return self._ttl_s

    def renew(self) -> bool:
        # the check first: once the session is seen alive after it, it lives for another TTL
        passes = self._agent.update_ttl(_check_id(self._service_id), "passing", _ALIVE)
        if passes and self._client.session_name(self._id) is not None:
            return True
        self.forget()
        return False

    def close(self) -> None:
        try:
            self._client.destroy_session(self._id)
        except StoreError as error:
            log.info("session %s could not be ended and expires by itself: %s", self._id, error.message)
        self.forget()

    def forget(self) -> None:
        """Take the service out; never raises."""
        try:
            self._agent.deregister_service(self._service_id)
        except StoreError as error:
            log.info("service %s could not be removed, Consul does it later: %s", self._service_id, error.message)


def open_session(client: ConsulClient, agent: LocalAgent, name: str, ttl_s: float) -> ConsulSession:
    """Register the service, give a first sign of life, and create the session once the servers know the check.

    The local Consul keeps over its own restart what a check was last told, and not the status that it was registered
    with: one that was never told anything is critical when Consul is back, and the session with it is gone.
    """
    service_id = f"{SERVICE}-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}-{new_id()}"
    agent.register_service(_service(service_id, name, ttl_s))
    deadline, delay_s = time.monotonic() + SETTLE_S, 0.005
    while True:
        try:
            agent.update_ttl(_check_id(service_id), "passing", _ALIVE)
            session_id = client.create_session(service_id, ["serfHealth", _check_id(service_id)])
            return ConsulSession(client, agent, session_id, service_id, ttl_s)
        except StoreError as error:
            is_too_early = isinstance(error, AnswerLost) and "Missing check" in error.message
            if not is_too_early or time.monotonic() > deadline:
                ConsulSession(client, agent, "", service_id, ttl_s).forget()
                raise
        time.sleep(delay_s)
        delay_s = min(0.25, delay_s * 2)


def resume_session(
    client: ConsulClient, agent: LocalAgent, session_id: str, name: str, ttl_s: float
) -> ConsulSession | None:
    """The session of an earlier process, if it lives and rests on a service of this agent."""
    service_id = client.session_name(session_id)
    service = agent.services().get(service_id) if service_id else None
    if service_id is None or service is None:
        return None
    wanted = _service(service_id, name, ttl_s)
    if service.meta != wanted.meta:
        agent.register_service(wanted)  # the same check with another TTL; the session stays
    session = ConsulSession(client, agent, session_id, service_id, ttl_s)
    return session if session.renew() else None


def _service(service_id: str, name: str, ttl_s: float) -> ServiceDefinition:
    check = CheckDefinition(
        id=_check_id(service_id),
        name=f"{name} is alive",
        ttl_s=ttl_s,
        status="passing",
        deregister_critical_after_s=CLEAN_UP_AFTER_S,
    )
    return ServiceDefinition(
        id=service_id, name=SERVICE, meta={"process": name[:512], "ttl_s": f"{ttl_s:g}"}, checks=(check,)
    )


def _check_id(service_id: str) -> str:
    return f"service:{service_id}"
