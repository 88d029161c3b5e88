"""What the Python suites of both SDK generations share. Knows the wire, not the SDKs."""

import json
import os
import re
import time
import uuid

import httpx

URL = os.environ["RETOLD_URL"]
SECURE_URL = os.environ["RETOLD_SECURE_URL"]
PASSWORD = os.environ["RETOLD_PASSWORD"]
UPSTREAM = os.environ["UPSTREAM_URL"]

UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
# The upstream counts these for every answer it gives.
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def fresh(prefix="x") -> str:
    """A word no other test uses, so that what the upstream saw can be told apart."""
    return f"{prefix}{uuid.uuid4().hex[:10]}"


def well_formed(prefix: str) -> str:
    """An id of the right form that nothing has."""
    return f"{prefix}-{uuid.uuid4()}"


def is_id(prefix: str, value) -> bool:
    return re.fullmatch(f"{prefix}-{UUID4}", value or "") is not None


def user(text: str) -> list[dict]:
    """One user message, as a request holds it."""
    return [{"role": "user", "content": text}]


def seen_upstream(text: str) -> list[dict]:
    """What became of the upstream requests whose last user message was `text`."""
    answer = httpx.get(f"{UPSTREAM}/stats", params={"text": text})
    answer.raise_for_status()
    return answer.json()


def wait_for(check, seconds=5.0, what="the condition"):
    """Asks every 10 ms until `check` answers something true, and answers it."""
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < until, f"{what} did not come true within {seconds} s"
        time.sleep(0.01)


def first(items, limit):
    """At most `limit` items: iteration that never ends shows as a wrong count, not as a hang."""
    taken = []
    for item in items:
        taken.append(item)
        if len(taken) > limit:
            break
    return taken


async def first_async(items, limit):
    taken = []
    async for item in items:
        taken.append(item)
        if len(taken) > limit:
            break
    return taken


def frames(text: str) -> list[tuple[str | None, str]]:
    """The (event, data) pairs of a text/event-stream body; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        event, data = None, []
        for line in block.split("\n"):
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            else:
                assert line == "" or line.startswith(":"), f"not a line of an event stream: {line!r}"
        if data:
            found.append((event, "\n".join(data)))
    return found


def replay(run_id: str, after: int | None = None, method="POST", url=URL) -> list[dict]:
    """Every frame of a run after a cursor, read to its end. Checks what holds for every stream."""
    cursor = {} if after is None else {"starting_after": after}
    body = {"json": cursor} if method == "POST" else {"params": cursor}
    answer = httpx.request(method, f"{url}/v1/runs/{run_id}/stream", timeout=30, **body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return checked(answer.text)


def checked(body: str) -> list[dict]:
    """The frames of a whole stream: one `[DONE]`, at its end, and rising sequence numbers."""
    assert body.endswith("data: [DONE]\n\n"), body[-200:]
    found = frames(body)
    assert [data for _, data in found].count("[DONE]") == 1
    assert all(event is None for event, _ in found), found
    parsed = [json.loads(data) for _, data in found[:-1]]
    numbers = [frame["seq_id"] for frame in parsed if frame.get("seq_id") is not None]
    assert numbers == sorted(set(numbers)), numbers
    return parsed


def durable(found: list[dict]) -> list[dict]:
    """The frames that a cursor counts: a ping is made for one connection only."""
    return [f for f in found if f["message_type"] != "ping" and f.get("seq_id") is not None]


def text_in(found, kind="assistant_message", field="content") -> str:
    """The text of all frames (dicts or SDK objects) of one kind, put together."""
    pick = lambda f, k: f.get(k) if isinstance(f, dict) else getattr(f, k, None)  # noqa: E731
    return "".join(pick(f, field) or "" for f in found if pick(f, "message_type") == kind)


def kinds(found) -> list[str]:
    """The message types in order, neighbours of the same kind told once, pings left out."""
    order = []
    for frame in found:
        kind = frame["message_type"] if isinstance(frame, dict) else frame.message_type
        if kind != "ping" and (not order or order[-1] != kind):
            order.append(kind)
    return order


def valid_for_a_provider(messages: list[dict]):
    """Every tool call is followed by its return, and no return stands alone."""
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls, messages
            open_calls.remove(message["tool_call_id"])
        else:
            assert not open_calls, f"{open_calls} have no return: {messages}"
            open_calls = [call["id"] for call in message.get("tool_calls") or []]
    assert not open_calls, messages
