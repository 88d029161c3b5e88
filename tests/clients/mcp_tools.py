"""An MCP server of the official SDK that gains a tool when it is told to.

    mcp_tools.py stdio | streamable-http

Over HTTP it takes a free port and prints it. TOKEN is what callers over HTTP have to bring.
"""

import os
import socket
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("tools of a test")


@server.tool()
def multiply(one: int, other: int) -> int:
    """Multiply two numbers."""
    return one * other


def subtract(one: int, other: int) -> int:
    """Subtract one number from another."""
    return one - other


@server.tool()
def grow() -> str:
    """Learn to subtract."""
    server.add_tool(subtract)
    return "grown"


class Guarded:
    """Asks callers for the token."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        given = dict(scope.get("headers", [])).get(b"authorization")
        if scope["type"] == "http" and given != f"Bearer {os.environ['TOKEN']}".encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send)


if sys.argv[1] == "stdio":
    server.run()
else:
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Whoever reads the port may connect at once.
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    app = Guarded(server.streamable_http_app())
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=0)
    uvicorn.Server(config).run(sockets=[listener])
