//! What a host does, said once more with plain lists and no thought of time, disks or tasks.

use retold_actors::run::CancelOutcome;
use retold_events::{
    Role,
    run::{EndStatus, StopReason},
};
use retold_snapshots::row::RunStatus;

use super::{ended, name};

/// All there is.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) agents: Vec<Agent>,
    /// Values of blocks: one of each agent, then the shared ones.
    pub(super) blocks: Vec<String>,
    pub(super) runs: Vec<Run>,
    /// Model calls since the last start.
    pub(super) calls: usize,
}

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: String,
    /// Places of messages in the order in which they were given out. A place may stay empty for ever.
    places: Vec<Option<Line>>,
    /// Places in context, in order.
    pub(super) context: Vec<usize>,
    pub(super) blocks: Vec<usize>,
    /// Runs that have not ended, oldest first. The first one is under way.
    pub(super) open: Vec<usize>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) role: Role,
    pub(super) text: String,
    pub(super) interrupted: bool,
}

#[derive(Debug)]
pub(super) struct Run {
    agent: usize,
    text: String,
    pub(super) stream: bool,
    pub(super) status: RunStatus,
    pub(super) stop_reason: Option<StopReason>,
    pub(super) interrupted: bool,
    pub(super) deleted: bool,
    attempt: u32,
    input: usize,
    input_entered: bool,
    answer: usize,
    /// What the model said in the step under way.
    pub(super) said: String,
    /// What it said in all steps.
    pub(super) shown: String,
    /// What the model was shown for the step under way.
    pub(super) prompt: Vec<(&'static str, String)>,
}

impl Agent {
    fn place(&mut self) -> usize {
        self.places.push(None);
        self.places.len() - 1
    }

    fn enter(&mut self, place: usize, role: Role, text: &str, interrupted: bool) {
        self.places[place] = Some(Line { role, text: text.to_owned(), interrupted });
        self.context.push(place);
    }

    pub(super) fn history(&self) -> Vec<Line> {
        self.places.iter().flatten().cloned().collect()
    }

    pub(super) fn line(&self, place: usize) -> Line {
        self.places[place].clone().expect("what is in context is there")
    }
}

impl Reference {
    pub(super) fn new(agents: usize, shared: usize) -> Self {
        let agent = |own| Agent {
            name: "Test".to_owned(),
            places: Vec::new(),
            context: Vec::new(),
            blocks: vec![own],
            open: Vec::new(),
        };
        let mut blocks = vec!["Nothing yet.".to_owned(); agents];
        blocks.extend(vec![String::new(); shared]);
        Self { agents: (0..agents).map(agent).collect(), blocks, runs: Vec::new(), calls: 0 }
    }

    pub(super) fn send(&mut self, agent: usize, text: &str, stream: bool) {
        self.runs.push(Run {
            agent,
            text: text.to_owned(),
            stream,
            status: RunStatus::Created,
            stop_reason: None,
            interrupted: false,
            deleted: false,
            attempt: 0,
            input: 0,
            input_entered: false,
            answer: 0,
            said: String::new(),
            shown: String::new(),
            prompt: Vec::new(),
        });
        self.agents[agent].open.push(self.runs.len() - 1);
        self.start_next(agent);
    }

    fn start_next(&mut self, agent: usize) {
        let Some(&next) = self.agents[agent].open.first() else { return };
        if self.runs[next].status == RunStatus::Created {
            let input = self.agents[agent].place();
            let run = &mut self.runs[next];
            (run.status, run.attempt, run.input) = (RunStatus::Running, 1, input);
            self.start_step(next);
        }
    }

    fn start_step(&mut self, run: usize) {
        let run = &mut self.runs[run];
        let agent = &mut self.agents[run.agent];
        run.answer = agent.place();
        run.said.clear();
        let lines = agent.context.iter().map(|&place| agent.line(place));
        run.prompt = lines.map(|line| (name(line.role), line.text)).collect();
        if !run.input_entered {
            run.prompt.push((name(Role::User), run.text.clone()));
        }
        self.calls += 1;
    }

    /// The run whose step is under way.
    fn running(&self, agent: usize) -> Option<usize> {
        self.agents[agent].open.first().copied()
    }

    pub(super) fn say(&mut self, agent: usize, text: &str) -> bool {
        let Some(run) = self.running(agent) else { return false };
        self.runs[run].said.push_str(text);
        self.runs[run].shown.push_str(text);
        true
    }

    pub(super) fn call_tool(&mut self, agent: usize, text: &str) -> bool {
        let Some(run) = self.running(agent) else { return false };
        self.enter_step(run, true, false);
        let place = self.agents[agent].place();
        self.agents[agent].enter(place, Role::Tool, "", false);
        let own = &mut self.blocks[agent];
        *own = format!("{own}\n{text}");
        self.start_step(run);
        true
    }

    pub(super) fn finish(&mut self, agent: usize) -> bool {
        let Some(run) = self.running(agent) else { return false };
        self.enter_step(run, false, false);
        self.end(run, EndStatus::Completed, StopReason::EndTurn);
        true
    }

    pub(super) fn fail(&mut self, agent: usize) -> bool {
        let Some(run) = self.running(agent) else { return false };
        self.end(run, EndStatus::Failed, StopReason::LlmApiError);
        true
    }

    /// The input, and what was said, become part of the conversation.
    fn enter_step(&mut self, run: usize, with_call: bool, interrupted: bool) {
        let run = &mut self.runs[run];
        let agent = &mut self.agents[run.agent];
        if !run.input_entered {
            agent.enter(run.input, Role::User, &run.text, false);
            run.input_entered = true;
        }
        if with_call || !run.said.is_empty() {
            agent.enter(run.answer, Role::Assistant, &run.said, interrupted);
        }
    }

    fn end(&mut self, run: usize, status: EndStatus, reason: StopReason) {
        let agent = self.runs[run].agent;
        self.agents[agent].open.retain(|&open| open != run);
        self.runs[run].status = RunStatus::Ended(status);
        self.runs[run].stop_reason = Some(reason);
        self.start_next(agent);
    }

    pub(super) fn cancel(
        &mut self,
        agent: usize,
        runs: Option<&[usize]>,
    ) -> Vec<(usize, CancelOutcome)> {
        let mut targets = runs.map_or_else(|| self.agents[agent].open.clone(), <[usize]>::to_vec);
        targets.sort_unstable();
        targets.dedup();
        let mut outcomes = Vec::new();
        let mut under_way = None;
        for run in targets {
            let known = &self.runs[run];
            let outcome = match known.status {
                _ if known.agent != agent || known.deleted => CancelOutcome::Unknown,
                RunStatus::Ended(status) => ended(status),
                RunStatus::Created | RunStatus::Running => CancelOutcome::Cancelled,
            };
            outcomes.push((run, outcome));
            if outcome != CancelOutcome::Cancelled {
                continue;
            }
            if known.status == RunStatus::Running {
                under_way = Some(run);
                continue;
            }
            // What waited is kept, as everything that a person sent.
            let text = known.text.clone();
            let place = self.agents[agent].place();
            self.agents[agent].enter(place, Role::User, &text, true);
            self.end(run, EndStatus::Cancelled, StopReason::Cancelled);
        }
        if let Some(run) = under_way {
            self.enter_step(run, false, true);
            self.end(run, EndStatus::Cancelled, StopReason::Cancelled);
        }
        outcomes
    }

    pub(super) fn attach(&mut self, agent: usize, block: usize) {
        let blocks = &mut self.agents[agent].blocks;
        if !blocks.contains(&block) {
            blocks.push(block);
        }
    }

    pub(super) fn detach(&mut self, agent: usize, block: usize) {
        self.agents[agent].blocks.retain(|&other| other != block);
    }

    /// A call that showed nothing is made once more; what was seen ends with what was seen.
    pub(super) fn crash(&mut self) {
        self.calls = 0;
        for agent in 0..self.agents.len() {
            let Some(run) = self.running(agent) else { continue };
            if !self.runs[run].stream {
                self.runs[run].said.clear();
            }
            if self.runs[run].said.is_empty() && self.runs[run].attempt == 1 {
                self.runs[run].attempt = 2;
                self.start_step(run);
            } else {
                self.enter_step(run, false, true);
                self.runs[run].interrupted = true;
                self.end(run, EndStatus::Failed, StopReason::Error);
            }
        }
    }
}
