"""Agents, blocks, tools and tags by the names of the older SDK."""

import pytest
from letta_client import UnprocessableEntityError
from letta_client.core.api_error import ApiError

from support import fresh, is_id, well_formed


def pages(ask, limit=2, most=30):
    """The older SDK has no pager of its own: ask with the last id until a page is empty."""
    found, after = [], None
    while page := ask(limit=limit, after=after):
        found += page
        after = page[-1].id
        assert len(found) <= most, "the pages never end"
    return found


def refusal(ask) -> ApiError:
    """This SDK has one class for nearly every status."""
    with pytest.raises(ApiError) as refused:
        ask()
    return refused.value


def test_an_agent_from_creation_to_deletion(client, make_agent):
    agent = make_agent(tags=["one"], metadata={"a": 1})
    assert is_id("agent", agent.id) and agent.agent_type == "letta_v1_agent"
    assert agent.llm_config.handle == "openai/echo"
    assert {b.label: b.value for b in agent.memory.blocks} == {
        "human": "The human is called Ada.",
        "persona": "I am a test.",
    }
    assert {t.name for t in agent.tools} >= {"conversation_search", "memory_insert"}
    assert agent.sources == [] and agent.tags == ["one"]
    found = client.agents.retrieve(agent.id)
    assert (found.id, found.name, found.created_at) == (agent.id, agent.name, agent.created_at)
    assert {t.id for t in found.tools} == {t.id for t in agent.tools}
    changed = client.agents.modify(agent.id, name="renamed", tags=["two"])
    assert (changed.name, changed.tags) == ("renamed", ["two"])
    assert client.agents.delete(agent.id) == {
        "message": f"Agent id={agent.id} successfully deleted"
    }
    assert refusal(lambda: client.agents.retrieve(agent.id)).status_code == 404


def test_lists_and_counts(client, make_agent):
    tag, before = fresh("tag-"), client.agents.count()
    made = [make_agent(tags=[tag]).id for _ in range(7)]
    assert client.agents.count() == before + 7
    ask = lambda **page: client.agents.list(tags=[tag], **page)  # noqa: E731
    assert [a.id for a in pages(ask)] == made[::-1]
    ask = lambda **page: client.agents.list(tags=[tag], order="asc", **page)  # noqa: E731
    listed = pages(ask)
    assert [a.id for a in listed] == made
    assert all(a.tools and a.memory.blocks for a in listed), "this client reads relations of lists"
    assert [a.id for a in client.agents.list(tags=tag)] == made[::-1]
    assert client.tags.list(name=tag) == [tag]


def test_core_memory(client, agent):
    assert {b.label for b in client.agents.blocks.list(agent.id)} == {"human", "persona"}
    human = client.agents.blocks.retrieve(agent.id, "human")
    assert human.value == "The human is called Ada."
    assert client.agents.blocks.modify(agent.id, "human", value="Grace.").value == "Grace."
    memory = client.agents.core_memory.retrieve(agent.id)
    assert "Grace." in [b.value for b in memory.blocks]
    block = client.blocks.create(label="notes", value="one")
    state = client.agents.blocks.attach(agent.id, block.id)
    assert "notes" in {b.label for b in state.memory.blocks}
    assert [a.id for a in client.blocks.agents.list(block.id)] == [agent.id]
    state = client.agents.blocks.detach(agent.id, block.id)
    assert "notes" not in {b.label for b in state.memory.blocks}
    client.blocks.delete(block.id)


def test_blocks(client):
    label, before = fresh("label_"), client.blocks.count()
    made = [client.blocks.create(label=label, value=str(n)).id for n in range(5)]
    assert client.blocks.count() == before + 5
    ask = lambda **page: client.blocks.list(label=label, **page)  # noqa: E731
    assert [b.id for b in pages(ask)] == made
    assert client.blocks.modify(made[0], value="changed").value == "changed"
    assert client.blocks.retrieve(made[0]).value == "changed"
    for block_id in made:
        assert client.blocks.delete(block_id) is None
    assert refusal(lambda: client.blocks.retrieve(made[0])).status_code == 404


def test_tools(client, agent):
    tools = {t.name: t for t in client.tools.list(limit=100)}
    assert client.tools.count() == len(tools)
    rethink = tools["memory_rethink"]
    assert client.tools.retrieve(rethink.id).name == "memory_rethink"
    state = client.agents.tools.attach(agent.id, rethink.id)
    assert "memory_rethink" in {t.name for t in state.tools}, "this client gets the whole agent"
    assert "memory_rethink" in {t.name for t in client.agents.tools.list(agent.id)}
    state = client.agents.tools.detach(agent.id, rethink.id)
    assert "memory_rethink" not in {t.name for t in state.tools}


def test_models_and_health(client):
    handles = {m.handle for m in client.models.list()}
    assert {"retold/rehearsal", "openai/echo"} <= handles
    assert isinstance(client.models.embeddings.list(), list)
    assert client.health.check().status == "ok"


def test_errors(client, agent, secure):
    unknown = refusal(lambda: client.agents.retrieve(well_formed("agent")))
    assert unknown.status_code == 404 and isinstance(unknown.body["detail"], str)
    with pytest.raises(UnprocessableEntityError):
        client.agents.retrieve("agent-1")
    assert refusal(lambda: client.agents.create(model="nonsense")).status_code == 400
    assert refusal(lambda: client.agents.messages.cancel(agent.id)).status_code == 409
    assert refusal(lambda: secure("wrong").agents.list()).status_code == 401
