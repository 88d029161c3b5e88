//! Message lists against a history kept by hand.

use proptest::prelude::*;
use retold_events::{
    AgentId, Message, MessageId, Role, RunId, StepId,
    output::{Delta, Item, Output},
    run,
    store::{Commit, EventStore, MemoryStore, OutputBatch, Table},
};
use retold_snapshots::{
    query::{self, Conversations, MessageFilter, MessageSearch, Order, Page},
    row::{RunRow, RunStatus, decode},
};
use uuid::Uuid;

use crate::{
    facts::{self, Choice},
    folding::{acts, cases},
    reference::{Answer, answer, follow, ordered, page_of, some_page},
    rows::all_of,
    world::{Outcome, World},
};

fn stray() -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(7))
}

fn filter(choice: &mut Choice) -> MessageFilter {
    let roles = [Role::User, Role::Assistant, Role::Tool];
    MessageFilter {
        conversation: match choice.below(5) {
            0 => Conversations::Default,
            1 => facts::conversations()[1].map_or(Conversations::All, Conversations::Of),
            _ => Conversations::All,
        },
        roles: if choice.once_in(4) { Some(choice.some_of(&roles)) } else { None },
        without_errors: choice.once_in(4),
    }
}

fn matches(filter: &MessageFilter, message: &Message) -> bool {
    let thread = match filter.conversation {
        Conversations::All => true,
        Conversations::Default => message.conversation.is_none(),
        Conversations::Of(id) => message.conversation == Some(id),
    };
    let said = filter.roles.as_ref().is_none_or(|roles| roles.contains(&message.role));
    thread && said && !(filter.without_errors && message.is_err)
}

/// Messages between the cursors, oldest first, cut at the end that the order names.
fn in_time(
    history: &[Message],
    page: &Page<MessageId>,
    keep: impl Fn(&Message) -> bool,
) -> Answer<Message> {
    // In time, `after` and `before` mean what they mean in an ascending list.
    let ids: Vec<MessageId> = history.iter().map(|message| message.id).collect();
    let all = Page { limit: usize::MAX, ..page.clone() };
    let found = page_of(&ids, &all, |id| {
        history.iter().find(|message| message.id == id && keep(message)).cloned()
    });
    let Answer::Items(mut items) = found else { return found };
    if page.order == Order::Desc {
        items.drain(..items.len().saturating_sub(page.limit));
    }
    items.truncate(page.limit);
    Answer::Items(items)
}

fn turned(answer: Answer<Message>, order: Order) -> Answer<Message> {
    let Answer::Items(items) = answer else { return answer };
    Answer::Items(ordered_messages(items, order))
}

fn ordered_messages(mut items: Vec<Message>, order: Order) -> Vec<Message> {
    if order == Order::Desc {
        items.reverse();
    }
    items
}

fn history(world: &World, agent: AgentId) -> Vec<Message> {
    world.history.get(&agent).map(|found| found.values().cloned().collect()).unwrap_or_default()
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_history_is_listed_as_the_plain_model_lists_it(acts in acts(250), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        for agent in world.agents.iter().map(|agent| agent.id) {
            let history = history(&world, agent);
            let known: Vec<MessageId> = history.iter().map(|message| message.id).collect();
            for _ in 0..15 {
                let filter = filter(choice);
                let page = some_page(choice, &known, stray());
                let wanted = in_time(&history, &page, |message| matches(&filter, message));
                let found = answer(query::messages(&world.store, agent, &filter, &page))?;
                prop_assert_eq!(found, wanted, "{:?} {:?}", filter, page);
            }
            for message in &history {
                let found = query::message(&world.store, agent, message.id)?;
                prop_assert_eq!(found.as_ref(), Some(message));
            }
            prop_assert_eq!(query::message(&world.store, agent, stray())?, None);
        }
    }

    #[test]
    fn what_a_run_or_step_left_is_listed_as_the_plain_model_lists_it(
        acts in acts(250),
        seed in any::<u64>(),
    ) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        for (_, value) in all_of(&world.store, Table::Runs)? {
            let run: RunRow = decode(&value)?;
            let history = history(&world, run.agent);
            let known: Vec<MessageId> = history.iter().map(|message| message.id).collect();
            let mut page = some_page(choice, &known, stray());
            let of_run = |message: &Message| message.run == Some(run.id);
            // A summary made before the first step of a run under way ends comes with the run's end.
            let is_open = !matches!(run.status, RunStatus::Ended(_));
            if is_open && history.iter().find(|it| of_run(it)).is_some_and(|it| it.role == Role::Summary) {
                continue;
            }
            for order in [Order::Asc, Order::Desc] {
                page.order = order;
                let wanted = turned(in_time(&history, &page, of_run), order);
                prop_assert_eq!(answer(query::run_messages(&world.store, &run, &page))?, wanted);
            }
        }
        for (agent, _, step) in &world.steps {
            let Some((row, _)) = query::step(&world.store, *step)? else {
                return Err(TestCaseError::fail("a step that ended has a row"));
            };
            let history = history(&world, *agent);
            let known: Vec<MessageId> = history.iter().map(|message| message.id).collect();
            let page = some_page(choice, &known, stray());
            let own = |message: &Message| row.messages.contains(&message.id);
            let wanted = turned(in_time(&history, &page, own), page.order);
            prop_assert_eq!(answer(query::step_messages(&world.store, &row, &page))?, wanted);
        }
    }

    #[test]
    fn following_a_history_gives_each_message_once(acts in acts(150), limit in 1..4_usize) {
        let world = World::after(&acts)?;
        for agent in world.agents.iter().map(|agent| agent.id) {
            let history = history(&world, agent);
            let known: Vec<MessageId> = history.iter().map(|message| message.id).collect();
            let all = MessageFilter::default();
            let list = |page: &Page<MessageId>| {
                let found = query::messages(&world.store, agent, &all, page)?;
                Ok(found.into_iter().map(|message| message.id).collect())
            };
            prop_assert_eq!(&follow(limit, Order::Asc, None, list)?, &known);
            if let Some((last, before)) = known.split_last() {
                prop_assert_eq!(follow(limit, Order::Desc, Some(*last), list)?, before);
            }
            prop_assert_eq!(ordered(&known, Order::Asc).len(), known.len());
        }
    }

    #[test]
    fn words_are_found_newest_first(acts in acts(200), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        for agent in world.agents.iter().map(|agent| agent.id) {
            let history = history(&world, agent);
            let times: Vec<_> = history.iter().map(|message| message.created_at).collect();
            let words = ["tell ME", "it", "spoken 3", "about 2", ""];
            let search = MessageSearch {
                query: choice.of(&words).unwrap_or_default().to_owned(),
                roles: choice.maybe(&[vec![Role::User, Role::Tool], vec![Role::Assistant]]),
                start: if choice.once_in(3) { choice.of(&times) } else { None },
                end: if choice.once_in(3) { choice.of(&times) } else { None },
                limit: choice.below(6),
            };
            let found = query::search_messages(&world.store, agent, &search)?;
            let mut wanted = ordered_messages(history, Order::Desc);
            wanted.retain(|message| is_found(&search, message));
            wanted.truncate(search.limit);
            prop_assert_eq!(found, wanted, "{:?}", search);
        }
    }
}

fn is_found(search: &MessageSearch, message: &Message) -> bool {
    let roles = search.roles.clone().unwrap_or(vec![Role::User, Role::Assistant]);
    let mut said = message.text();
    for call in &message.tool_calls {
        match call.name.as_str() {
            "conversation_search" => return false,
            "send_message" => said += &call.arguments,
            _ => {}
        }
    }
    let said = said.to_lowercase();
    roles.contains(&message.role)
        && message.role != Role::Tool
        && search.start.is_none_or(|start| start <= message.created_at)
        && search.end.is_none_or(|end| message.created_at <= end)
        && search.query.to_lowercase().split_whitespace().all(|word| said.contains(word))
}

#[test]
fn output_is_given_from_the_item_that_reaches_past_the_cursor() -> Outcome {
    let store = MemoryStore::new();
    let (run, step) = (RunId::from_uuid(Uuid::from_u128(1)), StepId::from_uuid(Uuid::from_u128(2)));
    let at = retold_events::Timestamp::from_micros(1);
    let message = facts::message(stray(), Role::Assistant, "hello", at);
    let delta = Delta::Text("hel".to_owned());
    let items = [
        Output::Delta { step, message: message.id, part: 0, delta },
        Output::Message { message, span: 3 },
        Output::End {
            status: run::EndStatus::Completed,
            stop_reason: run::StopReason::EndTurn,
            error: None,
            usage: run::Usage::default(),
            steps: 1,
            context_tokens: 1,
        },
    ];
    let items: Vec<Item> =
        [1, 2, 5].into_iter().zip(items).map(|(seq, output)| Item { seq, at, output }).collect();
    let batch = |items: &[Item], first, last| OutputBatch {
        run,
        first,
        last,
        items: retold_events::codec::encode_items(items),
    };
    let outputs = vec![batch(&items[..2], 1, 4), batch(&items[2..], 5, 5)];
    for answer in store.append(&[Commit { outputs, ..Commit::default() }])? {
        answer?;
    }
    for (after, from) in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (5, 3), (9, 3)] {
        assert_eq!(query::outputs(&store, run, after, usize::MAX)?, items[from..], "{after}");
    }
    assert_eq!(query::outputs(&store, run, 0, 1)?, items[..2], "at least one batch");
    Ok(())
}
