"""Runs and steps: lists, filters, usage, messages, metrics, feedback."""

import letta_client
import pytest

from support import first, is_id, kinds, user, well_formed


@pytest.fixture
def with_runs(make_agent, say):
    agent = make_agent()
    for n in range(7):
        say(agent.id, f"message {n}")
    return agent


def test_iteration_gives_each_run_once_and_ends(client, with_runs):
    runs = first(client.runs.list(agent_id=with_runs.id, limit=2), 30)
    assert len(runs) == 7 and len({r.id for r in runs}) == 7
    assert all(is_id("run", r.id) and r.status == "completed" for r in runs)
    assert [r.created_at for r in runs] == sorted((r.created_at for r in runs), reverse=True)
    oldest_first = first(client.runs.list(agent_id=with_runs.id, limit=3, order="asc"), 30)
    assert [r.id for r in oldest_first] == [r.id for r in runs][::-1]
    old_spelling = client.runs.list(agent_id=with_runs.id, ascending=True).items
    assert [r.id for r in old_spelling] == [r.id for r in oldest_first]


def test_filters_of_runs(client, make_agent, say):
    agent = make_agent()
    say(agent.id, "one")
    background = client.agents.messages.create_async(agent.id, messages=user("two"))
    list(client.runs.messages.stream(background.id))
    of = lambda **f: [r.id for r in client.runs.list(agent_id=agent.id, **f).items]  # noqa: E731
    assert len(of()) == 2
    assert of(background=True) == [background.id]
    assert of(active=True) == []
    assert of(statuses=["failed"]) == []
    assert len(of(statuses=["completed", "failed"])) == 2
    assert len(of(stop_reason="end_turn")) == 2
    assert client.runs.list(agent_ids=[agent.id], limit=1).items[0].id == background.id


def test_a_run_with_all_its_parts(client, with_runs):
    run = client.runs.list(agent_id=with_runs.id, limit=1).items[0]
    found = client.runs.retrieve(run.id)
    assert (found.id, found.agent_id) == (run.id, with_runs.id)
    assert (found.status, found.stop_reason) == ("completed", "end_turn")
    assert found.completed_at >= found.created_at
    assert found.total_duration_ns > 0
    assert found.metadata["run_type"] == "send_message"
    usage = client.runs.usage.retrieve(run.id)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (11, 7, 18)
    messages = client.runs.messages.list(run.id).items
    assert kinds(messages) == ["user_message", "assistant_message"]
    assert messages[0].content == "message 6"
    paged = first(client.runs.messages.list(run.id, limit=1), 10)
    assert [m.id for m in paged] == [m.id for m in messages]
    newest_first = client.runs.messages.list(run.id, order="desc").items
    assert kinds(newest_first) == ["assistant_message", "user_message"]
    (step,) = client.runs.steps.list(run.id).items
    assert step.id == messages[1].step_id and step.run_id == run.id


def test_a_step_with_all_its_parts(client, make_agent, say):
    agent = make_agent("openai/tool")
    answer = say(agent.id, "take a note")
    steps = client.steps.list(agent_id=agent.id, order="asc").items
    assert [s.id for s in steps] == [answer.messages[0].step_id, answer.messages[2].step_id]
    for step in steps:
        found = client.steps.retrieve(step.id)
        assert (found.id, found.agent_id, found.status) == (step.id, agent.id, "success")
        assert (found.model, found.model_handle) == ("tool", "openai/tool")
        assert (found.provider_name, found.total_tokens) == ("openai", 18)
        metrics = client.steps.metrics.retrieve(step.id)
        assert metrics.id == step.id and metrics.step_ns > 0 and metrics.llm_request_ns > 0
    assert steps[-1].stop_reason == "end_turn"
    messages = client.steps.messages.list(steps[0].id).items
    assert "tool_call_message" in kinds(messages)
    assert "assistant_message" in kinds(client.steps.messages.list(steps[1].id).items)


def test_feedback_on_a_step(client, agent, say):
    step_id = say(agent.id, "hello").messages[-1].step_id
    of = lambda **f: [s.id for s in client.steps.list(agent_id=agent.id, **f).items]  # noqa: E731
    assert of(has_feedback=True) == []
    assert client.steps.feedback.create(step_id, feedback="positive").feedback == "positive"
    assert client.steps.retrieve(step_id).feedback == "positive"
    assert of(feedback="positive") == [step_id]
    assert of(feedback="negative") == []
    assert client.steps.feedback.create(step_id, feedback=None).feedback is None
    assert of(has_feedback=True) == []


def test_iteration_gives_each_step_once_and_ends(client, with_runs):
    steps = first(client.steps.list(agent_id=with_runs.id, limit=2), 30)
    assert len(steps) == 7 and len({s.id for s in steps}) == 7


def test_a_finished_run_shows_on_its_agent(client, agent, say):
    say(agent.id, "hello")
    state = client.agents.retrieve(agent.id)
    assert state.last_stop_reason == "end_turn"
    assert state.last_run_completion is not None
    assert state.last_run_duration_ms is not None


@pytest.mark.parametrize("status", ["failed", "completed"])
def test_a_status_the_server_does_not_know(client, status):
    client.runs.list(statuses=[status], limit=1)
    with pytest.raises(letta_client.BadRequestError):
        client.runs.list(statuses=[f"{status}?"])


def test_unknown_runs_and_steps_are_not_found(client):
    for ask in (
        lambda: client.runs.retrieve(well_formed("run")),
        lambda: client.runs.usage.retrieve(well_formed("run")),
        lambda: client.runs.messages.list(well_formed("run")),
        lambda: list(client.runs.messages.stream(well_formed("run"))),
        lambda: client.steps.retrieve(well_formed("step")),
        lambda: client.steps.metrics.retrieve(well_formed("step")),
    ):
        with pytest.raises(letta_client.NotFoundError):
            ask()
