//! What is shown of a request that stood out, over HTTP and by `HOTGATE SLOWLOG`: whose it was, where it went, and where its time went.
//!
//! Owns the names. It deliberately keeps no list: that is `shared::command_log`'s.

use serde_json::{Value, json};

use crate::shared::command_log::LoggedRequest;
use crate::shared::keys;

/// One of them, with the names of its fields.
pub fn shown(entry: &LoggedRequest) -> Value {
    let arguments: Vec<String> = entry.arguments.iter().map(|argument| keys::text(argument)).collect();
    json!({
        "id": entry.id,
        "at_ms": entry.at_ms,
        "arguments": arguments,
        "address": entry.address,
        "name": keys::text(&entry.name),
        "user": keys::text(&entry.user),
        "cluster": entry.cluster,
        "node": entry.node,
        "folded": entry.folded,
        "whole_us": entry.spent.whole_us,
        "waiting_us": entry.spent.waiting_us,
        "upstream_us": entry.spent.upstream_us,
        "client_stalled_us": entry.spent.stalled_us,
        "request_bytes": entry.request_bytes,
        "reply_bytes": entry.reply_bytes,
    })
}
