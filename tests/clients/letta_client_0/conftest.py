"""Fixtures of the suites for letta-client 0.1.x, the generation before 1.0."""

import letta_client
import pytest
from letta_client import CreateBlock, MessageCreate
from letta_client.core.api_error import ApiError
from letta_client.version import __version__

from support import SECURE_URL, URL, fresh

assert __version__ == "0.1.324"


@pytest.fixture(scope="session")
def client():
    return letta_client.Letta(base_url=URL, token="any")


@pytest.fixture
def make_agent(client):
    """Makes agents and deletes at the end those that are still there."""
    made = []

    def make(model="openai/echo", **fields):
        fields.setdefault("name", fresh("agent-"))
        fields.setdefault(
            "memory_blocks",
            [
                CreateBlock(label="human", value="The human is called Ada."),
                CreateBlock(label="persona", value="I am a test."),
            ],
        )
        agent = client.agents.create(model=model, **fields)
        made.append(agent.id)
        return agent

    yield make
    for agent_id in made:
        try:
            client.agents.delete(agent_id)
        except ApiError as error:
            assert error.status_code == 404


@pytest.fixture
def agent(make_agent):
    return make_agent()


@pytest.fixture
def secure():
    def connect(token):
        return letta_client.Letta(base_url=SECURE_URL, token=token)

    return connect


@pytest.fixture
def say(client):
    def send(agent_id, text, **fields):
        messages = [MessageCreate(role="user", content=text)]
        return client.agents.messages.create(agent_id, messages=messages, **fields)

    return send
