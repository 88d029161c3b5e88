"""Functions as tools, as this generation of the client makes them: run by themselves, by an agent, and with a person's leave."""

import inspect

import pytest
from letta_client import ApprovalCreate, MessageCreate
from letta_client.core.api_error import ApiError


def double_a_test_number(number: int) -> int:
    """
    Double a number.

    Args:
        number (int): The number.

    Returns:
        int: Twice the number.
    """
    print("doubling")
    return number * 2


CALL = 'call double_a_test_number {"number": 21}'


@pytest.fixture
def tool(client):
    tool = client.tools.upsert_from_function(func=double_a_test_number)
    yield tool
    client.tools.delete(tool.id)


@pytest.fixture
def caller(make_agent, tool):
    """An agent that makes the calls it is told to make."""
    return make_agent("openai/caller", tool_ids=[tool.id], include_base_tools=False)


def kinds(messages):
    return [message.message_type for message in messages]


def test_a_function_is_run_from_its_source(client):
    source = inspect.getsource(double_a_test_number)
    ran = client.tools.run_tool_from_source(source_code=source, args={"number": 21})
    assert (ran.status, ran.tool_return, ran.stdout) == ("success", "42", ["doubling"])
    failed = client.tools.run_tool_from_source(source_code=source, args={"number": None})
    assert failed.status == "error" and "TypeError" in failed.tool_return


def test_an_agent_calls_a_function(caller, say):
    answer = say(caller.id, CALL)
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message", "assistant_message"]
    assert answer.messages[1].tool_return == "42"
    assert answer.messages[2].content == "The tools said: 42"


@pytest.mark.parametrize("approve", [True, False])
def test_a_call_is_approved_or_denied_by_the_id_of_its_request(client, caller, say, approve):
    client.agents.tools.modify_approval(caller.id, "double_a_test_number", requires_approval=True)
    request = say(caller.id, CALL).messages[-1]
    assert request.message_type == "approval_request_message"
    with pytest.raises(ApiError) as refused:
        say(caller.id, "hello?")
    assert refused.value.status_code == 409
    answer = ApprovalCreate(approve=approve, approval_request_id=request.id, reason="as I like")
    decided = client.agents.messages.create(caller.id, messages=[answer])
    assert kinds(decided.messages) == ["tool_return_message", "assistant_message"]
    returned = decided.messages[0]
    denied = "Error: request to call tool denied. User reason: as I like"
    assert (returned.status, returned.tool_return) == (("success", "42") if approve else ("error", denied))
    again = client.agents.messages.create(
        caller.id, messages=[answer, MessageCreate(role="user", content="Well?")]
    )
    assert kinds(again.messages) == ["assistant_message"], "the same answer, twice"
