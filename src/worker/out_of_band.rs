//! What comes on a session's connection without having been asked for: messages, invalidations, monitored commands.
//!
//! It goes to the owner's output as it is, between whole replies. The owner's bound on output holds here too.

use std::borrow::Cow;

use super::deliver::first_word;
use super::names::{ClientKey, UpstreamKey};
use super::owners::Worker;
use super::pending::{Origin, Pending};
use super::upstream::Role;
use crate::combine::is_companion_key;
use crate::resp::{bulk_payload, elements, encode};

impl Worker {
    /// Delivers a reply out of band if it is such a one; `false` when it belongs to a request.
    pub(super) fn deliver_out_of_band(&mut self, key: UpstreamKey, reply: &[u8]) -> bool {
        let Some(upstream) = self.upstreams.connections.get(key) else { return false };
        let is_push = reply.first() == Some(&b'>');
        match upstream.role() {
            Role::Shared(_) | Role::User | Role::Confirming(_) | Role::Spare | Role::OutOfBand => false,
            Role::Session(_) => is_push,
            Role::Copies => {
                if is_push {
                    self.hot.on_copies_changed(&mut self.core, upstream.cluster, reply);
                }
                is_push
            }
            Role::Tracking(owner) | Role::Invalidations(owner) => {
                if is_push && let Some(shown) = without_own_keys(reply) {
                    self.clients.on_invalidation(&self.core, owner, &shown);
                }
                is_push
            }
            Role::Monitor(owner) if upstream.wire.front().is_none() => {
                mentions_own_key(reply) || self.pass_on(owner, reply)
            }
            Role::Monitor(_) => false,
            Role::Subscriber(owner) | Role::Events(owner) => {
                let for_events = matches!(upstream.role(), Role::Events(_));
                let node = upstream.node;
                let is_answer = upstream.wire.front().is_some();
                match first_word(reply) {
                    Some(b"message" | b"pmessage") if is_event(reply) && mentions_own_key(reply) => true,
                    Some(b"message" | b"pmessage")
                        if !self.sessions().is_for_client(owner, node, for_events, reply) =>
                    {
                        true
                    }
                    Some(b"message" | b"pmessage" | b"smessage") => self.pass_on(owner, reply),
                    // Redis takes a shard channel away by itself when its slot moves.
                    Some(b"sunsubscribe") if !is_answer => {
                        self.sessions().note_subscription(owner, reply);
                        let counted = self.sessions().with_whole_count(owner, reply);
                        self.sessions().end_empty_subscriptions(owner);
                        self.pass_on(owner, counted.as_deref().unwrap_or(reply))
                    }
                    _ => false,
                }
            }
        }
    }

    /// Passes on one of the several confirmations of a subscription.
    pub(super) fn pass_on_part(&mut self, pending: &Pending, reply: &[u8]) {
        if let Origin::Client { key, .. } = pending.origin {
            self.sessions().note_subscription(key, reply);
            let counted = self.sessions().with_whole_count(key, reply);
            let reply = counted.as_deref().unwrap_or(reply);
            if let Some(client) = self.clients.all.get_mut(key) {
                client.output.tail().extend_from_slice(reply);
                client.mark_dirty(&mut self.clients.dirty);
            }
        }
    }

    fn pass_on(&mut self, owner: ClientKey, reply: &[u8]) -> bool {
        self.clients.push_to(&self.core, owner, reply);
        true
    }
}

/// Whether a message is an event of the keyspace: `__keyspace@0__:key` or `__keyevent@0__:name`.
fn is_event(reply: &[u8]) -> bool {
    let mut elements = elements(reply).into_iter().flatten();
    elements.any(|element| bulk_payload(element).is_some_and(|text| text.starts_with(b"__key")))
}

/// An invalidation without keys of the gateway's own; nothing if it has no others.
fn without_own_keys(push: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !mentions_own_key(push) {
        return Some(Cow::Borrowed(push));
    }
    let mut parts = elements(push)?;
    let kind = parts.next()?;
    let is_own = |key: &&[u8]| bulk_payload(key).is_some_and(is_companion_key);
    let keys: Vec<&[u8]> = elements(parts.next()?)?.filter(|key| !is_own(key)).collect();
    if keys.is_empty() {
        return None;
    }
    let mut shown = [b">2\r\n", kind].concat();
    encode::array(&mut shown, keys.len());
    keys.into_iter().for_each(|key| shown.extend_from_slice(key));
    Some(Cow::Owned(shown))
}

/// Whether a key that the gateway itself keeps in Redis is named: clients are not shown those.
fn mentions_own_key(reply: &[u8]) -> bool {
    memchr::memmem::find_iter(reply, b"}hotgate:").any(|at| at >= 4 && is_companion_key(&reply[at - 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_is_shown_without_keys_of_the_gateways_own() {
        let check = |push: &str, expected: Option<&str>| {
            let shown = without_own_keys(push.as_bytes());
            assert_eq!(shown.as_deref(), expected.map(str::as_bytes), "{push}");
        };
        let head = ">2\r\n$10\r\ninvalidate\r\n";
        let (own, other) = ("$19\r\n{abc}hotgate:once:k\r\n", "$1\r\nk\r\n");
        check(&format!("{head}_\r\n"), Some(&format!("{head}_\r\n")));
        check(&format!("{head}*1\r\n{other}"), Some(&format!("{head}*1\r\n{other}")));
        check(&format!("{head}*1\r\n{own}"), None);
        check(&format!("{head}*3\r\n{own}{other}{own}"), Some(&format!("{head}*1\r\n{other}")));
    }
}
