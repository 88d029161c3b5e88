//! Query strings: defaults, older spellings, lists, refusals.

use super::*;

fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn lists_have_the_defaults_of_v1() {
    let page = |page: Page| (page.limit, page.order);
    let none = pairs("");
    assert_eq!(page(AgentsQuery::from_pairs(&none).unwrap().page), (50, Order::Desc));
    assert_eq!(page(MessagesQuery::from_pairs(&none).unwrap().page), (100, Order::Desc));
    assert_eq!(page(AgentToolsQuery::from_pairs(&none).unwrap().page), (10, Order::Desc));
    assert_eq!(page(BlocksQuery::from_pairs(&none).unwrap().page), (50, Order::Asc));
    assert_eq!(page(RunMessagesQuery::from_pairs(&none).unwrap().page), (100, Order::Asc));
    assert_eq!(page(TagsQuery::from_pairs(&none).unwrap().page), (50, Order::Asc));
    assert_eq!(page(StepsQuery::from_pairs(&none).unwrap().page), (50, Order::Desc));
}

#[test]
fn the_older_spellings_of_paging_are_read_and_the_newer_ones_win() {
    let page = |query: &str| AgentsQuery::from_pairs(&pairs(query)).map(|query| query.page);
    assert_eq!(page("ascending=true").unwrap().order, Order::Asc);
    assert_eq!(page("ascending=true&order=desc").unwrap().order, Order::Desc);
    assert_eq!(page("sort_by=updated_at").unwrap().order_by.as_deref(), Some("updated_at"));
    assert_eq!(page("limit=5000").unwrap().limit, 1000);
    for (query, loc) in [
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("order=up", "order"),
        ("order_by=color", "order_by"),
        ("ascending=maybe", "ascending"),
    ] {
        assert_eq!(page(query).unwrap_err().loc, loc);
    }
}

#[test]
fn keys_may_be_repeated_and_some_hold_lists() {
    let query =
        AgentsQuery::from_pairs(&pairs("tags=a&tags=b,c&match_all_tags=1&include=agent.tools"))
            .unwrap();
    assert_eq!(query.tags, ["a", "b,c"]);
    assert!(query.match_all_tags && query.relations.is_some_and(|relations| relations.tools));
    let query =
        ToolsQuery::from_pairs(&pairs("tool_types=custom,letta_core&name=x&names=y")).unwrap();
    assert_eq!(query.tool_types, ["custom", "letta_core"]);
    assert_eq!(query.names, ["y", "x"]);
    assert_eq!(ToolsQuery::from_pairs(&pairs("tool_types=magic")).unwrap_err().loc, "tool_types");
}

#[test]
fn an_empty_value_is_none_but_an_empty_include_is_all() {
    let query = AgentsQuery::from_pairs(&pairs("name=&after=&limit=&include=")).unwrap();
    assert_eq!((query.name, query.page.after, query.page.limit), (None, None, 50));
    let all = Relations { pending_approval: true, ..Relations::ALL };
    assert_eq!(query.relations, Some(all));
}

#[test]
fn a_stop_reason_of_the_old_documents_is_end_turn() {
    let query = AgentsQuery::from_pairs(&pairs("last_stop_reason=completed")).unwrap();
    assert_eq!(query.last_stop_reason, Some(WireStopReason::EndTurn));
    assert!(AgentsQuery::from_pairs(&pairs("last_stop_reason=bored")).is_err());
}

#[test]
fn active_runs_are_those_created_and_running() {
    let query = RunsQuery::from_pairs(&pairs("active=true&agent_id=a&agent_ids=b,c")).unwrap();
    assert_eq!(query.statuses, [WireRunStatus::Created, WireRunStatus::Running]);
    assert_eq!(query.agent_ids, ["b", "c", "a"]);
    let query = RunsQuery::from_pairs(&pairs("statuses=failed&statuses=completed")).unwrap();
    assert_eq!(query.statuses, [WireRunStatus::Failed, WireRunStatus::Completed]);
    assert_eq!(RunsQuery::from_pairs(&pairs("statuses=odd")).unwrap_err().loc, "statuses");
}

#[test]
fn times_survive_a_plus_sign_that_nobody_encoded() {
    let query = StepsQuery::from_pairs(&pairs("start_date=2025-06-15T12:30:00 02:00")).unwrap();
    assert_eq!(query.start_date, Time::parse("2025-06-15T10:30:00Z"));
    assert_eq!(StepsQuery::from_pairs(&pairs("end_date=soon")).unwrap_err().loc, "end_date");
}

#[test]
fn a_message_list_may_be_shown_in_another_way() {
    let query = MessagesQuery::from_pairs(&pairs(
        "use_assistant_message=false&assistant_message_tool_name=say&include_return_message_types=user_message",
    ))
    .unwrap();
    let view = query.view(retold_events::agent::AgentType::Memgpt);
    assert!(!view.use_assistant_message && view.assistant_message_tool_name == "say");
    assert_eq!(view.types.as_deref(), Some(&["user_message".to_owned()][..]));
    assert!(MessagesQuery::from_pairs(&pairs("include_return_message_types=song")).is_err());
}
