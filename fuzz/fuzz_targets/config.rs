//! Reads configuration files that name real directives with values of every kind, and raw bytes. No panic; what is refused is refused
//! with a message; what is accepted is a file that a reload of itself leaves as it is.

#![no_main]

use std::collections::BTreeMap;

use hotgate::config::Config;
use libfuzzer_sys::fuzz_target;

/// Values that some directive takes and others refuse, and values that none takes.
const VALUES: [&str; 32] = [
    "0",
    "1",
    "2",
    "16",
    "1000",
    "-1",
    "9223372036854775807",
    "0.5",
    "1.0",
    "nan",
    "true",
    "false",
    "\"\"",
    "\"0s\"",
    "\"1ms\"",
    "\"10s\"",
    "\"1h\"",
    "\"1kb\"",
    "\"1mb\"",
    "\"16gb\"",
    "\"127.0.0.1:6379\"",
    "\"a:1\"",
    "[\"a:1\", \"b:2\"]",
    "[]",
    "\"sku:*\"",
    "\"{*}:$1\"",
    "\"combine\"",
    "\"write-behind\"",
    "\"tracked\"",
    "{ ttl = \"1s\" }",
    "\"http://127.0.0.1:1/x\"",
    "\"text\"",
];

// The first byte says whether the rest is text or chooses directives and their values, two bytes each.
fuzz_target!(|input: &[u8]| {
    let Some((&composed, rest)) = input.split_first() else { return };
    match (composed % 4, std::str::from_utf8(rest)) {
        (0, Ok(text)) => check(text),
        _ => check(&composition(rest)),
    }
});

fn check(text: &str) {
    match Config::parse(text) {
        Ok(config) => {
            assert!(config.changes(&config).is_empty());
            assert_eq!(config.reloaded(config.clone()), Ok(config.clone()));
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().for_each(|error| assert!(!error.to_string().is_empty()));
        }
    }
}

/// A file with the directives that these bytes choose: those of the tables first, then a table for each list of tables.
fn composition(bytes: &[u8]) -> String {
    let mut paths = Vec::new();
    Config::visit_directives(|path, _| paths.push(path.to_owned()));
    let (mut plain, mut listed) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
    for chosen in bytes.chunks_exact(2) {
        let (path, value) =
            (&paths[usize::from(chosen[0]) % paths.len()], VALUES[usize::from(chosen[1]) % VALUES.len()]);
        match path.split_once("[].") {
            Some((list, key)) => drop(listed.entry(list).or_default().insert(key, value)),
            None => drop(plain.insert(path.as_str(), value)),
        }
    }
    let mut text: String = plain.iter().map(|(path, value)| format!("{path} = {value}\n")).collect();
    for (list, directives) in listed {
        text += &format!("[[{list}]]\n");
        directives.iter().for_each(|(key, value)| text += &format!("{key} = {value}\n"));
    }
    text
}
