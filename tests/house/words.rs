//! Plain words: names that once had to be explained, and what they are called now.

use super::{code, files, is_test_file};

/// A part of a name, in any spelling, and what to say.
const PARTS: [(&str, &str); 12] = [
    ("debt", "what is owed, or the unclamped queue"),
    ("debts", "what is owed, or the unclamped queue"),
    ("debtors", "owing_keys"),
    ("desk", "AdminService"),
    ("knowledge", "Snapshots"),
    ("lane", "connection, or its number"),
    ("lanes", "connections"),
    ("muted", "suppressed"),
    ("passage", "Barrier"),
    ("yours", "Granted"),
    ("hear", "on_home_reply, on_message"),
    ("doubt_master", "suspect_master"),
];

/// A whole name of a type.
const TYPES: [(&str, &str); 7] = [
    ("Seen", "HotVerdict"),
    ("Way", "HotVerdict"),
    ("Home", "HotKey"),
    ("Held", "KeyQuotaState"),
    ("Setting", "Context"),
    ("Face", "AdvertisedAddress"),
    ("Fill", "CacheFetch"),
];

/// The whole name of a function.
const FUNCTIONS: [(&str, &str); 4] =
    [("tell", "send"), ("rest", "back_off"), ("follow_heat", "merge_hot_set"), ("told", "update")];

/// The identifiers of a line, without what stands in quotes.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let outside_quotes = line.split('"').step_by(2);
    outside_quotes.flat_map(|part| part.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
}

/// The parts of a name in snake or camel case, in lower case and with a `_` before and behind each.
fn parts(name: &str) -> String {
    let mut parts = String::from("_");
    for letter in name.chars() {
        if letter.is_uppercase() && !parts.ends_with('_') {
            parts.push('_');
        }
        parts.extend(letter.to_lowercase());
    }
    parts + "_"
}

/// What is wrong with the names in a line of code.
fn complaint(line: &str) -> Option<String> {
    let declares = |words: &[&str], name: &str| {
        words.iter().any(|word| line.contains(&format!("{word} {name}")))
            && identifiers(line).any(|identifier| identifier == name)
    };
    let of_parts = PARTS
        .iter()
        .find(|(part, _)| identifiers(line).any(|name| parts(name).contains(&format!("_{part}_"))));
    let of_types = TYPES.iter().find(|(name, _)| declares(&["struct", "enum", "trait", "type"], name));
    let of_functions = FUNCTIONS.iter().find(|(name, _)| line.contains(&format!("fn {name}(")));
    let (name, instead) = of_parts.or(of_types).or(of_functions)?;
    Some(format!("`{name}`: say {instead}"))
}

#[test]
fn names_are_plain_words() {
    // The pause between two probes of a folded key, and the metric that dashboards know by its first name.
    let may = ["src/pace/", "src/monitor/view.rs", "src/monitor/quota_page.rs", "src/monitor/families.rs"];
    let mut found = Vec::new();
    for (path, text) in files("").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let shown = path.to_string_lossy();
        for (line, code) in code(&text).enumerate().filter(|_| !may.iter().any(|may| shown.contains(may))) {
            found.extend(complaint(code).map(|complaint| format!("{shown}:{}: {complaint}", line + 1)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_word_is_found_in_every_spelling_and_in_no_other_word() {
    for line in
        ["let debts = 0;", "struct OrphanedDebt;", "fn hear(&mut self)", "pub enum Way {", "fn tell(x: u8)"]
    {
        assert!(complaint(line).is_some(), "{line}");
    }
    for line in
        ["fn heart_beat()", "log(\"debts\")", "struct Wayside;", "fn tells()", "let rest = 1;", "plane"]
    {
        assert_eq!(complaint(line), None, "{line}");
    }
}
