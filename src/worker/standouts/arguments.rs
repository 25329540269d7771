//! What the log shows of a request: its arguments, cut as Redis cuts them, without passwords, and with keys as they may be shown.
//!
//! Reads the bytes of a request as it went to its node. Deliberately does not: decide whether it is logged.

use crate::command::{CommandTable, KeyPositions};
use crate::resp::{Request, RequestScan, RequestScanner};
use crate::shared::handoff::Waiter;
use crate::shared::keys::KeyNames;
use crate::worker::core::Core;

/// Arguments of which an entry shows something, as in Redis.
const ARGUMENTS_MAX: usize = 32;

/// What an entry shows of one argument, in bytes, as in Redis.
const ARGUMENT_BYTES_MAX: usize = 128;

/// What stands in the place of what is not shown.
const REDACTED: &[u8] = b"(redacted)";

/// The arguments of a request. Of a transaction, each command is one.
pub(super) fn of_bytes(core: &Core, bytes: &[u8]) -> Vec<Vec<u8>> {
    let (table, names) = (&core.snapshots.commands, &core.gateway.key_names);
    let mut commands = Vec::new();
    let mut scanner = RequestScanner::new(core.request_limits(true));
    let mut rest = bytes;
    // One more than is shown tells that there are more.
    while commands.len() <= ARGUMENTS_MAX
        && let RequestScan::Complete { len } = scanner.scan(rest)
    {
        commands.push(of_request(table, names, &Request::at_front_of(rest, len, scanner.spans())));
        rest = &rest[len..];
    }
    match commands.len() {
        1 => commands.pop().unwrap_or_default(),
        _ => cut(commands.iter().map(|words| words.join(&b' ')), commands.len()),
    }
}

/// What is known of an operation that was folded.
pub(super) fn of_folded(core: &Core, waiter: &Waiter, key: Option<&[u8]>) -> Vec<Vec<u8>> {
    let names = &core.gateway.key_names;
    let command = waiter.command.map(|id| core.snapshots.commands.get(id));
    let name = command.map_or(&b""[..], |command| command.name.as_bytes());
    let mut words = vec![name.to_vec()];
    words.extend(key.map(|key| shown_key(names, key)));
    if command.is_some_and(|command| command.name.ends_with("by")) && waiter.delta != 0 {
        words.push(waiter.delta.to_string().into_bytes());
    }
    words
}

fn of_request(table: &CommandTable, names: &KeyNames, request: &Request<'_>) -> Vec<Vec<u8>> {
    let id = table.resolve(request).ok();
    let mut keys = KeyPositions::new();
    let known = id.is_some_and(|id| table.get(id).keys(request, &mut keys).is_ok());
    let hides = matches!(names, KeyNames::Hashed(_));
    let secret_from = password_at(request);
    let words = request.args().enumerate().map(|(position, word)| {
        if secret_from.is_some_and(|from| position >= from) || hides && !known && position > 0 {
            REDACTED.to_vec()
        } else if hides && keys.contains(&(position as u32)) {
            shown_key(names, word)
        } else {
            word.to_vec()
        }
    });
    cut(words, request.len())
}

/// Where passwords begin among the arguments of what is passed on: behind `AUTH` or `AUTH2` of `MIGRATE`, and of commands that log in.
fn password_at(request: &Request<'_>) -> Option<usize> {
    let name = request.name();
    if name.eq_ignore_ascii_case(b"auth") || name.eq_ignore_ascii_case(b"hello") {
        return Some(1);
    }
    if !name.eq_ignore_ascii_case(b"migrate") {
        return None;
    }
    let is_auth = |word: &[u8]| word.eq_ignore_ascii_case(b"auth") || word.eq_ignore_ascii_case(b"auth2");
    request.args().skip(6).position(is_auth).map(|place| place + 7)
}

fn shown_key(names: &KeyNames, key: &[u8]) -> Vec<u8> {
    match names {
        KeyNames::Plain => key.to_vec(),
        KeyNames::Hashed(_) => names.label(key).into_bytes(),
    }
}

/// So many arguments as Redis shows them.
fn cut(words: impl Iterator<Item = Vec<u8>>, count: usize) -> Vec<Vec<u8>> {
    let shown = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut out: Vec<Vec<u8>> = words.take(shown).map(cut_one).collect();
    if shown < count {
        out.push(format!("... ({} more arguments)", count - shown).into_bytes());
    }
    out
}

fn cut_one(mut word: Vec<u8>) -> Vec<u8> {
    let more = word.len().saturating_sub(ARGUMENT_BYTES_MAX);
    if more > 0 {
        word.truncate(ARGUMENT_BYTES_MAX);
        word.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{RequestLimits, encode};

    fn shown(names: &KeyNames, words: &[&[u8]]) -> Vec<String> {
        let mut bytes = Vec::new();
        encode::command(&mut bytes, words);
        let limits = RequestLimits {
            bulk_bytes_max: 1 << 20,
            arguments_max: 1000,
            inline_bytes_max: 1000,
            authenticated: true,
        };
        let mut scanner = RequestScanner::new(limits);
        let RequestScan::Complete { len } = scanner.scan(&bytes) else { panic!("{words:?}") };
        let request = Request::at_front_of(&bytes, len, scanner.spans());
        let words = of_request(&CommandTable::builtin(), names, &request);
        words.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect()
    }

    #[test]
    fn arguments_are_cut_as_redis_cuts_them() {
        let long = [b'v'; 130];
        assert_eq!(
            shown(&KeyNames::Plain, &[b"SET", b"k", &long]),
            ["SET", "k", &format!("{}... (2 more bytes)", "v".repeat(128))]
        );
        let many: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain([&b"k"[..]; 40]).collect();
        let shown = shown(&KeyNames::Plain, &many);
        assert_eq!((shown.len(), &*shown[31]), (32, "... (10 more arguments)"));
    }

    #[test]
    fn passwords_never_show() {
        let words: [&[u8]; 9] = [b"MIGRATE", b"h", b"6379", b"k", b"0", b"5", b"COPY", b"AUTH", b"pw"];
        assert_eq!(shown(&KeyNames::Plain, &words)[7..], ["AUTH", "(redacted)"]);
        assert_eq!(shown(&KeyNames::Plain, &[b"AUTH", b"user", b"pw"]), ["AUTH", "(redacted)", "(redacted)"]);
    }

    #[test]
    fn keys_show_as_they_may() {
        let names = KeyNames::Hashed("salt".to_owned());
        let label = names.label(b"secret");
        assert_eq!(shown(&names, &[b"SET", b"secret", b"v"]), ["SET", &label, "v"]);
        assert_eq!(shown(&names, &[b"EVAL", b"s", b"1", b"secret"]), ["EVAL", "s", "1", &label]);
        assert_eq!(shown(&names, &[b"NO.SUCH", b"secret"]), ["NO.SUCH", "(redacted)"]);
    }
}
