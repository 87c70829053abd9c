"""A daemon ends on SIGTERM whichever of its threads the kernel gives the signal to."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import signal, threading, time
from reconciler.runtime.process import serve

told = threading.Event()

def tell():
    while True:
        told.wait()
        signal.pthread_kill(threading.get_ident(), signal.{name})  # to this thread, not to the main one
        told.clear()

class Busy:
    name, loops = "busy", ()
    def start(self):
        threading.Thread(target=tell, daemon=True).start()
        threading.Timer(0.3, told.set).start()  # the main thread waits by then
    def stop(self):
        print("stopped", flush=True)

serve([Busy()], bind=None)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_another_thread_ends_it(name: str) -> None:
    assert name in signal.Signals.__members__
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name=name)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
