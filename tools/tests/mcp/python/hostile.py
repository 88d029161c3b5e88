"""A server over standard input and output that misbehaves in one way: hostile.py WAY.

LEDGER names a file to which each message that it takes adds a line.
"""

import json
import os
import signal
import subprocess
import sys
import time

WAY = sys.argv[1]
OUT = sys.stdout.buffer


def note(line):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(line + "\n")


def say(message):
    OUT.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    OUT.flush()


def answer(request, result):
    say({"id": request["id"], "result": result})


def text(words):
    return {"content": [{"type": "text", "text": words}]}


def take():
    line = sys.stdin.buffer.readline()
    if not line:
        note("closed")
        sys.exit(0)
    message = json.loads(line)
    note(message.get("method", "answer"))
    return message


def sleep():
    while True:
        time.sleep(600)


def flood(message):
    line = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
    while True:
        OUT.write(line * 1000)


TOOL = {"name": "tool", "inputSchema": {"type": "object"}}


def on_initialize(request):
    if WAY == "hang at the handshake":
        sleep()
    if WAY == "other handshake":
        say({"id": request["id"], "error": {"code": -32601, "message": "Method not found"}})
        return
    if WAY == "refuse":
        say({"id": request["id"], "error": {"code": -32000, "message": "no licence"}})
        return
    if WAY == "chatter":
        OUT.write(b"Welcome!\n\xff\xfe{]\n[]\n{\"jsonrpc\":\"2.0\"}\n\n")
        say({"id": 900, "method": "ping"})
        say({"method": "notifications/message", "params": {"level": "info", "data": "hello"}})
    answer(
        request,
        {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "hostile", "version": "1"},
        },
    )


def on_list(request):
    cursor = (request.get("params") or {}).get("cursor")
    if WAY == "hang at the list":
        return
    if WAY == "endless pages":
        answer(request, {"tools": [], "nextCursor": "on"})
        return
    if WAY == "endless tools":
        answer(request, {"tools": [TOOL] * 100, "nextCursor": "on"})
        return
    if WAY == "large tools":
        answer(request, {"tools": [{**TOOL, "description": "x" * 100_000}]})
        return
    if WAY == "pages":
        page = int(cursor or 0)
        names = [{**TOOL, "name": f"tool {page * 2 + i}"} for i in range(2)]
        answer(request, {"tools": names, **({"nextCursor": str(page + 1)} if page < 2 else {})})
        return
    answer(request, {"tools": [TOOL]})
    if WAY == "die when idle" and os.path.exists(os.environ["LEDGER"] + ".once") is False:
        open(os.environ["LEDGER"] + ".once", "w").close()
        sys.exit(0)
    if WAY == "deaf":
        sleep()


def on_call(request):
    if WAY == "hang in the call":
        return
    if WAY == "die in the call":
        print("x" * 100_000, file=sys.stderr)
        print("out of luck", os.environ["SECRET"], file=sys.stderr, flush=True)
        os._exit(7)
    if WAY == "notifications":
        flood({"method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}})
    if WAY == "requests":
        flood({"id": 5, "method": "sampling/createMessage", "params": {}})
    if WAY == "noise":
        while True:
            OUT.write(b"no message\n" * 1000)
    if WAY == "one line":
        while True:
            OUT.write(b"x" * 100_000)
    if WAY == "complaints":
        for _ in range(300):
            sys.stderr.write("x" * 10_000)
    if WAY == "large answer":
        answer(request, text("x" * (2 << 20)))
        return
    if WAY == "no result":
        say({"id": request["id"], "result": "just a text"})
        return
    if WAY == "broken error":
        say({"id": request["id"], "error": "just a text"})
        return
    if WAY == "error":
        say({"id": request["id"], "error": {"code": -32602, "message": "no such tool"}})
        return
    if WAY == "ask":
        said = []
        for number, method in enumerate(
            ["sampling/createMessage", "elicitation/create", "roots/list", "ping"]
        ):
            params = {"messages": [], "maxTokens": 5, "message": "?", "requestedSchema": {"type": "object"}}
            say({"id": 1000 + number, "method": method, "params": params})
            reply = take()
            assert reply["id"] == 1000 + number, reply
            said.append(str(reply["error"]["code"]) if "error" in reply else str(reply["result"]))
        answer(request, text(" ".join(said)))
        return
    answer(request, text("done"))


def on_discover(request):
    if WAY != "other handshake":
        say({"id": request["id"], "error": {"code": -32601, "message": "Method not found"}})
        return
    answer(
        request,
        {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "hostile", "version": "1"},
            "ttlMs": 0,
            "cacheScope": "private",
        },
    )


if WAY == "hang at the start":
    sleep()
if WAY == "die at the start":
    print("cannot open", os.environ["SECRET"], file=sys.stderr)
    sys.exit(4)
if WAY == "stay":
    for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    other = subprocess.Popen(["sleep", "601"])
    note(f"pids {os.getpid()} {child.pid} {other.pid}")

WAYS = {
    "initialize": on_initialize,
    "server/discover": on_discover,
    "tools/list": on_list,
    "tools/call": on_call,
}
while True:
    try:
        message = take()
    except SystemExit:
        if WAY == "stay":
            sleep()
        raise
    WAYS.get(message.get("method"), lambda _: None)(message)
