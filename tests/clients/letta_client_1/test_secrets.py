"""Secrets of agents: given, asked for by name, used by tools that run in the server's cage, and shown nowhere else."""

import inspect

import letta_client
import pytest

from support import fresh, is_id, seen_upstream


def environment_for_test(name: str) -> str:
    """Tell a variable and how long it is.

    Args:
        name: Its name.
    """
    import os

    value = os.environ.get(name, "")
    print(value)
    return f"{len(value)}: {value}"


@pytest.fixture(scope="module")
def tool(client):
    tool = client.tools.upsert(source_code=inspect.getsource(environment_for_test))
    yield tool
    client.tools.delete(tool.id)


def shown(client, agent_id):
    """The secrets of an agent, by name."""
    agent = client.agents.retrieve(agent_id, include=["agent.secrets"])
    assert agent.secrets == agent.tool_exec_environment_variables
    return {secret.key: secret for secret in agent.secrets}


def test_secrets_are_kept_replaced_and_shown_to_who_asks_by_name(client, make_agent):
    value = fresh("open-sesame-")
    agent = make_agent(secrets={"TOKEN": value, "REGION": "eu"})
    assert agent.secrets == []
    assert client.agents.retrieve(agent.id).secrets == []
    first = shown(client, agent.id)
    assert {name: secret.value for name, secret in first.items()} == {"TOKEN": value, "REGION": "eu"}
    assert all(is_id("agent-env", secret.id) and secret.agent_id == agent.id for secret in first.values())

    client.agents.update(agent.id, secrets={"TOKEN": value, "ZONE": "1"})
    second = shown(client, agent.id)
    assert {name: secret.value for name, secret in second.items()} == {"TOKEN": value, "ZONE": "1"}
    assert second["TOKEN"] == first["TOKEN"]
    client.agents.update(agent.id, name=fresh("agent-"))
    assert shown(client, agent.id) == second
    client.agents.update(agent.id, secrets={})
    assert shown(client, agent.id) == {}


def test_what_cannot_be_a_secret_is_refused_and_not_repeated(client, make_agent):
    value = fresh("open-sesame-")
    agent = make_agent()
    for secrets in [{"PATH": value}, {"no name": value}, {"A": [value]}]:
        with pytest.raises(letta_client.UnprocessableEntityError) as refused:
            client.agents.update(agent.id, secrets=secrets)
        assert value not in str(refused.value) and value not in str(refused.value.body)
    assert shown(client, agent.id) == {}


def test_a_tool_finds_them_and_nobody_reads_what_it_prints(client, make_agent, say, tool):
    value = fresh("open-sesame-")
    agent = make_agent("openai/caller", tool_ids=[tool.id], include_base_tools=False, secrets={"TOKEN": value})
    told = f"{len(value)}: [secret TOKEN]"
    ran = client.agents.tools.run(tool.name, agent_id=agent.id, args={"name": "TOKEN"})
    assert (ran.status, ran.func_return, ran.stdout) == ("success", told, ["[secret TOKEN]"])
    its_id = client.agents.tools.run(tool.name, agent_id=agent.id, args={"name": "LETTA_AGENT_ID"})
    assert its_id.func_return == f"{len(agent.id)}: {agent.id}"

    answer = say(agent.id, f'call {tool.name} {{"name": "TOKEN"}}')
    returned = [message for message in answer.messages if message.message_type == "tool_return_message"]
    assert returned[0].tool_return == told
    assert value not in str(answer)
    mark = f"What of {agent.id}?"
    say(agent.id, mark)
    prompt = str(seen_upstream(mark)[-1]["messages"])
    assert told in prompt and value not in prompt
