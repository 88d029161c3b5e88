"""The loop with tools: calls that are made, that a person decides, and that the client makes itself.

The tools are Python functions below, sent as their source and run in the server's cage. The model `caller` makes the
calls that its user writes, a line each.
"""

import inspect
import json
import time

import letta_client
import pytest

from killable import KillableServer
from support import kinds, seen_upstream, text_in, user, valid_for_a_provider

ASKS = "Please approve or deny the pending request before continuing"


def add_for_test(one: int, other: int) -> int:
    """Add two numbers.

    Args:
        one: The first.
        other: The second.
    """
    print(f"adding {one} and {other}")
    return one + other


def fail_for_test(why: str) -> str:
    """Fail.

    Args:
        why: What to say.
    """
    raise ValueError(why)


def long_for_test(length: int) -> str:
    """Return a long text.

    Args:
        length: How many characters.
    """
    return "x" * length


def wait_for_test(seconds: float) -> str:
    """Wait.

    Args:
        seconds: How long.
    """
    import time

    time.sleep(seconds)
    return "waited"


LOOK = {
    "name": "look_for_test",
    "description": "Look at the screen of the client.",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}
CLIENTS_ADD = {"name": "add_for_test", "description": "Add as the client does.", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def tools(client):
    """The tools by their names, the same for all tests here."""
    functions = [add_for_test, fail_for_test, long_for_test, wait_for_test, key_for_test]
    made = {f.__name__: client.tools.upsert(source_code=inspect.getsource(f)) for f in functions}
    yield made
    for tool in made.values():
        client.tools.delete(tool.id)


@pytest.fixture
def caller(make_agent, tools):
    """An agent that makes the calls it is told to make; `asks` are tools that a person decides about."""

    def make(*names, asks=(), rules=(), **fields):
        asking = [{"type": "requires_approval", "tool_name": name} for name in asks]
        return make_agent(
            "openai/caller",
            tool_ids=[tools[name].id for name in names],
            tool_rules=[*asking, *rules],
            include_base_tools=False,
            **fields,
        ).id

    return make


def calls(*lines):
    return "\n".join(f"call {name} {json.dumps(arguments)}" for name, arguments in lines)


def answered(returns):
    """An answer to calls: each is a call's id with True, a reason to deny it, or what the client returned, as a dict."""

    def one(call_id, given):
        if given is True:
            return {"type": "approval", "tool_call_id": call_id, "approve": True}
        if isinstance(given, str):
            return {"type": "approval", "tool_call_id": call_id, "approve": False, "reason": given}
        return {"type": "tool", "tool_call_id": call_id, "status": "success", **given}

    return {"type": "approval", "approvals": [one(*item) for item in returns.items()]}


def asked(answer):
    """The request for approval that an answer ends with."""
    assert answer.stop_reason.stop_reason == "requires_approval", answer
    request = answer.messages[-1]
    assert request.message_type == "approval_request_message"
    assert request.tool_call.tool_call_id == request.tool_calls[0].tool_call_id
    return request


def history(client, agent_id):
    return client.agents.messages.list(agent_id, order="asc", limit=1000).items


def prompt(client, agent_id, say):
    """What the model is sent next: it has to be something that a provider takes."""
    mark = f"What of {agent_id}?"
    answer = say(agent_id, mark)
    assert text_in(answer.messages) == f"You said: {mark}"
    messages = seen_upstream(mark)[-1]["messages"]
    valid_for_a_provider(messages)
    return messages


def test_a_tool_is_run_for_its_agent_outside_of_any_conversation(client, caller):
    agent_id = caller("add_for_test", "fail_for_test")
    ran = client.agents.tools.run("add_for_test", agent_id=agent_id, args={"one": 2, "other": 3})
    assert (ran.status, str(ran.func_return), ran.stdout) == ("success", "5", ["adding 2 and 3"])
    failed = client.agents.tools.run("fail_for_test", agent_id=agent_id, args={"why": "no luck"})
    assert (failed.status, failed.func_return) == ("error", None)
    assert "ValueError: no luck" in "".join(failed.stderr)
    with pytest.raises(letta_client.NotFoundError):
        client.agents.tools.run("long_for_test", agent_id=agent_id, args={"length": 1})
    assert kinds(history(client, agent_id)) == ["system_message"]


def test_a_call_is_made_and_the_model_goes_on_with_what_it_returned(client, caller, say):
    agent_id = caller("add_for_test")
    answer = say(agent_id, calls(("add_for_test", {"one": 2, "other": 3})))
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message", "assistant_message"]
    call, returned, said = answer.messages
    assert json.loads(call.tool_call.arguments) == {"one": 2, "other": 3}
    assert (returned.tool_return, returned.status) == ("5", "success")
    assert returned.stdout == ["adding 2 and 3"]
    assert returned.tool_call_id == call.tool_call.tool_call_id
    assert returned.tool_returns[0].tool_call_id == call.tool_call.tool_call_id
    assert call.step_id == returned.step_id != said.step_id
    assert said.content == "The tools said: 5"
    assert answer.stop_reason.stop_reason == "end_turn"
    assert answer.usage.step_count == 2
    assert [m.id for m in history(client, agent_id)[2:]] == [m.id for m in answer.messages]
    prompt(client, agent_id, say)


def test_a_tool_that_fails_is_text_for_the_model(client, caller, say):
    agent_id = caller("fail_for_test")
    answer = say(agent_id, calls(("fail_for_test", {"why": "no luck"})))
    returned = answer.messages[1]
    assert returned.status == "error"
    assert returned.tool_return == "Error executing function fail_for_test: ValueError: no luck"
    assert answer.stop_reason.stop_reason == "end_turn"


def key_for_test() -> str:
    """Tell the key of this call."""
    import os

    return os.environ["RETOLD_CALL_KEY"]


def test_a_tool_is_told_the_key_of_its_call(client, caller, say):
    agent_id = caller("key_for_test")
    returns = say(agent_id, calls(("key_for_test", {})) + "\nthen\n" + calls(("key_for_test", {}))).messages
    keys = [m.tool_return for m in returns if m.message_type == "tool_return_message"]
    assert len(set(keys)) == 2 and all(len(bytes.fromhex(key)) == 16 for key in keys)


def test_a_call_that_cannot_be_made_is_told_to_the_model(client, caller, say):
    agent_id = caller("add_for_test")
    for made in ["call add_for_test {not json", 'call add_for_test {"one": 1}', "call sing_for_test {}"]:
        answer = say(agent_id, made)
        assert kinds(answer.messages) == ["tool_call_message", "tool_return_message", "assistant_message"]
        assert answer.messages[1].status == "error", made
        json.loads(answer.messages[0].tool_call.arguments)
    prompt(client, agent_id, say)


def test_a_return_is_cut_to_what_the_tool_may_return(client, caller, say, tools):
    agent_id = caller("long_for_test")
    client.tools.update(tools["long_for_test"].id, return_char_limit=100)
    returned = say(agent_id, calls(("long_for_test", {"length": 5000}))).messages[1]
    assert returned.tool_return.startswith("x" * 100) and len(returned.tool_return) < 400
    assert "function output was truncated" in returned.tool_return


def test_several_calls_of_one_answer_are_one_message_each_way(client, caller, say):
    agent_id = caller("add_for_test", "fail_for_test", parallel_tool_calls=True)
    made = calls(
        ("add_for_test", {"one": 1, "other": 1}),
        ("fail_for_test", {"why": "no"}),
        ("add_for_test", {"one": 2, "other": 2}),
    )
    answer = say(agent_id, made)
    call, returned, _ = answer.messages
    ids = [it.tool_call_id for it in call.tool_calls]
    assert len(set(ids)) == 3 and [it.tool_call_id for it in returned.tool_returns] == ids
    assert [it.status for it in returned.tool_returns] == ["success", "error", "success"]
    assert returned.tool_returns[2].tool_return == "4"
    prompt(client, agent_id, say)


def test_rules_say_what_is_called_first_how_often_and_when_it_ends(client, caller, say):
    once = {"one": 1, "other": 1}
    agent_id = caller(
        "add_for_test",
        "long_for_test",
        rules=[
            {"type": "run_first", "tool_name": "add_for_test"},
            {"type": "max_count_per_step", "tool_name": "add_for_test", "max_count_limit": 1},
            {"type": "exit_loop", "tool_name": "long_for_test"},
        ],
    )
    made = "\nthen\n".join(calls(it) for it in [("add_for_test", once)] * 2 + [("long_for_test", {"length": 1})])
    answer = say(agent_id, made)
    returns = [m for m in answer.messages if m.message_type == "tool_return_message"]
    assert [it.status for it in returns] == ["success", "error", "success"]
    assert "[ToolConstraintError] Cannot call add_for_test" in returns[1].tool_return
    assert answer.stop_reason.stop_reason == "tool_rule"
    assert answer.messages[-1] == returns[-1], "nothing is said after it"
    first, second, third = seen_upstream(made)
    assert (first["tools"], first["tool_choice"]) == (["add_for_test"], "required")
    assert (second["tools"], third["tools"]) == (["long_for_test"], ["long_for_test"])


def test_a_call_waits_for_a_person_and_is_made_once_it_is_approved(client, caller, say, once):
    agent_id = caller("add_for_test", asks=["add_for_test"])
    request = asked(say(agent_id, calls(("add_for_test", {"one": 2, "other": 3}))))
    call_id = request.tool_call.tool_call_id
    state = client.agents.retrieve(agent_id, include=["agent.pending_approval"])
    assert state.pending_approval.id == request.id
    assert state.pending_approval.tool_calls[0].tool_call_id == call_id
    for send in (once.agents.messages.create, once.agents.messages.stream):
        with pytest.raises(letta_client.ConflictError, match=ASKS) as refused:
            list(send(agent_id, messages=user("hello?")))
        detail = refused.value.body["detail"]
        assert (detail["code"], detail["message"]) == ("PENDING_APPROVAL", ASKS)
        assert detail["pending_request_id"] == request.id

    yes = answered({call_id: True})
    answer = client.agents.messages.create(agent_id, messages=[yes])
    assert kinds(answer.messages) == ["tool_return_message", "assistant_message"]
    assert answer.messages[0].tool_return == "5"
    assert answer.messages[0].step_id == request.step_id
    assert answer.messages[1].content == "The tools said: 5"
    again = client.agents.messages.create(agent_id, messages=[yes])
    assert "tool_return_message" not in kinds(again.messages), "nothing is made twice"
    assert client.agents.retrieve(agent_id, include=["agent.pending_approval"]).pending_approval is None
    prompt(client, agent_id, say)


def test_a_denied_call_is_not_made_and_what_follows_is_said_after_it(client, caller, say):
    agent_id = caller("add_for_test", asks=["add_for_test"])
    request = asked(say(agent_id, calls(("add_for_test", {"one": 2, "other": 3}))))
    no = answered({request.tool_call.tool_call_id: "not today"})
    answer = client.agents.messages.create(agent_id, messages=[no, *user("Then say hello.")])
    assert kinds(answer.messages) == ["tool_return_message", "assistant_message"]
    returned, said = answer.messages
    assert returned.status == "error"
    assert returned.tool_return == "Error: request to call tool denied. User reason: not today"
    assert said.content == "You said: Then say hello."
    order = ["user_message", "approval_request_message", "tool_return_message", "user_message"]
    assert kinds(history(client, agent_id))[1:5] == order
    prompt(client, agent_id, say)


def test_an_answer_has_to_name_the_calls_that_wait_all_of_them_and_no_other(client, caller, say):
    agent_id = caller("add_for_test", asks=["add_for_test"], parallel_tool_calls=True)
    none_waits = answered({"call_1": True})
    with pytest.raises(letta_client.BadRequestError, match="No tool call is currently awaiting approval"):
        client.agents.messages.create(agent_id, messages=[none_waits])
    made = calls(("add_for_test", {"one": 1, "other": 1}), ("add_for_test", {"one": 2, "other": 2}))
    request = asked(say(agent_id, made))
    one, other = [call.tool_call_id for call in request.tool_calls]
    for wrong in [{one: True}, {"call_x": True}, {one: True, "call_x": True}, {one: True, other: True, "x": True}]:
        with pytest.raises(letta_client.BadRequestError, match="Invalid tool call IDs. Expected"):
            client.agents.messages.create(agent_id, messages=[answered(wrong)])
    both = answered({one: True, other: "one is enough"})
    answer = client.agents.messages.create(agent_id, messages=[both])
    returns = answer.messages[0].tool_returns
    assert [(it.tool_call_id, it.status) for it in returns] == [(one, "success"), (other, "error")]
    prompt(client, agent_id, say)


def test_calls_that_need_nobody_wait_for_those_that_do(client, caller, say):
    agent_id = caller("add_for_test", "long_for_test", asks=["add_for_test"], parallel_tool_calls=True)
    made = calls(("long_for_test", {"length": 2}), ("add_for_test", {"one": 2, "other": 2}))
    answer = say(agent_id, made)
    assert kinds(answer.messages) == ["tool_call_message", "approval_request_message"]
    request = asked(answer)
    assert [call.name for call in request.tool_calls] == ["add_for_test"]
    answer = client.agents.messages.create(
        agent_id, messages=[answered({request.tool_call.tool_call_id: True})]
    )
    assert [it.tool_return for it in answer.messages[0].tool_returns] == ["xx", "4"]
    prompt(client, agent_id, say)


def test_a_cancel_denies_what_waits_and_frees_the_agent(client, caller, say):
    agent_id = caller("add_for_test", asks=["add_for_test"])
    for named in (True, False):
        request = asked(say(agent_id, calls(("add_for_test", {"one": 2, "other": 3}))))
        runs = {"run_ids": [request.run_id]} if named else {}
        cancelled = client.agents.messages.cancel(agent_id, **runs)
        assert cancelled == {request.run_id: "cancelled"}
        returned = history(client, agent_id)[-1]
        assert returned.tool_return.startswith("Error: request to call tool denied. User reason: ")
        prompt(client, agent_id, say)


def test_a_cancel_in_the_middle_of_a_tool_ends_it_and_closes_its_call(client, caller, say):
    agent_id = caller("wait_for_test")
    made = calls(("wait_for_test", {"seconds": 600}))
    stream = client.agents.messages.stream(agent_id, messages=user(made))
    assert next(event for event in stream if event.message_type == "tool_call_message")
    time.sleep(0.3)  # The tool is on its way; wherever the cancel meets it, what follows holds.
    client.agents.messages.cancel(agent_id)
    rest = list(stream)
    assert kinds(rest)[-2:] == ["stop_reason", "usage_statistics"]
    assert rest[-2].stop_reason == "cancelled"
    returned = history(client, agent_id)[-1]
    assert (returned.message_type, returned.status) == ("tool_return_message", "error")
    assert "the run was cancelled" in returned.tool_return
    prompt(client, agent_id, say)


def test_a_tool_of_the_client_is_made_by_the_client(client, caller, say):
    agent_id = caller("add_for_test")
    made = calls(("look_for_test", {"at": "sky"}))
    request = asked(say(agent_id, made, client_tools=[LOOK]))
    assert seen_upstream(made)[0]["tools"] == ["add_for_test", "look_for_test"]
    assert json.loads(request.tool_call.arguments) == {"at": "sky"}
    returns = [{"type": "tool", "tool_call_id": request.tool_call.tool_call_id, "tool_return": "blue",
                "status": "success", "stdout": ["looking"]}]
    answer = client.agents.messages.create(
        agent_id, messages=[{"type": "tool_return", "tool_returns": returns}], client_tools=[LOOK]
    )
    assert kinds(answer.messages) == ["tool_return_message", "assistant_message"]
    assert (answer.messages[0].tool_return, answer.messages[0].stdout) == ("blue", ["looking"])
    assert answer.messages[1].content == "The tools said: blue"
    prompt(client, agent_id, say)


def test_a_tool_of_the_client_stands_for_the_servers_in_its_request_only(client, caller, say):
    agent_id = caller("add_for_test")
    made = calls(("add_for_test", {"one": 2, "other": 3}))
    request = asked(say(agent_id, made, client_tools=[CLIENTS_ADD]))
    assert seen_upstream(made)[-1]["tools"] == ["add_for_test"]
    returned = answered({request.tool_call.tool_call_id: {"tool_return": "twenty-three"}})
    answer = client.agents.messages.create(agent_id, messages=[returned], client_tools=[CLIENTS_ADD])
    assert answer.messages[0].tool_return == "twenty-three"
    answer = say(agent_id, made)
    assert [m.tool_return for m in answer.messages if m.message_type == "tool_return_message"] == ["5"]


@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("of_client", [True, False])
def test_a_stream_asks_and_the_stream_that_answers_goes_on(client, caller, say, tokens, of_client):
    agent_id = caller("add_for_test", asks=["add_for_test"], parallel_tool_calls=True)
    fields = {"stream_tokens": tokens, "client_tools": [CLIENTS_ADD] if of_client else []}
    arguments = [{"one": 1, "other": 1}, {"one": 2, "other": 2}]
    made = calls(*(("add_for_test", it) for it in arguments))
    events = list(client.agents.messages.stream(agent_id, messages=user(made), **fields))
    assert kinds(events) == ["approval_request_message", "stop_reason", "usage_statistics"]
    assert events[-2].stop_reason == "requires_approval"
    asks = [e for e in events if e.message_type == "approval_request_message"]
    assert len({e.id for e in asks}) == 1 and len({e.otid for e in asks}) == 1
    # As clients put the pieces together: by the id of the call, from the one call that each piece is about.
    pieces = {}
    for ask in asks:
        parts = [ask.tool_call] if tokens else ask.tool_calls
        for part in parts:
            call = pieces.setdefault(part.tool_call_id, {"name": "", "arguments": ""})
            call["name"] += part.name or ""
            call["arguments"] += part.arguments or ""
    assert [call["name"] for call in pieces.values()] == ["add_for_test"] * 2
    assert [json.loads(call["arguments"]) for call in pieces.values()] == arguments
    stored = history(client, agent_id)[-1]
    assert (stored.id, stored.message_type) == (asks[0].id, "approval_request_message")
    assert [call.tool_call_id for call in stored.tool_calls] == list(pieces)
    given = {"tool_return": "7"} if of_client else True
    answer = answered(dict.fromkeys(pieces, given))
    events = list(client.agents.messages.stream(agent_id, messages=[answer], **fields))
    assert kinds(events) == ["tool_return_message", "assistant_message", "stop_reason", "usage_statistics"]
    assert events[-2].stop_reason == "end_turn"
    assert text_in(events) == ("The tools said: 7 | 7" if of_client else "The tools said: 2 | 4")
    prompt(client, agent_id, say)


def test_a_message_in_the_background_asks_too_and_is_answered_there(client, caller):
    agent_id = caller("add_for_test", asks=["add_for_test"])
    run = client.agents.messages.create_async(
        agent_id, messages=user(calls(("add_for_test", {"one": 2, "other": 3})))
    )
    run = ended(client, run.id)
    assert (run.status, run.stop_reason) == ("completed", "requires_approval")
    asks = [m for m in client.runs.messages.list(run.id).items if m.message_type == "approval_request_message"]
    answer = answered({asks[0].tool_call.tool_call_id: True})
    run = ended(client, client.agents.messages.create_async(agent_id, messages=[answer]).id)
    assert (run.status, run.stop_reason) == ("completed", "end_turn")
    assert "tool_return_message" in kinds(client.runs.messages.list(run.id).items)


def ended(client, run_id):
    until = time.monotonic() + 20
    while True:
        run = client.runs.retrieve(run_id)
        if run.status in ("completed", "failed", "cancelled"):
            return run
        assert time.monotonic() < until, f"{run_id} does not end"
        time.sleep(0.02)


def test_whether_a_tool_asks_is_changed_by_its_name(client, caller, say):
    agent_id = caller("add_for_test")
    made = calls(("add_for_test", {"one": 2, "other": 3}))
    client.agents.tools.update_approval("add_for_test", agent_id=agent_id, body_requires_approval=True)
    request = asked(say(agent_id, made))
    client.agents.tools.update_approval("add_for_test", agent_id=agent_id, body_requires_approval=False)
    client.agents.messages.create(agent_id, messages=[answered({request.tool_call.tool_call_id: True})])
    assert "tool_return_message" in kinds(say(agent_id, made).messages)
    with pytest.raises(letta_client.UnprocessableEntityError):
        client.patch(f"/v1/agents/{agent_id}/tools/approval/add_for_test", cast_to=object)
    with pytest.raises(letta_client.UnprocessableEntityError):
        client.patch(
            f"/v1/agents/{agent_id}/tools/approval/add_for_test",
            cast_to=object,
            body={"requires_approval": True, "more": 1},
        )


def test_what_waits_outlives_a_server_that_is_killed(tmp_path):
    with KillableServer(tmp_path) as server:
        client = letta_client.Letta(base_url=server.url, api_key="any")
        tool = client.tools.upsert(source_code=inspect.getsource(add_for_test))
        rules = [{"type": "requires_approval", "tool_name": tool.name}]
        agent = client.agents.create(model="openai/caller", tool_ids=[tool.id], tool_rules=rules, name="patient")
        made = calls(("add_for_test", {"one": 2, "other": 3}))
        request = asked(client.agents.messages.create(agent.id, messages=user(made)))
        before = history(client, agent.id)
        server.kill()
        server.start()
        state = client.agents.retrieve(agent.id, include=["agent.pending_approval"])
        assert state.pending_approval.id == request.id
        assert history(client, agent.id) == before
        with pytest.raises(letta_client.ConflictError, match=ASKS):
            client.agents.messages.create(agent.id, messages=user("hello?"))
        answer = client.agents.messages.create(
            agent.id, messages=[answered({request.tool_call.tool_call_id: True})]
        )
        assert answer.messages[0].tool_return == "5"
        server.kill()
        server.start()
        again = client.agents.messages.create(
            agent.id, messages=[answered({request.tool_call.tool_call_id: True})]
        )
        assert "tool_return_message" not in kinds(again.messages), "nothing is made twice"
