//! What may happen in a [`World`], each with the precondition a decision would check.

use retold_events::{
    ConversationId, Message, MessageId, Role, RunId, StepId, ToolId, agent,
    agent::Event,
    block,
    run::{self, EndStatus, Feedback, RunError, StepOutcome, StopReason, Usage},
};
use retold_snapshots::run::{OpenRun, ROOM_BELOW, input_message};
use uuid::Uuid;

use crate::{
    facts::{self, Choice},
    world::{Outcome, World},
};

impl World {
    /// One act of the given kind, or nothing when it is not possible now.
    pub(crate) fn act(&mut self, kind: u8, mut choice: Choice) -> Outcome {
        let choice = &mut choice;
        // Few agents, so that much happens to each.
        match (kind % 48, self.agents.iter().filter(|agent| !agent.deleted).count()) {
            (_, 0) => return self.create_agent(choice),
            (0 | 1, 4..) | (40 | 41, 6..) => return Ok(()),
            _ => {}
        }
        match kind % 48 {
            0 | 1 => self.create_agent(choice),
            2 | 3 => self.create_block(choice),
            4 => self.edit_block(choice),
            5 => self.delete_block(choice),
            6 => self.some_agent(choice).map_or(Ok(()), |index| self.save(index)),
            40 | 41 => self.fork_agent(choice),
            kind @ 42..=44 => self.act_on_tool(kind, choice),
            kind @ 45.. => self.act_on_server(kind, choice),
            kind => match self.some_agent(choice) {
                Some(index) if kind < 17 => self.change(kind, index, choice),
                Some(index) => self.run(kind, index, choice),
                None => Ok(()),
            },
        }
    }

    fn edit_block(&mut self, choice: &mut Choice) -> Outcome {
        let Some(index) = self.some_block(choice) else { return Ok(()) };
        let at = self.tick(choice);
        let restored = choice.maybe(&[1]);
        let author = block::Author::Client;
        let edited = block::Edited { block: facts::block(choice), author, restored };
        self.happen_to_block(index, at, block::Event::Edited(edited))
    }

    fn delete_block(&mut self, choice: &mut Choice) -> Outcome {
        let Some(index) = self.some_block(choice) else { return Ok(()) };
        let (id, at) = (self.blocks[index].id, self.tick(choice));
        for agent in 0..self.agents.len() {
            if self.agents[agent].blocks.contains(&id) && !self.agents[agent].deleted {
                let detached = agent::BlockDetached { block: id };
                self.happen(agent, at, vec![Event::BlockDetached(detached)])?;
            }
        }
        let deleted = block::Deleted { author: block::Author::Client };
        self.happen_to_block(index, at, block::Event::Deleted(deleted))
    }

    fn change(&mut self, kind: u8, index: usize, choice: &mut Choice) -> Outcome {
        let at = self.tick(choice);
        let event = match kind {
            7 => Some(Event::Configured(agent::Configured { config: facts::config(choice) })),
            8 => Some(Event::SecretsSet(facts::secrets(choice))),
            9 | 10 => self.attach_or_detach(index, choice),
            11 => Some(self.attach_or_detach_tool(index, choice)),
            12 => Some(Event::SystemCompiled(agent::SystemCompiled {
                conversation: None,
                text: format!("compiled {}", choice.below(100)),
                tokens: 7,
                compiled_at: at,
                compiled_from: Vec::new(),
            })),
            13 => Some(self.replace_context(index, choice)),
            14 | 15 => Some(self.compact(index, choice)),
            _ if choice.once_in(3) => return self.delete_agent(index, choice),
            _ => None,
        };
        event.map_or(Ok(()), |event| self.happen(index, at, vec![event]))
    }

    fn attach_or_detach(&mut self, index: usize, choice: &mut Choice) -> Option<Event> {
        let block = self.blocks[self.some_block(choice)?].id;
        Some(if self.agents[index].blocks.contains(&block) {
            Event::BlockDetached(agent::BlockDetached { block })
        } else {
            Event::BlockAttached(agent::BlockAttached { block })
        })
    }

    fn attach_or_detach_tool(&mut self, index: usize, choice: &mut Choice) -> Event {
        let tool = ToolId::from_uuid(Uuid::from_u128(choice.below(3) as u128));
        if self.agents[index].tools.contains(&tool) {
            Event::ToolDetached(agent::ToolDetached { tool })
        } else {
            Event::ToolAttached(agent::ToolAttached { tool })
        }
    }

    fn replace_context(&mut self, index: usize, choice: &mut Choice) -> Event {
        let at = self.tick(choice);
        let thread = self.agents[index].thread().clone();
        let kept = choice.below(thread.context.len() + 1);
        let mut system = Message::clone(&thread.system);
        if choice.once_in(2) {
            system.tokens += 1;
        }
        let mut messages = vec![system];
        messages.extend(thread.context.iter().skip(kept).map(|message| Message::clone(message)));
        for _ in 0..choice.below(3) {
            let id = self.message_id(choice);
            messages.push(facts::message(id, Role::Assistant, "More human than human", at));
        }
        Event::ContextReplaced(agent::ContextReplaced { conversation: None, messages })
    }

    fn compact(&mut self, index: usize, choice: &mut Choice) -> Event {
        let at = self.tick(choice);
        let state = &self.agents[index];
        let context: Vec<MessageId> =
            state.thread().context.iter().map(|message| message.id).collect();
        let kept_from = choice.maybe(&context);
        let started: Vec<RunId> = state
            .open_runs
            .values()
            .filter(|run| run.started.is_some())
            .map(|run| run.id)
            .collect();
        let run = choice.maybe(&started);
        let held = run.and_then(|run| self.room_below_held(index, run));
        let id = held.unwrap_or_else(|| self.message_id(choice));
        let summary = facts::message(id, Role::Summary, "They spoke of 1 and 2", at);
        Event::ContextCompacted(agent::ContextCompacted {
            conversation: None,
            summary: Message { run, ..summary },
            kept_from,
            trigger: "manual".to_owned(),
            tokens_before: 100,
            tokens_after: 10,
            messages_before: 9,
            messages_after: 2,
        })
    }

    /// The id of a summary that stands before the messages a run holds ids for; `None` where it holds none.
    fn room_below_held(&self, index: usize, run: RunId) -> Option<MessageId> {
        let state = &self.agents[index];
        let run = &state.open_runs[&run];
        let input = run.started.as_ref().filter(|_| !run.input_entered);
        let held = input.and_then(|started| started.input_ids.first().copied());
        let held = held.or(run.step.as_ref().map(|step| step.message))?;
        let history = self.history.get(&state.id)?;
        let newest = history.range(..held).next_back()?.0.uuid().as_u128();
        let room = held.uuid().as_u128() - ROOM_BELOW;
        Some(MessageId::from_uuid(Uuid::from_u128(room.max(newest) + 1)))
    }

    /// With its runs ended in the same moment, or some time later.
    fn delete_agent(&mut self, index: usize, choice: &mut Choice) -> Outcome {
        let at = self.tick(choice);
        let open: Vec<OpenRun> = self.agents[index].open_runs.values().cloned().collect();
        let ends = |run: &OpenRun| Event::RunEnded(ended(run, EndStatus::Cancelled, Vec::new()));
        let mut events: Vec<Event> = open.iter().map(ends).collect();
        if choice.once_in(2) {
            events.push(Event::Deleted(agent::Deleted {}));
            self.happen(index, at, events)
        } else {
            self.happen(index, at, vec![Event::Deleted(agent::Deleted {})])?;
            self.happen(index, at, events)
        }
    }

    fn run(&mut self, kind: u8, index: usize, choice: &mut Choice) -> Outcome {
        let at = self.tick(choice);
        let open: Vec<OpenRun> = self.agents[index].open_runs.values().cloned().collect();
        let of = |wanted: fn(&OpenRun) -> bool, choice: &mut Choice| {
            choice.of(&open.iter().filter(|run| wanted(run)).cloned().collect::<Vec<_>>())
        };
        let event = match kind {
            17..=19 => Some(self.accept(choice)),
            20..=23 => self.start(index, choice),
            24..=28 => of(|run| run.started.is_some() && run.step.is_none(), choice)
                .map(|run| self.start_step(&run, choice)),
            29..=33 => of(|run| run.step.is_some(), choice).map(|run| self.end_step(&run, choice)),
            34 if choice.once_in(2) => choice
                .of(&open)
                .map(|run| Event::CancelRequested(run::CancelRequested { run: run.id })),
            34 => self.resolve(index, choice),
            35 | 36 => of(|run| run.step.is_none(), choice).map(|run| self.end(&run, choice)),
            37 => {
                let ended: Vec<RunId> = self.agents[index].callbacks.keys().copied().collect();
                choice.of(&ended).map(|run| {
                    let status_code = choice.maybe(&[200, 503]);
                    Event::CallbackSent(run::CallbackSent { run, status_code, error: None })
                })
            }
            38 => self.delete_run(index, choice),
            _ => self.judge(index, choice),
        };
        event.map_or(Ok(()), |event| self.happen(index, at, vec![event]))
    }

    fn accept(&mut self, choice: &mut Choice) -> Event {
        let run = RunId::from_uuid(self.uuid(choice));
        let input = (0..=choice.below(2)).map(|_| facts::input(choice)).collect();
        let (decisions, client_tools) = (Vec::new(), Vec::new());
        let request = facts::request(choice);
        let asked_by = choice.once_in(4).then(|| run::AskedBy {
            agent: self.agents[0].id,
            run,
            call: [3; 16],
            waits: true,
            depth: 1,
        });
        Event::RunAccepted(run::Accepted { run, input, request, decisions, client_tools, asked_by })
    }

    /// The first that waits for a free thread; or one that runs begins again after a crash.
    fn start(&mut self, index: usize, choice: &mut Choice) -> Option<Event> {
        let state = &self.agents[index];
        let waiting = state
            .open_runs
            .values()
            .find(|run| run.started.is_none() && state.running(run.request.conversation).is_none());
        let running = state.open_runs.values().find(|run| run.started.is_some());
        if let (Some(run), true) = (running, choice.once_in(6)) {
            let started = run.started.as_ref()?;
            return Some(Event::RunStarted(run::Started {
                run: run.id,
                attempt: started.attempt + 1,
                input_ids: started.input_ids.clone(),
            }));
        }
        let (run, inputs) = waiting.map(|run| (run.id, run.input.len()))?;
        let input_ids = (0..inputs).map(|_| self.message_id(choice)).collect();
        Some(Event::RunStarted(run::Started { run, attempt: 1, input_ids }))
    }

    fn start_step(&mut self, run: &OpenRun, choice: &mut Choice) -> Event {
        Event::StepStarted(run::StepStarted {
            run: run.id,
            step: StepId::from_uuid(self.uuid(choice)),
            message: self.message_id(choice),
            model: choice.of(&facts::MODELS).unwrap_or_default().to_owned(),
            provider: None,
            endpoint_type: "openai".to_owned(),
            context_window: 32_000,
        })
    }

    fn end_step(&mut self, run: &OpenRun, choice: &mut Choice) -> Event {
        let at = self.tick(choice);
        let Some(step) = &run.step else { unreachable!("only runs with a step come here") };
        let outcome = match choice.below(6) {
            0 => StepOutcome::Failed { error: failure() },
            1 => StepOutcome::Cancelled,
            _ => StepOutcome::Success,
        };
        let place: Option<ConversationId> = run.request.conversation;
        let mut messages = Vec::new();
        if !matches!(outcome, StepOutcome::Failed { .. }) {
            let text = format!("It is {}", choice.below(5));
            let mut answer = facts::message(step.message, Role::Assistant, &text, at);
            answer.is_err = choice.once_in(5);
            if choice.once_in(2) {
                let tools = ["send_message", "conversation_search", "memory_insert"];
                let name = choice.of(&tools).unwrap_or_default();
                let id = self.message_id(choice);
                let call = facts::call(name, "{\"message\":\"Spoken 3\"}");
                let next = if choice.once_in(3) {
                    let tool_calls = vec![call];
                    Message { tool_calls, ..facts::message(id, Role::Approval, "", at) }
                } else {
                    answer.tool_calls = vec![call];
                    facts::message(id, Role::Tool, "found 1", at)
                };
                messages.push(facts::said(next, run.id, step.id, place));
            }
            messages.insert(0, facts::said(answer, run.id, step.id, place));
        }
        let prompt_tokens = choice.below(100) as u64;
        Event::StepEnded(run::StepEnded {
            run: run.id,
            step: step.id,
            input_enters: !run.input_entered && !messages.is_empty(),
            tools_called: messages
                .iter()
                .flat_map(|said| &said.tool_calls)
                .map(|call| call.name.clone())
                .collect(),
            messages,
            outcome,
            usage: Usage { prompt_tokens, completion_tokens: 5, ..Usage::default() },
            prompt_hash: None,
            stop_reason: choice.maybe(&[StopReason::EndTurn]),
            timing: run::StepTiming { started_at: step.at, ..run::StepTiming::default() },
        })
    }

    fn end(&mut self, run: &OpenRun, choice: &mut Choice) -> Event {
        let at = self.tick(choice);
        let statuses = [EndStatus::Completed, EndStatus::Failed, EndStatus::Cancelled];
        let status = choice.of(&statuses).unwrap_or(EndStatus::Completed);
        let enters = status == EndStatus::Cancelled && !run.input_entered;
        let input = match &run.started {
            Some(_) if enters => run.input_messages(),
            None if enters => run
                .input
                .iter()
                .map(|input| {
                    input_message(run.id, &run.request, input, self.message_id(choice), at)
                })
                .collect(),
            _ => Vec::new(),
        };
        Event::RunEnded(ended(run, status, input))
    }

    /// Whoever was asked has decided, or nobody has in time.
    fn resolve(&mut self, index: usize, choice: &mut Choice) -> Option<Event> {
        let at = self.tick(choice);
        let threads = &self.agents[index].threads;
        let pending: Vec<Message> =
            threads.values().filter_map(|it| it.pending()).map(|it| Message::clone(it)).collect();
        let asks = choice.of(&pending)?;
        let (run, step) = (asks.run?, asks.step?);
        let id = self.message_id(choice);
        let message = facts::message(id, Role::Tool, "no", at);
        let message = facts::said(message, run, step, asks.conversation);
        let by = run::Resolution::Expired;
        Some(Event::CallsResolved(run::CallsResolved { run, step, message, by }))
    }

    fn delete_run(&mut self, index: usize, choice: &mut Choice) -> Option<Event> {
        let id = self.agents[index].id;
        let ended: Vec<RunId> =
            self.ended.iter().filter(|(agent, _)| *agent == id).map(|(_, run)| *run).collect();
        choice.of(&ended).map(|run| Event::RunDeleted(run::Deleted { run }))
    }

    fn judge(&mut self, index: usize, choice: &mut Choice) -> Option<Event> {
        let id = self.agents[index].id;
        let steps: Vec<_> = self.steps.iter().filter(|(agent, ..)| *agent == id).copied().collect();
        let (_, run, step) = choice.of(&steps)?;
        Some(Event::FeedbackGiven(run::FeedbackGiven {
            run,
            step,
            feedback: choice.maybe(&[Feedback::Positive, Feedback::Negative]),
            tags: facts::strings(choice.some_of(&facts::TAGS)),
        }))
    }
}

fn ended(run: &OpenRun, status: EndStatus, input: Vec<Message>) -> run::Ended {
    run::Ended {
        run: run.id,
        status,
        stop_reason: match status {
            EndStatus::Completed => StopReason::EndTurn,
            EndStatus::Failed => StopReason::Error,
            EndStatus::Cancelled => StopReason::Cancelled,
        },
        error: (status == EndStatus::Failed).then(failure),
        interrupted: false,
        input,
        ttft_ns: None,
        total_ns: 1_000_000,
    }
}

pub(crate) fn failure() -> RunError {
    RunError {
        error_type: "llm_error".to_owned(),
        message: "the provider failed".to_owned(),
        detail: None,
        retry_after_s: None,
    }
}
