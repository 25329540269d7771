//! What a server says of itself, asked without a runtime: the load runs on a thread that has none.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use super::load::{LoadError, Stop};
use crate::resp::{ReplyScan, ReplyScanner};

/// An overloaded server answers when it has dealt with what came before.
const REPLY_TIME_MAX: Duration = Duration::from_secs(20);

/// Between two looks whether a server has dealt with what was left of a load.
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);

/// Sends an inline command on a connection of its own; returns the reply as it came.
///
/// # Errors
/// The server does not answer, or with something that is no reply.
pub fn ask(port: u16, command: &str) -> Result<String, LoadError> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(REPLY_TIME_MAX))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let (mut reply, mut scanner) = (Vec::new(), ReplyScanner::new());
    let mut chunk = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(LoadError::Closed);
        }
        reply.extend_from_slice(&chunk[..count]);
        match scanner.scan(&reply) {
            ReplyScan::Complete { len } => return Ok(String::from_utf8_lossy(&reply[..len]).into_owned()),
            ReplyScan::Incomplete { .. } => {}
            ReplyScan::TooLong | ReplyScan::Malformed(_) => return Err(LoadError::Malformed),
        }
    }
}

/// How often a server has run each command, by `INFO commandstats`.
///
/// # Errors
/// Those of [`ask`].
pub fn command_calls(port: u16) -> Result<BTreeMap<String, u64>, LoadError> {
    let calls = |line: &str| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), figures.split(',').next()?.parse().ok()?))
    };
    Ok(ask(port, "INFO commandstats")?.lines().filter_map(calls).collect())
}

/// How often a server has counted one up: what clients send, and what gateways make of it.
///
/// # Errors
/// Those of [`ask`].
pub fn increments(port: u16) -> Result<u64, LoadError> {
    let calls = command_calls(port)?;
    Ok(["incr", "incrby"].iter().filter_map(|name| calls.get(*name)).sum())
}

/// Returns when a server has dealt with the increments that a load has left in its sockets.
///
/// # Errors
/// Those of [`ask`], and `Stopped`.
pub fn settle(port: u16, stop: &Stop) -> Result<(), LoadError> {
    let mut last = None;
    loop {
        stop.check()?;
        let now = Some(increments(port)?);
        if now == last {
            return Ok(());
        }
        last = now;
        thread::park_timeout(SETTLE_INTERVAL);
    }
}

/// First slot of each range -> the index in `ports` of its node, by `CLUSTER NODES`. Its lines are
/// `id host:port@bus flags master ping pong epoch state slot-slot ...`.
///
/// # Errors
/// Those of [`ask`].
pub fn slot_ranges(ports: &[u16]) -> Result<BTreeMap<u16, usize>, LoadError> {
    let first = ports.first().copied().unwrap_or_default();
    let mut ranges = BTreeMap::new();
    for line in ask(first, "CLUSTER NODES")?.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let address = fields.get(1).and_then(|field| field.split('@').next()?.rsplit_once(':'));
        let port = address.and_then(|(_, port)| port.parse::<u16>().ok());
        let Some(node) = port.and_then(|port| ports.iter().position(|known| *known == port)) else {
            continue;
        };
        let firsts = fields.iter().skip(8).filter_map(|range| range.trim().split('-').next()?.parse().ok());
        ranges.extend(firsts.map(|slot: u16| (slot, node)));
    }
    Ok(ranges)
}
