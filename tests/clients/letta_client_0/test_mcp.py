"""MCP servers as this generation of the client knows them: by name, their tools added one by one."""

import letta_client
from letta_client.core.api_error import ApiError

from mcp_rig import TOKEN, HttpServer
from support import fresh


def config(name, url):
    return letta_client.StreamableHttpServerConfig(server_name=name, server_url=url, auth_token=TOKEN)


def test_a_server_is_tried_added_used_changed_and_deleted(client, make_agent):
    name = fresh("mcp-")
    with HttpServer() as server:
        tried = client.tools.test_mcp_server(request=config(name, server.url))
        assert sorted(tool["name"] for tool in tried["tools"]) == ["grow", "multiply"]
        assert name not in client.tools.list_mcp_servers()
        added = client.tools.add_mcp_server(request=config(name, server.url))
        try:
            assert name in [one.server_name for one in added]
            known = client.tools.list_mcp_servers()[name]
            assert (known.type, known.server_url, known.auth_token) == ("streamable_http", server.url, TOKEN)
            offered = {tool.name: tool for tool in client.tools.list_mcp_tools_by_server(name)}
            assert set(offered) == {"grow", "multiply"}
            assert set(offered["multiply"].input_schema["properties"]) == {"one", "other"}
            tool = client.tools.add_mcp_tool(name, "multiply")
            assert (tool.name, tool.tool_type) == ("multiply", "external_mcp")
            agent = make_agent("openai/caller", tool_ids=[tool.id])
            said = f'call multiply {{"one": 6, "other": 7}}\nthen\n{fresh()}'
            message = letta_client.MessageCreate(role="user", content=said)
            found = client.agents.messages.create(agent.id, messages=[message]).messages
            returned = next(it for it in found if it.message_type == "tool_return_message")
            assert (returned.status, returned.tool_return) == ("success", "42")
            changed = letta_client.UpdateStreamableHttpmcpServer(custom_headers={"X-Team": "a"})
            changed = client.tools.update_mcp_server(name, request=changed)
            assert (changed.server_url, changed.custom_headers) == (server.url, {"X-Team": "a"})
        finally:
            left = client.tools.delete_mcp_server(name)
        assert name not in [one.server_name for one in left]
        try:
            client.tools.retrieve(tool.id)
        except ApiError as error:
            assert error.status_code == 404
        else:
            raise AssertionError("the tool outlived its server")
