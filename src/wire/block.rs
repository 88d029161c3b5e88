//! Memory blocks: as clients send them and as they are answered.

use retold_actors::{BlockView, Refusal, block::Patch};
use retold_events::{BlockId, block};
use retold_snapshots::{block::State, row::BlockRow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{DEFAULT_USER_ID, Id, JsonObject, Problem, json, tags};

/// Characters a block may hold when nobody says otherwise.
const DEFAULT_LIMIT: u64 = 100_000;

/// A memory block.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Block {
    /// The text an agent sees.
    pub value: String,
    /// Upper bound of the value, in characters.
    pub limit: u64,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Name of the template it came from.
    pub template_name: Option<String>,
    /// Whether it is a template.
    pub is_template: bool,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
    /// Kept for the client.
    pub deployment_id: Option<String>,
    /// Kept for the client.
    pub entity_id: Option<String>,
    /// Kept for the client.
    pub preserve_on_migration: Option<bool>,
    /// The name agents know it by.
    pub label: Option<String>,
    /// Whether agents may only read it.
    pub read_only: bool,
    /// What it is for; shown to the model.
    pub description: Option<String>,
    /// Free JSON object of the client.
    pub metadata: JsonObject,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<BlockId>,
    /// Who made it.
    pub created_by_id: Option<String>,
    /// Who changed it last.
    pub last_updated_by_id: Option<String>,
    /// Labels of the client.
    pub tags: Vec<String>,
}

/// The answer of the block routes; V1 has two names for one form.
pub type BlockResponse = Block;

impl Block {
    /// A stored block as it is answered.
    #[must_use]
    pub fn new(id: BlockId, block: &block::Block) -> Self {
        Self {
            value: block.value.clone(),
            limit: block.limit,
            project_id: block.project_id.clone(),
            template_name: block.template_name.clone(),
            is_template: block.is_template,
            template_id: block.template_id.clone(),
            base_template_id: block.base_template_id.clone(),
            deployment_id: block.deployment_id.clone(),
            entity_id: block.entity_id.clone(),
            preserve_on_migration: Some(block.preserve_on_migration.unwrap_or(false)),
            label: block.label.clone(),
            read_only: block.read_only,
            description: block.description.clone(),
            metadata: JsonObject::stored(&block.metadata),
            hidden: block.hidden,
            id: Id(id),
            created_by_id: Some(DEFAULT_USER_ID.to_owned()),
            last_updated_by_id: Some(DEFAULT_USER_ID.to_owned()),
            tags: block.tags.clone(),
        }
    }

    /// A row of the list of blocks as it is answered.
    #[must_use]
    pub fn of_row(id: BlockId, row: &BlockRow) -> Self {
        Self::new(id, &row.block)
    }
}

impl From<&BlockView> for Block {
    fn from(view: &BlockView) -> Self {
        Self::new(view.id, &view.state.block)
    }
}

impl From<&State> for Block {
    fn from(state: &State) -> Self {
        Self::new(state.id, &state.block)
    }
}

/// A block to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct CreateBlock {
    /// The text an agent sees.
    pub value: String,
    /// Upper bound of the value, in characters; 100000 when absent.
    pub limit: Option<u64>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Name of the template it came from.
    pub template_name: Option<String>,
    /// Whether it is a template.
    pub is_template: Option<bool>,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
    /// Kept for the client.
    pub deployment_id: Option<String>,
    /// Kept for the client.
    pub entity_id: Option<String>,
    /// Kept for the client.
    pub preserve_on_migration: Option<bool>,
    /// The name agents know it by, `^[a-zA-Z0-9_/-]+$`.
    pub label: String,
    /// Whether agents may only read it.
    pub read_only: Option<bool>,
    /// What it is for; shown to the model.
    pub description: Option<String>,
    /// Free JSON object of the client.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Labels of the client.
    pub tags: Option<Vec<String>>,
}

impl CreateBlock {
    /// The block to store.
    ///
    /// # Errors
    /// [`Problem::Unprocessable`] when the label holds other characters or the value is longer than the limit.
    pub fn into_block(self) -> Result<block::Block, Problem> {
        check_label(&self.label)?;
        let block = block::Block {
            value: without_nul(self.value),
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            label: Some(self.label),
            description: self.description.map(without_nul),
            read_only: self.read_only.unwrap_or(false),
            hidden: self.hidden,
            metadata: json::to_text(&self.metadata.unwrap_or_default()),
            tags: tags(self.tags.unwrap_or_default())?,
            template_name: self.template_name,
            is_template: self.is_template.unwrap_or(false),
            project_id: self.project_id,
            template_id: self.template_id,
            base_template_id: self.base_template_id,
            deployment_id: self.deployment_id,
            entity_id: self.entity_id,
            preserve_on_migration: self.preserve_on_migration,
        };
        check_length(&block)?;
        Ok(block)
    }

    /// The block to store with a new agent: `human` and `persona` get a description when they come without one.
    ///
    /// # Errors
    /// As [`CreateBlock::into_block`].
    pub fn into_agent_block(mut self) -> Result<block::Block, Problem> {
        self.description = self.description.or_else(|| stock_description(&self.label));
        self.into_block()
    }
}

/// What V1's two customary blocks are for, told to the model.
fn stock_description(label: &str) -> Option<String> {
    let text = match label {
        "persona" => {
            "Who you are: your character, tone and way of acting. Keep to it, so that you stay the same from one \
             conversation to the next."
        }
        "human" => {
            "What you know about the person you are talking with. Use it to make your answers personal, and keep it \
             up to date."
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// Changes of a block. What is absent or `null` stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct BlockUpdate {
    /// The text an agent sees.
    pub value: Option<String>,
    /// Upper bound of the value, in characters.
    pub limit: Option<u64>,
    /// Kept for the client.
    pub project_id: Option<String>,
    /// Name of the template it came from.
    pub template_name: Option<String>,
    /// Whether it is a template.
    pub is_template: Option<bool>,
    /// Kept for the client.
    pub template_id: Option<String>,
    /// Kept for the client.
    pub base_template_id: Option<String>,
    /// Kept for the client.
    pub deployment_id: Option<String>,
    /// Kept for the client.
    pub entity_id: Option<String>,
    /// Kept for the client.
    pub preserve_on_migration: Option<bool>,
    /// The name agents know it by, `^[a-zA-Z0-9_/-]+$`.
    pub label: Option<String>,
    /// Whether agents may only read it.
    pub read_only: Option<bool>,
    /// What it is for; shown to the model.
    pub description: Option<String>,
    /// Free JSON object of the client; replaces the old one.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Whether lists leave it out.
    pub hidden: Option<bool>,
    /// Labels of the client; replace the old ones.
    pub tags: Option<Vec<String>>,
}

impl BlockUpdate {
    /// Changes a block. After an error the block is to be thrown away.
    ///
    /// # Errors
    /// [`Problem::Unprocessable`] when the label holds other characters or the value is longer than the limit.
    pub fn apply(self, block: &mut block::Block) -> Result<(), Problem> {
        fn set<T>(place: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *place = new;
            }
        }
        fn set_some<T>(place: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *place = new;
            }
        }
        if let Some(label) = &self.label {
            check_label(label)?;
        }
        set(&mut block.value, self.value.map(without_nul));
        set(&mut block.limit, self.limit);
        set(&mut block.is_template, self.is_template);
        set(&mut block.read_only, self.read_only);
        set(&mut block.metadata, self.metadata.map(|map| json::to_text(&map)));
        set(&mut block.tags, self.tags.map(tags).transpose()?);
        set_some(&mut block.label, self.label);
        set_some(&mut block.description, self.description.map(without_nul));
        set_some(&mut block.hidden, self.hidden);
        set_some(&mut block.project_id, self.project_id);
        set_some(&mut block.template_name, self.template_name);
        set_some(&mut block.template_id, self.template_id);
        set_some(&mut block.base_template_id, self.base_template_id);
        set_some(&mut block.deployment_id, self.deployment_id);
        set_some(&mut block.entity_id, self.entity_id);
        set_some(&mut block.preserve_on_migration, self.preserve_on_migration);
        check_length(block)
    }

    /// The change as the core takes it.
    #[must_use]
    pub fn into_patch(self) -> Patch {
        Patch {
            label: self.label.clone(),
            restored: None,
            edit: Box::new(move |block| self.apply(block).map_err(Refusal::from)),
        }
    }
}

fn check_label(label: &str) -> Result<(), Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/' | b'-');
    if !label.is_empty() && label.bytes().all(fits) {
        return Ok(());
    }
    Err(Problem::Unprocessable(format!(
        "block label {label:?}: String should match pattern '^[a-zA-Z0-9_/-]+$'"
    )))
}

fn check_length(block: &block::Block) -> Result<(), Problem> {
    let length = block.value.chars().count() as u64;
    if length <= block.limit {
        return Ok(());
    }
    let label = block.label.as_deref().unwrap_or("without a label");
    Err(Problem::Unprocessable(format!(
        "block {label}: exceeds {} character limit (requested {length})",
        block.limit
    )))
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn create(body: Value) -> Result<block::Block, Problem> {
        serde_json::from_value::<CreateBlock>(body).unwrap().into_block()
    }

    fn human() -> block::Block {
        create(json!({"label": "human", "value": "Ada", "tags": ["a"], "metadata": {"k": 1}}))
            .unwrap()
    }

    #[test]
    fn a_label_of_other_characters_is_refused() {
        for label in ["", "with space", "ümlaut", "dot."] {
            let refused = create(json!({"label": label, "value": ""}));
            assert!(matches!(refused, Err(Problem::Unprocessable(_))), "{label}");
        }
        assert!(create(json!({"label": "a/b_c-9", "value": ""})).is_ok());
    }

    #[test]
    fn a_value_longer_than_its_limit_is_refused_counting_characters() {
        assert!(create(json!({"label": "x", "value": "äöü", "limit": 3})).is_ok());
        assert_eq!(
            create(json!({"label": "x", "value": "äöüß", "limit": 3})),
            Err(Problem::Unprocessable("block x: exceeds 3 character limit (requested 4)".into()))
        );
    }

    #[test]
    fn a_smaller_limit_than_the_old_value_is_refused() {
        let update: BlockUpdate = serde_json::from_value(json!({"limit": 2})).unwrap();
        assert!(update.apply(&mut human()).is_err());
    }

    #[test]
    fn null_bytes_are_stripped() {
        assert_eq!(create(json!({"label": "x", "value": "a\0b"})).unwrap().value, "ab");
    }

    #[test]
    fn in_an_update_null_and_absent_change_nothing_and_empty_lists_replace() {
        let mut block = human();
        let nulls = json!({"value": null, "limit": null, "label": null, "metadata": null, "tags": null,
            "description": null, "read_only": null, "is_template": null, "unknown": 1});
        serde_json::from_value::<BlockUpdate>(nulls).unwrap().apply(&mut block).unwrap();
        assert_eq!(block, human());
        let empty: BlockUpdate =
            serde_json::from_value(json!({"tags": [], "metadata": {}})).unwrap();
        empty.apply(&mut block).unwrap();
        assert!(block.tags.is_empty());
        assert_eq!(block.metadata.as_str(), "{}");
    }

    #[test]
    fn only_the_two_customary_labels_get_a_description_and_only_with_an_agent() {
        let agent_block = |label: &str| {
            let create: CreateBlock =
                serde_json::from_value(json!({"label": label, "value": ""})).unwrap();
            create.into_agent_block().unwrap().description
        };
        assert!(agent_block("human").is_some() && agent_block("persona").is_some());
        assert_eq!(agent_block("plan"), None);
        assert_eq!(human().description, None);
    }
}
