"""Streams: their order, their deltas, resuming them at any cursor, by the SDK and raw."""

import json

import httpx
import letta_client
import pytest

from support import URL, checked, durable, frames, fresh, is_id, kinds, replay, text_in, user, wait_for

ENDING = ["stop_reason", "usage_statistics"]


def streamed(client, agent_id, text, **fields):
    fields = {"stream_tokens": True, **fields}
    return list(client.agents.messages.stream(agent_id, messages=user(text), **fields))


def test_a_token_stream_in_its_order(client, make_agent):
    agent = make_agent("openai/slow")
    text = fresh("count 5 ")
    events = streamed(client, agent.id, text)
    assert events[0].message_type == "ping" and is_id("run", events[0].run_id)
    assert kinds(events) == ["assistant_message", *ENDING]
    deltas = [e for e in events if e.message_type == "assistant_message"]
    assert len(deltas) > 1
    assert len({(e.id, e.otid, e.step_id, e.run_id) for e in deltas}) == 1
    assert deltas[0].run_id == events[0].run_id
    assert is_id("message", deltas[0].id) and is_id("step", deltas[0].step_id)
    assert text_in(events) == "w1 w2 w3 w4 w5 "
    numbers = [e.seq_id for e in deltas]
    assert None not in numbers and numbers == sorted(set(numbers))
    assert events[-2].stop_reason == "end_turn"
    assert (events[-1].step_count, events[-1].total_tokens) == (1, 18)
    stored = client.agents.messages.list(agent.id).items[-1]
    assert (stored.id, stored.content) == (deltas[0].id, "w1 w2 w3 w4 w5 ")
    assert stored.otid == deltas[0].otid
    assert client.runs.retrieve(deltas[0].run_id).status == "completed", "done means done"


def test_reasoning_deltas_come_first_and_have_their_own_otid(client, make_agent):
    events = streamed(client, make_agent("openai/think").id, "hello")
    assert kinds(events) == ["reasoning_message", "assistant_message", *ENDING]
    reasoning = [e for e in events if e.message_type == "reasoning_message"]
    assistant = [e for e in events if e.message_type == "assistant_message"]
    assert text_in(events, "reasoning_message", "reasoning") == "The user greets me. I greet back."
    assert {e.id for e in reasoning} == {e.id for e in assistant}
    assert len({e.otid for e in reasoning}) == len({e.otid for e in assistant}) == 1
    assert reasoning[0].otid != assistant[0].otid
    assert all(e.source == "reasoner_model" for e in reasoning)


def test_without_tokens_whole_messages_are_streamed(client, make_agent):
    events = streamed(client, make_agent("openai/think").id, "hello", stream_tokens=False)
    assert [e.message_type for e in events if e.message_type != "ping"] == [
        "reasoning_message",
        "assistant_message",
        *ENDING,
    ]


def test_streaming_on_the_messages_path(client, agent):
    stream = client.agents.messages.create(
        agent.id, messages=user("hi"), streaming=True, stream_tokens=True
    )
    assert kinds(list(stream)) == ["assistant_message", *ENDING]


def test_pings_are_left_out_on_request(client, agent):
    events = streamed(client, agent.id, "hi", include_pings=False)
    assert "ping" not in {e.message_type for e in events}
    assert is_id("run", events[0].run_id)


def test_a_tool_call_in_a_token_stream(client, make_agent):
    agent = make_agent("openai/tool")
    text = fresh("note ")
    events = streamed(client, agent.id, text)
    assert kinds(events) == [
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
        *ENDING,
    ]
    calls = [e.tool_call for e in events if e.message_type == "tool_call_message"]
    assert len({c.tool_call_id for c in calls}) == 1
    assert [c.name for c in calls if c.name] == ["memory_insert"], "the name is told once"
    arguments = "".join(c.arguments or "" for c in calls)
    assert json.loads(arguments) == {"label": "human", "new_string": f"Noted: {text}"}
    returned = next(e for e in events if e.message_type == "tool_return_message")
    assert returned.status == "success" and returned.tool_call_id == calls[0].tool_call_id
    steps = []
    for event in events:
        if getattr(event, "step_id", None) and event.step_id not in steps:
            steps.append(event.step_id)
    assert len(steps) == 2, "each step has its id"
    assert events[-1].step_count == 2


def test_the_bytes_of_a_stream(agent):
    body = {"messages": user("hello"), "stream_tokens": True}
    answer = httpx.post(f"{URL}/v1/agents/{agent.id}/messages/stream", json=body)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = checked(answer.text)
    assert [f["message_type"] for f in found[-2:]] == ENDING
    assert "\r" not in answer.text


def test_both_slash_forms_and_all_prefixes(agent):
    body = {"messages": user("hello")}
    for path in (
        f"/v1/agents/{agent.id}/messages/",
        f"/v1/agents/{agent.id}/messages",
        f"/api/agents/{agent.id}/messages",
        f"/latest/agents/{agent.id}/messages",
        f"//v1/agents/{agent.id}/messages",
    ):
        answer = httpx.post(f"{URL}{path}", json=body, follow_redirects=False)
        assert answer.status_code == 200, path
        assert answer.json()["stop_reason"]["stop_reason"] == "end_turn", path


def left_early(client, agent_id, text, events, **fields):
    """Reads some numbered events of a stream, leaves, and answers what was read."""
    stream = client.agents.messages.stream(
        agent_id, messages=user(text), stream_tokens=True, **fields
    )
    seen = []
    with stream:
        for event in stream:
            seen.append(event)
            if sum(e.seq_id is not None and e.message_type != "ping" for e in seen) == events:
                return seen
    raise AssertionError("the stream ended before it was left")


def as_dict(event):
    return event if isinstance(event, dict) else json.loads(event.to_json(exclude_unset=True))


@pytest.mark.parametrize("background", [True, False], ids=["background", "foreground"])
def test_a_stream_left_early_is_resumed_without_gap_or_duplicate(client, make_agent, background):
    agent = make_agent("openai/slow")
    seen = left_early(client, agent.id, "count 24", 6, background=background)
    run_id, cursor = seen[-1].run_id, seen[-1].seq_id
    assert client.runs.retrieve(run_id).status in ("created", "running")
    rest = [as_dict(e) for e in client.runs.messages.stream(run_id, starting_after=cursor)]
    before = [as_dict(e) for e in seen if e.message_type != "ping"]
    whole = durable(replay(run_id))
    assert [f["seq_id"] for f in before + durable(rest)] == [f["seq_id"] for f in whole]
    assert text_in(before + rest) == "".join(f"w{n} " for n in range(1, 25))
    assert kinds(rest)[-2:] == ENDING
    run = client.runs.retrieve(run_id)
    assert (run.status, run.background) == ("completed", background)
    stored = client.agents.messages.list(agent.id).items[-1]
    assert stored.content == text_in(whole)


def test_every_cursor_of_a_finished_run_gives_the_rest(client, agent):
    events = streamed(client, agent.id, "one two three", background=True)
    run_id = events[-3].run_id
    whole = replay(run_id)
    assert kinds(whole) == ["assistant_message", *ENDING]
    numbered = durable(whole)
    for at, frame in enumerate(numbered):
        for method in ("POST", "GET"):
            rest = replay(run_id, frame["seq_id"], method)
            assert durable(rest) == numbered[at + 1 :]
            assert kinds(rest)[-2:] == ENDING
    assert durable(replay(run_id, 0)) == numbered
    assert numbered[0]["seq_id"] >= 1


def test_two_readers_of_one_run_see_the_same(client, make_agent):
    agent = make_agent("openai/slow")
    seen = left_early(client, agent.id, "count 12", 2, background=True)
    readers = [client.runs.messages.stream(seen[-1].run_id, starting_after=0) for _ in range(3)]
    texts = [text_in([as_dict(e) for e in reader]) for reader in readers]
    assert texts == ["".join(f"w{n} " for n in range(1, 13))] * 3


def test_a_foreground_run_outlives_its_client(client, make_agent):
    agent = make_agent("openai/slow")
    seen = left_early(client, agent.id, "count 8", 2)
    run_id = seen[-1].run_id
    wait_for(lambda: client.runs.retrieve(run_id).status == "completed")
    assert client.agents.messages.list(agent.id).items[-1].content.endswith("w8 ")


def test_a_blocking_run_can_be_replayed_too(client, agent, say):
    answer = say(agent.id, "hello")
    run_id = answer.messages[0].run_id or client.runs.list(agent_id=agent.id).items[0].id
    whole = replay(run_id)
    assert kinds(whole) == ["assistant_message", *ENDING]
    assert text_in(whole) == "You said: hello"


@pytest.mark.parametrize(
    ("model", "error_type"),
    [
        ("fail-401", "llm_authentication"),
        ("fail-429", "llm_rate_limit"),
        ("fail-500", "llm_error"),
    ],
)
def test_a_failing_model_ends_the_stream_with_an_error_event(client, make_agent, model, error_type):
    agent = make_agent(f"openai/{model}")
    body = {"messages": user("hello"), "streaming": True}
    answer = httpx.post(f"{URL}/v1/agents/{agent.id}/messages", json=body)
    assert answer.status_code == 200
    found = frames(answer.text)
    assert found[-1] == (None, "[DONE]")
    event, data = found[-2]
    assert event == "error"
    error = json.loads(data)
    assert (error["message_type"], error["error_type"]) == ("error_message", error_type)
    assert is_id("run", error["run_id"]) and error["message"]
    stop = json.loads(found[-3][1])
    assert (stop["message_type"], stop["stop_reason"]) == ("stop_reason", "llm_api_error")
    assert "usage_statistics" not in answer.text
    with pytest.raises(letta_client.APIStatusError) as raised:
        streamed(client, agent.id, "hello")
    assert raised.value.body["error_type"] == error_type
    run = client.runs.retrieve(error["run_id"])
    assert (run.status, run.stop_reason) == ("failed", "llm_api_error")


def test_without_pings_an_early_failure_is_a_plain_answer(once, make_agent):
    agent = make_agent("openai/fail-401")
    with pytest.raises(letta_client.AuthenticationError) as refused:
        streamed(once, agent.id, "hello", include_pings=False)
    assert refused.value.body["error"]["type"] == "llm_authentication"


def test_the_end_of_a_stream_lets_the_next_message_in_at_once(client, agent):
    for n in range(10):
        events = streamed(client, agent.id, f"again {n}")
        assert text_in(events) == f"You said: again {n}"
    listed = client.agents.messages.list(agent.id).items
    assert kinds(listed[1:]) == ["user_message", "assistant_message"] * 10
