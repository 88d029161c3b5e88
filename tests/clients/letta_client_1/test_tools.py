"""Tools that users make: from source to agent, changed, searched, deleted."""

import letta_client
import pytest

from support import fresh, is_id, well_formed

SOURCE = '''
def {name}(city: str, days: int = 1) -> str:
    """Tell the weather of {name}.

    Args:
        city: The city.
        days: How many days to look ahead.
    """
    return city
'''


@pytest.fixture
def make_tool(client):
    """Makes tools and deletes at the end those that are still there."""
    made = []

    def make(name=None, **fields):
        name = name or fresh("tool_")
        tool = client.tools.upsert(source_code=SOURCE.format(name=name), **fields)
        made.append(tool.id)
        return tool

    yield make
    for tool_id in made:
        try:
            client.tools.delete(tool_id)
        except letta_client.NotFoundError:
            pass


def test_a_tool_has_the_schema_of_its_source(client, make_tool):
    name = fresh("tool_")
    tool = make_tool(name, tags=["weather"], pip_requirements=[{"name": "requests"}])
    assert is_id("tool", tool.id)
    assert (tool.name, tool.tool_type, tool.source_type) == (name, "custom", "python")
    assert tool.description == f"Tell the weather of {name}."
    assert tool.json_schema["parameters"]["required"] == ["city"]
    assert tool.json_schema["parameters"]["properties"]["days"]["type"] == "integer"
    assert tool.pip_requirements[0].name == "requests"
    found = client.tools.retrieve(tool.id)
    assert found.source_code == tool.source_code and found.tags == ["weather"]


def test_upsert_and_create_of_a_known_name_keep_the_id(client, make_tool):
    tool = make_tool()
    for again in [make_tool(tool.name), client.tools.create(source_code=SOURCE.format(name=tool.name))]:
        assert again.id == tool.id


def test_lists_take_their_filters_and_end(client, make_tool):
    tools = [make_tool() for _ in range(3)]
    names = [tool.name for tool in tools]
    assert [tool.id for tool in client.tools.list(name=names[0])] == [tools[0].id]
    walked = [tool.name for tool in client.tools.list(tool_types=["custom"], order="asc", limit=2)]
    assert [name for name in walked if name in names] == names
    assert all(tool.tool_type != "custom" for tool in client.tools.list(return_only_letta_tools=True))


def test_a_change_of_source_renames_and_a_taken_name_is_refused(client, make_tool):
    tool, other = make_tool(), make_tool()
    name = fresh("tool_")
    changed = client.tools.update(tool.id, source_code=SOURCE.format(name=name), tags=["new"])
    assert (changed.id, changed.name, changed.tags) == (tool.id, name, ["new"])
    with pytest.raises(letta_client.BadRequestError, match="already exists in your organization"):
        client.tools.update(tool.id, source_code=SOURCE.format(name=other.name))


def test_what_is_no_source_is_refused_with_the_reason(client):
    with pytest.raises(letta_client.BadRequestError) as refused:
        client.tools.create(source_code='def f(x):\n    """F.\n\n    Args:\n        x: X.\n    """\n')
    assert "x" in refused.value.body["detail"]
    with pytest.raises(letta_client.NotFoundError):
        client.tools.retrieve(well_formed("tool"))


def test_an_agent_gets_a_tool_by_name_and_loses_it_with_it(client, make_agent, make_tool):
    tool = make_tool()
    agent = make_agent(tools=[tool.name])
    assert tool.id in [known.id for known in agent.tools]
    other = make_agent()
    attached = client.agents.tools.attach(tool.id, agent_id=other.id)
    assert tool.name in [known.name for known in attached.tools]
    detached = client.agents.tools.detach(tool.id, agent_id=other.id)
    assert tool.name not in [known.name for known in detached.tools]
    client.tools.delete(tool.id)
    assert tool.id not in [known.id for known in client.agents.retrieve(agent.id).tools]


def test_calls_can_be_made_to_wait_for_a_person(client, make_agent, make_tool):
    tool = make_tool()
    agent = make_agent(tools=[tool.name])

    def asks(required):
        state = client.agents.tools.update_approval(
            tool.name, agent_id=agent.id, body_requires_approval=required
        )
        return [rule.tool_name for rule in state.tool_rules if rule.type == "requires_approval"]

    assert asks(True) == [tool.name]
    assert asks(False) == []


def test_a_search_finds_a_tool_by_its_words(client, make_tool):
    tool = make_tool()
    results = client.tools.search(query=tool.name)
    assert results[0].tool.id == tool.id
    assert results[0].combined_score > 0
