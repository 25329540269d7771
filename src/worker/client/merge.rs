//! Making one reply out of the replies of several nodes.
//!
//! A request that touches several slots or every node is sent in parts; this gathers the parts' replies and builds the
//! one that a single Redis would have given. If any part failed, the reply is the first error in the order of the
//! parts, since a single Redis would not have answered otherwise.

use std::collections::HashSet;

use bytes::{BufMut, Bytes};

use crate::combine::is_companion_key;
use crate::command::Fan;
use crate::resp::{self, RespVersion, encode};

/// Low bits of a `SCAN` cursor of ours: the node's place among the masters of its cluster. The others are that node's own cursor,
/// which Redis builds from as many bits as the table has, and the 14 of a slot.
const SCAN_NODE_BITS: u32 = 10;

/// The bits above them where there are several clusters: which one it is. 48 bits are left for the node's own cursor, which is one
/// that has 2^34 keys in a slot.
const SCAN_CLUSTER_BITS: u32 = 6;

/// A master that `SCAN` goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanPlace {
    /// Its cluster.
    pub cluster: u64,
    /// Its place among the masters there.
    pub node: u64,
}

/// How the parts become one reply.
#[derive(Debug)]
pub enum Plan {
    /// `MGET`: for each key in the client's order, the part it was sent in and its place there.
    Interleave(Vec<(u32, u32)>),
    /// Integers are added.
    Sum,
    /// The smallest integer.
    Min,
    /// Arrays of integers: the smallest of each place.
    MinArray,
    /// The first reply that is not an error, if there is one, else the word of the node whose script goes on.
    AnyOk,
    /// `FUNCTION STATS`: the reply of the node that runs something, if one does.
    Running,
    /// Arrays of strings are joined, each string once.
    Union(RespVersion),
    /// Arrays of 0 and 1: 1 where every part has 1.
    And,
    /// `PUBSUB NUMSUB`: flat pairs of channel and count; counts are added.
    ChannelCounts(RespVersion),
    /// Every part should say the same; the first does for all.
    Same,
    /// Any part that is not null, and no key of the gateway's own, chosen by this number; null if there is none.
    AnyPresent(u64, RespVersion),
    /// One page of `SCAN` from the only server.
    ScanOne,
    /// One page of `SCAN` from one of the masters.
    ScanPage {
        /// The node that was asked.
        place: ScanPlace,
        /// The one that comes after it.
        next: Option<ScanPlace>,
        /// The cursor names the cluster.
        several: bool,
    },
}

/// The parts of one reply.
#[derive(Debug)]
pub struct Merge {
    plan: Plan,
    parts: Vec<Option<Bytes>>,
    outstanding: usize,
}

impl Merge {
    /// Awaits `parts` replies, at least one.
    pub fn new(plan: Plan, parts: usize) -> Self {
        Self { plan, parts: vec![None; parts], outstanding: parts }
    }

    /// Takes the reply of one part; returns the whole reply with the last of them.
    pub fn add(&mut self, part: usize, reply: Bytes) -> Option<Bytes> {
        let slot = self.parts.get_mut(part)?;
        if slot.is_none() {
            *slot = Some(reply);
            self.outstanding -= 1;
        }
        (self.outstanding == 0).then(|| self.finish())
    }

    fn finish(&mut self) -> Bytes {
        let parts: Vec<Bytes> = self.parts.iter_mut().filter_map(Option::take).collect();
        let telling = match &self.plan {
            Plan::AnyOk => parts.iter().min_by_key(|reply| word_on_the_end(reply)),
            Plan::Running => parts.iter().find(|reply| runs_something(reply)),
            _ => None,
        };
        if let Some(reply) = telling {
            return reply.clone();
        }
        if let Some(error) = parts.iter().find(|reply| reply.first() == Some(&b'-')) {
            return error.clone();
        }
        self.combine(&parts).unwrap_or_else(|| {
            let mut out = Vec::new();
            encode::error(
                &mut out,
                "ERR hotgate: a node answered in an unexpected form, so the replies cannot be merged",
            );
            out.into()
        })
    }

    /// `None` when a part does not have the form that its command promises.
    fn combine(&self, parts: &[Bytes]) -> Option<Bytes> {
        let mut out = Vec::new();
        match &self.plan {
            Plan::Interleave(order) => interleave(&mut out, parts, order)?,
            Plan::Sum => encode::integer(&mut out, integers(parts)?.into_iter().fold(0, i64::saturating_add)),
            Plan::Min => encode::integer(&mut out, integers(parts)?.into_iter().min()?),
            Plan::Union(version) => union(&mut out, parts, *version)?,
            Plan::And | Plan::MinArray => smallest(&mut out, parts)?,
            Plan::ChannelCounts(version) => channel_counts(&mut out, parts, *version)?,
            Plan::Same | Plan::AnyOk | Plan::Running => return parts.first().cloned(),
            Plan::AnyPresent(seed, version) => any_present(&mut out, parts, *seed, *version),
            Plan::ScanOne => scan_one(&mut out, parts.first()?)?,
            Plan::ScanPage { place, next, several } => {
                scan_page(&mut out, parts.first()?, (*place, *next), *several)?;
            }
        }
        Some(out.into())
    }
}

/// How the replies of a fanned-out command are merged.
pub fn plan_of(fan: Fan, version: RespVersion, seed: u64) -> Plan {
    match fan {
        Fan::Sum => Plan::Sum,
        Fan::Min | Fan::Oldest => Plan::Min,
        Fan::ConcatArrays => Plan::Union(version),
        Fan::AndArray => Plan::And,
        Fan::PubsubNumsub => Plan::ChannelCounts(version),
        Fan::AnyOk => Plan::AnyOk,
        Fan::Running => Plan::Running,
        Fan::RandomKey => Plan::AnyPresent(seed, version),
        _ => Plan::Same,
    }
}

/// How little a node's reply to `SCRIPT KILL` or `FUNCTION KILL` says of the script that was meant: it has been ended; it cannot
/// be (`UNKILLABLE`, or `BUSY` where the other of the two commands is the right one); nothing is known of the node; it runs none.
fn word_on_the_end(reply: &[u8]) -> u8 {
    match reply {
        [b'-', error @ ..] if error.starts_with(b"UNKILLABLE") || error.starts_with(b"BUSY") => 1,
        [b'-', error @ ..] if error.starts_with(b"NOTBUSY") => 3,
        [b'-', ..] => 2,
        _ => 0,
    }
}

/// Whether a reply to `FUNCTION STATS` names a running script, which is its second element.
fn runs_something(reply: &[u8]) -> bool {
    let running = resp::elements(reply).and_then(|mut elements| elements.nth(1));
    running.is_some_and(|running| !matches!(running, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n"))
}

/// Takes one of our `SCAN` cursors apart: the node's place, and the cursor for that node. It names the cluster only where there are
/// several, so that one cluster leaves all bits to the node.
pub fn split_cursor(cursor: u64, several: bool) -> (ScanPlace, u64) {
    let (node, rest) = (cursor & ((1 << SCAN_NODE_BITS) - 1), cursor >> SCAN_NODE_BITS);
    match several {
        false => (ScanPlace { cluster: 0, node }, rest),
        true => {
            let cluster = rest & ((1 << SCAN_CLUSTER_BITS) - 1);
            (ScanPlace { cluster, node }, rest >> SCAN_CLUSTER_BITS)
        }
    }
}

fn join_cursor(place: ScanPlace, cursor: u64, several: bool) -> Option<u64> {
    let cluster_bits = if several { SCAN_CLUSTER_BITS } else { 0 };
    let place_bits = SCAN_NODE_BITS + cluster_bits;
    let fits = place.node < 1 << SCAN_NODE_BITS
        && place.cluster < 1 << cluster_bits
        && cursor < 1 << (u64::BITS - place_bits);
    fits.then_some(cursor << place_bits | place.cluster << SCAN_NODE_BITS | place.node)
}

fn integers(parts: &[Bytes]) -> Option<Vec<i64>> {
    parts.iter().map(|reply| resp::parse_integer_reply(reply)).collect()
}

fn interleave(out: &mut Vec<u8>, parts: &[Bytes], order: &[(u32, u32)]) -> Option<()> {
    let values: Vec<Vec<&[u8]>> =
        parts.iter().map(|reply| Some(resp::elements(reply)?.collect())).collect::<Option<_>>()?;
    encode::array(out, order.len());
    for (part, place) in order {
        out.put_slice(values.get(*part as usize)?.get(*place as usize)?);
    }
    Some(())
}

fn union(out: &mut Vec<u8>, parts: &[Bytes], version: RespVersion) -> Option<()> {
    let mut seen: HashSet<&[u8], ahash::RandomState> = HashSet::default();
    let mut body = Vec::new();
    for reply in parts {
        for element in resp::elements(reply)? {
            if !is_own_key(element) && seen.insert(element) {
                body.extend_from_slice(element);
            }
        }
    }
    // A set stays a set (RESP3 only), anything else is an array.
    match parts.first().and_then(|reply| reply.first()) {
        Some(b'~') => encode::set(out, version, seen.len()),
        _ => encode::array(out, seen.len()),
    }
    out.extend_from_slice(&body);
    Some(())
}

fn smallest(out: &mut Vec<u8>, parts: &[Bytes]) -> Option<()> {
    let mut merged: Vec<i64> = Vec::new();
    for (index, reply) in parts.iter().enumerate() {
        for (place, element) in resp::elements(reply)?.enumerate() {
            let value = resp::parse_integer_reply(element)?;
            match (index, merged.get_mut(place)) {
                (0, _) => merged.push(value),
                (_, Some(so_far)) => *so_far = value.min(*so_far),
                (_, None) => return None,
            }
        }
    }
    encode::array(out, merged.len());
    merged.into_iter().for_each(|value| encode::integer(out, value));
    Some(())
}

fn channel_counts(out: &mut Vec<u8>, parts: &[Bytes], version: RespVersion) -> Option<()> {
    let mut counts: Vec<(&[u8], i64)> = Vec::new();
    for (index, reply) in parts.iter().enumerate() {
        let elements: Vec<&[u8]> = resp::elements(reply)?.collect();
        for (place, pair) in elements.chunks_exact(2).enumerate() {
            let count = resp::parse_integer_reply(pair[1])?;
            match (index, counts.get_mut(place)) {
                (0, _) => counts.push((pair[0], count)),
                (_, Some((_, total))) => *total += count,
                (_, None) => return None,
            }
        }
    }
    match parts.first().and_then(|reply| reply.first()) {
        Some(b'%') => encode::map(out, version, counts.len()),
        _ => encode::array(out, counts.len() * 2),
    }
    for (channel, count) in counts {
        out.put_slice(channel);
        encode::integer(out, count);
    }
    Some(())
}

fn any_present(out: &mut Vec<u8>, parts: &[Bytes], seed: u64, version: RespVersion) {
    let is_key = |reply: &&Bytes| !matches!(&reply[..], b"$-1\r\n" | b"_\r\n") && !is_own_key(reply);
    let present: Vec<&Bytes> = parts.iter().filter(is_key).collect();
    match present.get((seed % present.len().max(1) as u64) as usize) {
        Some(reply) => out.extend_from_slice(reply),
        None => encode::null(out, version),
    }
}

/// Keys that the gateway keeps in Redis are not shown.
fn is_own_key(element: &[u8]) -> bool {
    resp::bulk_payload(element).is_some_and(is_companion_key)
}

/// The keys of a page of `SCAN`, but for those of the gateway's own.
fn put_page(out: &mut Vec<u8>, keys: &[u8]) -> Option<()> {
    let shown: Vec<&[u8]> = resp::elements(keys)?.filter(|key| !is_own_key(key)).collect();
    encode::array(out, shown.len());
    shown.into_iter().for_each(|key| out.put_slice(key));
    Some(())
}

fn scan_one(out: &mut Vec<u8>, reply: &[u8]) -> Option<()> {
    let mut elements = resp::elements(reply)?;
    encode::array(out, 2);
    out.put_slice(elements.next()?);
    put_page(out, elements.next()?)
}

fn scan_page(
    out: &mut Vec<u8>,
    reply: &[u8],
    (place, next): (ScanPlace, Option<ScanPlace>),
    several: bool,
) -> Option<()> {
    let mut elements = resp::elements(reply)?;
    let cursor: u64 = std::str::from_utf8(resp::bulk_payload(elements.next()?)?).ok()?.parse().ok()?;
    let next = match (cursor, next) {
        (0, None) => 0,
        (0, Some(next)) => join_cursor(next, 0, several)?,
        _ => join_cursor(place, cursor, several)?,
    };
    encode::array(out, 2);
    encode::bulk(out, next.to_string().as_bytes());
    put_page(out, elements.next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(plan: Plan, parts: &[&str], expected: &str) {
        // The last part to arrive completes the reply, whichever it is.
        let mut merge = Merge::new(plan, parts.len());
        let mut whole = None;
        for (index, part) in parts.iter().enumerate().rev() {
            assert!(whole.is_none());
            whole = merge.add(index, Bytes::copy_from_slice(part.as_bytes()));
        }
        assert_eq!(whole.as_deref().map(String::from_utf8_lossy).as_deref(), Some(expected));
    }

    #[test]
    fn parts_become_the_reply_of_a_single_server() {
        check(Plan::Sum, &[":1\r\n", ":41\r\n"], ":42\r\n");
        check(Plan::Min, &[":3\r\n", ":1\r\n", ":2\r\n"], ":1\r\n");
        check(Plan::Same, &["+OK\r\n", "+OK\r\n"], "+OK\r\n");
        check(Plan::Same, &["+OK\r\n", "-ERR no\r\n"], "-ERR no\r\n");
        check(Plan::Sum, &["-ERR first\r\n", "-ERR second\r\n"], "-ERR first\r\n");
        check(
            Plan::Interleave(vec![(1, 0), (0, 0), (1, 1)]),
            &["*1\r\n$1\r\na\r\n", "*2\r\n$-1\r\n$1\r\nc\r\n"],
            "*3\r\n$-1\r\n$1\r\na\r\n$1\r\nc\r\n",
        );
        check(
            Plan::Union(RespVersion::Resp2),
            &["*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*1\r\n$1\r\na\r\n"],
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        );
        check(Plan::And, &["*2\r\n:1\r\n:1\r\n", "*2\r\n:1\r\n:0\r\n"], "*2\r\n:1\r\n:0\r\n");
        check(
            Plan::ChannelCounts(RespVersion::Resp2),
            &["*2\r\n$1\r\nc\r\n:1\r\n", "*2\r\n$1\r\nc\r\n:2\r\n"],
            "*2\r\n$1\r\nc\r\n:3\r\n",
        );
        check(Plan::AnyOk, &["-NOTBUSY none\r\n", "+OK\r\n"], "+OK\r\n");
        check(Plan::AnyOk, &["-NOTBUSY none\r\n", "-NOTBUSY none\r\n"], "-NOTBUSY none\r\n");
        let unkillable = "-UNKILLABLE it has written\r\n";
        check(Plan::AnyOk, &["-NOTBUSY none\r\n", unkillable, "-ERR away\r\n"], unkillable);
        check(Plan::AnyOk, &["-NOTBUSY none\r\n", "-ERR away\r\n"], "-ERR away\r\n");
        check(Plan::AnyOk, &[unkillable, "+OK\r\n"], "+OK\r\n");
        let (idle, runs) = ("*2\r\n$1\r\nr\r\n$-1\r\n", "*2\r\n$1\r\nr\r\n*1\r\n:1\r\n");
        check(Plan::Running, &[idle, runs, idle], runs);
        check(Plan::Running, &[idle, idle], idle);
        check(Plan::Running, &[idle, "-ERR away\r\n"], "-ERR away\r\n");
        check(Plan::Running, &["-ERR away\r\n", runs], runs);
        check(Plan::MinArray, &["*2\r\n:1\r\n:3\r\n", "*2\r\n:0\r\n:5\r\n"], "*2\r\n:0\r\n:3\r\n");
        check(Plan::AnyPresent(7, RespVersion::Resp2), &["$-1\r\n", "$1\r\nk\r\n"], "$1\r\nk\r\n");
        check(Plan::AnyPresent(7, RespVersion::Resp2), &["$-1\r\n", "$-1\r\n"], "$-1\r\n");
    }

    #[test]
    fn a_scan_goes_through_the_nodes_one_after_the_other() {
        let page = |cursor: u64| format!("*2\r\n${}\r\n{cursor}\r\n*0\r\n", cursor.to_string().len());
        let at = |cluster, node| ScanPlace { cluster, node };
        let ours = |place, cursor, several| join_cursor(place, cursor, several).unwrap();
        let (first, second) = (at(0, 0), at(0, 1));
        let scan = |place, next| Plan::ScanPage { place, next, several: false };
        check(scan(first, Some(second)), &[&page(5)], &page(ours(first, 5, false)));
        check(scan(first, Some(second)), &[&page(0)], &page(ours(second, 0, false)));
        check(scan(second, None), &[&page(0)], &page(0));
        assert_eq!(split_cursor(ours(at(0, 3), 1 << 52, false), false), (at(0, 3), 1 << 52));
        assert_eq!(join_cursor(at(0, 1), 1 << 60, false), None);
    }

    #[test]
    fn a_cursor_has_room_for_hundreds_of_masters_in_many_clusters() {
        for (cluster, node, cursor) in [(0, 0, 1), (63, 1023, (1 << 48) - 1), (9, 300, 0x3fff)] {
            let place = ScanPlace { cluster, node };
            let joined = join_cursor(place, cursor, true).unwrap();
            assert_eq!(split_cursor(joined, true), (place, cursor));
        }
        assert_eq!(join_cursor(ScanPlace { cluster: 64, node: 0 }, 1, true), None);
        assert_eq!(join_cursor(ScanPlace { cluster: 0, node: 1024 }, 1, true), None);
        assert_eq!(join_cursor(ScanPlace { cluster: 0, node: 0 }, 1 << 48, true), None);
    }

    #[test]
    fn a_part_of_the_wrong_form_is_an_error_and_not_a_guess() {
        for (plan, part) in [(Plan::Sum, "+OK\r\n"), (Plan::Interleave(vec![(0, 3)]), "*1\r\n:1\r\n")] {
            let whole = Merge::new(plan, 1).add(0, Bytes::copy_from_slice(part.as_bytes())).unwrap();
            assert!(whole.starts_with(b"-ERR hotgate: "), "{whole:?}");
        }
    }
}
