//! The few sentences the rehearsal model understands.

/// What the user wants, as far as a script can tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To know what it is talking to.
    Identity,
    /// To hear their name.
    OwnName,
    /// To hear what is remembered of them.
    Recall,
    /// To have the conversation searched for this.
    Search(String),
    /// To have these sentences remembered.
    Remember(Vec<String>),
    /// Something else.
    Talk,
}

/// Longest sentence that is remembered.
const FACT_BYTES: usize = 300;

/// Most words of a name.
const NAME_WORDS: usize = 3;

pub(super) fn understand(text: &str) -> Wish {
    // Typographic apostrophes are three bytes; replacing them first keeps positions in both texts the same.
    let text = text.replace('’', "'");
    let lower = text.to_ascii_lowercase();
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| find(&lower, phrase).is_some());
    if has(&[
        "who are you",
        "what are you",
        "are you an ai",
        "are you a language model",
        "are you real",
        "are you human",
    ]) {
        return Wish::Identity;
    }
    if has(&[
        "what is my name",
        "what's my name",
        "who am i",
        "do you know my name",
        "do you remember my name",
        "what my name is",
    ]) {
        return Wish::OwnName;
    }
    if has(&[
        "what do you remember",
        "what do you know about me",
        "do you remember me",
        "what have you remembered",
        "what do you know of me",
        "tell me what you remember",
        "tell me what you know about me",
    ]) {
        return Wish::Recall;
    }
    let searches = [
        "search our conversation for",
        "search the conversation for",
        "search for",
        "what did i say about",
        "what did we say about",
        "when did we talk about",
        "what did i tell you about",
        "did i mention",
    ];
    if let Some(query) = searches.iter().find_map(|phrase| after(&text, &lower, phrase)) {
        let query = sentence(query)
            .trim_matches(|char: char| char.is_whitespace() || "?\"'`".contains(char));
        if !query.is_empty() {
            return Wish::Search(query.to_owned());
        }
    }
    let facts = facts(&text, &lower);
    if facts.is_empty() { Wish::Talk } else { Wish::Remember(facts) }
}

fn facts(text: &str, lower: &str) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(name(text, lower).map(|name| format!("The user's name is {name}.")));
    let asked = [
        "remember that",
        "remember:",
        "remember this:",
        "note that",
        "keep in mind that",
        "don't forget that",
    ];
    if let Some(fact) = asked.iter().find_map(|phrase| after(text, lower, phrase)) {
        facts.extend(said(fact));
    } else {
        let own = [
            "i like",
            "i love",
            "i live in",
            "i work",
            "i hate",
            "i prefer",
            "i enjoy",
            "my favorite",
            "my favourite",
        ];
        let found = own.iter().filter_map(|phrase| find(lower, phrase)).min();
        // A question about it is not a statement of it.
        facts.extend(
            found
                .map(|at| &text[at..])
                .filter(|rest| !rest.trim_end().ends_with('?'))
                .and_then(said),
        );
    }
    facts
}

fn said(fact: &str) -> Option<String> {
    let fact = sentence(fact).trim().trim_end_matches(['.', '!', ',']);
    (!fact.is_empty()).then(|| format!("The user said: {fact}."))
}

fn name(text: &str, lower: &str) -> Option<String> {
    // After these, the next word is a name, however it is written.
    let certain = ["my name is", "my name's"].iter().find_map(|phrase| after(text, lower, phrase));
    if let Some(rest) = certain {
        return name_at(rest, false);
    }
    // After these, only a word that looks like a name is one: "I'm tired" introduces nobody.
    ["call me", "i'm", "i am"]
        .iter()
        .filter_map(|phrase| after(text, lower, phrase))
        .find_map(|rest| name_at(rest, true))
}

fn name_at(rest: &str, must_look_it: bool) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    for word in rest.split_whitespace().take(NAME_WORDS) {
        let bare = word.trim_matches(|char: char| !char.is_alphanumeric());
        // Letters without case, as most scripts have them, look like a name too.
        let looks_it =
            bare.chars().next().is_some_and(|first| first.is_alphabetic() && !first.is_lowercase());
        if bare.is_empty() || !(looks_it || (words.is_empty() && !must_look_it)) {
            break;
        }
        words.push(bare);
        if !word.ends_with(bare) {
            break; // punctuation ends the name
        }
    }
    let name = words.join(" ");
    (!name.is_empty() && name.len() <= FACT_BYTES).then_some(name)
}

/// The text up to the end of its first sentence, bounded.
pub(super) fn sentence(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .char_indices()
        .find(|&(at, char)| {
            let next = text[at + char.len_utf8()..].chars().next();
            char == '\n'
                || (matches!(char, '.' | '!' | '?' | '。') && next.is_none_or(char::is_whitespace))
        })
        .map_or(text.len(), |(at, char)| if char == '\n' { at } else { at + char.len_utf8() });
    &text[..text[..end].floor_char_boundary(FACT_BYTES)]
}

/// What follows `phrase` in `text`.
fn after<'a>(text: &'a str, lower: &str, phrase: &str) -> Option<&'a str> {
    find(lower, phrase).map(|at| text[at + phrase.len()..].trim_start_matches([':', ' ']))
}

/// Where `phrase` stands in `lower` as whole words.
fn find(lower: &str, phrase: &str) -> Option<usize> {
    lower.match_indices(phrase).map(|(at, _)| at).find(|&at| {
        let before = lower[..at].chars().next_back();
        let after = lower[at + phrase.len()..].chars().next();
        let ends_in_word = phrase.ends_with(char::is_alphanumeric);
        before.is_none_or(|char| !char.is_alphanumeric() && char != '\'')
            && (!ends_in_word || after.is_none_or(|char| !char.is_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_from_talk() {
        let remembered = |text: &str| {
            let wish = understand(text);
            if let Wish::Remember(facts) = wish { facts.join(" ") } else { format!("{wish:?}") }
        };
        assert_eq!(remembered("My name is ada"), "The user's name is ada.");
        assert_eq!(
            remembered("I’m Ada, and I love tea!"),
            "The user's name is Ada. The user said: I love tea."
        );
        assert_eq!(remembered("call me Grace Hopper."), "The user's name is Grace Hopper.");
        assert_eq!(remembered("my name is 小明"), "The user's name is 小明.");
        assert_eq!(
            remembered("Remember: the code is 4.5. Thanks"),
            "The user said: the code is 4.5."
        );
        assert_eq!(remembered("note that I live in Rome"), "The user said: I live in Rome.");
        assert_eq!(remembered("I work at the mill"), "The user said: I work at the mill.");
        for talk in [
            "I'm tired",
            "I am going home",
            "do I like tea?",
            "call me later",
            "Family is iambic",
            "",
            "😀",
        ] {
            assert_eq!(understand(talk), Wish::Talk, "{talk}");
        }
    }
}
