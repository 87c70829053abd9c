"""To end a stream from another thread, and nothing else."""

import socket
from types import SimpleNamespace

from reconciler.executors.docker_streams import Shutter


def test_a_stream_ends_for_whoever_reads_it() -> None:
    ours, engines = socket.socketpair()
    with ours, engines, Shutter(SimpleNamespace(raw=ours)) as shutter:
        shutter.shut()
        assert ours.recv(1) == b""


def test_a_connection_that_got_the_number_of_one_that_is_over_goes_on() -> None:
    ours, engines = socket.socketpair()
    with engines, Shutter(SimpleNamespace(raw=ours)) as shutter:
        number = ours.fileno()
        ours.close()
        others, peer = socket.socketpair()
        with others, peer:
            assert number in (others.fileno(), peer.fileno())
            shutter.shut()
            others.sendall(b"x")
            assert peer.recv(1) == b"x"


def test_what_is_over_is_left_alone() -> None:
    ours, engines = socket.socketpair()
    with ours, engines:
        with Shutter(SimpleNamespace(raw=ours)) as shutter:
            pass
        shutter.shut()
        engines.sendall(b"x")
        assert ours.recv(1) == b"x"
    with Shutter(SimpleNamespace(raw=ours)) as shutter:  # closed before anybody asked
        shutter.shut()
