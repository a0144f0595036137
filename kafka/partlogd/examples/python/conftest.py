"""A broker for tests: pytest fixtures that run partlogd. Nothing but the standard library is needed."""

import json
import os
import subprocess
import tempfile
import urllib.request

import pytest


class Broker:
    """partlogd in a process of its own."""

    def __init__(self, *args):
        self.dir = tempfile.TemporaryDirectory()
        ready = os.path.join(self.dir.name, "ready.properties")
        self.process = subprocess.Popen(
            [os.environ.get("PARTLOGD", "partlogd"), "--quiet",
             "--override", "listeners=PLAINTEXT://127.0.0.1:0",
             "--override", "group.initial.rebalance.delay.ms=0",
             "--control", "127.0.0.1:0", "--ready-file", ready, *args],
            stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "partlogd ready\n":
            raise RuntimeError("partlogd did not start: exit status %s" % self.process.wait())
        with open(ready) as f:
            facts = dict(line.rstrip("\n").split("=", 1) for line in f)
        self.bootstrap = facts["bootstrap.servers"]
        self.url = facts["control"]

    def control(self, method, path, body=None):
        """Sends a request to the control endpoint: control("POST", "/v1/clock/advance", {"by": "30s"})."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def fail(self, **rule):
        """Has requests fail: fail(api="Produce", times=1, error="NOT_ENOUGH_REPLICAS"). Returns the rule."""
        return self.control("POST", "/v1/rules", rule)

    def fork(self):
        """Returns the bootstrap servers of a copy of everything that is there now."""
        return self.control("POST", "/v1/forks")["bootstrapServers"]

    def close(self):
        self.process.terminate()
        status = self.process.wait()
        self.process.stdout.close()
        self.dir.cleanup()
        if status != 0:
            raise RuntimeError("partlogd ended with status %d" % status)


@pytest.fixture
def broker():
    """An empty broker for one test."""
    b = Broker()
    yield b
    b.close()
