//! Finding tools by words.
//!
//! V1 compares embeddings. Names and descriptions of tools are short and say what they do, so their words are weighed
//! instead: rare ones more than common ones, those of the name more than those of the tags, these more than those of the
//! description. It needs no model and gives the same answer each time.

use std::collections::HashMap;

use axum::{Json as Answer, extract::State};
use retold_actors::{Refusal, ToolView, tool::builtins};
use retold_events::{ToolId, tool::Tool as StoredTool};
use retold_snapshots::query::{self, QueryError, ToolFilter};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::ApiError, extract::OptionalJson, openapi::WriteErrors, tools::view};
use crate::wire::{Tool, ToolSearchRequest, ToolSearchResult, check_tool_type};

/// How much a word weighs in the name, in a tag, in the description.
const WEIGHTS: [f64; 3] = [3.0, 2.0, 1.0];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(search))
}

/// Tools that fit some words, the best first. Without words, the newest.
#[utoipa::path(post, path = "/v1/tools/search", tag = "tools", operation_id = "search_tools",
    request_body = ToolSearchRequest,
    responses((status = 200, description = "The tools found", body = [ToolSearchResult]), WriteErrors))]
async fn search(
    State(app): State<App>,
    OptionalJson(request): OptionalJson<ToolSearchRequest>,
) -> Result<Answer<Vec<ToolSearchResult>>, ApiError> {
    let limit = request.checked()?;
    let kinds = request.tool_types.unwrap_or_default();
    if let Some(problem) = kinds.iter().find_map(|kind| check_tool_type(kind).err()) {
        return Err(Refusal::Invalid(format!("tool_types: {problem}")).into());
    }
    let (words, tags) = (request.query.unwrap_or_default(), request.tags.unwrap_or_default());
    let found = app
        .query(move |store| {
            let filter = ToolFilter { kinds, ..ToolFilter::default() };
            let made = query::all_tools(store, &filter)?;
            let builtin =
                builtins().iter().filter(|tool| filter.matches(tool.id, tool.name, tool.tool_type));
            let mut all: Vec<Text> = builtin.map(Text::builtin).collect();
            all.extend(made.iter().map(|(id, row)| Text::made(*id, &row.tool)));
            all.retain(|text| tags.is_empty() || tags.iter().any(|tag| text.tags.contains(tag)));
            let best = ranked(&words, &all, limit);
            best.into_iter()
                .map(|(index, score)| {
                    let text = &all[index];
                    Ok(seen(store, text.id)?.map(|tool| (tool, text.whole(), score)))
                })
                .filter_map(Result::transpose)
                .collect::<Result<Vec<_>, QueryError>>()
        })
        .await?;
    let results =
        found.into_iter().enumerate().map(|(index, (tool, text, score))| ToolSearchResult {
            tool: Tool::from(&tool),
            embedded_text: Some(text),
            fts_rank: Some(index + 1),
            vector_rank: None,
            combined_score: score,
        });
    Ok(Answer(results.collect()))
}

fn seen(
    store: &dyn retold_events::store::EventStore,
    id: ToolId,
) -> Result<Option<ToolView>, QueryError> {
    if let Some(builtin) = retold_actors::tool::by_id(id) {
        return Ok(Some(ToolView::Builtin(builtin)));
    }
    Ok(query::tool(store, id)?.map(|row| view((id, row))))
}

/// What there is to read about a tool.
#[derive(Debug)]
struct Text {
    id: ToolId,
    name: String,
    tags: Vec<String>,
    description: String,
}

impl Text {
    fn builtin(tool: &retold_actors::tool::BuiltinTool) -> Self {
        Self {
            id: tool.id,
            name: tool.name.to_owned(),
            tags: vec![tool.tool_type.to_owned()],
            description: tool.description.to_owned(),
        }
    }

    fn made(id: ToolId, tool: &StoredTool) -> Self {
        let (name, tags) = (tool.name.clone(), tool.tags.clone());
        Self { id, name, tags, description: tool.description.clone().unwrap_or_default() }
    }

    fn whole(&self) -> String {
        [self.name.as_str(), &self.tags.join(" "), &self.description]
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Its words with what each weighs.
    fn weighed(&self) -> HashMap<String, f64> {
        let tags = self.tags.join(" ");
        let mut weighed = HashMap::new();
        for (part, weight) in [&self.name, &tags, &self.description].into_iter().zip(WEIGHTS) {
            for word in words(part) {
                // A word that is said again says less.
                let known = weighed.entry(word).or_insert(0.0);
                *known = f64::max(*known, weight) + *known / 8.0;
            }
        }
        weighed
    }
}

/// Letters and digits, in lower case; camels are taken apart.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut last_is_lower = false;
    for char in text.chars() {
        let starts = char.is_uppercase() && last_is_lower;
        if (starts || !char.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if char.is_alphanumeric() {
            word.extend(char.to_lowercase());
        }
        last_is_lower = char.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Indices of the best fitting texts with their scores, best first; of equals the newer one. Every text fits no words.
fn ranked(query: &str, texts: &[Text], limit: usize) -> Vec<(usize, f64)> {
    let mut wanted = words(query);
    wanted.sort();
    wanted.dedup();
    let weighed: Vec<HashMap<String, f64>> = texts.iter().map(Text::weighed).collect();
    let fits = |text: &HashMap<String, f64>, wanted: &str| -> f64 {
        match text.get(wanted) {
            Some(weight) => *weight,
            // `weather` finds `weathers`, for half.
            None if wanted.chars().count() >= 3 => text
                .iter()
                .filter(|(word, _)| word.starts_with(wanted))
                .map(|(_, weight)| weight / 2.0)
                .fold(0.0, f64::max),
            None => 0.0,
        }
    };
    let mut scores = vec![0.0; texts.len()];
    for word in &wanted {
        let weights: Vec<f64> = weighed.iter().map(|text| fits(text, word)).collect();
        let known = weights.iter().filter(|weight| **weight > 0.0).count();
        let rarity = ((1 + texts.len()) as f64 / (1 + known) as f64).ln() + 1.0;
        for (score, weight) in scores.iter_mut().zip(weights) {
            *score += rarity * weight;
        }
    }
    let mut found: Vec<(usize, f64)> = scores
        .into_iter()
        .enumerate()
        .filter(|(_, score)| wanted.is_empty() || *score > 0.0)
        .collect();
    found.sort_by(|(a, left), (b, right)| {
        right.total_cmp(left).then_with(|| texts[*b].id.cmp(&texts[*a].id))
    });
    found.truncate(limit);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u128, name: &str, tags: &[&str], description: &str) -> Text {
        Text {
            id: ToolId::from_uuid(uuid::Uuid::from_u128(number)),
            name: name.to_owned(),
            tags: tags.iter().map(ToString::to_string).collect(),
            description: description.to_owned(),
        }
    }

    fn found(query: &str, texts: &[Text]) -> Vec<String> {
        ranked(query, texts, 10).into_iter().map(|(index, _)| texts[index].name.clone()).collect()
    }

    #[test]
    fn names_are_taken_apart_and_weigh_more_than_descriptions() {
        let texts = [
            text(1, "send_mail", &[], "Sends a letter; does not look up the weather."),
            text(2, "getWeather", &[], "Asks a station."),
            text(3, "roll_dice", &["games"], "Rolls."),
        ];
        assert_eq!(found("weather", &texts), ["getWeather", "send_mail"]);
        assert_eq!(found("Games!", &texts), ["roll_dice"]);
        assert_eq!(found("mail weather", &texts), ["send_mail", "getWeather"]);
        assert_eq!(found("nothing here", &texts), Vec::<String>::new());
    }

    #[test]
    fn the_beginning_of_a_word_finds_it_and_a_rare_word_counts_more() {
        let texts = [
            text(1, "a", &[], "tool for numbers"),
            text(2, "b", &[], "tool for translations"),
            text(3, "c", &[], "tool"),
        ];
        assert_eq!(found("translation tool", &texts)[0], "b");
        assert_eq!(found("tr", &texts), Vec::<String>::new(), "too short to guess");
    }

    #[test]
    fn without_words_the_newest_come_first() {
        let texts = [text(1, "a", &[], ""), text(3, "c", &[], ""), text(2, "b", &[], "")];
        assert_eq!(found(" ?", &texts), ["c", "b", "a"]);
        assert_eq!(ranked("", &texts, 2).len(), 2);
    }
}
