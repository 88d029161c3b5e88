//! Parts of what is said: text and pictures.

use std::fmt;

use retold_events::{Image, Message, Part};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::SeqAccessDeserializer},
};
use utoipa::ToSchema;

use super::Problem;

/// What is said: a plain text or its parts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Content {
    /// A plain text.
    Text(String),
    /// Parts, in order.
    Parts(Vec<ContentPart>),
}

/// Written by hand, because an untagged enum would not say which part is wrong.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of content parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// One part of what is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// Plain text.
    Text {
        /// The text.
        text: String,
        /// Proof of origin some providers give.
        #[serde(default)]
        signature: Option<String>,
    },
    /// A picture.
    Image {
        /// Where it is, or what it is.
        source: ImageSource,
    },
}

/// A picture, by address or by value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ImageSource {
    /// By address.
    Url {
        /// Where it is.
        url: String,
    },
    /// By value.
    Base64 {
        /// For instance `image/png`.
        media_type: String,
        /// Standard base64.
        data: String,
        /// The wished resolution, `low|high|auto`.
        #[serde(default)]
        detail: Option<String>,
    },
    /// A picture in the file store of the retired server. Refused: there is no such store here.
    Letta {
        /// Its id there.
        file_id: String,
        /// For instance `image/png`.
        #[serde(default)]
        media_type: Option<String>,
        /// Standard base64.
        #[serde(default)]
        data: Option<String>,
        /// The wished resolution.
        #[serde(default)]
        detail: Option<String>,
    },
}

impl Content {
    /// The parts to store.
    ///
    /// # Errors
    /// [`Problem`] when there are none, or a picture is in a file store.
    pub fn into_parts(self) -> Result<Vec<Part>, Problem> {
        match self {
            Self::Text(text) => Ok(vec![Part::Text { text }]),
            Self::Parts(parts) if parts.is_empty() => Err(Problem::Unprocessable(
                "content: List should have at least 1 item after validation, not 0".to_owned(),
            )),
            Self::Parts(parts) => parts.into_iter().map(stored_part).collect(),
        }
    }

    /// Text and pictures of a stored message. One part of text is a plain string.
    #[must_use]
    pub fn of_message(message: &Message) -> Self {
        let mut parts: Vec<ContentPart> = message.content.iter().filter_map(wire_part).collect();
        match (parts.pop(), parts.is_empty()) {
            (None, _) => Self::Text(String::new()),
            (Some(ContentPart::Text { text, .. }), true) => Self::Text(text),
            (Some(last), _) => {
                parts.push(last);
                Self::Parts(parts)
            }
        }
    }
}

fn stored_part(part: ContentPart) -> Result<Part, Problem> {
    Ok(match part {
        ContentPart::Text { text, .. } => Part::Text { text },
        ContentPart::Image { source: ImageSource::Url { url } } => Part::Image(Image::Url { url }),
        ContentPart::Image { source: ImageSource::Base64 { media_type, data, detail } } => {
            Part::Image(Image::Base64 { media_type, data, detail })
        }
        ContentPart::Image { source: ImageSource::Letta { file_id, .. } } => {
            return Err(Problem::Invalid(format!(
                "image source `letta` ({file_id}) is not supported: this server keeps no files; send the picture as \
                 `base64` or `url`"
            )));
        }
    })
}

fn wire_part(part: &Part) -> Option<ContentPart> {
    match part {
        Part::Text { text } => Some(ContentPart::Text { text: text.clone(), signature: None }),
        Part::Image(Image::Url { url }) => {
            Some(ContentPart::Image { source: ImageSource::Url { url: url.clone() } })
        }
        Part::Image(Image::Base64 { media_type, data, detail }) => Some(ContentPart::Image {
            source: ImageSource::Base64 {
                media_type: media_type.clone(),
                data: data.clone(),
                detail: detail.clone(),
            },
        }),
        Part::Reasoning { .. } | Part::RedactedReasoning { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(body: serde_json::Value) -> Result<Vec<Part>, Problem> {
        serde_json::from_value::<Content>(body).unwrap().into_parts()
    }

    #[test]
    fn text_and_pictures_are_taken() {
        let given = json!([
            {"type": "text", "text": "look", "signature": null},
            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}},
        ]);
        assert_eq!(parts(given).unwrap().len(), 3);
        assert_eq!(parts(json!("hi")).unwrap(), [Part::Text { text: "hi".into() }]);
    }

    #[test]
    fn a_picture_in_a_file_store_is_refused_with_the_way_out() {
        let given = json!([{"type": "image", "source": {"type": "letta", "file_id": "file-1"}}]);
        let Err(Problem::Invalid(message)) = parts(given) else { panic!("accepted") };
        assert!(message.contains("base64"), "{message}");
    }

    #[test]
    fn other_parts_and_no_parts_are_refused() {
        assert!(serde_json::from_value::<Content>(json!([{"type": "video", "url": "x"}])).is_err());
        assert!(matches!(parts(json!([])), Err(Problem::Unprocessable(_))));
    }
}
