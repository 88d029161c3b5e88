//! Lists of agents, blocks, runs, steps and tags against their plain models.

use std::{cmp::Reverse, collections::BTreeSet};

use proptest::prelude::*;
use retold_events::{
    AgentId, BlockId, RunId, StepId,
    run::{EndStatus, Feedback},
    store::Table,
};
use retold_snapshots::{
    query::{
        self, AgentFilter, BlockFilter, Conversations, Order, OrderBy, Page, RunFilter, StepFilter,
    },
    row::{AgentRow, BlockRow, FeedbackRow, RunRow, RunStatus, StepRow, decode},
};
use uuid::Uuid;

use crate::{
    facts::{self, Choice},
    folding::{acts, cases},
    reference::{Answer, answer, follow, ordered, page_of, some_page},
    rows::all_of,
    world::{Outcome, World},
};

const STRAY: Uuid = Uuid::from_u128(7);

fn text(choice: &mut Choice, of: &[&str]) -> Option<String> {
    if choice.once_in(4) { choice.of(of).map(str::to_owned) } else { None }
}

fn tags_match(found: &[String], wanted: &[String], all: bool) -> bool {
    let held = wanted.iter().filter(|tag| found.contains(tag)).count();
    wanted.is_empty() || if all { held == wanted.len() } else { held > 0 }
}

fn holds(text: &str, part: Option<&String>) -> bool {
    part.is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
}

fn is_or_any<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none() || wanted == found
}

fn agent_filter(choice: &mut Choice, ids: &[AgentId]) -> AgentFilter {
    AgentFilter {
        name: text(choice, &facts::NAMES),
        query_text: text(choice, &["ADA", "o", ""]),
        tags: if choice.once_in(2) { facts::strings(choice.some_of(&facts::TAGS)) } else { vec![] },
        match_all_tags: choice.once_in(2),
        project_id: text(choice, &facts::PROJECTS),
        template_id: text(choice, &facts::PROJECTS),
        base_template_id: text(choice, &facts::PROJECTS),
        last_stop_reason: if choice.once_in(4) { choice.of(&facts::STOPS) } else { None },
        ids: if choice.once_in(5) { Some(choice.some_of(ids)) } else { None },
        show_hidden: choice.once_in(2),
    }
}

fn agent_matches(filter: &AgentFilter, id: AgentId, row: &AgentRow) -> bool {
    (filter.show_hidden || !row.hidden)
        && is_or_any(filter.name.as_ref(), Some(&row.name))
        && holds(&row.name, filter.query_text.as_ref())
        && tags_match(&row.tags, &filter.tags, filter.match_all_tags)
        && is_or_any(filter.project_id.as_ref(), row.project_id.as_ref())
        && is_or_any(filter.template_id.as_ref(), row.template_id.as_ref())
        && is_or_any(filter.base_template_id.as_ref(), row.base_template_id.as_ref())
        && is_or_any(
            filter.last_stop_reason.as_ref(),
            row.last_run.map(|run| run.stop_reason).as_ref(),
        )
        && filter.ids.as_ref().is_none_or(|ids| ids.contains(&id))
}

/// All agents in the requested order; by creation also those that are gone, because they stay cursors.
fn agents_in_order(world: &World, by: OrderBy, order: Order) -> Outcome<Vec<AgentId>> {
    let mut all = Vec::new();
    for state in &world.agents {
        let row = query::agent(&world.store, state.id)?;
        let time = match by {
            OrderBy::CreatedAt => None,
            _ if row.is_none() => continue,
            OrderBy::UpdatedAt => row.map(|row| row.updated_at),
            OrderBy::LastRunCompletion => row.and_then(|row| row.last_run).map(|run| run.at),
        };
        all.push((time, state.id));
    }
    match order {
        Order::Asc => all.sort_by_key(|&(time, id)| (time.is_none(), time, id)),
        Order::Desc => all.sort_by_key(|&(time, id)| (time.is_none(), Reverse((time, id)))),
    }
    Ok(all.into_iter().map(|(_, id)| id).collect())
}

fn block_filter(choice: &mut Choice) -> BlockFilter {
    let count = |choice: &mut Choice| choice.once_in(6).then(|| choice.below(3) as i64);
    BlockFilter {
        label: text(choice, &facts::LABELS),
        name: text(choice, &facts::NAMES),
        templates_only: choice.once_in(4),
        project_id: text(choice, &facts::PROJECTS),
        tags: if choice.once_in(2) { facts::strings(choice.some_of(&facts::TAGS)) } else { vec![] },
        match_all_tags: choice.once_in(2),
        label_search: text(choice, &["N", "es"]),
        description_search: text(choice, &["ABOUT", "people"]),
        value_search: text(choice, &["value", "2"]),
        connected_agents_gt: count(choice),
        connected_agents_lt: count(choice),
        connected_agents_eq: count(choice).into_iter().chain(count(choice)).collect(),
        show_hidden: choice.once_in(2),
    }
}

fn block_matches(filter: &BlockFilter, row: &BlockRow, agents: i64) -> bool {
    let block = &row.block;
    let searched = |text: Option<&String>, part: Option<&String>| {
        part.is_none() || text.is_some_and(|text| holds(text, part))
    };
    (filter.show_hidden || block.hidden != Some(true))
        && is_or_any(filter.label.as_ref(), block.label.as_ref())
        && is_or_any(filter.name.as_ref(), block.template_name.as_ref())
        && (!filter.templates_only || block.is_template)
        && is_or_any(filter.project_id.as_ref(), block.project_id.as_ref())
        && tags_match(&block.tags, &filter.tags, filter.match_all_tags)
        && searched(block.label.as_ref(), filter.label_search.as_ref())
        && searched(block.description.as_ref(), filter.description_search.as_ref())
        && searched(Some(&block.value), filter.value_search.as_ref())
        && filter.connected_agents_gt.is_none_or(|bound| agents > bound)
        && filter.connected_agents_lt.is_none_or(|bound| agents < bound)
        && (filter.connected_agents_eq.is_empty() || filter.connected_agents_eq.contains(&agents))
}

/// Agents that hold a block, by their states.
fn holders(world: &World, block: BlockId) -> Vec<AgentId> {
    let there = world.agents.iter().filter(|agent| !agent.deleted && agent.blocks.contains(&block));
    there.map(|agent| agent.id).collect()
}

fn run_filter(choice: &mut Choice, agents: &[AgentId]) -> RunFilter {
    let statuses = [
        RunStatus::Created,
        RunStatus::Running,
        RunStatus::Ended(EndStatus::Completed),
        RunStatus::Ended(EndStatus::Cancelled),
    ];
    let threads = facts::conversations();
    RunFilter {
        agents: if choice.once_in(2) { choice.some_of(agents) } else { vec![] },
        statuses: if choice.once_in(3) { choice.some_of(&statuses) } else { vec![] },
        background: if choice.once_in(4) { Some(choice.once_in(2)) } else { None },
        stop_reason: if choice.once_in(4) { choice.of(&facts::STOPS) } else { None },
        conversation: match choice.below(6) {
            0 => Conversations::Default,
            1 => threads[1].map_or(Conversations::All, Conversations::Of),
            _ => Conversations::All,
        },
        active: choice.once_in(3),
    }
}

fn run_matches(filter: &RunFilter, row: &RunRow) -> bool {
    let ended = matches!(row.status, RunStatus::Ended(_));
    (filter.agents.is_empty() || filter.agents.contains(&row.agent))
        && (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
        && is_or_any(filter.background.as_ref(), Some(&row.request.background))
        && is_or_any(filter.stop_reason.as_ref(), row.stop_reason.as_ref())
        && match filter.conversation {
            Conversations::All => true,
            Conversations::Default => row.request.conversation.is_none(),
            Conversations::Of(id) => row.request.conversation == Some(id),
        }
        && !(filter.active && ended)
}

fn step_filter(choice: &mut Choice, world: &World, agents: &[AgentId]) -> StepFilter {
    let runs: Vec<RunId> = world.steps.iter().map(|(_, run, _)| *run).collect();
    let times: Vec<_> = world.agents.iter().map(|agent| agent.last_at).collect();
    let time = |choice: &mut Choice| if choice.once_in(4) { choice.of(&times) } else { None };
    StepFilter {
        start_date: time(choice),
        end_date: time(choice),
        model: text(choice, &["one/small", "large", "small/one"]),
        agent: if choice.once_in(3) { choice.of(agents) } else { None },
        runs: if choice.once_in(3) { choice.some_of(&runs) } else { vec![] },
        feedback: if choice.once_in(5) { Some(Feedback::Positive) } else { None },
        has_feedback: if choice.once_in(4) { Some(choice.once_in(2)) } else { None },
        tags: if choice.once_in(4) { facts::strings(choice.some_of(&facts::TAGS)) } else { vec![] },
    }
}

fn step_matches(filter: &StepFilter, step: &StepRow, feedback: Option<&FeedbackRow>) -> bool {
    let judged = feedback.and_then(|row| row.feedback);
    let tags = feedback.map_or(&[][..], |row| &row.tags);
    let begun = step.timing.started_at;
    filter.start_date.is_none_or(|start| start <= begun)
        && filter.end_date.is_none_or(|end| begun <= end)
        && filter
            .model
            .as_ref()
            .is_none_or(|model| step.model == *model || step.model.ends_with(&format!("/{model}")))
        && is_or_any(filter.agent.as_ref(), Some(&step.agent))
        && (filter.runs.is_empty() || filter.runs.contains(&step.run))
        && is_or_any(filter.feedback.as_ref(), judged.as_ref())
        && is_or_any(filter.has_feedback.as_ref(), Some(&judged.is_some()))
        && tags_match(tags, &filter.tags, false)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn agents_are_listed_as_the_plain_model_lists_them(acts in acts(120), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let created: Vec<AgentId> = world.agents.iter().map(|agent| agent.id).collect();
        for _ in 0..20 {
            let filter = agent_filter(choice, &created);
            let page = some_page(choice, &created, AgentId::from_uuid(STRAY));
            let orders = [OrderBy::CreatedAt, OrderBy::UpdatedAt, OrderBy::LastRunCompletion];
            for by in orders {
                let all = agents_in_order(&world, by, page.order)?;
                let wanted = page_of(&all, &page, |id| {
                    let row = query::agent(&world.store, id).ok().flatten()?;
                    agent_matches(&filter, id, &row).then_some((id, row))
                });
                let found = answer(query::agents(&world.store, &filter, by, &page))?;
                prop_assert_eq!(found, wanted, "{:?} {:?} {:?}", filter, by, page);
            }
            let everyone = Page::first(usize::MAX, Order::Asc);
            let found = query::agents(&world.store, &filter, OrderBy::CreatedAt, &everyone)?;
            prop_assert_eq!(query::count_agents(&world.store, &filter)?, found.len());
        }
    }

    #[test]
    fn blocks_are_listed_as_the_plain_model_lists_them(acts in acts(120), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let created: Vec<BlockId> = world.blocks.iter().map(|block| block.id).collect();
        let agents: Vec<AgentId> = world.agents.iter().map(|agent| agent.id).collect();
        for _ in 0..20 {
            let filter = block_filter(choice);
            let page = some_page(choice, &created, BlockId::from_uuid(STRAY));
            let wanted = page_of(&ordered(&created, page.order), &page, |id| {
                let row = query::block(&world.store, id).ok().flatten()?;
                let count = holders(&world, id).len() as i64;
                block_matches(&filter, &row, count).then_some((id, row))
            });
            let found = answer(query::blocks(&world.store, &filter, &page))?;
            prop_assert_eq!(found, wanted, "{:?} {:?}", filter, page);
            let everything = query::blocks(&world.store, &filter, &Page::first(999, Order::Asc))?;
            prop_assert_eq!(query::count_blocks(&world.store, &filter)?, everything.len());
            if let Some(block) = choice.of(&created) {
                let page = some_page(choice, &agents, AgentId::from_uuid(STRAY));
                let holders = holders(&world, block);
                let wanted = page_of(&ordered(&agents, page.order), &page, |id| {
                    holders.contains(&id).then_some(id)
                });
                prop_assert_eq!(answer(query::agents_of_block(&world.store, block, &page))?, wanted);
                prop_assert_eq!(query::block_agent_count(&world.store, block)?, holders.len());
            }
        }
    }

    #[test]
    fn runs_are_listed_as_the_plain_model_lists_them(acts in acts(200), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let agents: Vec<AgentId> = world.agents.iter().map(|agent| agent.id).collect();
        let mut rows = Vec::new();
        for (_, value) in all_of(&world.store, Table::Runs)? {
            rows.push(decode::<RunRow>(&value)?);
        }
        let known: Vec<RunId> = rows.iter().map(|row| row.id).collect();
        for _ in 0..20 {
            let filter = run_filter(choice, &agents);
            let page = some_page(choice, &known, RunId::from_uuid(STRAY));
            let wanted = page_of(&ordered(&known, page.order), &page, |id| {
                rows.iter().find(|row| row.id == id && run_matches(&filter, row)).cloned()
            });
            let found = answer(query::runs(&world.store, &filter, &page))?;
            prop_assert_eq!(found, wanted, "{:?} {:?}", filter, page);
        }
        let mut open = Vec::new();
        for agent in &world.agents {
            open.extend(agent.open_runs.keys().map(|run| (*run, agent.id)));
            open.extend(agent.callbacks.keys().map(|run| (*run, agent.id)));
        }
        open.sort();
        prop_assert_eq!(query::open_runs(&world.store)?, open);
    }

    #[test]
    fn steps_are_listed_as_the_plain_model_lists_them(acts in acts(200), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let agents: Vec<AgentId> = world.agents.iter().map(|agent| agent.id).collect();
        let mut known: Vec<StepId> = world.steps.iter().map(|(_, _, step)| *step).collect();
        known.sort();
        for _ in 0..20 {
            let filter = step_filter(choice, &world, &agents);
            let page = some_page(choice, &known, StepId::from_uuid(STRAY));
            let wanted = page_of(&ordered(&known, page.order), &page, |id| {
                let (step, feedback) = query::step(&world.store, id).ok().flatten()?;
                step_matches(&filter, &step, feedback.as_ref()).then_some((step, feedback))
            });
            let found = answer(query::steps(&world.store, &filter, &page))?;
            prop_assert_eq!(found, wanted, "{:?} {:?}", filter, page);
        }
    }

    #[test]
    fn tags_are_listed_once_each(acts in acts(80), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let mut all = BTreeSet::new();
        all.extend(world.agents.iter().filter(|it| !it.deleted).flat_map(|it| it.config.tags.clone()));
        all.extend(world.blocks.iter().filter(|it| !it.deleted).flat_map(|it| it.block.tags.clone()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for _ in 0..10 {
            let page = some_page(choice, &all, "absent");
            let part = text(choice, &["RED", "e", "x"]);
            let page = Page { after: page.after.filter(|it| *it != "absent"), before: page.before.filter(|it| *it != "absent"), ..page };
            let wanted = page_of(&ordered(&all, page.order), &page, |tag| {
                holds(tag, part.as_ref()).then(|| tag.to_owned())
            });
            let owned = Page {
                after: page.after.map(str::to_owned),
                before: page.before.map(str::to_owned),
                limit: page.limit,
                order: page.order,
            };
            prop_assert_eq!(answer(query::tags(&world.store, part.as_deref(), &owned))?, wanted);
        }
    }

    #[test]
    fn following_a_list_gives_each_item_once(
        acts in acts(200),
        limit in 1..5_usize,
        descending in any::<bool>(),
    ) {
        let world = World::after(&acts)?;
        let store = &world.store;
        let order = if descending { Order::Desc } else { Order::Asc };
        let all = AgentFilter { show_hidden: true, ..AgentFilter::default() };
        for by in [OrderBy::CreatedAt, OrderBy::UpdatedAt, OrderBy::LastRunCompletion] {
            let wanted: Vec<AgentId> = agents_in_order(&world, by, order)?
                .into_iter()
                .filter(|id| world.agents.iter().any(|agent| agent.id == *id && !agent.deleted))
                .collect();
            let list = |page: &Page<AgentId>| {
                let found = query::agents(store, &all, by, page)?;
                Ok(found.into_iter().map(|(id, _)| id).collect())
            };
            prop_assert_eq!(&follow(limit, order, None, list)?, &wanted);
            if let Some((last, before)) = wanted.split_last() {
                prop_assert_eq!(follow(limit, order, Some(*last), list)?, before);
            }
        }
        let mut known: Vec<StepId> = world.steps.iter().map(|(_, _, step)| *step).collect();
        known.sort();
        let list = |page: &Page<StepId>| {
            let found = query::steps(store, &StepFilter::default(), page)?;
            Ok(found.into_iter().map(|(step, _)| step.id).collect())
        };
        prop_assert_eq!(follow(limit, order, None, list)?, ordered(&known, order));
    }
}

#[test]
fn a_list_goes_on_after_what_was_deleted_meanwhile() -> Outcome {
    let mut world = World::after(&[(0, 1), (0, 2), (0, 3)])?;
    let ids: Vec<AgentId> = world.agents.iter().map(|agent| agent.id).collect();
    let gone = retold_events::agent::Event::Deleted(retold_events::agent::Deleted {});
    world.happen(1, world.agents[1].last_at, vec![gone])?;
    let all = AgentFilter { show_hidden: true, ..AgentFilter::default() };
    let page = Page { after: Some(ids[1]), ..Page::first(9, Order::Asc) };
    let found = query::agents(&world.store, &all, OrderBy::CreatedAt, &page)?;
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), vec![ids[2]]);
    let by_update = query::agents(&world.store, &all, OrderBy::UpdatedAt, &page);
    assert_eq!(answer(by_update)?, Answer::Unknown);
    Ok(())
}
