"""Fixtures of the suites for letta-client 1.x. The client is the official one, as installed."""

import letta_client
import pytest

from support import SECURE_URL, URL, fresh, user

assert letta_client.__version__ == "1.12.1"


@pytest.fixture(scope="session")
def client():
    with letta_client.Letta(base_url=URL, api_key="any") as client:
        yield client


@pytest.fixture(scope="session")
def once(client):
    """The same client without its own retries, for answers that it would ask for again."""
    return client.with_options(max_retries=0)


@pytest.fixture
def make_agent(client):
    """Makes agents and deletes at the end those that are still there."""
    made = []

    def make(model="openai/echo", **fields):
        fields.setdefault("name", fresh("agent-"))
        fields.setdefault(
            "memory_blocks",
            [
                {"label": "human", "value": "The human is called Ada."},
                {"label": "persona", "value": "I am a test."},
            ],
        )
        agent = client.agents.create(model=model, **fields)
        made.append(agent.id)
        return agent

    yield make
    for agent_id in made:
        try:
            client.agents.delete(agent_id)
        except letta_client.NotFoundError:
            pass


@pytest.fixture
def agent(make_agent):
    return make_agent()


@pytest.fixture
def secure():
    def connect(key):
        return letta_client.Letta(base_url=SECURE_URL, api_key=key, max_retries=0)

    return connect


@pytest.fixture
def say(client):
    """Sends one message and waits for the answer."""

    def send(agent_id, text, **fields):
        return client.agents.messages.create(agent_id, messages=user(text), **fields)

    return send
