//! The replies to `CLUSTER SHARDS` and `CLUSTER SLOTS`, read into a [`ClusterView`]: pure.
//!
//! Both are documented at redis.io/commands/cluster-shards and cluster-slots. `SHARDS` (7.0) also lists masters without
//! slots and failed nodes. `SLOTS` (3.0) lists neither, but its first node of each range is the owner beyond doubt,
//! where `SHARDS` of 7.2 can name two masters for one shard, or lose the slots of a shard whose old master has failed
//! (redis/redis#13414, valkey-io/valkey#784).
//!
//! A node may announce no host of its own: null (`cluster-preferred-endpoint-type unknown-endpoint`) and `""` (nobody
//! told it its address yet) stand for the host that was asked; `"?"` (a host name is wanted and there is none) for its
//! IP where the reply gives that, else for the host that was asked.

use std::collections::HashMap;

use redis_protocol::resp2::types::OwnedFrame;

use super::view::{ClusterView, NodeView, ShardView, ViewError};
use crate::shared::topology::Address;

/// The longest host name (RFC 1035, 2.3.4).
const HOST_LEN_MAX: usize = 255;

/// A node id has 40 hexadecimal digits; other servers of the same protocol have others, but no novels.
const ID_LEN_MAX: usize = 64;

/// How the node that replies was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// At which host.
    pub host: &'a str,
    /// With TLS, as all nodes are to be reached then.
    pub tls: bool,
}

type ViewResult<T> = Result<T, ViewError>;

/// Reads the reply to `CLUSTER SHARDS` of the node that was `asked`.
///
/// # Errors
/// Every [`ViewError`].
pub fn parse_shards(reply: &OwnedFrame, asked: Asked<'_>) -> ViewResult<ClusterView> {
    let shards = array(reply, "an array of shards")?;
    ClusterView::new(
        shards.iter().filter_map(|shard| parse_shard(shard, asked).transpose()).collect::<Result<_, _>>()?,
    )
}

/// Reads the reply to `CLUSTER SLOTS` of the node that was `asked`. It knows nothing of failures: a failed replica is not
/// in it, and a failed master is called healthy.
///
/// # Errors
/// Every [`ViewError`] but [`ViewError::AmbiguousMaster`].
pub fn parse_slots(reply: &OwnedFrame, asked: Asked<'_>) -> ViewResult<ClusterView> {
    let mut shards: Vec<ShardView> = Vec::new();
    let mut by_master: HashMap<(String, Address), usize> = HashMap::new();
    for entry in array(reply, "an array of slot ranges")? {
        let [start, end, nodes @ ..] = array(entry, "a slot range with its nodes")? else {
            return Err(ViewError::Malformed("a slot range with its nodes"));
        };
        let range = (slot(start)?, slot(end)?);
        let mut nodes =
            nodes.iter().map(|node| parse_slots_node(node, asked)).collect::<ViewResult<Vec<_>>>()?;
        if nodes.is_empty() {
            return Err(ViewError::Malformed("a master in each slot range"));
        }
        let master = nodes.remove(0);
        let key = (master.id.clone(), master.address.clone());
        let known = *by_master.entry(key).or_insert(shards.len());
        match shards.get_mut(known) {
            Some(shard) => shard.ranges.push(range),
            None => shards.push(ShardView { master, ranges: vec![range], replicas: nodes }),
        }
    }
    ClusterView::new(shards)
}

/// `None` for a shard that has no slots and no master.
fn parse_shard(shard: &OwnedFrame, asked: Asked<'_>) -> ViewResult<Option<ShardView>> {
    let fields = map(shard, "a shard as a map")?;
    let slots = array(field(&fields, "slots")?, "an array of slots")?;
    if !slots.len().is_multiple_of(2) {
        return Err(ViewError::Malformed("an even number of slots"));
    }
    let ranges =
        slots.chunks(2).map(|pair| Ok((slot(&pair[0])?, slot(&pair[1])?))).collect::<ViewResult<Vec<_>>>()?;
    let mut masters = Vec::new();
    let mut replicas = Vec::new();
    for node in array(field(&fields, "nodes")?, "an array of nodes")? {
        let (node, is_master) = parse_shards_node(node, asked)?;
        if is_master { masters.push(node) } else { replicas.push(node) }
    }
    let several_own = masters.len() != 1 && !ranges.is_empty();
    // Without slots there is nothing to mistake: the one that works is the shard's master.
    masters.sort_by_key(|master| !master.healthy);
    match masters.into_iter().next() {
        _ if several_own => Err(ViewError::AmbiguousMaster),
        Some(master) => Ok(Some(ShardView { master, ranges, replicas })),
        None => Ok(None),
    }
}

fn parse_shards_node(node: &OwnedFrame, asked: Asked<'_>) -> ViewResult<(NodeView, bool)> {
    let fields = map(node, "a node as a map")?;
    let ip = fields.get("ip").map_or(Ok(None), |ip| optional_text(ip))?;
    // A node has both ports, or one of them; without the wanted one there is nothing to connect to. (`CLUSTER SLOTS` has that of the
    // connection that asks.)
    let port_field = if asked.tls { "tls-port" } else { "port" };
    let port = fields.get(port_field).map_or(Ok(0), |port| self::port(port))?;
    let view = NodeView {
        id: id(field(&fields, "id")?)?,
        address: Address::new(host(optional_text(field(&fields, "endpoint")?)?, ip, asked.host)?, port),
        // Documented as `failed`, sent as `fail`. `loading` is how Redis 7.0 calls every replica that has not yet been
        // sent anything, so it is no sign of trouble.
        healthy: !optional_text(field(&fields, "health")?)?.is_some_and(|health| health.starts_with("fail")),
    };
    Ok((view, optional_text(field(&fields, "role")?)? == Some("master")))
}

fn parse_slots_node(node: &OwnedFrame, asked: Asked<'_>) -> ViewResult<NodeView> {
    let parts = array(node, "a node as an array")?;
    let (Some(endpoint), Some(node_port)) = (parts.first(), parts.get(1)) else {
        return Err(ViewError::Malformed("a node with host and port"));
    };
    // The id came with 4.0, the further names with 7.0.
    let id = parts.get(2).map_or(Ok(String::new()), id)?;
    let further =
        parts.get(3).map_or(Ok(HashMap::new()), |further| map(further, "a node's further names"))?;
    let ip = further.get("ip").map_or(Ok(None), |ip| optional_text(ip))?;
    let host = host(optional_text(endpoint)?, ip, asked.host)?;
    Ok(NodeView { id, address: Address::new(host, port(node_port)?), healthy: true })
}

fn host<'a>(endpoint: Option<&'a str>, ip: Option<&'a str>, asked: &'a str) -> ViewResult<&'a str> {
    let host = match endpoint {
        None | Some("") => asked,
        Some("?") => ip.filter(|ip| !ip.is_empty() && *ip != "?").unwrap_or(asked),
        Some(host) => host,
    };
    if host.len() > HOST_LEN_MAX || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ViewError::Malformed("a host name or an IP address"));
    }
    Ok(host)
}

fn id(frame: &OwnedFrame) -> ViewResult<String> {
    let id = optional_text(frame)?.unwrap_or_default();
    if id.len() > ID_LEN_MAX { Err(ViewError::Malformed("a node id")) } else { Ok(id.to_owned()) }
}

fn slot(frame: &OwnedFrame) -> ViewResult<u16> {
    match frame {
        OwnedFrame::Integer(slot) => {
            u16::try_from(*slot).map_err(|_| ViewError::Malformed("a slot, 0 to 16383"))
        }
        _ => Err(ViewError::Malformed("a slot, 0 to 16383")),
    }
}

fn port(frame: &OwnedFrame) -> ViewResult<u16> {
    match frame {
        OwnedFrame::Integer(port) => {
            u16::try_from(*port).map_err(|_| ViewError::Malformed("a port, 0 to 65535"))
        }
        _ => Err(ViewError::Malformed("a port, 0 to 65535")),
    }
}

fn optional_text(frame: &OwnedFrame) -> ViewResult<Option<&str>> {
    match frame {
        OwnedFrame::Null => Ok(None),
        OwnedFrame::BulkString(text) | OwnedFrame::SimpleString(text) => {
            str::from_utf8(text).map(Some).map_err(|_| ViewError::Malformed("text"))
        }
        _ => Err(ViewError::Malformed("text")),
    }
}

fn array<'a>(frame: &'a OwnedFrame, expected: &'static str) -> ViewResult<&'a [OwnedFrame]> {
    match frame {
        OwnedFrame::Array(elements) => Ok(elements),
        _ => Err(ViewError::Malformed(expected)),
    }
}

/// A map as RESP2 writes it: names and values in turn. Unknown names are kept.
fn map<'a>(frame: &'a OwnedFrame, expected: &'static str) -> ViewResult<HashMap<&'a str, &'a OwnedFrame>> {
    let elements = array(frame, expected)?;
    if !elements.len().is_multiple_of(2) {
        return Err(ViewError::Malformed(expected));
    }
    let pair = |pair: &'a [OwnedFrame]| match optional_text(&pair[0])? {
        Some(name) => Ok((name, &pair[1])),
        None => Err(ViewError::Malformed(expected)),
    };
    elements.chunks(2).map(pair).collect()
}

fn field<'a>(fields: &HashMap<&str, &'a OwnedFrame>, name: &'static str) -> ViewResult<&'a OwnedFrame> {
    fields.get(name).copied().ok_or(ViewError::Malformed(name))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
