//! `conf/hotgate.toml` is the manual: it says what the schema says, all of it and nothing else.
//!
//! A line `#key = value` is a directive at its default, `#: ...` belongs to the example of a repeated table,
//! `#| ...` is an alternative within that example, `# ...` is prose.

use std::collections::BTreeMap;

use hotgate::config::Config;
use hotgate::config::schema::{Directive, Kind};

const MANUAL: &str = include_str!("../../conf/hotgate.toml");

/// A directive as the manual shows it.
struct Entry {
    value: String,
    /// The comment above it, as one line.
    prose: String,
    is_example: bool,
}

/// The manual's directives by their schema path; elements of repeated tables as `rule[].match`.
fn entries() -> BTreeMap<String, Entry> {
    let (mut entries, mut table, mut prose) = (BTreeMap::new(), String::new(), Vec::new());
    for line in MANUAL.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            prose.push(text);
            continue;
        }
        let shown = line.strip_prefix("#: ").or(line.strip_prefix("#| "));
        if let Some(name) = shown.and_then(|shown| shown.strip_prefix("[[")?.strip_suffix("]]")) {
            table = format!("{name}[]");
            let entry = Entry { value: "[]".to_owned(), prose: prose.join(" "), is_example: true };
            assert!(entries.insert(name.to_owned(), entry).is_none(), "{name} stands twice");
        } else if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) =
            shown.or(line.strip_prefix('#')).and_then(|shown| shown.split_once(" = "))
        {
            let entry =
                Entry { value: value.to_owned(), prose: prose.join(" "), is_example: shown.is_some() };
            let path = format!("{table}.{key}");
            assert!(entries.insert(path.clone(), entry).is_none(), "{path} stands twice");
        } else {
            assert!(line.is_empty() || line == "#", "neither prose nor a directive: {line}");
        }
        prose.clear();
    }
    entries
}

fn directives() -> BTreeMap<String, &'static Directive> {
    let mut directives = BTreeMap::new();
    Config::visit_directives(|path, directive| {
        if !matches!(directive.kind, Kind::Table { .. }) {
            directives.insert(path.to_owned(), directive);
        }
    });
    directives
}

/// The manual with the lines that start with one of the markers uncommented.
fn uncommented(is_shown: impl Fn(&str) -> Option<&str>) -> String {
    MANUAL.lines().map(|line| is_shown(line).unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn manual_and_schema_name_the_same_directives() {
    let (entries, directives) = (entries(), directives());
    let missing: Vec<_> = directives.keys().filter(|path| !entries.contains_key(*path)).collect();
    let unknown: Vec<_> = entries.keys().filter(|path| !directives.contains_key(*path)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}, unknown: {unknown:?}");
    assert!(directives.len() > 80, "the schema was not visited: {} directives", directives.len());
}

#[test]
fn each_entry_tells_default_value_reload_and_bound() {
    let entries = entries();
    for (path, directive) in directives() {
        let Some(entry) = entries.get(&path) else { continue };
        let says = |text: &str| {
            assert!(entry.prose.contains(text), "{path} must say {text:?}, says: {}", entry.prose);
        };
        says(directive.meaning);
        let reload = if directive.reload { "yes" } else { "no" };
        says(&format!("Value: {}. Reload: {reload}.", directive.kind.describe()));
        if path.ends_with("_max") || path.ends_with("_timeout") {
            says("At the bound: ");
        }
        match directive.default_literal() {
            Some(default) if entry.value == default => {}
            Some(default) if entry.is_example => says(&format!("Default: {default}.")),
            Some(default) => panic!("{path}: the default is {default}, the manual shows {}", entry.value),
            None => says("No default."),
        }
    }
}

#[test]
fn every_directive_uncommented_is_the_default() {
    let text = uncommented(|line| {
        let shown = line.strip_prefix('#')?;
        shown.starts_with(|first: char| first.is_ascii_lowercase()).then_some(shown)
    });
    assert!(text.contains("\nclients_max = 10000\n"));
    assert_eq!(Config::parse(&text), Ok(Config::default()));
    assert_eq!(Config::parse(MANUAL), Ok(Config::default()));
}

#[test]
fn the_examples_are_valid() {
    let config = Config::parse(&uncommented(|line| line.strip_prefix("#: "))).unwrap();
    assert_eq!((config.rules.len(), config.quotas.len(), config.auth.users.len()), (1, 1, 1));
    assert_eq!(config.counter_scripts.len(), 1);

    let with_window = uncommented(|line| {
        line.strip_prefix("#: ").or(line.strip_prefix("#| ").filter(|shown| shown.starts_with("window")))
    });
    assert!(Config::parse(&with_window).unwrap().quotas[0].window.is_some());

    for alternative in ["limit_key", "floor"] {
        let text = uncommented(|line| match line.strip_prefix("#| ") {
            Some(shown) => shown.starts_with(alternative).then_some(shown),
            None => line.strip_prefix("#: ").filter(|shown| !shown.starts_with("limit = ")),
        });
        assert_eq!(Config::parse(&text).map(|config| config.quotas.len()), Ok(1), "{alternative}");
    }
}
