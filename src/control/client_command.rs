//! `CLIENT` subcommands that concern the clients of all workers.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::resp::{encode, parse_integer};
use crate::shared::audit::{AuditEntry, Author};
use crate::shared::client_rows::ClientRow;
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::{ClientFilter, ControlRequest, WorkerMessage};

/// How long the workers may take to describe their clients.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clients that one `CLIENT LIST` shows. The reply of so many is about 3 MB.
const ROWS_MAX: usize = 10_000;

const SYNTAX: &str = "ERR syntax error";

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <option> ...",
    "    Kill connections. Options are: ADDR, LADDR, TYPE, USER, SKIPME, ID, MAXAGE.",
    "LIST [options ...]",
    "    Return information about client connections. Options: TYPE, ID.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are: LIB-NAME, LIB-VER.",
    "TRACKING (ON|OFF) [options ...]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
];

/// Answers `CLIENT LIST|INFO|KILL|UNBLOCK|HELP`.
pub async fn answer(gateway: &Gateway, question: &ControlRequest, out: &mut Vec<u8>) {
    let words: Vec<String> =
        question.arguments.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let subcommand = words.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match subcommand.as_str() {
        "list" => list(gateway, question, &words, out).await,
        "info" => {
            let rows = gateway.client_rows.list(ROWS_MAX, PATIENCE).await.rows;
            let own = rows.iter().filter(|row| row.id == question.asker.client_id);
            text(out, question, &own.map(line).collect::<String>());
        }
        "kill" => kill(gateway, question, &words, out).await,
        "unblock" => unblock(gateway, &words, out).await,
        "help" => {
            encode::array(out, HELP.len());
            HELP.iter().for_each(|line| encode::simple(out, line));
        }
        other => encode::error(
            out,
            format!(
                "ERR hotgate: 'client|{other}' is not passed on: it would concern the gateway's own connections"
            ),
        ),
    }
}

async fn list(gateway: &Gateway, question: &ControlRequest, words: &[String], out: &mut Vec<u8>) {
    let mut wanted_ids: Option<Vec<u64>> = None;
    let mut wanted_kind: Option<String> = None;
    match words.get(2).map(|word| word.to_ascii_lowercase()).as_deref() {
        None => {}
        Some("id") if words.len() > 3 => {
            let ids: Option<Vec<i64>> =
                words[3..].iter().map(|word| parse_integer(word.as_bytes())).collect();
            let Some(ids) = ids else { return encode::error(out, "ERR Invalid client ID") };
            wanted_ids = Some(ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect());
        }
        Some("type") if words.len() == 4 => {
            let kind = words[3].to_ascii_lowercase();
            if !is_kind(&kind) {
                return encode::error(out, unknown_kind(&words[3]));
            }
            wanted_kind = Some(kind);
        }
        Some(_) => return encode::error(out, SYNTAX),
    }
    let rows = gateway.client_rows.list(ROWS_MAX, PATIENCE).await.rows;
    let shown = rows.iter().filter(|row| {
        wanted_ids.as_ref().is_none_or(|ids| ids.contains(&row.id))
            && wanted_kind.as_ref().is_none_or(|kind| kind == kind_of(row))
    });
    text(out, question, &shown.map(line).collect::<String>());
}

fn is_kind(kind: &str) -> bool {
    matches!(kind, "normal" | "pubsub" | "master" | "replica" | "slave")
}

fn unknown_kind(kind: &str) -> String {
    format!("ERR Unknown client type '{kind}'")
}

fn kind_of(row: &ClientRow) -> &'static str {
    if row.flags.contains('P') { "pubsub" } else { "normal" }
}

fn text(out: &mut Vec<u8>, question: &ControlRequest, text: &str) {
    encode::verbatim(out, question.version, "txt", text.as_bytes());
}

/// One line of `CLIENT LIST`, with the fields of Redis 7 that mean something here.
fn line(row: &ClientRow) -> String {
    let name = String::from_utf8_lossy(&row.name);
    let user = String::from_utf8_lossy(&row.user);
    let library_name = String::from_utf8_lossy(&row.library_name);
    let library_version = String::from_utf8_lossy(&row.library_version);
    let command = if row.last_command.is_empty() { "NULL" } else { &row.last_command };
    format!(
        "id={} addr={} laddr={} fd=-1 name={name} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} \
         qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events=r cmd={command} \
         user={user} redir={} resp={} lib-name={library_name} lib-ver={library_version} tot-net-in={} tot-net-out={} \
         tot-cmds={} worker={}\n",
        row.id,
        row.address,
        row.local_address,
        row.age_s,
        row.idle_s,
        row.flags,
        row.database,
        row.subscriptions,
        row.pattern_subscriptions,
        row.shard_subscriptions,
        row.queued_commands,
        row.buffered_in_bytes,
        row.buffered_out_bytes,
        row.buffered_in_bytes + row.buffered_out_bytes,
        row.redirect,
        row.resp,
        row.bytes_in,
        row.bytes_out,
        row.requests,
        row.worker,
    )
}

async fn kill(gateway: &Gateway, question: &ControlRequest, words: &[String], out: &mut Vec<u8>) {
    let old_form = words.len() == 3;
    let filter = match old_form {
        true => Ok(ClientFilter { address: Some(words[2].clone()), ..ClientFilter::default() }),
        false => kill_filter(gateway, &words[2..], question.asker.client_id),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => return encode::error(out, error),
    };
    let killed = kill_all(gateway, &filter).await;
    let told = words[2..].join(" ");
    let entry = AuditEntry::new(&question.asker.author(), "client kill", told);
    gateway.audit.record(entry.from_to("", format!("{killed} clients closed")));
    match (old_form, killed) {
        (true, 0) => encode::error(out, "ERR No such client"),
        (true, _) => encode::simple(out, "OK"),
        (false, _) => encode::integer(out, killed as i64),
    }
}

/// Ends the connection of one client, and notes who had it done and why. Says whether there is such a client.
pub async fn kill_one(gateway: &Gateway, id: u64, by: &Author, reason: String) -> bool {
    let filter = ClientFilter { ids: Some(vec![id]), ..ClientFilter::default() };
    let killed = kill_all(gateway, &filter).await;
    let entry = AuditEntry::new(by, "client kill", format!("ID {id}"));
    gateway.audit.record(entry.from_to("", format!("{killed} clients closed")).because(reason));
    killed > 0
}

async fn kill_all(gateway: &Gateway, filter: &ClientFilter) -> u64 {
    let mut killed = 0;
    for worker in &gateway.workers {
        let (reply, count) = oneshot::channel();
        let message = WorkerMessage::KillClients { filter: filter.clone(), reply };
        if worker.mailbox.send(message).await.is_ok() {
            killed += count.await.unwrap_or(0);
        }
    }
    killed
}

/// If several things are wrong, the error names the first, as Redis does.
fn kill_filter(gateway: &Gateway, words: &[String], own_id: u64) -> Result<ClientFilter, String> {
    let mut filter = ClientFilter { except_id: Some(own_id), ..ClientFilter::default() };
    for pair in words.chunks(2) {
        let Some(value) = pair.get(1).cloned() else { return Err(SYNTAX.to_owned()) };
        let number = || parse_integer(value.as_bytes()).and_then(|number| u64::try_from(number).ok());
        match pair[0].to_ascii_lowercase().as_str() {
            "id" => {
                let id = number().filter(|id| *id > 0).ok_or("ERR client-id should be greater than 0")?;
                filter.ids.get_or_insert_default().push(id);
            }
            "addr" => filter.address = Some(value),
            "laddr" => filter.local_address = Some(value),
            "user" if !is_user(gateway, &value) => return Err(format!("ERR No such user '{value}'")),
            "user" => filter.user = Some(value),
            "type" if !is_kind(&value.to_ascii_lowercase()) => return Err(unknown_kind(&value)),
            "type" => filter.kind = Some(value.to_ascii_lowercase()),
            "maxage" => {
                filter.age_seconds_min = Some(number().ok_or("ERR maxage is not an integer or out of range")?)
            }
            "skipme" => match value.to_ascii_lowercase().as_str() {
                "yes" => filter.except_id = Some(own_id),
                "no" => filter.except_id = None,
                _ => return Err(SYNTAX.to_owned()),
            },
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    Ok(filter)
}

fn is_user(gateway: &Gateway, name: &str) -> bool {
    gateway.users.load().get(name.as_bytes()).is_some()
}

async fn unblock(gateway: &Gateway, words: &[String], out: &mut Vec<u8>) {
    if words.len() > 4 {
        let text = format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try CLIENT HELP.",
            words[1]
        );
        return encode::error(out, text);
    }
    let error = match words.get(3).map(|word| word.to_ascii_lowercase()).as_deref() {
        None | Some("timeout") => false,
        Some("error") => true,
        Some(_) => return encode::error(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = words.get(2).and_then(|word| parse_integer(word.as_bytes())) else {
        return encode::error(out, "ERR value is not an integer or out of range");
    };
    // Nobody has an id below zero.
    let Ok(id) = u64::try_from(id) else { return encode::integer(out, 0) };
    for worker in &gateway.workers {
        let (reply, answer) = oneshot::channel();
        if worker.mailbox.send(WorkerMessage::Unblock { id, error, reply }).await.is_ok()
            && let Ok(Some(reply)) = answer.await
        {
            return out.extend_from_slice(&reply);
        }
    }
    encode::integer(out, 0);
}
