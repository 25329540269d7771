//! A hot key gives no error that a cold one would not: every text that the code of combined keys can answer with is listed here,
//! with what a cold key's client gets instead. A text that is not listed fails, and so does one that is gone.

use std::path::Path;

/// Where combined keys are: what concerns quotas, write-behind and sales alone is opt-in, and has words of its own.
const SOURCES: [&str; 2] = ["src/worker/hot", "src/combine"];
const OPT_IN: [&str; 5] = [
    "src/worker/hot/behind",
    "src/combine/write_behind",
    "src/worker/hot/quota.rs",
    "src/worker/hot/held_counters.rs",
    "src/worker/hot/sales",
];

/// Words of Redis that code compares with, and does not say.
const COMPARED: [&str; 5] = [
    "ERR unknown command",
    "ERR value is not an integer or out of range",
    "ERR increment or decrement would overflow",
    "ERR The user executing the script can't",
    "ERR ACL failure in script",
];

/// How the text begins, and where it is said what happens to a client of a cold key: the file, and words of it.
const SAID: [(&str, &str, &str); 6] = [
    (
        "ERR hotgate: the key's node can't be reached; the command was not sent",
        "src/worker/errors.rs",
        "can't be reached ({why}); the command was not sent",
    ),
    (
        "ERR hotgate: outcome unknown: the connection to Redis was lost after the write was sent",
        "src/worker/errors.rs",
        "was lost after the command was sent; its outcome is unknown",
    ),
    // Only a server that does not speak as Redis does brings this about.
    (
        "ERR hotgate: outcome unknown: the reply of Redis to a combined write was not understood",
        "src/worker/errors.rs",
        "can't be passed on",
    ),
    // A node begins to serve again in the middle of what a client has pipelined: a cold command is overtaken there.
    (
        "ERR hotgate: the command was not executed: the node refused it and took later ones",
        "src/worker/redirect.rs",
        "may overtake it, as it may with any cluster client",
    ),
    // Redis's own words, for a member that would have got them alone.
    ("ERR increment or decrement would overflow", "src/combine/plain.rs", "may fare differently"),
    // Said only for the last flush of a quota.
    ("QUOTA limit of {} reached", "src/worker/hot/outcome.rs", "The quota left the configuration"),
];

/// The texts of a file that are said to clients, without those of its tests.
fn texts(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<&str> = lines.collect();
    let joined = code.join("\n");
    let strings = joined.split('"').skip(1).step_by(2);
    let said = |text: &&str| {
        ["ERR ", "-ERR ", "QUOTA "].iter().any(|beginning| text.starts_with(beginning)) && text.len() > 12
    };
    strings.filter(said).map(str::to_owned).collect()
}

fn sources(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_opt_in = OPT_IN.iter().any(|name| path.ends_with(name));
        match path.is_dir() {
            _ if is_opt_in => {}
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn every_error_of_a_hot_key_has_its_like_on_a_cold_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    SOURCES.iter().for_each(|name| sources(&root.join(name), &mut files));
    let mut said = Vec::new();
    for path in files {
        let source = std::fs::read_to_string(&path).unwrap();
        for text in texts(&source) {
            let known = SAID.iter().any(|(beginning, _, _)| text.starts_with(beginning));
            let is_known = known || COMPARED.iter().any(|words| text == *words);
            assert!(is_known, "{}: {text:?}: what does a cold key's client get?", path.display());
            said.push(text);
        }
    }
    for (beginning, file, cold) in SAID {
        assert!(said.iter().any(|text| text.starts_with(beginning)), "nobody says {beginning:?} any more");
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(source.contains(cold), "{file} does not say {cold:?} any more");
    }
}
