//! `retold events replay`: whether a run is what the log says of it, as lines.

use clap::Args;
use reqwest::Method;
use retold_events::RunId;
use serde_json::{Value, value::RawValue};

use super::{Fault, parse, print_line};
use crate::{
    cli::{Exit, flags::ClientFlags, say},
    client::{Client, nonsense},
};

/// Characters of a prompt hash that are shown: enough to tell two of them apart.
const SHOWN_OF_HASH: usize = 12;

/// Which run to replay.
#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Print JSON: the object on one line, as the API gives it
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) flags: ClientFlags,
}

/// Has the server replay a run, and prints what came of it.
pub(super) async fn replay(client: &Client, args: &ReplayArgs) -> Result<Exit, Fault> {
    let run = args.run.to_string();
    let url = client.endpoint(&["runs", &run, "replay"])?;
    let replayed: Box<RawValue> = client.get(client.request_of(Method::GET, url)).await?;
    let replay = parse(replayed.get())?;
    let exit = match replay["status"].as_str() {
        Some("identical" | "incomplete") => Exit::Done,
        Some("diverged") => Exit::Failed,
        Some(_) | None => return Err(nonsense("a replay has no status it could have").into()),
    };
    if args.json {
        print_line(replayed.get())?;
        return Ok(exit);
    }
    for line in lines(&replay) {
        print_line(&line)?;
    }
    if replay["status"] == "incomplete" {
        say("the run has not ended: only what there is of it was replayed");
    }
    Ok(exit)
}

/// A line per step, the first divergence, and what came of it.
fn lines(replay: &Value) -> Vec<String> {
    let none = Vec::new();
    let mut lines: Vec<String> =
        replay["steps"].as_array().unwrap_or(&none).iter().map(step).collect();
    let divergence = &replay["divergence"];
    if divergence.is_object() {
        let place = match divergence["position"].as_u64() {
            Some(position) => format!("at position {position}"),
            None => "of an event that is missing".to_owned(),
        };
        lines.push(format!(
            "first divergence {place}: {}: {}",
            word(&divergence["what"]),
            word(&divergence["detail"])
        ));
        lines.push(format!("  recorded  {}", word(&divergence["expected"])));
        lines.push(format!("  replayed  {}", word(&divergence["found"])));
    }
    lines.push(format!(
        "{}  {}  {} events  {} steps  {} messages  {} pieces of output",
        word(&replay["run_id"]),
        word(&replay["status"]),
        replay["events"],
        replay["steps"].as_array().map_or(0, Vec::len),
        replay["messages"],
        replay["items"],
    ));
    lines
}

fn step(step: &Value) -> String {
    let hash = |name: &str| -> String {
        step[name].as_str().unwrap_or("none").chars().take(SHOWN_OF_HASH).collect()
    };
    let verdict = match step["matches"].as_bool() {
        Some(true) => format!("identical  {}", hash("replayed_prompt_hash")),
        Some(false) => format!(
            "DIFFERS    sent {}  replayed {}",
            hash("recorded_prompt_hash"),
            hash("replayed_prompt_hash")
        ),
        None => format!("no hash    {}", hash("replayed_prompt_hash")),
    };
    format!(
        "{}  {:<9}  {verdict}  {} messages  {} tokens  {}",
        word(&step["step_id"]),
        word(&step["status"]),
        step["messages"],
        step["tokens"],
        word(&step["model"]),
    )
}

/// A text on one line.
fn word(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_step_has_a_line_and_the_first_divergence_its_place() {
        let hash = "0123456789abcdef0123456789abcdef";
        let step = |matches: Value| {
            json!({
                "step_id": "step-1", "status": "success", "model": "p/m", "messages": 3, "tokens": 40,
                "recorded_prompt_hash": hash, "replayed_prompt_hash": hash, "matches": matches,
            })
        };
        let replay = json!({
            "run_id": "run-1", "status": "diverged", "events": 7, "messages": 2, "items": 3,
            "steps": [step(json!(true)), step(json!(false)), step(json!(null))],
            "divergence": {
                "position": 12, "what": "message", "detail": "it is otherwise", "expected": "a\nb", "found": "c",
            },
        });
        assert_eq!(
            lines(&replay),
            [
                "step-1  success    identical  0123456789ab  3 messages  40 tokens  p/m",
                "step-1  success    DIFFERS    sent 0123456789ab  replayed 0123456789ab  3 messages  40 tokens  p/m",
                "step-1  success    no hash    0123456789ab  3 messages  40 tokens  p/m",
                "first divergence at position 12: message: it is otherwise",
                "  recorded  a b",
                "  replayed  c",
                "run-1  diverged  7 events  3 steps  2 messages  3 pieces of output",
            ]
        );
    }
}
