"""Health, models, tags; errors of every class; the password; the asynchronous client."""

import asyncio

import httpx
import letta_client
import pytest

from support import PASSWORD, SECURE_URL, URL, first_async, fresh, text_in, user, well_formed


def test_health(client):
    health = client.health()
    assert health.status == "ok" and health.version
    assert httpx.get(f"{URL}/v1/health", follow_redirects=False).status_code == 200


def test_models_of_every_provider_are_listed(client):
    models = {m.handle: m for m in client.models.list()}
    assert {"retold/rehearsal", "openai/echo", "openai/slow"} <= set(models)
    assert models["openai/echo"].name == "echo"
    assert models["openai/echo"].max_context_window > 0
    only = client.models.list(provider_name="retold")
    assert [m.handle for m in only] == ["retold/rehearsal"]
    assert isinstance(client.models.embeddings.list(), list)


def test_tags_are_listed_once_in_their_order(client, make_agent):
    prefix = fresh("tag-")
    make_agent(tags=[f"{prefix}-b", f"{prefix}-a"])
    make_agent(tags=[f"{prefix}-c", f"{prefix}-a"])
    wanted = [f"{prefix}-{letter}" for letter in "abc"]
    assert client.tags.list(name=prefix) == wanted
    assert client.tags.list(query_text=prefix, limit=2) == wanted[:2]
    assert client.tags.list(name=prefix, after=wanted[0]) == wanted[1:]


def test_an_unknown_id_is_not_found(client):
    for ask in (
        lambda: client.agents.retrieve(well_formed("agent")),
        lambda: client.agents.messages.list(well_formed("agent")),
        lambda: client.agents.messages.create(well_formed("agent"), input="x"),
        lambda: client.blocks.retrieve(well_formed("block")),
        lambda: client.tools.retrieve(well_formed("tool")),
    ):
        with pytest.raises(letta_client.NotFoundError) as refused:
            ask()
        assert isinstance(refused.value.body["detail"], str)


def test_a_malformed_id_is_unprocessable_and_the_answer_shows_the_form(client):
    for prefix, ask in (
        ("agent", lambda: client.agents.retrieve("agent-1")),
        ("block", lambda: client.blocks.retrieve("nonsense")),
        ("agent", lambda: client.agents.messages.create("agent-x", input="x")),
    ):
        with pytest.raises(letta_client.UnprocessableEntityError) as refused:
            ask()
        body = refused.value.body
        assert isinstance(body["detail"], str), "the detail is one string"
        assert f"{prefix}-{{uuid4}}" in body["detail"]
        assert body["examples"][0].startswith(f"{prefix}-")


def test_a_bad_model_handle(client):
    with pytest.raises(letta_client.BadRequestError):
        client.agents.create(model="no-such-model")
    with pytest.raises(letta_client.NotFoundError):
        client.agents.create(model="openai/no-such-model")


def test_unknown_tools_are_named(client):
    with pytest.raises(letta_client.BadRequestError) as refused:
        client.agents.create(model="openai/echo", tools=["no_such_tool"])
    assert "no_such_tool" in refused.value.body["detail"]


def test_bodies_that_say_nothing_or_too_much(client, agent):
    for body in ({"messages": []}, {}, {"input": "x", "messages": user("y")}):
        with pytest.raises(letta_client.UnprocessableEntityError) as refused:
            client.agents.messages.create(agent.id, **body)
        assert isinstance(refused.value.body["detail"], str)
    for content in (b"{", b"[]", b'"x"', b""):
        answer = httpx.post(f"{URL}/v1/agents/", content=content)
        assert answer.status_code == 422, (content, answer.text)
        assert isinstance(answer.json()["detail"], str)


def test_what_is_not_there_answers_json_too(client):
    answer = httpx.get(f"{URL}/v1/nothing/here")
    assert answer.status_code == 404 and isinstance(answer.json()["detail"], str)
    answer = httpx.put(f"{URL}/v1/agents/")
    assert answer.status_code == 405 and isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    ("model", "error", "kind"),
    [
        ("fail-401", letta_client.AuthenticationError, "llm_authentication"),
        ("fail-429", letta_client.RateLimitError, "llm_rate_limit"),
        ("fail-500", letta_client.InternalServerError, "llm_error"),
    ],
)
def test_a_failing_model_keeps_its_class_and_leaves_no_trace(once, make_agent, model, error, kind):
    agent = make_agent(f"openai/{model}")
    with pytest.raises(error) as refused:
        once.agents.messages.create(agent.id, messages=user("hello"))
    assert refused.value.body["error"]["type"] == kind
    assert refused.value.body["error"]["message"]
    listed = once.agents.messages.list(agent.id).items
    assert [m.message_type for m in listed] == ["system_message"], "a retry starts clean"
    run = once.runs.list(agent_id=agent.id).items[0]
    assert (run.status, run.stop_reason) == ("failed", "llm_api_error")
    once.agents.update(agent.id, model="openai/echo")
    answer = once.agents.messages.create(agent.id, messages=user("again"))
    assert answer.messages[-1].content == "You said: again"


def test_the_password_is_asked_for(secure):
    for key in ("wrong", PASSWORD[:-1], PASSWORD + "x"):
        with pytest.raises(letta_client.AuthenticationError) as refused:
            secure(key).agents.list()
        assert refused.value.body["detail"] == "Unauthorized"
    assert secure(PASSWORD).agents.list().items == []
    bare = {"X-BARE-PASSWORD": f"password {PASSWORD}"}
    assert httpx.get(f"{SECURE_URL}/v1/agents/", headers=bare).status_code == 200
    assert httpx.get(f"{SECURE_URL}/v1/agents/").status_code == 401
    assert httpx.post(f"{SECURE_URL}/v1/agents/", content=b"{").status_code == 401
    assert httpx.get(f"{SECURE_URL}/api/agents").status_code == 401
    assert secure("wrong").health().status == "ok", "health is exempt"


def test_the_asynchronous_client():
    async def talk():
        async with letta_client.AsyncLetta(base_url=URL, api_key="any") as client:
            tag = fresh("tag-")
            agents = [
                await client.agents.create(model="openai/echo", tags=[tag]) for _ in range(5)
            ]
            listed = await first_async(client.agents.list(tags=[tag], limit=2), 20)
            assert [a.id for a in listed] == [a.id for a in agents][::-1]
            agent = agents[0]
            answers = await asyncio.gather(
                *(client.agents.messages.create(a.id, input=a.id) for a in agents)
            )
            said = [a.messages[-1].content for a in answers]
            assert said == [f"You said: {a.id}" for a in agents]
            stream = await client.agents.messages.stream(
                agent.id, messages=user("hi there"), stream_tokens=True, background=True
            )
            events = [event async for event in stream]
            assert text_in(events) == "You said: hi there"
            run_id = next(e.run_id for e in events if getattr(e, "run_id", None))
            again = await client.runs.messages.stream(run_id, starting_after=0)
            assert text_in([event async for event in again]) == "You said: hi there"
            block = await client.agents.blocks.list(agent.id)
            assert block.items == []
            for made in agents:
                await client.agents.delete(made.id)
            with pytest.raises(letta_client.NotFoundError):
                await client.agents.retrieve(agent.id)

    asyncio.run(talk())


def test_the_description_of_the_interface():
    answer = httpx.get(f"{URL}/openapi.json")
    assert answer.status_code == 200
    described = answer.json()
    assert described["openapi"].startswith("3.1")
    paths = {path.rstrip("/") for path in described["paths"]}
    for wanted in ("/v1/agents", "/v1/agents/{agent_id}/messages", "/v1/runs/{run_id}/stream"):
        assert wanted in paths
