//! The users of the gateway: from the configuration or a file of rules, and how a change reaches every worker.
//!
//! `ACL SETUSER` changes users until the next restart. A reload that changes `[auth]`, and `ACL LOAD`, put what is written in their place.

use std::path::Path;

use tokio::sync::oneshot;

use crate::access::{DEFAULT_USER, User, UserChange, Users};
use crate::command::CommandTable;
use crate::config::{Auth, Secret, User as ConfiguredUser};
use crate::shared::audit::{AuditEntry, Author};
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::WorkerMessage;

/// The users that a configuration names.
///
/// # Errors
/// One line for each thing that is wrong with the file of rules.
pub fn users_of(auth: &Auth, table: &CommandTable) -> Result<Users, Vec<String>> {
    if let Some(file) = &auth.acl_file {
        return users_of_file(file, table);
    }
    let mut users: Vec<User> = Vec::new();
    for configured in &auth.users {
        users.push(user_of(configured, table)?);
    }
    if !users.iter().any(|user| user.name == DEFAULT_USER) {
        let passwords = both(&auth.password, &auth.password_next);
        users.push(match users.is_empty() || !passwords.is_empty() {
            true => User::unrestricted(DEFAULT_USER, &passwords, table),
            // Who has users wants them to say who they are.
            false => User::new(DEFAULT_USER, table),
        });
    }
    Ok(Users::of(users))
}

/// The users of a file of rules.
///
/// # Errors
/// It can't be read, or lines of it are wrong.
pub fn users_of_file(file: &Path, table: &CommandTable) -> Result<Users, Vec<String>> {
    let name = file.display();
    let text = std::fs::read(file).map_err(|error| vec![format!("{name} cannot be read: {error}")])?;
    let named = |errors: Vec<String>| errors.into_iter().map(|error| format!("{name}: {error}")).collect();
    Users::parse_file(&text, table).map_err(named)
}

/// A user who may do everything, unless it has rules.
fn user_of(configured: &ConfiguredUser, table: &CommandTable) -> Result<User, Vec<String>> {
    let name = configured.name.as_bytes();
    let passwords = both(&configured.password, &configured.password_next);
    let Some(rules) = configured.rules.as_ref().map(Secret::reveal) else {
        return Ok(User::unrestricted(name, &passwords, table));
    };
    let mut all: Vec<Vec<u8>> = vec![b"on".to_vec()];
    all.extend(passwords.iter().map(|password| [b">", *password].concat()));
    all.extend(rules.split_ascii_whitespace().map(|rule| rule.as_bytes().to_vec()));
    let users = Users::default()
        .with_rules(name, &all, table)
        .map_err(|error| vec![error.without_rule().to_owned()])?;
    users.get(name).map(|user| User::clone(user)).ok_or_else(Vec::new)
}

/// A password, and the one that is to follow it.
fn both<'a>(password: &'a Option<Secret>, next: &'a Option<Secret>) -> Vec<&'a [u8]> {
    [password, next].into_iter().flatten().map(|secret| secret.reveal().as_bytes()).collect()
}

/// Notes what has become of users.
pub fn note_users(gateway: &Gateway, by: &Author, change: &str, changes: Vec<UserChange>) {
    for UserChange { name, before, after } in changes {
        let entry = AuditEntry::new(by, change, String::from_utf8_lossy(&name));
        gateway.audit.record(entry.from_to(before, after));
    }
}

/// Publishes users, and returns when every worker has looked at them: from then on no command is judged by the former.
pub async fn publish(gateway: &Gateway, users: Users) {
    gateway.users.store(users);
    let mut looked = Vec::with_capacity(gateway.workers.len());
    for worker in &gateway.workers {
        let (reply, answer) = oneshot::channel();
        if worker.mailbox.send(WorkerMessage::UsersChanged(reply)).await.is_ok() {
            looked.push(answer);
        }
    }
    for answer in looked {
        // A worker that has ended judges nothing any more.
        let _ = answer.await;
    }
}
