"""Tools made from Python functions, as this generation of the client does it."""

from letta_client.core.api_error import ApiError

from support import is_id


def roll_a_test_die(sides: int, times: int = 1) -> list[int]:
    """
    Roll a die.

    Args:
        sides (int): How many sides it has.
        times (int): How often to roll it.

    Returns:
        list[int]: What came up.
    """
    return [sides] * times


def test_a_function_becomes_a_tool_and_stays_one(client, make_agent):
    tool = client.tools.upsert_from_function(func=roll_a_test_die)
    try:
        assert is_id("tool", tool.id)
        assert tool.name == "roll_a_test_die"
        assert tool.json_schema["parameters"]["required"] == ["sides"]
        assert client.tools.upsert_from_function(func=roll_a_test_die).id == tool.id
        assert client.tools.retrieve(tool.id).source_code == tool.source_code
        assert [found.id for found in client.tools.list(name=tool.name)] == [tool.id]
        changed = client.tools.modify(tool.id, tags=["dice"], return_char_limit=100)
        assert (changed.tags, changed.return_char_limit) == (["dice"], 100)
        agent = make_agent()
        attached = client.agents.tools.attach(agent.id, tool.id)
        assert tool.name in [known.name for known in attached.tools]
        names = [known.name for known in client.tools.upsert_base_tools()]
        assert "memory_insert" in names
    finally:
        client.tools.delete(tool.id)
    try:
        client.tools.retrieve(tool.id)
        raise AssertionError("it is gone")
    except ApiError as gone:
        assert gone.status_code == 404
