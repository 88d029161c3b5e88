"""MCP servers through the official client: made known, their tools called by agents, refreshed, forgotten.

The MCP server is a real one, of the official SDK, and asks for a token.
"""

import letta_client
import pytest

from mcp_rig import SCRIPT, TOKEN, HttpServer, python
from support import PASSWORD, fresh, is_id, seen_upstream, text_in, valid_for_a_provider


@pytest.fixture(scope="module")
def http():
    with HttpServer() as server:
        yield server


@pytest.fixture
def make_server(client):
    """Makes servers known and forgets at the end those that still are."""
    made = []

    def make(config):
        server = client.mcp_servers.create(server_name=fresh("mcp-"), config=config)
        made.append(server.id)
        return server

    yield make
    for server_id in made:
        try:
            client.mcp_servers.delete(server_id)
        except letta_client.NotFoundError:
            pass


@pytest.fixture
def server(make_server, http):
    return make_server({"mcp_server_type": "streamable_http", "server_url": http.url, "auth_token": TOKEN})


def test_a_server_is_found_again_with_what_it_was_given(client, server, http):
    assert is_id("mcp_server", server.id)
    assert (server.mcp_server_type, server.server_url, server.auth_token) == ("streamable_http", http.url, TOKEN)
    again = client.mcp_servers.retrieve(server.id)
    assert again == server
    assert server.id in [one.id for one in client.mcp_servers.list()]


def test_an_agent_calls_a_tool_of_the_server(client, server, make_agent, say):
    tools = {tool.name: tool for tool in client.mcp_servers.tools.list(server.id)}
    multiply = tools["multiply"]
    assert multiply.tool_type == "external_mcp" and multiply.tags == [f"mcp:{server.server_name}"]
    assert set(multiply.json_schema["parameters"]["properties"]) == {"one", "other"}
    assert client.mcp_servers.tools.retrieve(multiply.id, mcp_server_id=server.id).name == "multiply"
    assert multiply.id in [tool.id for tool in client.tools.list(tool_types=["external_mcp"])]
    agent = make_agent("openai/caller")
    client.agents.tools.attach(multiply.id, agent_id=agent.id)
    said = f'call multiply {{"one": 6, "other": 7}}\nthen\n{fresh()}'
    found = say(agent.id, said).messages
    returned = next(message for message in found if message.message_type == "tool_return_message")
    assert (returned.status, returned.tool_return) == ("success", "42")
    assert "The tools said: 42" in text_in(found)
    for request in seen_upstream(said):
        valid_for_a_provider(request["messages"])
        assert "multiply" in request["tools"]
    client.agents.tools.detach(multiply.id, agent_id=agent.id)


def test_what_the_tool_does_not_take_is_told_to_the_model(client, server, make_agent, say):
    tools = {tool.name: tool for tool in client.mcp_servers.tools.list(server.id)}
    agent = make_agent("openai/caller", tool_ids=[tools["multiply"].id])
    found = say(agent.id, f'call multiply {{"one": "six"}}\nthen\n{fresh()}').messages
    returned = next(message for message in found if message.message_type == "tool_return_message")
    assert returned.status == "error" and "one" in returned.tool_return
    assert text_in(found).startswith("The tools said:")


def test_a_refresh_finds_what_the_server_gained_and_a_deletion_forgets_it(client, http, make_server):
    config = {"mcp_server_type": "streamable_http", "server_url": http.url, "auth_token": TOKEN}
    server = make_server(config)
    tools = {tool.name: tool for tool in client.mcp_servers.tools.list(server.id)}
    ran = client.mcp_servers.tools.run(tools["grow"].id, mcp_server_id=server.id)
    assert (ran.status, ran.func_return) == ("success", "grown")
    told = client.mcp_servers.refresh(server.id)
    assert told == {"deleted": [], "updated": [], "added": ["subtract"]}
    after = {tool.name: tool for tool in client.mcp_servers.tools.list(server.id)}
    assert after["multiply"].id == tools["multiply"].id
    args = {"one": 44, "other": 2}
    ran = client.mcp_servers.tools.run(after["subtract"].id, mcp_server_id=server.id, args=args)
    assert (ran.status, ran.func_return) == ("success", "42")
    client.mcp_servers.delete(server.id)
    for read in (client.mcp_servers.retrieve, client.mcp_servers.tools.list):
        with pytest.raises(letta_client.NotFoundError):
            read(server.id)
    with pytest.raises(letta_client.NotFoundError):
        client.tools.retrieve(after["subtract"].id)


def test_a_wrong_token_is_told_by_a_refresh(once, make_server, http):
    config = {"mcp_server_type": "streamable_http", "server_url": http.url, "auth_token": "another one"}
    server = make_server(config)
    assert once.mcp_servers.tools.list(server.id) == []
    with pytest.raises(letta_client.InternalServerError) as refused:
        once.mcp_servers.refresh(server.id)
    assert refused.value.status_code == 502
    assert refused.value.body["error"]["type"] == "mcp_connection_error"
    assert "another one" not in str(refused.value.body)
    changed = once.mcp_servers.update(
        server.id, config={"mcp_server_type": "streamable_http", "server_url": None, "auth_token": TOKEN}
    )
    assert (changed.server_url, changed.server_name) == (http.url, server.server_name)
    assert once.mcp_servers.tools.list(server.id) != []


def test_a_name_is_given_once(once, server, http):
    with pytest.raises(letta_client.ConflictError):
        once.mcp_servers.create(
            server_name=server.server_name,
            config={"mcp_server_type": "streamable_http", "server_url": http.url},
        )


def test_programs_are_started_only_where_that_is_on(once, secure):
    config = {"mcp_server_type": "stdio", "command": python(), "args": [str(SCRIPT), "stdio"]}
    with pytest.raises(letta_client.BadRequestError, match="mcp_stdio"):
        once.mcp_servers.create(server_name=fresh("mcp-"), config=config)
    with secure(PASSWORD) as client:
        config = {**config, "env": {"TOKEN": "unused"}}
        server = client.mcp_servers.create(server_name=fresh("mcp-"), config=config)
        assert (server.mcp_server_type, server.env) == ("stdio", {"TOKEN": "unused"})
        tools = {tool.name: tool for tool in client.mcp_servers.tools.list(server.id)}
        args = {"one": 6, "other": 7}
        ran = client.mcp_servers.tools.run(tools["multiply"].id, mcp_server_id=server.id, args=args)
        assert (ran.status, ran.func_return) == ("success", "42")
        client.mcp_servers.delete(server.id)
