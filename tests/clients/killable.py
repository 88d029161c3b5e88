"""A server of a test's own, which the test may kill and start again on the same data."""

import os
import pathlib
import socket
import subprocess
import time

import httpx

from support import UPSTREAM

READY_SECONDS = 20


class KillableServer:
    """A server below `home`, for as long as the block of its `with` lasts."""

    def __init__(self, home: pathlib.Path):
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        """Starts it and waits until it says that it is healthy."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        environment |= {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": f"{UPSTREAM}/v1"}
        arguments = ["serve", "--port", str(self.port), "--data-dir", self.home / "data"]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [os.environ["RETOLD_BINARY"], *arguments],
                env=environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/v1/health/", timeout=1).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            ended = self.process.poll() is not None
            assert not ended and time.monotonic() < until, (self.home / "server.log").read_text()
            time.sleep(0.02)

    def kill(self):
        """SIGKILL: nothing is flushed, no handler runs."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
