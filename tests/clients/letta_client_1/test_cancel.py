"""Cancelling: at every moment of a run, with what the upstream socket saw of it."""

import threading
import time

import letta_client
import pytest

from support import fresh, kinds, replay, seen_upstream, text_in, user, wait_for

# From the answer of the cancel to the end of the upstream socket and of the client's stream.
PROMPT_SECONDS = 1.0


class Reader(threading.Thread):
    """Reads a token stream on a thread of its own."""

    def __init__(self, client, agent_id, text, **fields):
        super().__init__(daemon=True)
        self.stream = client.agents.messages.stream(
            agent_id, messages=user(text), stream_tokens=True, **fields
        )
        self.events, self.error, self.ended = [], None, None
        self.start()

    def run(self):
        try:
            for event in self.stream:
                self.events.append(event)
        except Exception as error:
            self.error = error
        self.ended = time.monotonic()

    @property
    def run_id(self):
        return wait_for(lambda: self.events and self.events[0].run_id, what="the first event")

    def after_deltas(self, count):
        deltas = lambda: sum(e.message_type == "assistant_message" for e in self.events)  # noqa: E731
        wait_for(lambda: deltas() >= count, what=f"{count} deltas")
        return self

    def to_the_end(self):
        self.join(5)
        assert not self.is_alive(), "the stream goes on after the cancel"
        assert self.error is None, self.error
        return self.events


def ended_promptly(text, since):
    """The one upstream request was cut by the server, soon after `since`."""
    (request,) = wait_for(
        lambda: [r for r in seen_upstream(text) if r["outcome"] != "open"],
        what="the end of the upstream socket",
    )
    assert request["outcome"] == "aborted"
    assert request["ended"] - since < PROMPT_SECONDS
    return request


def test_in_the_middle_of_a_slow_stream(client, make_agent):
    agent = make_agent("openai/slow")
    text = fresh("count 150 ")
    reader = Reader(client, agent.id, text).after_deltas(4)
    asked = time.monotonic()
    assert client.agents.messages.cancel(agent.id) == {reader.run_id: "cancelled"}
    run = client.runs.retrieve(reader.run_id)
    assert (run.status, run.stop_reason) == ("cancelled", "cancelled")
    after = fresh("count 2 ")
    answer = client.agents.messages.create(agent.id, messages=user(after))
    assert answer.messages[-1].content == "w1 w2 ", "the next message works at once"
    events = reader.to_the_end()
    assert reader.ended - asked < PROMPT_SECONDS
    assert kinds(events)[-2:] == ["stop_reason", "usage_statistics"]
    assert events[-2].stop_reason == "cancelled"
    assert ended_promptly(text, asked)["tokens"] < 50
    listed = client.agents.messages.list(agent.id).items
    assert kinds(listed[1:]) == ["user_message", "assistant_message"] * 2
    assert listed[1].content == text, "what the user said is kept"
    partial = listed[2].content
    assert partial.startswith("w1 w2 w3 ") and partial == text_in(events)
    assert text_in(replay(reader.run_id)) == partial
    (request,) = seen_upstream(after)
    assert [m["role"] for m in request["messages"]] == ["system", "user", "assistant", "user"]


def test_a_silent_upstream(client, make_agent):
    agent = make_agent("openai/silent")
    text = fresh("say something ")
    reader = Reader(client, agent.id, text).after_deltas(1)
    asked = time.monotonic()
    assert client.agents.messages.cancel(agent.id) == {reader.run_id: "cancelled"}
    assert time.monotonic() - asked < PROMPT_SECONDS
    events = reader.to_the_end()
    assert reader.ended - asked < PROMPT_SECONDS
    assert text_in(events) == "Hold "
    ended_promptly(text, asked)
    assert client.agents.messages.list(agent.id).items[-1].content == "Hold "


def test_before_the_first_token(client, make_agent):
    agent = make_agent("openai/mute")
    text = fresh("say nothing ")
    answers = []
    send = lambda: answers.append(client.agents.messages.create(agent.id, messages=user(text)))  # noqa: E731
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    wait_for(lambda: seen_upstream(text), what="the upstream request")
    asked = time.monotonic()
    cancelled = client.agents.messages.cancel(agent.id)
    assert list(cancelled.values()) == ["cancelled"]
    sender.join(PROMPT_SECONDS)
    assert answers, "the blocking request answers at once"
    assert answers[0].stop_reason.stop_reason == "cancelled"
    assert answers[0].messages == []
    ended_promptly(text, asked)
    listed = client.agents.messages.list(agent.id).items
    assert listed[1].content == text, "what the user said is kept"


def test_a_queued_message(client, make_agent):
    agent = make_agent("openai/slow")
    ahead, queued = fresh("count 30 "), fresh("count 3 ")
    reader = Reader(client, agent.id, ahead).after_deltas(1)
    run = client.agents.messages.create_async(agent.id, messages=user(queued))
    assert client.agents.messages.cancel(agent.id, run_ids=[run.id]) == {run.id: "cancelled"}
    assert client.runs.retrieve(run.id).status == "cancelled"
    assert text_in(reader.to_the_end()).endswith("w30 "), "the run ahead goes on"
    assert client.runs.retrieve(reader.run_id).status == "completed"
    assert seen_upstream(queued) == [], "a cancelled message never reaches the model"


def test_in_a_background_run(client, make_agent):
    agent = make_agent("openai/slow")
    run = client.agents.messages.create_async(agent.id, messages=user("count 150"))
    wait_for(lambda: client.runs.retrieve(run.id).status == "running")
    assert client.agents.messages.cancel(agent.id, run_ids=[run.id]) == {run.id: "cancelled"}
    found = replay(run.id)
    assert kinds(found)[-2:] == ["stop_reason", "usage_statistics"]
    assert found[-2]["stop_reason"] == "cancelled"


def test_twice_and_after_the_end(client, make_agent):
    agent = make_agent("openai/slow")
    reader = Reader(client, agent.id, "count 100").after_deltas(1)
    once, again = (client.agents.messages.cancel(agent.id, run_ids=[reader.run_id]) for _ in "12")
    assert once == again == {reader.run_id: "cancelled"}
    stops = [e for e in reader.to_the_end() if e.message_type == "stop_reason"]
    assert len(stops) == 1
    client.agents.messages.create(agent.id, messages=user("count 1"))
    done = client.runs.list(agent_id=agent.id, statuses=["completed"]).items[0]
    assert client.agents.messages.cancel(agent.id, run_ids=[done.id]) == {done.id: "cancelled"}
    assert client.runs.retrieve(done.id).status == "completed", "a finished run stays finished"


def test_nothing_to_cancel(client, agent):
    started = time.monotonic()
    with pytest.raises(letta_client.ConflictError) as refused:
        client.agents.messages.cancel(agent.id)
    assert refused.value.status_code == 409
    assert refused.value.body["detail"] == f"No active runs to cancel for agent {agent.id}"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert time.monotonic() - started < 0.4, "the client was not made to retry"


def test_many_cancels_and_messages_in_turn(client, make_agent):
    """A cancel at many moments leaves a history that every provider accepts."""
    agent = make_agent("openai/slow")
    for n in range(6):
        reader = Reader(client, agent.id, f"count 60 round {n}")
        time.sleep(0.03 * n)
        reader.run_id  # noqa: B018
        client.agents.messages.cancel(agent.id)
        assert reader.to_the_end()[-2].stop_reason == "cancelled"
    last = fresh("count 1 ")
    client.agents.messages.create(agent.id, messages=user(last))
    (request,) = seen_upstream(last)
    roles = [m["role"] for m in request["messages"]]
    assert roles.count("user") == 7 and roles[-1] == "user"
