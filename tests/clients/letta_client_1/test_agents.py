"""Agents: create, retrieve, list over pages, update, delete; their blocks and tools."""

import letta_client
import pytest

from support import first, fresh, is_id, well_formed


def test_a_created_agent_holds_its_blocks_and_base_tools(client, make_agent):
    name, tag = fresh("agent-"), fresh("tag-")
    agent = make_agent(name=name, tags=[tag], description="for a test", metadata={"a": 1})
    assert is_id("agent", agent.id)
    assert agent.name == name
    assert agent.agent_type == "letta_v1_agent"
    assert agent.model == "openai/echo"
    assert agent.tags == [tag]
    assert agent.description == "for a test"
    assert agent.metadata == {"a": 1}
    assert agent.timezone == "UTC"
    assert {b.label: b.value for b in agent.blocks} == {
        "human": "The human is called Ada.",
        "persona": "I am a test.",
    }
    assert all(is_id("block", b.id) and b.limit == 100000 for b in agent.blocks)
    assert [b.id for b in agent.memory.blocks] == [b.id for b in agent.blocks]
    assert {t.name for t in agent.tools} >= {"conversation_search", "memory_insert", "memory_replace"}
    assert all(is_id("tool", t.id) for t in agent.tools)
    assert agent.llm_config.handle == "openai/echo"
    assert agent.llm_config.context_window > 0
    assert len(agent.message_ids) == 1, "a new agent has its system message only"
    assert agent.created_at is not None and agent.created_at.tzinfo is not None


def test_retrieve_answers_what_create_answered(client, agent):
    found = client.agents.retrieve(agent.id)
    assert found.id == agent.id
    assert found.name == agent.name
    assert found.created_at == agent.created_at
    assert found.system == agent.system
    assert found.message_ids == agent.message_ids
    asked = client.agents.retrieve(agent.id, include=["agent.tools", "agent.blocks", "agent.tags"])
    assert {t.id for t in asked.tools} == {t.id for t in agent.tools}
    assert {b.id for b in asked.blocks} == {b.id for b in agent.blocks}


@pytest.fixture
def seven(make_agent):
    tag = fresh("tag-")
    return tag, [make_agent(tags=[tag, f"{tag}-{n}"]).id for n in range(7)]


def test_iteration_gives_each_agent_once_and_ends(client, seven):
    tag, made = seven
    newest_first = [a.id for a in first(client.agents.list(tags=[tag], limit=2), 20)]
    assert newest_first == made[::-1]
    oldest_first = first(client.agents.list(tags=[tag], limit=2, order="asc"), 20)
    assert [a.id for a in oldest_first] == made


def test_iteration_backwards_from_a_cursor(client, seven):
    tag, made = seven
    page = client.agents.list(tags=[tag], limit=2, order="asc", before=made[6])
    assert [a.id for a in page.items] == made[4:6]
    assert sorted(a.id for a in first(page, 20)) == sorted(made[:6])


def test_a_cursor_is_exclusive_and_follows_the_order(client, seven):
    tag, made = seven
    after = client.agents.list(tags=[tag], order="asc", after=made[2], limit=3).items
    assert [a.id for a in after] == made[3:6]
    after = client.agents.list(tags=[tag], order="desc", after=made[2]).items
    assert [a.id for a in after] == [made[1], made[0]]
    window = client.agents.list(tags=[tag], order="asc", after=made[1], before=made[5]).items
    assert [a.id for a in window] == made[2:5]


def test_pages_name_their_cursors_in_headers(client, seven):
    tag, made = seven
    answer = client.agents.with_raw_response.list(tags=[tag], limit=3, order="asc")
    assert answer.headers["next-cursor"] == made[2]
    assert answer.headers["prev-cursor"] == made[0]


def test_an_unknown_cursor_is_not_found(client):
    with pytest.raises(letta_client.NotFoundError):
        client.agents.list(after=well_formed("agent"))


def test_filters(client, seven):
    tag, made = seven
    assert [a.id for a in client.agents.list(tags=[f"{tag}-3"]).items] == [made[3]]
    either = client.agents.list(tags=[f"{tag}-1", f"{tag}-2"], order="asc").items
    assert [a.id for a in either] == made[1:3]
    both = client.agents.list(tags=[tag, f"{tag}-5"], match_all_tags=True).items
    assert [a.id for a in both] == [made[5]]
    assert client.agents.list(tags=[f"{tag}-1", f"{tag}-2"], match_all_tags=True).items == []
    name = client.agents.retrieve(made[4]).name
    assert [a.id for a in client.agents.list(name=name).items] == [made[4]]
    assert [a.id for a in client.agents.list(query_text=name[3:].upper()).items] == [made[4]]


def test_update_changes_what_is_given_and_nothing_else(client, agent):
    changed = client.agents.update(agent.id, name=fresh("new-"), tags=["b", "a"])
    assert changed.name != agent.name
    assert sorted(changed.tags) == ["a", "b"]
    assert changed.system == agent.system
    assert client.agents.retrieve(agent.id).name == changed.name
    assert client.agents.update(agent.id, description="d").name == changed.name
    assert client.agents.update(agent.id, tags=[]).tags == []


def test_a_changed_system_prompt_is_what_the_model_gets(client, agent):
    secret = fresh("secret ")
    assert client.agents.update(agent.id, system=f"Say {secret}.").system == f"Say {secret}."
    system = client.agents.messages.list(agent.id).items[0]
    assert system.message_type == "system_message"
    assert secret in system.content
    assert "The human is called Ada." in system.content
    assert secret in client.agents.recompile(agent.id)


def test_delete_says_so_and_leaves_the_blocks(client, make_agent):
    agent = make_agent()
    answer = client.agents.delete(agent.id)
    assert answer == {"message": f"Agent id={agent.id} successfully deleted"}
    with pytest.raises(letta_client.NotFoundError) as refused:
        client.agents.retrieve(agent.id)
    assert refused.value.status_code == 404
    assert isinstance(refused.value.body["detail"], str)
    assert client.blocks.retrieve(agent.blocks[0].id).id == agent.blocks[0].id
    with pytest.raises(letta_client.NotFoundError):
        client.agents.delete(agent.id)


def test_core_memory_blocks_by_label(client, agent):
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "The human is called Ada."
    changed = client.agents.blocks.update("human", agent_id=agent.id, value="Grace.")
    assert changed.value == "Grace."
    assert client.blocks.retrieve(changed.id).value == "Grace."
    listed = client.agents.blocks.list(agent.id).items
    assert {b.label for b in listed} == {"human", "persona"}
    paged = first(client.agents.blocks.list(agent.id, limit=1), 5)
    assert sorted(b.id for b in paged) == sorted(b.id for b in listed)
    with pytest.raises(letta_client.NotFoundError):
        client.agents.blocks.retrieve("nothing", agent_id=agent.id)
    system = client.agents.messages.list(agent.id).items[0].content
    assert "Grace." in system and "Ada" not in system, "an edit rebuilds the system message"


def test_blocks_are_attached_detached_and_shared(client, make_agent):
    one, other = make_agent(), make_agent()
    block = client.blocks.create(label="shared/notes", value="one")
    for agent in (one, other):
        state = client.agents.blocks.attach(block.id, agent_id=agent.id)
        assert block.id in [b.id for b in state.blocks]
    holders = client.blocks.agents.list(block.id).items
    assert {a.id for a in holders} == {one.id, other.id}
    client.agents.blocks.update("shared/notes", agent_id=one.id, value="two")
    seen = client.agents.blocks.retrieve("shared/notes", agent_id=other.id)
    assert seen.value == "two", "a shared block has one value"
    assert "two" in client.agents.messages.list(other.id).items[0].content
    state = client.agents.blocks.detach(block.id, agent_id=one.id)
    assert block.id not in [b.id for b in state.blocks]
    assert [a.id for a in client.blocks.agents.list(block.id).items] == [other.id]
    client.blocks.delete(block.id)
    assert "shared/notes" not in [b.label for b in client.agents.blocks.list(other.id).items]


def test_a_second_block_with_the_same_label_is_a_conflict(once, agent):
    block = once.blocks.create(label="human", value="another")
    with pytest.raises(letta_client.ConflictError):
        once.agents.blocks.attach(block.id, agent_id=agent.id)
    once.blocks.delete(block.id)


def test_existing_blocks_are_attached_on_create(client, make_agent):
    block = client.blocks.create(label="project", value="retold")
    agent = make_agent(block_ids=[block.id])
    assert {b.label for b in agent.blocks} == {"human", "persona", "project"}
    client.blocks.delete(block.id)


def test_tools_of_an_agent(client, agent):
    tools = {t.name: t for t in client.tools.list(limit=100).items}
    assert "memory_rethink" in tools
    rethink = tools["memory_rethink"]
    assert client.tools.retrieve(rethink.id).name == "memory_rethink"
    assert rethink.json_schema["name"] == "memory_rethink"
    client.agents.tools.attach(rethink.id, agent_id=agent.id)
    names = [t.name for t in first(client.agents.tools.list(agent.id, limit=2), 20)]
    assert "memory_rethink" in names and len(names) == len(set(names))
    client.agents.tools.detach(rethink.id, agent_id=agent.id)
    names = [t.name for t in client.agents.tools.list(agent.id).items]
    assert "memory_rethink" not in names and "memory_insert" in names


def test_iteration_over_tools_ends(client):
    tools = first(client.tools.list(limit=2), 200)
    assert len({t.id for t in tools}) == len(tools) >= 6
