"""Starts `mcp_tools.py` with the MCP SDK that the tests of the client of MCP pin."""

import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPT = HERE / "mcp_tools.py"
TOKEN = "a-token-of-a-test"


def python() -> str:
    """The Python that has the SDK, installed by the first who asks."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    setup = ROOT / "tools" / "tests" / "mcp" / "python" / "setup.sh"
    made = subprocess.run([setup, target / "tmp" / "mcp", "2.3.0"], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


class HttpServer:
    """The server over streamable HTTP, ended with its block."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [python(), SCRIPT, "streamable-http"],
            env={**os.environ, "TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/mcp"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
