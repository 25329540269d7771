//! Users as people and files read them: the lines of `ACL LIST`, the parts of `ACL GETUSER`.

use super::commands::ALL_COMMANDS;
use super::selector::Selector;
use super::user::User;

/// The line of `ACL LIST`. Passwords are hashes.
pub fn describe(user: &User) -> Vec<u8> {
    line_of(user, ALL_COMMANDS)
}

/// The line of a file of rules, from which the same user is read.
pub fn describe_for_file(user: &User) -> Vec<u8> {
    line_of(user, user.word_for_all())
}

fn line_of(user: &User, all: &str) -> Vec<u8> {
    let mut line = [b"user ", user.name.as_slice()].concat();
    user.flags().for_each(|flag| line.extend([b" ", flag.as_bytes()].concat()));
    user.passwords().iter().for_each(|hash| line.extend([b" #", hash.as_bytes()].concat()));
    describe_selectors(user, all, &mut line);
    line
}

/// What a user may do, without its passwords, for whoever may know that and not how to become it.
pub(super) fn describe_rights(user: &User) -> String {
    let mut line: Vec<u8> = user.flags().collect::<Vec<_>>().join(" ").into_bytes();
    describe_selectors(user, ALL_COMMANDS, &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

fn describe_selectors(user: &User, all: &str, line: &mut Vec<u8>) {
    for (index, selector) in user.all_selectors().enumerate() {
        line.extend_from_slice(if index == 0 { b" " } else { b" (" });
        // Only outside parentheses are there two rules for all commands.
        selector.describe(if index == 0 { all } else { ALL_COMMANDS }, line);
        if index > 0 {
            line.push(b')');
        }
    }
}

/// The parts of `ACL GETUSER`.
#[derive(Debug)]
pub struct Described {
    /// Redis's words for its flags.
    pub flags: Vec<&'static str>,
    /// Hashes.
    pub passwords: Vec<String>,
    /// Commands, keys and channels of each selector; the first is the one outside parentheses.
    pub selectors: Vec<[Vec<u8>; 3]>,
}

impl Described {
    /// The parts of a user.
    pub fn of(user: &User) -> Self {
        let parts = |selector: &Selector| {
            let mut parts = [Vec::new(), Vec::new(), Vec::new()];
            selector.commands.describe(ALL_COMMANDS, &mut parts[0]);
            selector.keys.describe(&mut parts[1]);
            selector.channels.describe(&mut parts[2]);
            parts
        };
        Self {
            flags: user.flags().collect(),
            passwords: user.passwords().to_vec(),
            selectors: user.all_selectors().map(parts).collect(),
        }
    }
}
