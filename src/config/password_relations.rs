//! What must hold between the ways to give a password: one way for each, and a second password only beside a first.

use std::path::PathBuf;

use super::findings::{exclusive, relation};
use super::reader::Reader;
use super::sections::{Config, Upstream};
use super::types::Secret;

/// Reports what does not hold of the users' passwords.
pub(super) fn of_users(config: &Config, reader: &mut Reader<'_>) {
    let auth = &config.auth;
    let has_first = auth.password.is_some() || auth.password_file.is_some();
    second(reader, "auth", has_first, (&auth.password_next, &auth.password_next_file));
    for (index, user) in auth.users.iter().enumerate() {
        let has_first = user.password.is_some() || user.password_file.is_some();
        let next = (&user.password_next, &user.password_next_file);
        second(reader, &format!("auth.user[{index}]"), has_first, next);
    }
}

/// Reports what does not hold of the passwords for one upstream.
pub(super) fn of_upstream(settings: &Upstream, path: &str, reader: &mut Reader<'_>) {
    let at = |key: &str| format!("{path}.{key}");
    let [user, password, file, command] = ["user", "password", "password_file", "password_command"].map(at);
    let program = settings.password_command.first();
    exclusive(reader, &password, &settings.password, &file, &settings.password_file);
    exclusive(reader, &password, &settings.password, &command, &program);
    exclusive(reader, &file, &settings.password_file, &command, &program);
    let has_first = settings.password.is_some() || settings.password_file.is_some() || program.is_some();
    second(reader, path, has_first, (&settings.password_next, &settings.password_next_file));
    if settings.user.is_some() && !has_first {
        let message = format!("a user needs {password}, {file} or {command} beside it");
        relation(reader, &[&user, &password, &file, &command], message);
    }
}

fn second(
    reader: &mut Reader<'_>,
    path: &str,
    has_first: bool,
    (password, password_file): (&Option<Secret>, &Option<PathBuf>),
) {
    let [next, file] = ["password_next", "password_next_file"].map(|key| format!("{path}.{key}"));
    exclusive(reader, &next, password, &file, password_file);
    if !has_first && (password.is_some() || password_file.is_some()) {
        let message = format!("a second password needs {path}.password beside it; give that one");
        relation(reader, &[&next, &file], message);
    }
}
