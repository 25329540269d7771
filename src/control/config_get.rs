//! `CONFIG GET`: the gateway answers for what it owns, the server for everything else.
//!
//! The client's arguments go to one master unchanged, so patterns, several names and hidden parameters mean what they mean there.
//! The gateway removes from the answer what it owns itself, and what its clients must not see: passwords between gateway and
//! server, and addresses of servers.

use bytes::Bytes;

use super::upstream_questions::{Targets, UpstreamQuestions};
use crate::command::glob::matches_ignoring_case;
use crate::resp::{self, RespVersion, encode};
use crate::shared::gateway::Gateway;

/// Never shown: where a server is, and how to log in there.
const WITHHELD: &[&str] = &[
    "requirepass",
    "masterauth",
    "masteruser",
    "primaryauth",
    "primaryuser",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
    "cluster-announce-ip",
    "cluster-announce-hostname",
    "cluster-announce-human-nodename",
    "cluster-announce-port",
    "cluster-announce-tls-port",
    "cluster-announce-bus-port",
    "replica-announce-ip",
    "replica-announce-port",
    "slave-announce-ip",
    "slave-announce-port",
    "bind-source-addr",
    "unixsocket",
    "tls-port",
    "cluster-port",
];

/// Passwords of the server, which nobody learns from the gateway.
const SECRET: &[&str] =
    &["requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass"];

/// Answers `CONFIG GET pattern [pattern ...]`.
///
/// Where the server refuses (its user may not ask, or it has no such command), what the gateway owns is answered, and the
/// server's own error only where that is nothing.
pub async fn answer(
    gateway: &Gateway,
    servers: &UpstreamQuestions,
    patterns: &[&[u8]],
    version: RespVersion,
    out: &mut Vec<u8>,
) {
    let is_wanted =
        |name: &str| patterns.iter().any(|pattern| matches_ignoring_case(pattern, name.as_bytes()));
    let owned = owned(gateway);
    let mine: Vec<(&[u8], &[u8])> = owned
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let is_owned = |name: &[u8]| owned.iter().any(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
    if patterns.iter().all(|pattern| is_owned(pattern)) {
        return write(version, &mine, out);
    }
    let words: Vec<&[u8]> = [&b"CONFIG"[..], b"GET"].into_iter().chain(patterns.iter().copied()).collect();
    let answers = servers.ask(Targets::OneMaster, &words).await;
    let Some(reply) = answers.replies.first() else {
        return encode::error(
            out,
            "ERR hotgate: no server answered CONFIG GET in time; try again, and see /readyz for what is wrong",
        );
    };
    let Some(elements) = resp::elements(reply) else {
        return match mine.is_empty() {
            true => out.extend_from_slice(reply),
            false => write(version, &mine, out),
        };
    };
    let words: Vec<&[u8]> = elements.filter_map(resp::bulk_payload).collect();
    let is_shown = |name: &[u8]| {
        !is_owned(name) && !WITHHELD.iter().any(|withheld| withheld.as_bytes().eq_ignore_ascii_case(name))
    };
    let theirs = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).filter(|(name, _)| is_shown(name));
    let shown: Vec<_> = mine.into_iter().chain(theirs).collect();
    write(version, &shown, out);
}

/// A whole RESP2 reply to `CONFIG GET` of a server, without its passwords, in the version of the client.
pub fn without_secrets(reply: Bytes, version: RespVersion) -> Bytes {
    let Some(elements) = resp::elements(&reply) else { return reply };
    let words: Vec<&[u8]> = elements.filter_map(resp::bulk_payload).collect();
    let is_secret = |name: &[u8]| SECRET.iter().any(|secret| secret.as_bytes().eq_ignore_ascii_case(name));
    let pairs = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).filter(|(name, _)| !is_secret(name));
    let mut out = Vec::new();
    write(version, &pairs.collect::<Vec<_>>(), &mut out);
    out.into()
}

fn write(version: RespVersion, parameters: &[(&[u8], &[u8])], out: &mut Vec<u8>) {
    encode::map(out, version, parameters.len());
    for (name, value) in parameters {
        encode::bulk(out, name);
        encode::bulk(out, value);
    }
}

/// The parameters that mean the gateway itself, under the names that Redis gives them.
fn owned(gateway: &Gateway) -> Vec<(&'static str, String)> {
    let config = gateway.config.load();
    let seconds = |time: Option<std::time::Duration>| time.map_or(0, |time| time.as_secs()).to_string();
    let cluster = gateway.topology.load().cluster(gateway.routes().keyless()).is_shown_as_cluster(&config);
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or(String::new(), |path| path.display().to_string())
    };
    let hosts: Vec<String> = gateway.listen.iter().map(|address| address.ip().to_string()).collect();
    let slower_than = config.slowlog.slower_than.map_or("-1".to_owned(), |slow| slow.as_micros().to_string());
    let mut owned = vec![
        ("maxclients", config.gateway.clients_max.to_string()),
        ("timeout", seconds(config.limits.idle_timeout)),
        ("tcp-keepalive", seconds(config.gateway.tcp_keepalive)),
        ("proto-max-bulk-len", config.limits.bulk_bytes_max.to_string()),
        ("client-query-buffer-limit", config.limits.request_bytes_max.to_string()),
        // The log that `SLOWLOG` shows. Redis says -1 for never.
        ("slowlog-log-slower-than", slower_than.clone()),
        // The same under the names of Valkey, where the three lists have one bound here.
        ("commandlog-execution-slower-than", slower_than),
        ("commandlog-request-larger-than", config.slowlog.request_larger_than.to_string()),
        ("commandlog-reply-larger-than", config.slowlog.reply_larger_than.to_string()),
        ("commandlog-slow-execution-max-len", config.slowlog.entries_max.to_string()),
        ("commandlog-large-request-max-len", config.slowlog.entries_max.to_string()),
        ("commandlog-large-reply-max-len", config.slowlog.entries_max.to_string()),
        ("slowlog-max-len", config.slowlog.entries_max.to_string()),
        ("bind", hosts.join(" ")),
        ("port", gateway.listen.first().map_or(0, std::net::SocketAddr::port).to_string()),
        ("unixsocket", path(&config.gateway.unix_socket)),
        ("unixsocketperm", config.gateway.unix_socket_mode.name().to_owned()),
        ("tcp-backlog", config.gateway.tcp_backlog.to_string()),
        ("cluster-enabled", if cluster { "yes" } else { "no" }.to_owned()),
        // Clients see a master.
        ("replicaof", String::new()),
        ("slaveof", String::new()),
    ];
    if config.auth.password.is_none() {
        owned.push(("requirepass", String::new()));
    }
    owned
}
