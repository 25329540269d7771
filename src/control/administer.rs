//! Administration of the servers, passed on for a user who was given that by a rule: `CONFIG SET`, `BGSAVE`, `DEBUG`, `CLIENT PAUSE`, ... to every
//! master, and `HOTGATE NODE host:port command ...` to one node.
//!
//! Each goes over a connection of its own, once: what is not known to have been done is said to be so, and not tried again. What would
//! take the server away from the gateway is refused, and why ([`super::refused_administration`]). What was changed is noted.
//!
//! Deliberately does not: read or write keys past the rules, quotas and queues of the gateway. A node is asked about itself, and about
//! keys that its asker may read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::config_get;
use super::masters::{Server, masters_of};
use super::refused_administration::{refused_at_a_node, refused_at_all};
use super::topology::KeeperSettings;
use super::upstream_client::{Timeouts, UpstreamClient, UpstreamError};
use crate::access::User;
use crate::combine::is_companion_key;
use crate::command::{Command, CommandId, GIVEN_BY_RULE, KeyPositions};
use crate::resp::{
    Request, RespVersion, Span, bulk_payload, elements, encode, first_error, parse_integer_reply,
};
use crate::shared::audit::AuditEntry;
use crate::shared::gateway::Gateway;
use crate::shared::keys::{self, KeyNames};
use crate::shared::mailbox::ControlRequest;
use crate::shared::topology::Address;

/// How long a server may take: `SAVE` of a large data set and `DEBUG SLEEP` take long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Commands under way at once. Beyond it the next is refused.
const UNDERWAY_MAX: usize = 32;

/// Words at the end of a command's name that say that it only looks.
const LOOKING: [&str; 27] = [
    "get",
    "list",
    "info",
    "help",
    "len",
    "latest",
    "history",
    "doctor",
    "stats",
    "graph",
    "histogram",
    "usage",
    "nodes",
    "slots",
    "shards",
    "links",
    "myid",
    "whoami",
    "users",
    "getuser",
    "cat",
    "log",
    "dryrun",
    "id",
    "role",
    "time",
    "dbsize",
];

/// Passes administration on. Lives as long as the process, on the control thread.
pub struct Administration {
    gateway: Arc<Gateway>,
    underway: Semaphore,
}

/// A command with what the table knows of it.
struct Asked<'q> {
    arguments: &'q [Bytes],
    command: Command,
    id: CommandId,
}

impl Administration {
    /// Nothing is under way.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, underway: Semaphore::new(UNDERWAY_MAX) }
    }

    /// Does a command at every master.
    pub async fn at_all(&self, question: &ControlRequest) -> Bytes {
        let asked = match self.asked(&question.arguments) {
            Ok(asked) => asked,
            Err(text) => return error(text),
        };
        if let Some(why) = refused_at_all(&asked.command.name, asked.arguments) {
            return error(asked.command.refusal(why));
        }
        let masters = self.masters();
        if masters.is_empty() {
            return error(
                "ERR hotgate: no master is known at the moment; try again, and see /readyz for what is wrong",
            );
        }
        let Ok(_place) = self.underway.try_acquire() else { return error(TOO_MANY) };
        let before = self.before(&asked, &masters[0]).await;
        let selection = (question.version, question.asker.database);
        let outcomes = self.send(&masters, asked.arguments, selection).await;
        let reply = merged(&masters, &outcomes);
        let object =
            if masters.len() == 1 { masters[0].to_string() } else { format!("{} masters", masters.len()) };
        self.note(question, &asked, (object, before), &reply);
        reply
    }

    /// Does the command behind `HOTGATE NODE host:port` there.
    pub async fn at_node(&self, question: &ControlRequest) -> Bytes {
        let [_, _, node, arguments @ ..] = question.arguments.as_slice() else {
            return error("ERR wrong number of arguments for 'hotgate|node' command");
        };
        if !question.asker.administers {
            return error(format!("ERR hotgate: 'hotgate|node' is not done: {GIVEN_BY_RULE}"));
        }
        let node = match self.node(node) {
            Ok(node) => node,
            Err(text) => return error(text),
        };
        let asked = match self.asked(arguments) {
            Ok(asked) => asked,
            Err(text) => return error(text),
        };
        if let Some(why) = refused_at_a_node(&asked.command, arguments) {
            return error(asked.command.refusal(why));
        }
        if let Err(text) = self.may(question, &asked) {
            return error(text);
        }
        let Ok(_place) = self.underway.try_acquire() else { return error(TOO_MANY) };
        let before = self.before(&asked, &node).await;
        // Passwords are left out of what this one says.
        let reads_parameters = &*asked.command.name == "config|get";
        let version = if reads_parameters { RespVersion::Resp2 } else { question.version };
        let nodes = [node];
        let outcomes = self.send(&nodes, arguments, (version, question.asker.database)).await;
        let mut reply = merged(&nodes, &outcomes);
        if reads_parameters {
            reply = config_get::without_secrets(reply, question.version);
        }
        let [node] = nodes;
        self.note(question, &asked, (node.to_string(), before), &reply);
        reply
    }

    fn asked<'q>(&self, arguments: &'q [Bytes]) -> Result<Asked<'q>, Vec<u8>> {
        let table = self.gateway.commands.load();
        let (bytes, spans) = as_request(arguments);
        let request = Request::new(&bytes, &spans);
        let id = table.resolve(&request).map_err(|error| error.message(&request))?;
        Ok(Asked { arguments, command: table.get(id).clone(), id })
    }

    /// The asker may do at a node what it may do through the gateway, and no more.
    fn may(&self, question: &ControlRequest, asked: &Asked<'_>) -> Result<(), Vec<u8>> {
        let users = self.gateway.users.load();
        let Some(user) = users.get(question.asker.user.as_bytes()).filter(|user| User::is_enabled(user))
        else {
            return Err(b"NOPERM the user of this connection is gone".to_vec());
        };
        let (bytes, spans) = as_request(asked.arguments);
        let request = Request::new(&bytes, &spans);
        user.check(asked.id, &asked.command, &request)
            .map_err(|denied| denied.message(user, &asked.command))?;
        let mut keys = KeyPositions::new();
        // What is wrong with its arguments the node says.
        let _ = asked.command.keys(&request, &mut keys);
        match keys.iter().filter_map(|key| request.arg(*key as usize)).any(is_companion_key) {
            true => Err(b"ERR hotgate: keys named {...}hotgate:... are the gateway's own".to_vec()),
            false => Ok(()),
        }
    }

    /// The node of this address, if it is one.
    fn node(&self, written: &[u8]) -> Result<Server, String> {
        let wanted = std::str::from_utf8(written).ok().and_then(|text| text.parse::<Address>().ok());
        let topology = self.gateway.topology.load();
        let known = topology.nodes.iter().filter(|node| node.present);
        match wanted.and_then(|wanted| known.clone().find(|node| node.address == wanted)) {
            Some(node) => Ok(Server { cluster: node.cluster, address: node.address.clone() }),
            None => {
                let names: Vec<String> = known.take(20).map(|node| node.address.to_string()).collect();
                Err(format!(
                    "ERR hotgate: no node is at {}; known are {}",
                    keys::text(written),
                    names.join(", ")
                ))
            }
        }
    }

    /// Those of all clusters.
    fn masters(&self) -> Vec<Server> {
        let topology = self.gateway.topology.load();
        let masters = topology.clusters().iter().flat_map(|map| masters_of(&topology, map));
        masters.map(|(server, _)| server).collect()
    }

    /// Sends a command to each of the nodes, side by side, and gives what each replied, in their order.
    async fn send(
        &self,
        nodes: &[Server],
        arguments: &[Bytes],
        selection: (RespVersion, u32),
    ) -> Vec<Result<Bytes, UpstreamError>> {
        let mut asked = JoinSet::new();
        for (place, node) in nodes.iter().enumerate() {
            let settings = KeeperSettings::of_cluster(&self.gateway, node.cluster);
            let (node, arguments) = (node.address.clone(), arguments.to_vec());
            asked.spawn(async move { (place, exchange(&node, settings, &arguments, selection).await) });
        }
        let mut outcomes: Vec<_> = nodes.iter().map(|_| Err(UpstreamError::ReplyTimeout)).collect();
        while let Some(Ok((place, outcome))) = asked.join_next().await {
            outcomes[place] = outcome;
        }
        outcomes
    }

    /// The values that `CONFIG SET` is about to replace.
    async fn before(&self, asked: &Asked<'_>, node: &Server) -> String {
        if &*asked.command.name != "config|set" {
            return String::new();
        }
        let names = asked.arguments.iter().skip(2).step_by(2).cloned();
        let words: Vec<Bytes> =
            [Bytes::from_static(b"CONFIG"), Bytes::from_static(b"GET")].into_iter().chain(names).collect();
        let outcome = self.send(std::slice::from_ref(node), &words, (RespVersion::Resp2, 0)).await.pop();
        let Some(Ok(reply)) = outcome else { return String::new() };
        let found = elements(&reply).into_iter().flatten().filter_map(bulk_payload);
        pairs_shown(&found.collect::<Vec<_>>())
    }

    /// Notes what changed something.
    fn note(
        &self,
        question: &ControlRequest,
        asked: &Asked<'_>,
        (object, before): (String, String),
        reply: &[u8],
    ) {
        let name = &*asked.command.name;
        let looks = asked.command.is_readonly()
            || name.rsplit('|').next().is_some_and(|word| LOOKING.contains(&word))
            || ["ping", "echo", "lastsave", "command", "lolwut"].contains(&name);
        if looks {
            return;
        }
        let shown = arguments_shown(name, asked.arguments, &self.gateway.key_names);
        let entry = AuditEntry::new(&question.asker.author(), name.replace('|', " "), object);
        self.gateway.audit.record(match first_error(reply).map(String::from_utf8_lossy) {
            None => entry.from_to(before, shown),
            // Redis repeats the rule that it does not understand, which may be a password.
            Some(why) if name == "acl|setuser" => {
                entry.from_to(before, shown).failed(keys::without_quoted(&why))
            }
            Some(why) => entry.from_to(before, shown).failed(self.gateway.key_names.in_error(&why)),
        });
    }
}

const TOO_MANY: &str = "ERR hotgate: too many administrative commands are under way; try again";

async fn exchange(
    node: &Address,
    settings: KeeperSettings,
    arguments: &[Bytes],
    (version, database): (RespVersion, u32),
) -> Result<Bytes, UpstreamError> {
    let timeouts = Timeouts { reply: PATIENCE, ..settings.timeouts };
    let mut client = UpstreamClient::connect(node, &settings.credentials, timeouts).await?;
    if version == RespVersion::Resp3 {
        client.speak_resp3().await?;
    }
    if database > 0 {
        client.command_raw(&[b"SELECT", database.to_string().as_bytes()]).await?;
    }
    let words: Vec<&[u8]> = arguments.iter().map(|word| &word[..]).collect();
    client.command_raw(&words).await
}

/// The sum of the replies, if all are numbers: `LATENCY RESET`.
fn sum_of(outcomes: &[Result<Bytes, UpstreamError>]) -> Option<Bytes> {
    let number = |outcome: &Result<Bytes, UpstreamError>| parse_integer_reply(outcome.as_ref().ok()?);
    let sum = outcomes.iter().map(number).try_fold(0i64, |sum, number| sum.checked_add(number?))?;
    let mut out = Vec::new();
    encode::integer(&mut out, sum);
    Some(out.into())
}

/// The reply of the first node when all did it, or the sum of all; else who did not, and why.
fn merged<N: fmt::Display>(nodes: &[N], outcomes: &[Result<Bytes, UpstreamError>]) -> Bytes {
    let refusal = |outcome: &Result<Bytes, UpstreamError>| match outcome {
        Ok(reply) => first_error(reply).map(|text| String::from_utf8_lossy(text).into_owned()),
        Err(why) => Some(format!("ERR hotgate: whether it was done is not known: {why}")),
    };
    let refused: Vec<(&N, String)> =
        nodes.iter().zip(outcomes).filter_map(|(node, outcome)| Some((node, refusal(outcome)?))).collect();
    match (refused.as_slice(), outcomes) {
        ([], [Ok(reply), ..]) => sum_of(outcomes).unwrap_or_else(|| reply.clone()),
        ([(_, text)], [_]) => error(text.as_str()),
        ([(node, text), ..], all) => {
            let (failed, total) = (refused.len(), all.len());
            error(format!(
                "ERR hotgate: {failed} of {total} masters did not do it, the others did. {node}: {text}"
            ))
        }
        ([], _) => error("ERR hotgate: no server was asked"),
    }
}

/// Arguments for the list of changes: what may be a password is not shown, and keys only as they may be.
fn arguments_shown(name: &str, arguments: &[Bytes], names: &KeyNames) -> String {
    let words: Vec<&[u8]> = arguments.iter().map(|word| &word[..]).collect();
    match name {
        "config|set" => pairs_shown(words.get(2..).unwrap_or_default()),
        "acl|setuser" => {
            // Passwords have no place in a selector, and who puts one there has typed it all the same.
            let is_secret = |word: &[u8]| {
                let mut rules = word.split(|byte| matches!(byte, b' ' | b'('));
                rules.any(|rule| matches!(rule.first(), Some(b'>' | b'<' | b'#' | b'!')))
            };
            let shown = words
                .iter()
                .skip(2)
                .map(|word| if is_secret(word) { ">(hidden)".to_owned() } else { keys::text(word) });
            shown.collect::<Vec<_>>().join(" ")
        }
        // What stands behind the word may be a key.
        "debug" if *names != KeyNames::Plain => words.get(1).map(|word| keys::text(word)).unwrap_or_default(),
        // A module's own arguments may be anything.
        "module|load" | "module|loadex" => spoken(words.get(1..3).unwrap_or_default()),
        _ => spoken(words.get(1..).unwrap_or_default()),
    }
}

fn spoken(words: &[&[u8]]) -> String {
    words.iter().map(|word| keys::text(word)).collect::<Vec<_>>().join(" ")
}

/// Parameters with their values, but for those that are secret.
fn pairs_shown(words: &[&[u8]]) -> String {
    let shown = |pair: &[&[u8]]| {
        let name = keys::text(&pair[0].to_ascii_lowercase());
        let is_secret = name.contains("pass") || name.contains("auth");
        let value = if is_secret { "(hidden)".to_owned() } else { keys::text(pair[1]) };
        format!("{name} {value}")
    };
    words.chunks_exact(2).map(shown).collect::<Vec<_>>().join(", ")
}

fn error(text: impl AsRef<[u8]>) -> Bytes {
    let mut out = Vec::new();
    encode::error(&mut out, text);
    out.into()
}

/// The bytes of a request with these arguments, and where each lies.
fn as_request(arguments: &[Bytes]) -> (Vec<u8>, Vec<Span>) {
    let (mut spans, mut start) = (Vec::with_capacity(arguments.len()), 0);
    for argument in arguments {
        spans.push(Span { start: start as u32, len: argument.len() as u32 });
        start += argument.len();
    }
    (arguments.concat(), spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, names: &KeyNames) -> String {
        let arguments: Vec<Bytes> =
            line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let name = if line.starts_with("DEBUG") {
            "debug".to_owned()
        } else {
            line.split(' ').take(2).collect::<Vec<_>>().join("|").to_lowercase()
        };
        arguments_shown(&name, &arguments, names)
    }

    #[test]
    fn no_password_shows() {
        for (line, expect) in [
            ("CONFIG SET maxmemory 1gb MasterAuth hunter2", "maxmemory 1gb, masterauth (hidden)"),
            ("CONFIG SET tls-key-file-pass hunter2", "tls-key-file-pass (hidden)"),
            ("ACL SETUSER anna on >hunter2 ~x +get", "anna on >(hidden) ~x +get"),
            ("ACL SETUSER anna (+get !hunter2) (>hunter2)", "anna (+get >(hidden) >(hidden)"),
            ("MODULE LOAD /a.so hunter2", "LOAD /a.so"),
            ("DEBUG OBJECT secret:key", "OBJECT secret:key"),
        ] {
            assert_eq!(shown(line, &KeyNames::Plain), expect, "{line}");
        }
        assert_eq!(shown("DEBUG OBJECT secret:key", &KeyNames::Hashed("s".into())), "OBJECT");
    }

    #[test]
    fn who_did_not_do_it_is_named() {
        let nodes: Vec<Address> = ["a:1", "b:2"].iter().map(|text| text.parse().unwrap()).collect();
        let ok = || Ok(Bytes::from_static(b"+OK\r\n"));
        assert_eq!(merged(&nodes, &[ok(), ok()]), "+OK\r\n");
        let number = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        assert_eq!(merged(&nodes, &[number(":1\r\n"), number(":2\r\n")]), ":3\r\n");
        let refused = || Ok(Bytes::from_static(b"-ERR no\r\n"));
        assert_eq!(merged(&nodes[..1], &[refused()]), "-ERR no\r\n");
        let text = String::from_utf8(merged(&nodes, &[ok(), refused()]).to_vec()).unwrap();
        assert_eq!(text, "-ERR hotgate: 1 of 2 masters did not do it, the others did. b:2: ERR no\r\n");
        let lost = merged(&nodes[..1], &[Err(UpstreamError::ReplyTimeout)]);
        assert!(lost.starts_with(b"-ERR hotgate: whether it was done is not known"));
    }
}
