"""What the smoke tests of the Python clients have in common."""
import faulthandler
import os
import signal
import sys
import time

BOOTSTRAP, SASL, TLS, CA = (os.environ[k] for k in ("BOOTSTRAP", "SASL_BOOTSTRAP", "TLS_BOOTSTRAP", "CA_FILE"))
faulthandler.register(signal.SIGQUIT, all_threads=True)  # which comes when this hangs: where does it?
PATIENCE = 120  # seconds that anything may take: it bounds what hangs, nothing is measured by it


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: got {got!r:.2000}, want {want!r:.2000}")
    print(f"ok  {what}", flush=True)


def until(what, done, step=lambda: time.sleep(0.05)):
    """Calls step until done() is true."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {PATIENCE} s")
        step()
    print(f"ok  {what}", flush=True)


def records(codec, n=200):
    """Keys, values and headers of n records; some values are null, one is large and easily compressed."""
    for i in range(n):
        value = None if i % 50 == 49 else b"x" * 100_000 if i == 7 else f"{codec} {i} ".encode() * 20
        yield f"{codec}-{i}".encode(), value, [("codec", codec.encode()), ("i", str(i).encode())]
