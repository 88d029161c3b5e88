"""A scripted OpenAI-compatible provider: what it says is fixed, and it remembers what it was asked.

The name of the model picks the behaviour, the last user message the details:

  echo      answers `You said: <text>`, one word per delta, all at once
  think     the same at a slower pace, after reasoning in `reasoning_content` deltas
  slow      one token (`w1 `, `w2 `, ...) per 50 ms; `count N` in the text sets how many (200)
  silent    the first token, then nothing for as long as the socket lives
  mute      the head of the answer, then nothing
  tool      calls memory_insert on the block `human`, and answers once it has the return
  caller    makes the calls its user writes, then says what they returned: a line `call NAME ARGUMENTS` is one
            call, its arguments sent as they stand; a line `then` begins the calls of the next answer
  fail-401, fail-429, fail-500   refuses with that status

`GET /stats?text=T` answers what became of the requests whose last user message is T: how each
ended (`done`, or `aborted` when the peer closed its socket first), how many tokens were written,
the messages it held, and when it ended on this process's monotonic clock. Nothing else is needed
to show that a cancel reached the socket. Only the standard library is used.
"""

import asyncio
import json
import os
import re
import sys
import time
from urllib.parse import parse_qs, urlsplit

KEY = os.environ.get("UPSTREAM_KEY", "test-key")
MODELS = ["echo", "think", "slow", "silent", "mute", "tool", "caller"]
MODELS += ["fail-401", "fail-429", "fail-500"]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
REFUSALS = {
    "fail-401": (401, "invalid_api_key", "Incorrect API key provided."),
    "fail-429": (429, "rate_limit_exceeded", "Rate limit reached."),
    "fail-500": (500, "server_error", "The server had an error."),
}
TOKEN_SECONDS = 0.05
# Far enough apart that a server which gathers what arrives together shows them one by one.
WORD_SECONDS = 0.02

log: list[dict] = []


def text_of(content) -> str:
    """The text of a message whose content is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


class Gone(Exception):
    """The peer closed its socket before the answer was complete."""


class Answer:
    """One streamed answer on one socket, which notices at once when the peer leaves."""

    def __init__(self, reader, writer, record, model):
        self.reader, self.writer, self.record, self.model = reader, writer, record, model
        self.left = asyncio.create_task(reader.read(1))

    async def head(self):
        self.writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        await self.writer.drain()

    async def pause(self, seconds):
        done, _ = await asyncio.wait({self.left}, timeout=seconds)
        if done:
            raise Gone

    async def send(self, delta, finish=None):
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        await self.raw(json.dumps(chunk))
        self.record["tokens"] += 1

    async def raw(self, data):
        if self.left.done():
            raise Gone
        try:
            self.writer.write(f"data: {data}\n\n".encode())
            await self.writer.drain()
        except OSError as error:
            raise Gone from error
        await asyncio.sleep(0)

    async def finish(self, reason):
        await self.send({}, reason)
        usage = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        await self.raw(json.dumps({**usage, "model": self.model, "choices": [], "usage": USAGE}))
        await self.raw("[DONE]")


def words(text):
    """Splits so that the pieces put together again are the text."""
    return re.findall(r"\S+\s*", text)


def script(model, messages):
    """The pieces of the answer: (kind, value) pairs."""
    last = messages[-1] if messages else {}
    asked = next((text_of(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")
    if model == "think":
        for word in words("The user greets me. I greet back."):
            yield "pause", WORD_SECONDS
            yield "reasoning_content", word
    if model in ("echo", "think"):
        for word in words(f"You said: {asked}"):
            yield "pause", WORD_SECONDS if model == "think" else 0
            yield "content", word
    elif model == "slow":
        count = re.search(r"count (\d+)", asked)
        for number in range(1, (int(count[1]) if count else 200) + 1):
            yield "pause", TOKEN_SECONDS
            yield "content", f"w{number} "
    elif model == "silent":
        yield "content", "Hold "
        yield "pause", 600
    elif model == "mute":
        yield "pause", 600
    elif model == "tool" and last.get("role") != "tool":
        arguments = json.dumps({"label": "human", "new_string": f"Noted: {asked}"})
        yield "tool_call", ("memory_insert", arguments)
    elif model == "tool":
        for word in words(f"I noted it. The tool said: {text_of(last['content'])}"):
            yield "content", word
    elif model == "caller":
        yield from dictated(messages)


def dictated(messages):
    """What `caller` says next: the calls that its user wrote and that it has not made yet, or what came of them."""
    at = max((n for n, m in enumerate(messages) if m["role"] == "user"), default=0)
    asked = text_of(messages[at]["content"]) if messages else ""
    answers = [part.strip() for part in re.split(r"^then$", asked, flags=re.M)]
    made = sum(bool(message.get("tool_calls")) for message in messages[at:])
    if made < len(answers) and answers[made].startswith("call "):
        for line in answers[made].splitlines():
            _, name, arguments = line.split(" ", 2)
            yield "tool_call", (name, arguments)
        return
    returned = [text_of(message["content"]) for message in messages[at:] if message["role"] == "tool"]
    said = f"The tools said: {' | '.join(returned)}" if returned else f"You said: {asked}"
    for word in words(said):
        yield "content", word


async def stream(answer, model, messages):
    await answer.head()
    await answer.send({"role": "assistant", "content": ""})
    reason, number = "stop", 0
    for kind, value in script(model, messages):
        if kind == "pause":
            await answer.pause(value)
        elif kind == "tool_call":
            reason, (name, arguments) = "tool_calls", value
            head = {"index": number, "id": f"call_{len(log)}_{number}", "type": "function"}
            await answer.send({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
            for at in range(0, len(arguments), 8):
                part = {"index": number, "function": {"arguments": arguments[at : at + 8]}}
                await answer.send({"tool_calls": [part]})
            number += 1
        else:
            await answer.send({kind: value})
    await answer.finish(reason)


async def whole(answer, model, messages):
    """The same answer to a request without `stream`."""
    message, reason = {"role": "assistant", "content": None}, "stop"
    for kind, value in script(model, messages):
        if kind == "pause":
            await answer.pause(value)
        elif kind == "tool_call":
            reason, (name, arguments) = "tool_calls", value
            calls = message.setdefault("tool_calls", [])
            call = {"id": f"call_{len(log)}_{len(calls)}", "type": "function"}
            calls.append({**call, "function": {"name": name, "arguments": arguments}})
        else:
            message[kind] = (message.get(kind) or "") + value
            answer.record["tokens"] += 1
    choice = {"index": 0, "message": message, "finish_reason": reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    plain(answer.writer, 200, {**body, "choices": [choice], "usage": USAGE})


def plain(writer, status, body):
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)


async def completion(reader, writer, body):
    model, messages = body["model"], body["messages"]
    asked = next((text_of(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")
    record = {
        "model": model,
        "text": asked,
        "messages": messages,
        "tools": [tool["function"]["name"] for tool in body.get("tools") or []],
        "tool_choice": body.get("tool_choice"),
        "tokens": 0,
        "outcome": "open",
        "ended": None,
    }
    log.append(record)
    answer = Answer(reader, writer, record, model)
    try:
        if model in REFUSALS:
            status, code, text = REFUSALS[model]
            plain(writer, status, {"error": {"message": text, "type": code, "code": code}})
        elif model not in MODELS:
            error = {"message": f"The model `{model}` does not exist", "code": "model_not_found"}
            plain(writer, 404, {"error": error})
        elif body.get("stream"):
            await stream(answer, model, messages)
        else:
            await whole(answer, model, messages)
        record["outcome"] = "done"
    except Gone:
        record["outcome"] = "aborted"
    finally:
        record["ended"] = time.monotonic()
        answer.left.cancel()


async def serve(reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        headers = dict(
            (name.lower(), value.strip())
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        )
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(target)
        if url.path == "/stats":
            wanted = parse_qs(url.query).get("text", [None])[0]
            plain(writer, 200, [r for r in log if wanted is None or r["text"] == wanted])
        elif headers.get("authorization") != f"Bearer {KEY}":
            plain(writer, 401, {"error": {"message": "no such key", "code": "invalid_api_key"}})
        elif method == "GET" and url.path.rstrip("/") == "/v1/models":
            data = [{"id": m, "object": "model", "created": 1, "owned_by": "test"} for m in MODELS]
            plain(writer, 200, {"object": "list", "data": data})
        elif method == "POST" and url.path == "/v1/chat/completions":
            await completion(reader, writer, json.loads(body))
        else:
            plain(writer, 404, {"error": {"message": f"no such path: {url.path}"}})
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # The peer left; what that means is in the log already.
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Ends with its parent: standard input is a pipe that closes when the parent does.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
