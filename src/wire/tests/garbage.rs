//! Whatever a client sends, nothing panics.

use super::*;

/// A small generator of its own: the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.roll(words.len() as u64)).unwrap()]
    }

    fn value(&mut self, depth: u32) -> Value {
        match self.roll(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => (self.roll(2) == 0).into(),
            2 => (i64::try_from(self.roll(1 << 31)).unwrap() - (1 << 30)).into(),
            3 => 0.5.into(),
            4 => json!(u64::MAX),
            5 => self.pick(&WORDS).into(),
            6 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object(
                (0..self.roll(5))
                    .map(|_| (self.pick(&WORDS).to_owned(), self.value(depth - 1)))
                    .collect(),
            ),
        }
    }

    fn body(&mut self) -> Value {
        let mut body = self.value(3);
        if let Some(members) = body.as_object_mut() {
            members.insert("model".into(), "openai/gpt-4o-mini".into());
        }
        body
    }
}

const WORDS: [&str; 44] = [
    "",
    "\0",
    "name",
    "messages",
    "input",
    "role",
    "user",
    "content",
    "type",
    "text",
    "image",
    "source",
    "url",
    "message",
    "approve",
    "memory_blocks",
    "label",
    "value",
    "limit",
    "tags",
    "tools",
    "tool_ids",
    "tool_rules",
    "run_first",
    "tool_name",
    "model_settings",
    "llm_config",
    "handle",
    "thinking",
    "response_format",
    "json_schema",
    "compaction_settings",
    "mode",
    "all",
    "max_steps",
    "include",
    "agent.tools",
    "limit",
    "order",
    "asc",
    "message_ids",
    "metadata",
    "timezone",
    "\u{1F600}",
];

#[test]
fn no_body_makes_a_request_panic() {
    let mut dice = Dice(7);
    let state = state_of(plain("letta_v1_agent"));
    let mut taken = 0;
    for _ in 0..5000 {
        let body = dice.body();
        if let Ok(request) = serde_json::from_value::<CreateAgentRequest>(body.clone())
            && let Ok(new) = request.into_new_agent(&Defaults::default(), &found(openai()))
        {
            serde_json::to_vec(&AgentState::new(&view(&new), Relations::ALL)).unwrap();
            taken += 1;
        }
        if let Ok(update) = serde_json::from_value::<UpdateAgent>(body.clone()) {
            taken += u32::from(update.into_patch(&state, &found(anthropic())).is_ok());
        }
        if let Ok(request) = serde_json::from_value::<LettaStreamingRequest>(body.clone()) {
            taken += u32::from(request.into_send(agent_id(), Call::Streaming).is_ok());
        }
        if let Ok(update) = serde_json::from_value::<BlockUpdate>(body) {
            let create = json!({"label": "x", "value": ""});
            let mut block =
                serde_json::from_value::<CreateBlock>(create).unwrap().into_block().unwrap();
            taken += u32::from(update.apply(&mut block).is_ok());
        }
    }
    assert!(taken > 100, "the generator makes requests that are taken, too: {taken}");
}

#[test]
fn no_query_makes_a_list_panic() {
    let mut dice = Dice(11);
    for _ in 0..5000 {
        let pairs: Vec<(String, String)> = (0..dice.roll(5))
            .map(|_| (dice.pick(&WORDS).to_owned(), dice.pick(&WORDS).to_owned()))
            .collect();
        let _ = AgentsQuery::from_pairs(&pairs);
        let _ = BlocksQuery::from_pairs(&pairs);
        let _ = RunsQuery::from_pairs(&pairs);
        let _ = StepsQuery::from_pairs(&pairs);
        let _ = MessagesQuery::from_pairs(&pairs);
        let _ = ToolsQuery::from_pairs(&pairs);
        let _ = ModelsQuery::from_pairs(&pairs);
    }
}
