//! All users: from rules, from a file of rules as `ACL SAVE` writes it, and back.
//!
//! A set never changes. Each change makes a new one, which takes the place of the old as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::describe::{describe_for_file, describe_rights};
use super::error::ChangeError;
use super::patterns::has_spaces;
use super::user::User;
use crate::command::CommandTable;

/// The name of who has not logged in as anybody.
pub const DEFAULT_USER: &[u8] = b"default";

/// Who there is, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, Arc<User>>,
}

/// What a change of the users means for one of them, without its passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// Its name.
    pub name: Vec<u8>,
    /// What it might do; empty for one who was not there.
    pub before: String,
    /// What it may do; empty for one who is gone.
    pub after: String,
}

impl Users {
    /// These users; of two with one name the later.
    pub fn of(users: impl IntoIterator<Item = User>) -> Self {
        Self { by_name: users.into_iter().map(|user| (user.name.clone(), Arc::new(user))).collect() }
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// Who somebody with this name and password is.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        self.get(name).filter(|user| user.admits(password))
    }

    /// Who everybody is without logging in.
    pub fn anybody(&self) -> Option<&Arc<User>> {
        self.get(DEFAULT_USER).filter(|user| user.needs_no_password())
    }

    /// With a user changed or made by these rules, all of them or none.
    ///
    /// # Errors
    /// What Redis says of the first rule that is wrong.
    pub fn with_rules<R: AsRef<[u8]>>(
        &self,
        name: &[u8],
        rules: &[R],
        table: &CommandTable,
    ) -> Result<Self, ChangeError> {
        if name.is_empty() || has_spaces(name) {
            return Err(ChangeError::Name);
        }
        let mut user = self.get(name).map_or_else(|| User::new(name, table), |known| User::clone(known));
        for rule in merged(rules)? {
            user.apply(&rule, table).map_err(|error| ChangeError::Rule(rule, error))?;
        }
        let mut users = self.clone();
        users.by_name.insert(name.to_vec(), Arc::new(user));
        Ok(users)
    }

    /// Without the users of these names, and how many of them there were.
    pub fn without<N: AsRef<[u8]>>(&self, names: &[N]) -> (Self, usize) {
        let mut users = self.clone();
        let gone = names.iter().filter(|name| users.by_name.remove(name.as_ref()).is_some()).count();
        (users, gone)
    }

    /// Who differs from former users, in the order of their names.
    pub fn changes_since(&self, former: &Self) -> Vec<UserChange> {
        let names: BTreeSet<&Vec<u8>> = former.by_name.keys().chain(self.by_name.keys()).collect();
        let change = |name: &Vec<u8>| {
            let (old, new) = (former.get(name), self.get(name));
            let [before, mut after] =
                [old, new].map(|user| user.map_or_else(String::new, |user| describe_rights(user)));
            if old.zip(new).is_some_and(|(old, new)| !old.has_passwords_of(new)) {
                after.push_str(", with other passwords");
            }
            (before != after).then(|| UserChange { name: name.clone(), before, after })
        };
        names.into_iter().filter_map(change).collect()
    }

    /// The same users, for a table that knows other commands.
    pub fn for_table(&self, table: &CommandTable) -> Self {
        Self::of(self.iter().map(|user| user.for_table(table)))
    }

    /// Reads a file of rules: `user name rule rule ...` on each line. A user `default` that it does not name stays open to all, as
    /// in Redis.
    ///
    /// # Errors
    /// Every line that is wrong, by its number.
    pub fn parse_file(text: &[u8], table: &CommandTable) -> Result<Self, Vec<String>> {
        let (mut users, mut errors) = (Self::default(), Vec::new());
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let words: Vec<&[u8]> =
                line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            let read = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with(b"#") => continue,
                [first, name, rules @ ..] if first.eq_ignore_ascii_case(b"user") => {
                    if users.get(name).is_some() {
                        Err(format!("the user '{}' is defined already", String::from_utf8_lossy(name)))
                    } else {
                        users.with_rules(name, rules, table).map_err(|error| error.without_rule().to_owned())
                    }
                }
                _ => Err("expected 'user NAME RULES'".to_owned()),
            };
            match read {
                Ok(read) => users = read,
                Err(why) => errors.push(format!("line {}: {why}", number + 1)),
            }
        }
        if users.get(DEFAULT_USER).is_none() {
            let default = User::unrestricted(DEFAULT_USER, &[], table);
            users.by_name.insert(DEFAULT_USER.to_vec(), Arc::new(default));
        }
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    /// The text of such a file.
    pub fn to_file(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for user in self.iter() {
            text.extend_from_slice(&describe_for_file(user));
            text.push(b'\n');
        }
        text
    }
}

/// Rules in parentheses that were split at their spaces, put together again.
fn merged<R: AsRef<[u8]>>(rules: &[R]) -> Result<Vec<Vec<u8>>, ChangeError> {
    let mut whole: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    let mut open: Option<Vec<u8>> = None;
    for rule in rules.iter().map(AsRef::as_ref) {
        let part = match open.take() {
            Some(begun) => [&begun, &b" "[..], rule].concat(),
            None => rule.to_vec(),
        };
        if part.starts_with(b"(") && !part.ends_with(b")") {
            open = Some(part);
        } else {
            whole.push(part);
        }
    }
    match open {
        None => Ok(whole),
        Some(begun) => {
            let opened = begun.split(|byte| *byte == b' ').next().unwrap_or_default();
            Err(ChangeError::Parenthesis(opened.to_vec()))
        }
    }
}
