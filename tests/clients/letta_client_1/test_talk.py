"""Agents that send to agents."""

import json

from support import fresh, user, wait_for

ASK = "send_message_to_agent_and_wait_for_reply"
ASK_ALL = "send_message_to_agents_matching_tags"
TELL = "send_message_to_agent_async"


def call(tool, **arguments):
    return user(f"call {tool} {json.dumps(arguments)}")


def returned(answer):
    return next(m.tool_return for m in answer.messages if m.message_type == "tool_return_message")


def test_an_agent_asks_another_and_hears_its_answer(client, make_agent):
    other = make_agent(model="openai/echo")
    agent = make_agent(model="openai/caller", tools=[ASK, ASK_ALL, TELL])
    assert {ASK, ASK_ALL, TELL} <= {tool.name for tool in agent.tools}
    answer = client.agents.messages.create(
        agent.id, messages=call(ASK, message="Are you there?", other_agent_id=other.id)
    )
    reply = json.loads(returned(answer))
    assert reply["agent_id"] == other.id and len(reply["response"]) == 1
    runs = client.runs.list(agent_id=other.id).items
    assert runs[0].metadata["asked_by_agent_id"] == agent.id
    heard = client.agents.messages.list(other.id, order="asc").items
    heard = next(m for m in heard if m.message_type == "system_message" and agent.id in m.content)
    assert heard.content.endswith("Are you there?")


def test_all_that_carry_the_tags_are_asked(client, make_agent):
    tag = fresh("team")
    others = {make_agent(model="openai/echo", tags=[tag]).id for _ in range(2)}
    agent = make_agent(model="openai/caller", tags=[tag], tools=[ASK, ASK_ALL, TELL])
    answer = client.agents.messages.create(
        agent.id, messages=call(ASK_ALL, message="Hello all", match_all=[tag], match_some=[])
    )
    assert {reply["agent_id"] for reply in json.loads(returned(answer))} == others


def test_a_cancel_of_the_asker_cancels_what_it_asked(client, make_agent):
    other = make_agent(model="openai/silent")
    agent = make_agent(model="openai/caller", tools=[ASK, ASK_ALL, TELL])
    run = client.agents.messages.create_async(
        agent.id, messages=call(ASK, message="Take your time.", other_agent_id=other.id)
    )
    wait_for(lambda: client.runs.list(agent_id=other.id).items, what="the question")
    client.agents.messages.cancel(agent.id, run_ids=[run.id])
    # Both have ended when the cancel answers.
    assert client.runs.retrieve(run.id).status == "cancelled"
    assert client.runs.list(agent_id=other.id).items[0].status == "cancelled"


def test_a_one_way_message_is_not_waited_for(client, make_agent):
    other = make_agent(model="openai/silent")
    agent = make_agent(model="openai/caller", tools=[ASK, ASK_ALL, TELL])
    answer = client.agents.messages.create(
        agent.id, messages=call(TELL, message="By the way", other_agent_id=other.id)
    )
    assert returned(answer) == "Successfully sent message"
    client.agents.messages.cancel(other.id)
