"""Messages, streams, runs and steps by the names of the older SDK."""

import threading
import time

import pytest
from letta_client import MessageCreate, TextContent
from letta_client.core.api_error import ApiError

from support import durable, fresh, is_id, kinds, replay, seen_upstream, text_in, wait_for

ENDING = ["stop_reason", "usage_statistics"]


def streamed(client, agent_id, text, **fields):
    messages = [MessageCreate(role="user", content=text)]
    fields = {"stream_tokens": True, **fields}
    return client.agents.messages.create_stream(agent_id, messages=messages, **fields)


def test_a_blocking_answer(client, agent, say):
    text = fresh("hello ")
    answer = say(agent.id, text)
    assert kinds(answer.messages) == ["assistant_message"]
    assert answer.messages[0].content == f"You said: {text}"
    assert answer.stop_reason.stop_reason == "end_turn"
    assert (answer.usage.step_count, answer.usage.total_tokens) == (1, 18)
    listed = client.agents.messages.list(agent.id)
    assert kinds(listed) == ["system_message", "user_message", "assistant_message"]
    assert client.agents.messages.list(agent.id, after=listed[1].id)[0].id == listed[2].id
    assert [m.id for m in client.agents.messages.list(agent.id, limit=1)] == [listed[2].id]
    assert client.agents.messages.list(agent.id, after=listed[-1].id) == []


def test_parts_as_content(client, agent):
    message = MessageCreate(role="user", content=[TextContent(text="in parts")])
    answer = client.agents.messages.create(agent.id, messages=[message])
    assert answer.messages[-1].content == "You said: in parts"


def test_a_token_stream(client, make_agent):
    agent = make_agent("openai/think")
    events = list(streamed(client, agent.id, "hello there"))
    assert kinds(events) == ["reasoning_message", "assistant_message", *ENDING]
    deltas = [e for e in events if e.message_type == "assistant_message"]
    assert len(deltas) > 1 and len({(e.id, e.otid) for e in deltas}) == 1
    assert text_in(events) == "You said: hello there"
    assert events[-2].stop_reason == "end_turn"


def test_a_stream_of_whole_messages(client, make_agent):
    agent = make_agent("openai/tool")
    events = streamed(client, agent.id, "note it", stream_tokens=False, include_pings=False)
    assert [e.message_type for e in events] == [
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
        *ENDING,
    ]
    assert "Noted: note it" in client.agents.blocks.retrieve(agent.id, "human").value


@pytest.mark.parametrize("background", [True, False], ids=["background", "foreground"])
def test_a_stream_left_early_is_resumed(client, make_agent, background):
    agent = make_agent("openai/slow")
    stream = streamed(client, agent.id, "count 20", background=background)
    seen = []
    for event in stream:
        if event.message_type != "ping":
            seen.append(event)
        if len(seen) == 5:
            break
    stream.close()
    run_id, cursor = seen[-1].run_id, seen[-1].seq_id
    rest = [e for e in client.runs.stream(run_id, starting_after=cursor) if e.message_type != "ping"]
    assert text_in(seen + rest) == "".join(f"w{n} " for n in range(1, 21))
    assert kinds(rest) == ["assistant_message", *ENDING]
    numbers = [e.seq_id for e in seen + rest if getattr(e, "seq_id", None) is not None]
    assert numbers == [f["seq_id"] for f in durable(replay(run_id))]


def test_an_error_is_an_event_in_a_stream_and_a_status_without(client, make_agent, say):
    agent = make_agent("openai/fail-401")
    events = list(streamed(client, agent.id, "hello"))
    assert [e.message_type for e in events if e.message_type != "ping"] == [
        "stop_reason",
        "error_message",
    ]
    with pytest.raises(ApiError) as refused:
        say(agent.id, "hello")
    assert refused.value.status_code == 401
    assert refused.value.body["error"]["type"] == "llm_authentication"


def test_an_asynchronous_message_and_what_is_known_of_its_run(client, agent):
    text = fresh("later ")
    messages = [MessageCreate(role="user", content=text)]
    run = client.agents.messages.create_async(agent.id, messages=messages)
    assert is_id("run", run.id) and run.status in ("created", "running")
    run = wait_for(lambda: (r := client.runs.retrieve(run.id)).status == "completed" and r)
    found = client.runs.messages.list(run.id)
    assert kinds(found) == ["user_message", "assistant_message"]
    assert client.runs.usage.retrieve(run.id).total_tokens == 18
    assert [r.id for r in client.runs.list(agent_id=agent.id)] == [run.id]
    assert client.runs.list_active(agent_id=agent.id) == []
    (step,) = client.runs.steps.list(run.id)
    assert client.steps.retrieve(step.id).run_id == run.id
    assert [s.id for s in client.steps.list(agent_id=agent.id)] == [step.id]
    assert client.steps.metrics.retrieve(step.id).step_ns > 0
    assert client.steps.feedback.create(step.id, feedback="negative").feedback == "negative"
    assert "assistant_message" in kinds(client.steps.messages.list(step.id))
    client.runs.delete(run.id)
    with pytest.raises(ApiError) as refused:
        client.runs.retrieve(run.id)
    assert refused.value.status_code == 404


def test_cancel_in_the_middle_of_a_stream(client, make_agent, say):
    agent = make_agent("openai/slow")
    text = fresh("count 120 ")
    events = []

    def read():
        for event in streamed(client, agent.id, text):
            events.append(event)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait_for(lambda: sum(e.message_type == "assistant_message" for e in events) >= 3)
    run_id = next(e.run_id for e in events if e.run_id)
    asked = time.monotonic()
    assert client.agents.messages.cancel(agent.id) == {run_id: "cancelled"}
    assert say(agent.id, "count 1").messages[-1].content == "w1 "
    reader.join(2)
    assert not reader.is_alive()
    assert kinds(events)[-2:] == ENDING and events[-2].stop_reason == "cancelled"
    (request,) = seen_upstream(text)
    assert request["outcome"] == "aborted" and request["ended"] - asked < 1.0
    assert client.agents.messages.list(agent.id)[2].content == text_in(events)


def test_a_reset(client, agent, say):
    say(agent.id, "hello")
    state = client.agents.messages.reset(agent.id)
    assert len(state.message_ids) == 1, "this client gets the whole agent"
    assert len(client.agents.messages.list(agent.id)) == 3
