//! What happens in a race on the stage: what the model says, who sends, who cancels when, and when it ends all at once.

use std::time::Duration;

use retold_events::store::Moment;
use retold_models::{Finish, ModelErrorKind, testing::Say};

use crate::stage::Chance;

/// Turns of the test within which cancels and crashes begin, at most: an agent's turn takes some dozens of them.
const TURNS: u64 = 160;
/// Turns of the test within which a recovery is crashed, at most: half of them have ended by then.
const RECOVERY_TURNS: u64 = 60;
/// Simulated time that one move of the clock takes, at most: the grace of a cancelled turn is a second.
pub(crate) const MOVE_MS: u64 = 1500;

/// What happens in one race.
pub(crate) struct Plan {
    /// What the model says, call by call.
    pub(crate) scripts: Vec<Vec<Say>>,
    /// The text of each.
    pub(crate) spoken: Vec<String>,
    /// What a tool notes.
    pub(crate) note: String,
    /// For each message whether it is streamed. They are sent at once.
    pub(crate) sends: Vec<bool>,
    /// When cancels begin, and whether they name the first run.
    pub(crate) cancels: Vec<(u64, bool)>,
    pub(crate) crash: Option<(u64, Moment)>,
    /// When the processes after the crash are crashed in their turn, one after the other.
    pub(crate) relapses: Vec<u64>,
    pub(crate) pace: Pace,
}

/// What the test does at its turn.
pub(crate) enum Pace {
    /// The disk writes when so many turns have gone by, and the clock moves by a millisecond at every third.
    Steady(u64),
    /// The disk writes in so many of 16 turns, the clock moves in so many.
    Any { disk: u64, clock: u64 },
}

/// A model is silent for it.
const MOMENT: Say = Say::Wait(Duration::from_millis(1));
/// The tool that edits memory.
const NOTE: &str = "memory_insert";

/// An answer of several pieces, a tool that notes something, and an answer again.
pub(crate) fn noting(note: &str) -> (Vec<Vec<Say>>, Vec<String>) {
    let arguments = format!(r#"{{"label":"human","new_string":"{note}"}}"#);
    let mut first = vec![Say::text("Let me "), MOMENT, Say::text("note "), Say::text("that. ")];
    first.push(MOMENT);
    first.extend(Say::call("c", NOTE, &arguments));
    let second = Say::answer("I noted it.").into_iter().flat_map(|said| [MOMENT, said]).collect();
    let scripts = vec![first, second];
    (scripts, vec!["Let me note that. ".to_owned(), "I noted it.".to_owned()])
}

impl Plan {
    /// Any race.
    pub(crate) fn any(race: u64, chance: &mut Chance) -> Self {
        let note = format!("Ada{race};");
        let (mut scripts, mut spoken) = (Vec::new(), Vec::new());
        for call in 0..4 {
            let (script, text) = script(call, &note, chance);
            scripts.push(script);
            spoken.push(text);
        }
        let crashes = chance.one_in(12);
        let turns = 8 + chance.below(TURNS);
        Self {
            scripts,
            spoken,
            note,
            sends: (0..=u64::from(chance.one_in(4))).map(|_| chance.one_in(2)).collect(),
            cancels: (0..chance.below(3) + 1)
                .map(|_| (chance.below(turns), !chance.one_in(3)))
                .collect(),
            crash: crashes.then(|| {
                let moment = if chance.one_in(2) { Moment::Before } else { Moment::After };
                (chance.below(turns), moment)
            }),
            relapses: (0..chance.below(4)).map(|_| chance.below(RECOVERY_TURNS)).collect(),
            pace: Pace::Any { disk: 1 + chance.below(8), clock: chance.below(5) },
        }
    }
}

/// Any answer of a model: text, and then its end, a call, a failure, silence, or an end without a word.
fn script(call: u64, note: &str, chance: &mut Chance) -> (Vec<Say>, String) {
    let mut script = Vec::new();
    let mut text = String::new();
    for piece in 0..chance.below(4) {
        let said = format!("{call}.{piece} ");
        if chance.one_in(2) {
            script.push(Say::Wait(Duration::from_millis(chance.below(MOVE_MS))));
        }
        script.push(Say::text(&said));
        text.push_str(&said);
    }
    match chance.below(8) {
        0 => script.push(Say::Hang),
        1 => script.extend(Say::failure(ModelErrorKind::Connection, "connection reset")),
        2..=4 => {
            let arguments = format!(r#"{{"label":"human","new_string":"{note}"}}"#);
            script.extend(Say::call(&format!("c{call}"), NOTE, &arguments));
            if chance.one_in(3) {
                // The call is whole, and its end is late.
                let end = script.pop();
                script.push(Say::Wait(Duration::from_millis(chance.below(MOVE_MS))));
                script.extend(end);
            }
        }
        5..=6 => script.push(Say::end(Finish::Stop)),
        _ => {}
    }
    (script, text)
}
