//! Reads files of users and their rules, real ones shuffled and raw bytes. No panic; what is refused is refused with a message; what is
//! accepted and written is read as the same users; and whoever may do everything is denied nothing.

#![no_main]

use std::sync::LazyLock;

use hotgate::access::Users;
use hotgate::command::CommandTable;
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<CommandTable> = LazyLock::new(CommandTable::builtin);

/// Rules of every kind, right and wrong.
const RULES: [&str; 42] = [
    "on", "off", "nopass", "resetpass", ">pw", "<pw", "#0", "!0", "reset", "clearselectors", "~*", "~a:*", "%R~a:*", "%W~b", "%RW~c", "%~", "%R~*", "%W~*",
    "allkeys", "resetkeys", "&*", "&c:*", "allchannels", "resetchannels", "+@all", "-@all", "+@read", "-@write", "+@nosuch", "+get", "-get",
    "+client", "-client|kill", "+client|id", "+config|get", "+select|0", "-select|0", "+nosuch", "(+get", "~a)", "(+set %R~x)", ")",
];

// The first byte says whether the rest is a file or chooses users and rules, a byte each.
fuzz_target!(|input: &[u8]| {
    let Some((&composed, rest)) = input.split_first() else { return };
    match composed % 4 {
        0 => check(rest),
        _ => check(composition(rest).as_bytes()),
    }
});

fn check(text: &[u8]) {
    match Users::parse_file(text, &TABLE) {
        Ok(users) => {
            let written = users.to_file();
            assert_eq!(Users::parse_file(&written, &TABLE).as_ref(), Ok(&users), "{}", String::from_utf8_lossy(&written));
            assert_eq!(users.for_table(&TABLE), users);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().for_each(|error| assert!(error.starts_with("line ")));
        }
    }
}

fn composition(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in bytes.chunks(8).enumerate() {
        text += &format!("user u{number}");
        line.iter().for_each(|byte| text += &format!(" {}", RULES[usize::from(*byte) % RULES.len()]));
        text.push('\n');
    }
    text
}
