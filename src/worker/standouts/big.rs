//! Whether a key shows itself big: by the bytes of a request or a reply, or by the elements of a collection in a reply.
//!
//! Looked at only for replies that can hold so many elements, so small ones cost a comparison. A request of several keys does not tell which of
//! them is big, and a script not what it touched: neither is counted. Nor are numbers, such as that of `LLEN`: what is big and never read or
//! written as a whole is found by a scan of the servers (`redis-cli --bigkeys`), which a gateway has no business to make.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::resp::{Request, RequestScan, RequestScanner, parse_integer};
use crate::route::ClusterId;
use crate::shared::big_keys::{BigKey, NAME_BYTES_MAX};
use crate::shared::command_tallies::CommandRow;
use crate::worker::core::Core;

/// A request or a reply is big beyond so many bytes.
pub(super) const BYTES_MAX: u64 = 2 << 20;

/// A collection is big beyond so many elements.
const ELEMENTS_MAX: u64 = 5_000;

/// The shortest reply with more: each element takes four bytes at least, as in `:1\r\n`.
pub(super) const REPLY_BYTES_MIN: u64 = 4 * (ELEMENTS_MAX + 1);

/// Commands whose reply has no element that its key does not hold, and none twice.
const COLLECTIONS: [&str; 17] = [
    "lrange",
    "smembers",
    "hgetall",
    "hkeys",
    "hvals",
    "zrange",
    "zrevrange",
    "zrangebyscore",
    "zrevrangebyscore",
    "zrangebylex",
    "zrevrangebylex",
    "xrange",
    "xrevrange",
    "lpop",
    "rpop",
    "spop",
    "zpopmax",
];

/// Notes the key of a request to a cluster, if it shows itself big.
pub(super) fn note(core: &mut Core, cluster: ClusterId, request: &[u8], reply: &[u8]) {
    // It may be here for its slowness alone.
    if request.len() as u64 <= BYTES_MAX && (reply.len() as u64) <= REPLY_BYTES_MIN {
        return;
    }
    let held = elements_in(reply);
    let is_large = request.len() as u64 > BYTES_MAX || reply.len() as u64 > BYTES_MAX;
    if reply.starts_with(b"-") || !(is_large || held > ELEMENTS_MAX) {
        return;
    }
    let mut scanner = RequestScanner::new(core.request_limits(true));
    let RequestScan::Complete { len } = scanner.scan(request) else { return };
    let parsed = Request::at_front_of(request, len, scanner.spans());
    let table = &core.snapshots.commands;
    let Ok(id) = table.resolve(&parsed) else { return };
    let command = table.get(id);
    let Some(key) = command.only_key().and_then(|(position, _)| parsed.arg(position)) else { return };
    let elements = match COLLECTIONS.contains(&&*command.name) {
        true => held / words_of_an_element(&command.name, &parsed, reply),
        false => 0,
    };
    if !is_large && elements <= ELEMENTS_MAX {
        return;
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let big = BigKey {
        id: core.gateway.key_hasher.id(cluster, key),
        name: Arc::from(&key[..key.len().min(NAME_BYTES_MAX)]),
        command: CommandRow::of(id),
        request_bytes: if command.is_write() { request.len() as u64 } else { 0 },
        reply_bytes: reply.len() as u64,
        elements,
        seen: 1,
        first_ms: now_ms,
        last_ms: now_ms,
    };
    core.tallies.big_keys.note(big);
}

/// How many elements a reply begins to list; 0 where it is no list.
fn elements_in(reply: &[u8]) -> u64 {
    let [b'*' | b'%' | b'~', rest @ ..] = reply else { return 0 };
    let line = rest.iter().take(20).position(|byte| *byte == b'\r').map_or(&b""[..], |end| &rest[..end]);
    parse_integer(line).and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

/// RESP2 lists values beside their names, or scores beside their members.
fn words_of_an_element(name: &str, request: &Request<'_>, reply: &[u8]) -> u64 {
    let has_scores = || request.args().any(|word| word.eq_ignore_ascii_case(b"withscores"));
    // Pairs stand in arrays of their own in RESP3.
    let is_flat = || {
        let first = reply.iter().position(|byte| *byte == b'\n').and_then(|end| reply.get(end + 1));
        first != Some(&b'*')
    };
    match name {
        "hgetall" if reply.starts_with(b"*") => 2,
        "zpopmax" if is_flat() => 2,
        _ if has_scores() && is_flat() => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_that_the_head_of_a_list_tells() {
        for (reply, expected) in [
            (&b"*5001\r\n$1\r\na\r\n"[..], 5001),
            (b"%7\r\n", 7),
            (b"~7\r\n", 7),
            (b"*-1\r\n", 0),
            (b"$5001\r\n", 0),
            (b":5001\r\n", 0),
            (b"", 0),
        ] {
            assert_eq!(elements_in(reply), expected, "{}", reply.escape_ascii());
        }
    }
}
