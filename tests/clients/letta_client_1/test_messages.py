"""Messages without streaming: blocking, asynchronous, the history, tools and what the model gets."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from support import (
    USAGE,
    first,
    fresh,
    is_id,
    kinds,
    seen_upstream,
    valid_for_a_provider,
    wait_for,
    user,
)


def test_a_blocking_answer(client, agent, say):
    text = fresh("hello ")
    answer = say(agent.id, text)
    assert kinds(answer.messages) == ["assistant_message"]
    (message,) = answer.messages
    assert message.content == f"You said: {text}"
    assert is_id("message", message.id) and message.otid and is_id("step", message.step_id)
    assert answer.stop_reason.stop_reason == "end_turn"
    assert answer.usage.step_count == 1
    assert {name: getattr(answer.usage, name) for name in USAGE} == USAGE
    (request,) = seen_upstream(text)
    assert request["outcome"] == "done"
    assert [m["role"] for m in request["messages"]] == ["system", "user"]
    assert "The human is called Ada." in json.dumps(request["messages"][0])
    assert "memory_insert" in request["tools"]


def test_the_shorthand_input(client, agent):
    text = fresh("hi ")
    answer = client.agents.messages.create(agent.id, input=text)
    assert answer.messages[-1].content == f"You said: {text}"


def test_reasoning_comes_before_the_answer(client, make_agent, say):
    agent = make_agent("openai/think")
    answer = say(agent.id, "hello")
    assert kinds(answer.messages) == ["reasoning_message", "assistant_message"]
    reasoning, assistant = answer.messages
    assert reasoning.reasoning == "The user greets me. I greet back."
    assert reasoning.source == "reasoner_model"
    assert reasoning.id == assistant.id and reasoning.otid != assistant.otid


def test_the_agent_remembers_the_conversation(client, agent, say):
    one, two = fresh("one "), fresh("two ")
    say(agent.id, one)
    say(agent.id, two)
    (request,) = seen_upstream(two)
    roles = [m["role"] for m in request["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert one in json.dumps(request["messages"][1])


def test_no_key_is_needed_for_the_rehearsal_model(client, make_agent, say):
    agent = make_agent("retold/rehearsal")
    answer = say(agent.id, "Hello there.")
    assert answer.stop_reason.stop_reason == "end_turn"
    assert answer.messages[-1].content


def test_the_history_is_in_reading_order_whatever_the_order_asked_for(client, agent, say):
    texts = [fresh(f"{n} ") for n in range(3)]
    for text in texts:
        say(agent.id, text)
    listed = client.agents.messages.list(agent.id).items
    assert [m.message_type for m in listed] == [
        "system_message",
        *["user_message", "assistant_message"] * 3,
    ]
    assert [m.content for m in listed if m.message_type == "user_message"] == texts
    newest = client.agents.messages.list(agent.id, limit=2).items
    assert [m.id for m in newest] == [m.id for m in listed[-2:]]
    oldest = client.agents.messages.list(agent.id, limit=2, order="asc").items
    assert [m.id for m in oldest] == [m.id for m in listed[:2]]
    new = client.agents.messages.list(agent.id, after=listed[2].id).items
    assert [m.id for m in new] == [m.id for m in listed[3:]]
    older = client.agents.messages.list(agent.id, before=listed[3].id, limit=2).items
    assert [m.id for m in older] == [m.id for m in listed[1:3]]


def test_iteration_over_the_history_gives_each_message_once_and_ends(client, agent, say):
    for n in range(4):
        say(agent.id, f"{n}")
    forwards = first(client.agents.messages.list(agent.id, limit=2, order="asc"), 40)
    assert len(forwards) == 9
    assert len({m.id for m in forwards}) == 9
    assert [m.message_type for m in forwards[:2]] == ["system_message", "user_message"]
    default = first(client.agents.messages.list(agent.id, limit=3), 40)
    assert [m.id for m in default] == [m.id for m in forwards[-3:]]
    backwards = client.agents.messages.list(agent.id, limit=2, before=forwards[-1].id)
    assert sorted(m.id for m in first(backwards, 40)) == sorted(m.id for m in forwards[:-1])


def test_a_page_counts_stored_messages(client, make_agent, say):
    agent = make_agent("openai/think")
    say(agent.id, "hello")
    page = client.agents.messages.list(agent.id, limit=1).items
    assert kinds(page) == ["reasoning_message", "assistant_message"]
    assert page[0].id == page[1].id


def test_only_the_message_types_asked_for(client, make_agent, say):
    agent = make_agent("openai/think")
    answer = say(agent.id, "hello", include_return_message_types=["assistant_message"])
    assert kinds(answer.messages) == ["assistant_message"]
    listed = client.agents.messages.list(
        agent.id, extra_query={"include_return_message_types": ["user_message"]}
    )
    assert kinds(listed.items) == ["user_message"]


def test_a_tool_call_really_changes_the_memory(client, make_agent, say):
    agent = make_agent("openai/tool")
    text = fresh("likes tea ")
    answer = say(agent.id, text)
    assert kinds(answer.messages) == [
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    call, returned, said = answer.messages
    assert call.tool_call.name == "memory_insert"
    assert json.loads(call.tool_call.arguments)["label"] == "human"
    assert returned.tool_call_id == call.tool_call.tool_call_id
    assert returned.status == "success"
    assert said.content.startswith("I noted it.")
    assert answer.usage.step_count == 2
    assert answer.usage.total_tokens == 2 * USAGE["total_tokens"]
    value = client.agents.blocks.retrieve("human", agent_id=agent.id).value
    assert value == f"The human is called Ada.\nNoted: {text}"
    again = fresh("and cake ")
    say(agent.id, again)
    requests = seen_upstream(again)
    assert f"Noted: {text}" in json.dumps(requests[0]["messages"][0]), "the next run sees the memory"
    for request in requests:
        valid_for_a_provider(request["messages"])
    listed = client.agents.messages.list(agent.id).items
    assert kinds(listed)[1:5] == [
        "user_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]


def test_a_read_only_block_is_closed_to_the_agent(client, make_agent, say):
    block = {"label": "human", "value": "fixed", "read_only": True}
    agent = make_agent("openai/tool", memory_blocks=[block])
    answer = say(agent.id, "change it")
    returned = next(m for m in answer.messages if m.message_type == "tool_return_message")
    assert returned.status == "error"
    assert "read-only" in returned.tool_return
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "fixed"
    assert answer.stop_reason.stop_reason == "end_turn", "the model is told and goes on"


def test_a_run_ends_after_its_steps(client, make_agent, say):
    agent = make_agent("openai/tool")
    answer = say(agent.id, "one step only", max_steps=1)
    assert answer.stop_reason.stop_reason == "max_steps"
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message"]


def test_an_asynchronous_message(client, agent):
    text = fresh("later ")
    run = client.agents.messages.create_async(agent.id, messages=user(text))
    assert is_id("run", run.id) and run.agent_id == agent.id
    assert run.status in ("created", "running") and run.background is True
    run = wait_for(lambda: (r := client.runs.retrieve(run.id)).status == "completed" and r)
    assert run.stop_reason == "end_turn" and run.completed_at is not None
    messages = client.runs.messages.list(run.id).items
    assert kinds(messages) == ["user_message", "assistant_message"]
    assert messages[-1].content == f"You said: {text}"
    assert run.metadata["result"]["messages"][-1]["content"] == f"You said: {text}"


def test_a_callback_tells_the_end_of_a_run(client, agent):
    told = []

    class Told(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Told) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/done"
        run = client.agents.messages.create_async(agent.id, messages=user("x"), callback_url=url)
        wait_for(lambda: told, what="the callback")
        server.shutdown()
    assert told[0]["run_id"] == run.id and told[0]["status"] == "completed"
    run = wait_for(lambda: (r := client.runs.retrieve(run.id)).callback_sent_at and r)
    assert run.callback_status_code == 204


def test_messages_sent_at_once_are_all_remembered(client, agent):
    texts = [fresh(f"{n} ") for n in range(8)]
    threads = [
        threading.Thread(target=client.agents.messages.create, args=[agent.id], kwargs={"input": t})
        for t in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = client.agents.messages.list(agent.id).items
    said = [m.content for m in listed if m.message_type == "user_message"]
    assert sorted(said) == sorted(texts)
    assert [m.message_type for m in listed[1:]] == ["user_message", "assistant_message"] * 8


def test_a_reset_empties_the_context_and_keeps_the_history(client, agent, say):
    old, new = fresh("old "), fresh("new ")
    say(agent.id, old)
    client.agents.messages.reset(agent.id)
    assert len(client.agents.retrieve(agent.id).message_ids) == 1
    say(agent.id, new)
    (request,) = seen_upstream(new)
    assert [m["role"] for m in request["messages"]] == ["system", "user"]
    assert old in [m.content for m in client.agents.messages.list(agent.id).items[1:]]


@pytest.mark.parametrize("agent_type", ["memgpt_v2_agent", "memgpt_agent"])
def test_older_agent_types_are_made_with_their_tools(make_agent, agent_type):
    agent = make_agent(agent_type=agent_type)
    assert agent.agent_type == agent_type
    assert "send_message" in {t.name for t in agent.tools}


def test_parts_as_content(client, agent):
    text = fresh("part ")
    parts = [{"type": "text", "text": text}]
    answer = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": parts}])
    assert answer.messages[-1].content == f"You said: {text}"
    stored = client.agents.messages.list(agent.id).items[1]
    assert stored.content == text, "one text part reads back as a string"


def test_a_request_sent_again_by_the_client_is_the_same_run(client, make_agent):
    """The SDK gives up on a slow answer and resends the same request; its otid tells so."""
    agent = make_agent("openai/slow")
    text = fresh("count 30 ")
    impatient = client.with_options(timeout=1.0, max_retries=3)
    messages = [{"role": "user", "content": text, "otid": str(uuid.uuid4())}]
    answer = impatient.agents.messages.create(agent.id, messages=messages)
    assert answer.messages[-1].content.endswith("w30 ")
    assert len(seen_upstream(text)) == 1, "the model was asked once"
    assert len(client.runs.list(agent_id=agent.id).items) == 1
    listed = client.agents.messages.list(agent.id).items
    assert kinds(listed[1:]) == ["user_message", "assistant_message"]
    assert listed[1].otid == messages[0]["otid"], "the user message keeps the client's otid"
