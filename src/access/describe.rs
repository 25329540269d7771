//! Users as people and files read them: the lines of `ACL LIST`, the parts of `ACL GETUSER`.

use super::selector::Selector;
use super::user::User;

/// The line of `ACL LIST`, which a file of rules takes as it is. Passwords are hashes.
pub fn describe(user: &User) -> Vec<u8> {
    let mut line = [b"user ", user.name.as_slice()].concat();
    user.flags().for_each(|flag| line.extend([b" ", flag.as_bytes()].concat()));
    user.passwords().iter().for_each(|hash| line.extend([b" #", hash.as_bytes()].concat()));
    for (index, selector) in user.all_selectors().enumerate() {
        line.extend_from_slice(if index == 0 { b" " } else { b" (" });
        selector.describe(&mut line);
        if index > 0 {
            line.push(b')');
        }
    }
    line
}

/// The same without its passwords, for whoever may know what a user may do and not how to become it.
pub fn describe_rights(user: &User) -> String {
    let mut line: Vec<u8> = user.flags().collect::<Vec<_>>().join(" ").into_bytes();
    for (index, selector) in user.all_selectors().enumerate() {
        line.extend_from_slice(if index == 0 { b" " } else { b" (" });
        selector.describe(&mut line);
        if index > 0 {
            line.push(b')');
        }
    }
    String::from_utf8_lossy(&line).into_owned()
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
            selector.commands.describe(&mut parts[0]);
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
