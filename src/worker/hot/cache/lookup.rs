//! A read meets the copies: it is answered from one, waits for one, or passes; and what is no read opens keys.

use std::sync::Arc;

use bytes::Bytes;

use super::super::verdict::HotVerdict;
use crate::combine::Foldable;
use crate::command::{Class, CommandFlags, CommandTable, Session};
use crate::config::ReadPolicy;
use crate::limits::{COPIED_REQUEST_BYTES_MAX, LARGE_REPLY_BYTES};
use crate::resp::{Request, RespVersion};
use crate::shared::keyed::RowId;
use crate::shared::labels::{Outcome, RequestClass};
use crate::worker::client::copy_guard::Closed;
use crate::worker::ended::Ended;
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;
use crate::worker::reply::ReplyBytes;
use crate::worker::resolve::Resolved;

/// Whether replies of a command may be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copyable {
    /// No: it is no read of one key, or its reply changes by itself.
    Never,
    /// Yes.
    Always,
    /// Yes; but with more arguments than these the RESP2 reply can't be told from the RESP3 one, in which alone
    /// Redis sends invalidations.
    InResp2UpTo(usize),
}

impl Copyable {
    /// By command.
    pub(super) fn of_all(commands: &CommandTable) -> Vec<Self> {
        let mut all = vec![Self::Never; commands.len()];
        for (id, command) in commands.iter() {
            all[id.index()] = Self::by_name(command.name.as_bytes());
        }
        all
    }

    fn by_name(name: &[u8]) -> Self {
        // Runs of equal reads fold for the same reason: the reply depends on the key and the request alone.
        match Foldable::by_name(name) {
            Some(Foldable::Get | Foldable::Hget | Foldable::Read | Foldable::ScalarRead) => {}
            _ => return Self::Never,
        }
        match name.to_ascii_lowercase().as_slice() {
            b"ttl" | b"pttl" => Self::Never,
            // A missing member is a null array in RESP2, and coordinates are doubles inside of arrays in RESP3.
            b"geopos" | b"geosearch" => Self::InResp2UpTo(0),
            // WITHSCORE and WITHSCORES make pairs in RESP3 and a flat array in RESP2.
            b"zrank" | b"zrevrank" => Self::InResp2UpTo(3),
            name if name.starts_with(b"zrange") || name.starts_with(b"zrevrange") => Self::InResp2UpTo(4),
            _ => Self::Always,
        }
    }

    fn admits(self, arguments: usize, version: RespVersion, policy: ReadPolicy) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::InResp2UpTo(most) => {
                version == RespVersion::Resp3 || policy != ReadPolicy::Tracked || arguments <= most
            }
        }
    }
}

/// A read that may be served from a copy, or make one.
pub(super) struct Read<'a> {
    pub class: RequestClass,
    /// Which the client speaks.
    pub version: RespVersion,
    pub key: &'a [u8],
    pub hash: u64,
    pub policy: ReadPolicy,
    /// The first moment at which the copy may have been read.
    pub since: u64,
}

impl Worker {
    /// Looks at an operation on one key with the copies in mind. `None` when it goes on as if there were none.
    pub fn look_at_copies(
        &mut self,
        client_key: ClientKey,
        resolved: &Resolved<'_>,
        key: &[u8],
        hash: u64,
    ) -> Option<HotVerdict> {
        if !self.hot.cache.on {
            return None;
        }
        let policy = self.hot.rules.read_of(key, hash);
        if policy == ReadPolicy::Collapse {
            return None;
        }
        let request = resolved.request;
        let client = self.clients.all.get_mut(client_key)?;
        let version = client.session.version;
        let copyable =
            self.hot.cache.copyable.get(resolved.command.index()).copied().unwrap_or(Copyable::Never);
        let eligible = copyable.admits(request.len(), version, policy)
            && request.bytes().len() <= COPIED_REQUEST_BYTES_MAX
            && client.session.database == 0
            && client.session.tracking.is_none();
        let cache = &mut self.hot.cache;
        let closed = match eligible {
            true => client.copies.close(hash, &client.replies, cache.store.moment()),
            false => None,
        };
        let Some(Closed { since, drops_key }) = closed else {
            return self.open_key(client_key, resolved, hash);
        };
        if drops_key {
            cache.store.drop_key(hash);
        }
        let read = Read { class: resolved.counts_as, version, key, hash, policy, since };
        let way = if request.name().iter().any(u8::is_ascii_lowercase) {
            let mut spelled = std::mem::take(&mut self.hot.cache.spelled);
            let way = self.answer_read(client_key, &in_capitals(request, &mut spelled), &read);
            self.hot.cache.spelled = spelled;
            way
        } else {
            self.answer_read(client_key, request, &read)
        };
        way.or_else(|| self.open_key(client_key, resolved, hash))
    }

    /// Serves a read from a copy, or lets it wait for one. `None` when neither can be.
    fn answer_read(
        &mut self,
        client_key: ClientKey,
        request: &Request<'_>,
        read: &Read<'_>,
    ) -> Option<HotVerdict> {
        let store = &mut self.hot.cache.store;
        if let Some(reply) = store.get(read.version, request.bytes(), self.core.now_ns, read.since) {
            let reply = reply.clone();
            return Some(self.serve_copy(client_key, read, &reply));
        }
        let waits = self.await_fill(client_key, request, read) || self.send_fill(client_key, request, read);
        waits.then(|| {
            self.core.tallies.read_cache.misses += 1;
            HotVerdict::Combined(1)
        })
    }

    /// Whether a rule lets replies about this key be copied.
    pub fn is_copied(&mut self, key: &[u8], hash: u64) -> bool {
        self.hot.cache.on && self.hot.rules.read_of(key, hash) != ReadPolicy::Collapse
    }

    /// Answers a client.
    fn serve_copy(&mut self, client_key: ClientKey, read: &Read<'_>, reply: &Bytes) -> HotVerdict {
        let settled = match reply.len() >= LARGE_REPLY_BYTES {
            true => ReplyBytes::Owned(reply.clone()),
            false => ReplyBytes::Borrowed(reply),
        };
        let ended = Ended::shared(read.class, Outcome::Cached, self.core.now_ns, 0);
        self.clients.answer(&mut self.core, client_key, ended, settled);
        self.core.tallies.read_cache.hits += 1;
        let row = self.row_of_hits(read.key, read.hash);
        self.core.tallies.read_cache.keys.row(row).hits += 1;
        HotVerdict::Served(reply.len().min(u32::MAX as usize) as u32)
    }

    fn row_of_hits(&mut self, key: &[u8], hash: u64) -> RowId {
        if let Some((row, used_ns)) = self.hot.cache.rows.get_mut(&hash) {
            *used_ns = self.core.now_ns;
            return *row;
        }
        let row = self.core.tallies.read_cache.keys.acquire(Arc::from(key));
        if row != RowId::OVERFLOW {
            self.hot.cache.rows.insert(hash, (row, self.core.now_ns));
        }
        row
    }

    /// The operation goes the ordinary way: the client may know more than copies from then on. It waits when a read of the
    /// same client is still on its way, which goes over another connection and would be overtaken.
    fn open_key(&mut self, client_key: ClientKey, resolved: &Resolved<'_>, hash: u64) -> Option<HotVerdict> {
        let client = self.clients.all.get_mut(client_key)?;
        if client.copies.awaits() {
            return Some(HotVerdict::Wait);
        }
        client.copies.open(hash, client.replies.next_sequence());
        if !resolved.reads_only() {
            self.hot.cache.store.drop_key(hash);
        }
        None
    }

    /// As [`Worker::look_at_copies`] for a request with several keys or none, which is never served from copies, before it is
    /// sent. `true` when it has to wait.
    pub fn pass_copies(&mut self, client_key: ClientKey, resolved: &Resolved<'_>) -> bool {
        let Some(client) = self.clients.all.get(client_key).filter(|_| self.hot.cache.on) else {
            return false;
        };
        let slot = client.replies.next_sequence();
        if client.copies.awaits() && self.concerns_copies(resolved) {
            return true;
        }
        self.open_keys(client_key, resolved, slot);
        false
    }

    /// A request that went past queues and copies was sent: a part of a whole, a transaction, a command to all nodes.
    pub fn passed_copies(&mut self, client_key: ClientKey, resolved: &Resolved<'_>) {
        if let Some(client) = self.clients.all.get(client_key).filter(|_| self.hot.cache.on) {
            let slot = client.replies.next_sequence().wrapping_sub(1);
            self.open_keys(client_key, resolved, slot);
        }
    }

    /// Whether a request may touch a key that has copies, or may have.
    fn concerns_copies(&mut self, resolved: &Resolved<'_>) -> bool {
        let rules = &mut self.hot.rules;
        may_touch_any(resolved)
            || resolved.named_keys().any(|(key, name)| rules.read_of(name, key.hash) != ReadPolicy::Collapse)
    }

    fn open_keys(&mut self, client_key: ClientKey, resolved: &Resolved<'_>, slot: u32) {
        let Some(client) = self.clients.all.get_mut(client_key) else { return };
        for (key, name) in resolved.named_keys() {
            if self.hot.rules.read_of(name, key.hash) == ReadPolicy::Collapse {
                continue;
            }
            client.copies.open(key.hash, slot);
            if !resolved.reads_only() {
                self.hot.cache.store.drop_key(key.hash);
            }
        }
        if may_touch_any(resolved) {
            client.copies.open_all(slot);
        }
        // `FLUSHALL` and its like.
        if resolved.writes() && resolved.keys.is_empty() {
            self.hot.cache.store.drop_sources(|_| true);
        }
    }
}

/// The request with its name in capitals, laid out in `room`: clients spell names as they like, and ask for the same.
fn in_capitals<'a>(request: &Request<'a>, room: &'a mut Vec<u8>) -> Request<'a> {
    room.clear();
    room.extend_from_slice(request.bytes());
    if let Some(span) = request.spans().first()
        && let Some(name) = room.get_mut(span.start as usize..(span.start + span.len) as usize)
    {
        name.make_ascii_uppercase();
    }
    Request::new(room, request.spans())
}

/// Whether a command may change, or show, keys that its arguments do not name in plain places.
fn may_touch_any(resolved: &Resolved<'_>) -> bool {
    let runs_others = matches!(resolved.class, Class::Session(Session::Exec | Session::Blocking));
    let is_script = resolved.flags.contains(CommandFlags::NO_MANDATORY_KEYS);
    let movable = resolved.flags.contains(CommandFlags::MOVABLEKEYS);
    let writes_any = resolved.writes() && (resolved.keys.is_empty() || movable);
    resolved.is_malformed || runs_others || is_script || writes_any || resolved.follows_patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_by_itself_is_not_copied() {
        let check = |name: &str, expected| assert_eq!(Copyable::by_name(name.as_bytes()), expected, "{name}");
        for name in ["get", "HGET", "hgetall", "smembers", "lrange", "zscore", "expiretime", "strlen", "type"]
        {
            check(name, Copyable::Always);
        }
        for name in
            ["ttl", "pttl", "srandmember", "hrandfield", "zrandmember", "object|idletime", "set", "getex"]
        {
            check(name, Copyable::Never);
        }
        for name in ["dump", "randomkey", "scan", "hscan", "mget", "exists", "incr", "eval_ro"] {
            check(name, Copyable::Never);
        }
        check("zrange", Copyable::InResp2UpTo(4));
        check("zrevrangebyscore", Copyable::InResp2UpTo(4));
        check("zrank", Copyable::InResp2UpTo(3));
        check("geopos", Copyable::InResp2UpTo(0));
    }
}
