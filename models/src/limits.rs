//! Every bound of this crate, in one place, each with its reason.
//!
//! Provider bytes are hostile: a provider may be slow, broken, compromised or a different program altogether. Nothing
//! in this crate reads, buffers or waits without one of these numbers.

use std::time::Duration;

/// Longest line, and longest event, of a provider's event stream. The largest seen in the wild is a whole tool call
/// in a single delta (tens of KiB); a mebibyte leaves room for a tool that writes a file.
pub const SSE_EVENT_BYTES: usize = 1024 * 1024;

/// Longest whole answer to one call, counting the framing. 128 000 output tokens of one delta each, at some 200 bytes
/// of framing, are 25 MiB.
pub const RESPONSE_BYTES: u64 = 32 * 1024 * 1024;

/// How much of an error body is read: enough for any message, too little to hurt.
pub const ERROR_BODY_BYTES: usize = 64 * 1024;

/// How long the body of an error may take to arrive; a provider that refused and then stalls is not waited for.
pub const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);

/// How much of what a provider said is kept in [`ModelError::detail`](crate::ModelError::detail).
pub const DETAIL_BYTES: usize = 2 * 1024;

/// Longest answer of a provider that was asked to stream and sends one JSON document, which is held whole.
pub const WHOLE_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Longest model listing read at discovery. OpenRouter's, the largest known, is about 1 MiB.
pub const LISTING_BYTES: usize = 8 * 1024 * 1024;

/// How long discovery waits for one provider.
pub const LISTING_WAIT: Duration = Duration::from_secs(5);

/// Shortest time between two refreshes of one provider that unknown handles ask for.
pub const REFRESH_PAUSE: Duration = Duration::from_secs(3);

/// The same for a provider that has failed and never given a list.
pub const REFRESH_PAUSE_DOWN: Duration = Duration::from_secs(60);

/// How long the rest of a stream is waited for once the model has said why it ended: only the usage can still come,
/// and an answer is not lost because its provider forgot to hang up.
pub const AFTER_FINISH_WAIT: Duration = Duration::from_secs(5);

/// How long the end of the body is waited for after the last event. Reading it lets the connection be used again;
/// it is normally in the buffer already, so the wait is for providers that dawdle.
pub const DRAIN_WAIT: Duration = Duration::from_millis(20);

/// Most tool calls in one answer. Real answers have a handful; the bound keeps a flood of them small.
pub const TOOL_CALLS: usize = 128;

/// Longest tool name accepted; OpenAI and Anthropic allow 64 and 128.
pub const TOOL_NAME_BYTES: usize = 1024;
