//! Calls of tools of MCP servers: made once, and closed whatever happens.

use super::*;

#[tokio::test]
async fn an_agent_calls_a_tool_of_a_server_and_its_answer_enters_the_conversation() {
    let scripts = [Say::call("c", "read", r#"{"path": "a"}"#), Say::answer("read it")];
    let (world, servers) = world(scripts).await;
    known(&world, &servers, "files", &["read"]).await;
    let agent = agent_with(&world, &["read"]).await;
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, COMPLETED);
    assert_eq!(returns(&world.history(agent).await), ["read: read done"]);
    let call = lock(&servers.made)[0].clone();
    assert_eq!(json!(call.arguments), json!({"path": "a"}));
    assert_eq!(call.target.server.name, "files");
    check(&world);
}

#[tokio::test]
async fn what_goes_wrong_with_a_call_is_text_for_the_model_and_the_run_goes_on() {
    let scripts = [Say::call("c", "fail", "not json"), Say::answer("sorry")];
    let (world, servers) = world(scripts).await;
    known(&world, &servers, "files", &["fail"]).await;
    let agent = agent_with(&world, &["fail"]).await;
    let run = world.send(agent, "go").await;
    assert_eq!(ended(&world, run).await, COMPLETED);
    assert_eq!(returns(&world.history(agent).await), ["fail: fail failed"]);
    check(&world);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_returns_ends_with_its_time() {
    let (world, servers) = world([Say::call("c", "hang", "{}"), Say::answer("too long")]).await;
    servers.offer("files", &["hang"]);
    let id = world.host.next_mcp_server_id();
    world.host.create_mcp_server(id, server("files")).await.unwrap();
    let mut agent = new_agent(AgentType::LettaV1);
    agent.tools.push(tool_id(&world, "hang"));
    let agent = world.host.create_agent(agent).await.unwrap().state.id;
    let run = world.send(agent, "go").await;
    assert_eq!(world.host.run_end(run).await.unwrap().status, COMPLETED);
    let text = returns(&world.history(agent).await).remove(0);
    assert!(text.contains("did not answer within 180s"), "{text}");
    assert_eq!(*lock(&servers.dropped), 1);
    check(&world);
}

#[tokio::test(start_paused = true)]
async fn what_the_door_says_at_the_end_of_its_time_is_heard() {
    let (world, servers) = world([]).await;
    servers.offer("files", &["late"]);
    let id = world.host.next_mcp_server_id();
    world.host.create_mcp_server(id, server("files")).await.unwrap();
    let ran = world.host.call_mcp_tool(id, "late", "{}").await.unwrap();
    assert_eq!(ran.result, Ok("late done".to_owned()));

    servers.say("late", Err(McpFailure::TimedOut("its own words".to_owned())));
    let id = world.host.next_mcp_server_id();
    world.host.create_mcp_server(id, server("late")).await.unwrap();
    let refused = world.host.refresh_mcp_server(id).await.unwrap_err();
    assert!(refused.to_string().contains("its own words"), "{refused}");
    check(&world);
}

#[tokio::test]
async fn a_cancel_gives_the_call_up() {
    let (world, servers) = world([Say::call("c", "hang", "{}")]).await;
    known(&world, &servers, "files", &["hang"]).await;
    let agent = agent_with(&world, &["hang"]).await;
    let run = world.send(agent, "go").await;
    while servers.made().is_empty() {
        settle().await;
    }
    in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
    assert_eq!(*lock(&servers.dropped), 1);
    let text = returns(&world.history(agent).await).remove(0);
    assert!(text.contains("it may have taken effect"), "{text}");
    check(&world);
}

#[tokio::test]
async fn a_resync_and_a_deletion_under_a_call_leave_the_run_whole() {
    let scripts =
        [Say::call("a", "hang", "{}"), Say::call("b", "read", "{}"), Say::answer("they are gone")];
    let (world, servers) = world(scripts).await;
    let id = known(&world, &servers, "files", &["hang", "read"]).await;
    let agent = agent_with(&world, &["hang", "read"]).await;
    let run = world.send(agent, "go").await;
    while servers.made().is_empty() {
        settle().await;
    }
    // The tool that is being called vanishes, then the whole server. The call itself goes on until its time.
    servers.offer("files", &["read"]);
    assert_eq!(refresh(&world, id).await.unwrap().deleted, ["hang"]);
    in_time(world.host.delete_mcp_server(id)).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(181)).await;
    tokio::time::resume();
    assert_eq!(ended(&world, run).await, COMPLETED);
    let texts = returns(&world.history(agent).await);
    assert!(
        texts[0].contains("did not answer") && texts[1].contains("Cannot call read"),
        "{texts:?}"
    );
    assert_eq!(servers.made(), ["hang"]);
    check(&world);
}

#[tokio::test]
async fn a_call_is_made_again_after_a_crash_only_where_its_server_says_that_this_does_no_harm() {
    for (tool, made) in [("hang_once", 1), ("hang_again", 2), ("hang_look", 2)] {
        let (disk, servers) = (Disk::default(), Arc::new(Servers::default()));
        let (store, faults) = disk.open();
        let world =
            World::over(store, ScriptedModel::new([Say::call("c", tool, "{}")]), with(&servers))
                .await;
        known(&world, &servers, "files", &[tool]).await;
        let agent = agent_with(&world, &[tool]).await;
        let run = world.send(agent, "go").await;
        while servers.made().is_empty() {
            settle().await;
        }
        faults.fail_append(1, Moment::Before, Failure::Io);
        std::mem::forget(world);
        let (store, _) = disk.open();
        let quick = Options { tool_timeout: Duration::from_millis(1), ..with(&servers) };
        let answer = ScriptedModel::new([Say::answer("I will look.")]);
        let world = World::over(store, answer, quick).await;
        assert_eq!(ended(&world, run).await, COMPLETED);
        let mut keys = servers.keys(tool);
        assert_eq!(keys.len(), made, "{tool}");
        keys.dedup();
        assert_eq!(keys.len(), 1, "every attempt of a call has the same key");
        let text = returns(&world.history(agent).await).remove(0);
        let expected =
            if made == 1 { "it is not known whether it took effect" } else { "did not answer" };
        assert!(text.contains(expected), "{text}");
        audit(disk.contents());
    }
}

#[tokio::test]
async fn a_client_calls_a_tool_by_its_name_there_or_here_and_nothing_is_written() {
    let (world, servers) = world([]).await;
    let id = known(&world, &servers, "files", &["memory_insert", "fail"]).await;
    let head = world.host.log().head().position;
    for name in ["memory_insert", "files_memory_insert"] {
        let ran = in_time(world.host.call_mcp_tool(id, name, "{}")).await.unwrap();
        assert_eq!(ran.result.as_deref(), Ok("memory_insert done"));
    }
    let ran = in_time(world.host.call_mcp_tool(id, "fail", "{}")).await.unwrap();
    assert_eq!(ran.result, Err("fail failed".to_owned()));
    let missing = in_time(world.host.call_mcp_tool(id, "none", "{}")).await;
    assert!(matches!(missing, Err(Refusal::NotFound { .. })));
    let agent = agent_with(&world, &["files_memory_insert"]).await;
    let ran =
        in_time(world.host.run_tool(agent, "files_memory_insert", "{}".to_owned())).await.unwrap();
    assert_eq!(ran.result.as_deref(), Ok("memory_insert done"));
    assert!(world.host.log().head().position > head, "the agent is new");
}

#[tokio::test]
async fn without_a_door_a_server_is_known_and_its_calls_say_why_they_fail() {
    let world = World::new(ScriptedModel::new([])).await;
    let id = create(&world, "files").await.unwrap();
    let refused = refresh(&world, id).await.unwrap_err();
    assert!(refused.to_string().contains("speaks to no MCP servers"), "{refused}");
}
