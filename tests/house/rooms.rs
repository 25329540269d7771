//! The rooms of a worker: who may use whom, *including methods*. One type whose `impl` blocks lie in many rooms would hide from
//! every check of imports what those rooms ask of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code, files, is_test_file};

/// The composition: it sees all rooms, which do not see it.
const COMPOSITION: [&str; 18] = [
    "owners",
    "turn",
    "dispatch",
    "serve",
    "policy",
    "connection_ends",
    "copies",
    "copy_connections",
    "crowds",
    "deliver",
    "out_of_band",
    "redirect",
    "lost",
    "finish",
    "retries",
    "messages",
    "client_task",
    "upstream_task",
];

/// What each room may use of the others.
const ROOMS: [(&str, &[&str]); 5] = [
    ("client", &[]),
    ("upstream", &[]),
    ("hot", &[]),
    ("send", &["client", "upstream"]),
    ("session", &["client", "upstream", "send", "decide"]),
];

/// The directory below `src/worker` that a file is in; none for the composition and the vocabulary.
fn room_of(path: &Path) -> Option<String> {
    let mut parts = path.components().skip_while(|part| part.as_os_str() != "worker").skip(1);
    let first = parts.next()?;
    parts.next().map(|_| first.as_os_str().to_string_lossy().into_owned())
}

/// The type of an `impl` block with methods of its own.
fn implemented(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?.trim_start();
    let rest = match rest.strip_prefix('<') {
        Some(generic) => generic.split_once('>')?.1.trim_start(),
        None => rest,
    };
    let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!rest.contains(" for ") && !name.is_empty()).then_some(name)
}

#[test]
fn only_the_composition_has_methods_of_the_whole_worker() {
    let mut found = Vec::new();
    for (path, text) in files("worker") {
        let inside = room_of(&path).is_some();
        for (line, code) in code(&text).enumerate().filter(|_| inside) {
            if implemented(code).is_some_and(|name| name == "Worker") {
                found.push(format!("{}:{}", path.display(), line + 1));
            }
        }
    }
    assert!(found.is_empty(), "a room acts on its own things: {found:#?}");
}

#[test]
fn a_type_has_methods_in_the_room_that_declares_it() {
    let all = files("worker");
    let declares = |line: &str| {
        let word = line.trim_start().trim_start_matches("pub ");
        let rest = word.strip_prefix("struct ").or_else(|| word.strip_prefix("enum "))?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().map(str::to_owned)
    };
    let mut declared: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
    for (path, text) in &all {
        for name in text.lines().filter_map(declares) {
            declared.entry(name).or_default().insert(room_of(path));
        }
    }
    let mut found = Vec::new();
    for (path, text) in &all {
        for name in code(text).filter_map(implemented) {
            if declared.get(&name).is_some_and(|rooms| !rooms.contains(&room_of(path))) {
                found.push(format!("{}: `{name}`", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "one room owns a type and has its methods: {found:#?}");
}

#[test]
fn rooms_use_each_other_in_one_direction() {
    let mut found = Vec::new();
    for (path, text) in files("worker").into_iter().filter(|(path, _)| !is_test_file(path)) {
        let Some(room) = room_of(&path) else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else { continue };
        let others = ROOMS.iter().map(|(name, _)| *name).chain(["decide"]).chain(COMPOSITION);
        let refused: Vec<&str> = others.filter(|other| *other != room && !allowed.contains(other)).collect();
        let above = if path.ends_with("mod.rs") { "super::" } else { "super::super::" };
        for (line, code) in code(&text).enumerate() {
            for other in &refused {
                let uses = ["crate::worker::", above].iter().any(|from| {
                    code.match_indices(&format!("{from}{other}")).any(|(at, found)| {
                        !code[at + found.len()..]
                            .starts_with(|next: char| next.is_alphanumeric() || next == '_')
                    })
                });
                if uses {
                    found.push(format!("{}:{}: `{room}` uses `{other}`", path.display(), line + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "src/lib.rs says what a room may use: {found:#?}");
}
