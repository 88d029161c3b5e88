"""A server with the official SDK of either generation, as an author of tools would write it.

    server.py stdio | streamable-http | sse

Over HTTP it takes a free port, or the one in PORT, and prints it. LEDGER names a file to which each call adds a line; TOKEN is what
callers over HTTP have to bring.
"""

import os
import socket
import subprocess
import sys

import anyio

try:
    from mcp.server.mcpserver import Context, Image, MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import Context, FastMCP as Server, Image

server = Server("tools of a test")
PIXEL = bytes.fromhex("89504e470d0a1a0a") + b"\0" * 92


def note(line: str) -> None:
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(line + "\n")


@server.tool(title="Addition")
def add(a: int, b: int = 2) -> int:
    """Adds two numbers."""
    note(f"add {a} {b}")
    return a + b


@server.tool()
def fail(why: str) -> str:
    """Fails."""
    note("fail")
    raise ValueError(why)


@server.tool()
def picture() -> list:
    """Returns a picture between two texts."""
    return ["before", Image(data=PIXEL, format="png"), "after"]


@server.tool()
def environment() -> list[str]:
    """Names what is in its environment."""
    return sorted(os.environ)


@server.tool()
def key(ctx: Context) -> str:
    """Tells the idempotency key that it was called with."""
    meta = ctx.request_context.meta
    if not isinstance(meta, dict):
        meta = meta.model_dump()
    return str(meta.get("retold/idempotencyKey"))


@server.tool()
async def wait(name: str) -> str:
    """Waits for ever, and notes when nobody waits for it any more."""
    note(f"wait {name}")
    try:
        await anyio.sleep_forever()
    finally:
        note(f"given up {name}")
    return "never"


@server.tool()
def die() -> str:
    """Ends its server in the middle of a call, with a child that would stay."""
    note("die")
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    note(f"child {child.pid}")
    print("no more memory for", os.environ.get("SECRET"), file=sys.stderr, flush=True)
    os._exit(3)


class Guarded:
    """Asks callers for the token."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        wanted = f"Bearer {os.environ.get('TOKEN')}".encode()
        given = dict(scope.get("headers", [])).get(b"authorization")
        if scope["type"] == "http" and "TOKEN" in os.environ and given != wanted:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b"not you: " + (given or b"")})
            return
        await self.app(scope, receive, send)


def serve(app) -> None:
    import uvicorn

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ.get("PORT", "0"))))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(Guarded(app), log_level="warning", timeout_graceful_shutdown=0)
    uvicorn.Server(config).run(sockets=[listener])


if sys.argv[1] == "stdio":
    server.run()
elif sys.argv[1] == "sse":
    serve(server.sse_app())
else:
    serve(server.streamable_http_app())
