//! The commands `ACL ...`: the users of the gateway as Redis shows and changes its own
//! (<https://redis.io/docs/latest/commands/acl/>), and the log of what was denied.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::users::{note_users, publish, users_of_file};
use crate::access::{DEFAULT_USER, DenialReason, Described, Users, describe, runs_inside};
use crate::command::{Categories, CommandError};
use crate::config::UpstreamIdentity;
use crate::resp::{Request, RespVersion, Span, encode, parse_integer};
use crate::shared::audit::AuditEntry;
use crate::shared::gateway::Gateway;
use crate::shared::keys::KeyNames;
use crate::shared::mailbox::ControlRequest;
use crate::shared::users::Denial;

/// Entries of the log; the oldest gives way. Redis's `acllog-max-len`.
const LOG_ENTRIES_MAX: usize = 128;

/// A denial like the one before it is counted there for as long. Redis's own bound.
const GROUPED_MS: u64 = 60_000;

/// Between two lines of the process's log about failed log-ins: a flood of them is no flood of lines.
const LOGIN_LOG_PERIOD: Duration = Duration::from_secs(1);

/// The most bits of a generated password, as in Redis.
const PASSWORD_BITS_MAX: i64 = 4096;

/// One entry of the log.
struct LogEntry {
    id: u64,
    count: u64,
    created_ms: u64,
    updated_ms: u64,
    denial: Denial,
}

/// What was denied, the latest first. Only the control thread takes this lock, and never across an await.
#[derive(Default)]
struct Log {
    entries: VecDeque<LogEntry>,
    next_id: u64,
}

/// Answers `ACL`. Lives as long as the process, on the control thread.
pub struct AclService {
    gateway: Arc<Gateway>,
    log: Mutex<Log>,
}

/// Takes what workers tell of denials until the process stops.
pub async fn follow_denials(service: Arc<AclService>, mut denials: mpsc::Receiver<Denial>) {
    let (mut said, mut unsaid) = (None::<Instant>, 0u64);
    while let Some(mut denial) = denials.recv().await {
        if denial.reason == DenialReason::Auth {
            if said.is_none_or(|said| said.elapsed() >= LOGIN_LOG_PERIOD) {
                tracing::warn!(
                    user = %String::from_utf8_lossy(&denial.user),
                    client = %denial.client,
                    others = unsaid,
                    "a client gave a wrong password, or a user that does not exist or is off"
                );
                (said, unsaid) = (Some(Instant::now()), 0);
            } else {
                unsaid += 1;
            }
        }
        denial.object = object_shown(&denial, &service.gateway.key_names);
        service.log().add(denial, now_ms());
    }
}

/// What was denied, with keys as they may be shown. Channels of keyspace events end in a key.
fn object_shown(denial: &Denial, names: &KeyNames) -> Vec<u8> {
    let names_key = match denial.reason {
        DenialReason::Key => true,
        DenialReason::Channel => denial.object.starts_with(b"__key"),
        DenialReason::Auth | DenialReason::Command => false,
    };
    match names {
        KeyNames::Hashed(_) if names_key => names.label(&denial.object).into_bytes(),
        _ => denial.object.clone(),
    }
}

impl AclService {
    /// A service with an empty log.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, log: Mutex::default() }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        // A panic while it was held leaves a log that is still a log.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one command.
    pub async fn answer(&self, question: &ControlRequest, out: &mut Vec<u8>) {
        let arguments: Vec<&[u8]> = question.arguments.iter().skip(1).map(|argument| &argument[..]).collect();
        let [word, rest @ ..] = arguments.as_slice() else { return };
        let version = question.version;
        match (word.to_ascii_lowercase().as_slice(), rest) {
            (b"setuser", [name, rules @ ..]) => self.set_user(name, rules, question, out).await,
            (b"deluser", names) => self.delete_users(names, question, out).await,
            (b"getuser", [name]) => self.get_user(name, version, out),
            (b"list", []) => list(out, self.gateway.users.load().iter().map(|user| describe(user))),
            (b"users", []) => list(out, self.gateway.users.load().iter().map(|user| user.name.clone())),
            (b"cat", []) => list(out, Categories::all_names().map(|name| name.as_bytes().to_vec())),
            (b"cat", [category]) => self.category(category, out),
            (b"dryrun", [user, command @ ..]) => self.dry_run(user, command, out),
            (b"genpass", rest) => generate_password(rest.first().copied(), out),
            (b"log", rest) => self.show_log(rest.first().copied(), question, out),
            (b"load", []) => self.load(question, out).await,
            (b"save", []) => self.save(question, out),
            (b"help", []) => list_of_help(out),
            _ => encode::error(out, "ERR syntax error"),
        }
    }

    async fn set_user(&self, name: &[u8], rules: &[&[u8]], question: &ControlRequest, out: &mut Vec<u8>) {
        let table = self.gateway.commands.load();
        let former = self.gateway.users.load();
        match former.with_rules(name, rules, &table) {
            Ok(users) => {
                let changes = users.changes_since(&former);
                publish(&self.gateway, users).await;
                note_users(&self.gateway, &question.asker.author(), "acl setuser", changes);
                encode::simple(out, "OK");
            }
            Err(why) => encode::error(out, format!("ERR {why}")),
        }
    }

    async fn delete_users(&self, names: &[&[u8]], question: &ControlRequest, out: &mut Vec<u8>) {
        if names.contains(&DEFAULT_USER) {
            return encode::error(out, "ERR The 'default' user cannot be removed");
        }
        let former = self.gateway.users.load();
        let (users, gone) = former.without(names);
        let changes = users.changes_since(&former);
        publish(&self.gateway, users).await;
        note_users(&self.gateway, &question.asker.author(), "acl deluser", changes);
        encode::integer(out, gone as i64);
    }

    fn get_user(&self, name: &[u8], version: RespVersion, out: &mut Vec<u8>) {
        let users = self.gateway.users.load();
        let Some(user) = users.get(name) else { return encode::null(out, version) };
        let described = Described::of(user);
        encode::map(out, version, 6);
        encode::bulk(out, b"flags");
        encode::set(out, version, described.flags.len());
        described.flags.iter().for_each(|flag| encode::bulk(out, flag.as_bytes()));
        encode::bulk(out, b"passwords");
        list(out, described.passwords.iter().map(|hash| hash.clone().into_bytes()));
        let parts = |out: &mut Vec<u8>, [commands, keys, channels]: &[Vec<u8>; 3]| {
            for (name, text) in [("commands", commands), ("keys", keys), ("channels", channels)] {
                encode::bulk(out, name.as_bytes());
                encode::bulk(out, text);
            }
        };
        let Some((root, selectors)) = described.selectors.split_first() else { return };
        parts(out, root);
        encode::bulk(out, b"selectors");
        encode::array(out, selectors.len());
        for selector in selectors {
            encode::map(out, version, 3);
            parts(out, selector);
        }
    }

    fn category(&self, name: &[u8], out: &mut Vec<u8>) {
        let Some(category) = Categories::by_name(name) else {
            let shown = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
            return encode::error(out, format!("ERR Unknown category '{shown}'"));
        };
        let table = self.gateway.commands.load();
        let members =
            table.iter().filter(|(_, command)| command.categories.contains(category) && !command.absent);
        let names: Vec<Vec<u8>> = members.map(|(_, command)| command.name.as_bytes().to_vec()).collect();
        list(out, names.into_iter());
    }

    fn dry_run(&self, name: &[u8], command: &[&[u8]], out: &mut Vec<u8>) {
        let users = self.gateway.users.load();
        let Some(user) = users.get(name) else {
            return encode::error(out, format!("ERR User '{}' not found", String::from_utf8_lossy(name)));
        };
        let table = self.gateway.commands.load();
        let (bytes, spans) = as_request(command);
        let request = Request::new(&bytes, &spans);
        let id = match table.resolve(&request) {
            Ok(id) => id,
            Err(error @ CommandError::Arity { .. }) => return encode::error(out, error.message(&request)),
            Err(_) => {
                let shown = String::from_utf8_lossy(request.name()).into_owned();
                return encode::error(out, format!("ERR Command '{shown}' not found"));
            }
        };
        let command = table.get(id);
        // Whoever logs in by a password runs these as itself.
        let is_itself = self.gateway.config.load().auth.upstream_identity == UpstreamIdentity::Same;
        let verdict = match user.check(id, command, &request) {
            Err(_) if is_itself && runs_inside(command) => user.check_as_itself(id, command, &request),
            verdict => verdict,
        };
        match verdict {
            Ok(()) => encode::simple(out, "OK"),
            Err(denied) => {
                let object = request.arg(denied.argument()).unwrap_or_default();
                encode::bulk(out, &denied.explain(user, command, object));
            }
        }
    }

    fn show_log(&self, argument: Option<&[u8]>, question: &ControlRequest, out: &mut Vec<u8>) {
        let count = match argument {
            None => 10,
            Some(word) if word.eq_ignore_ascii_case(b"reset") => {
                let denials = std::mem::take(&mut self.log().entries).len();
                let entry = AuditEntry::new(&question.asker.author(), "acl log reset", "");
                self.gateway.audit.record(entry.from_to(format!("{denials} entries"), ""));
                return encode::simple(out, "OK");
            }
            Some(number) => match parse_integer(number) {
                Some(count) => usize::try_from(count).unwrap_or(0),
                None => return encode::error(out, "ERR value is not an integer or out of range"),
            },
        };
        let (log, now_ms) = (self.log(), now_ms());
        encode::array(out, count.min(log.entries.len()));
        log.entries.iter().take(count).for_each(|entry| entry.show(now_ms, question.version, out));
    }

    fn acl_file(&self, out: &mut Vec<u8>) -> Option<PathBuf> {
        let file = self.gateway.config.load().auth.acl_file.clone();
        if file.is_none() {
            let text = "ERR hotgate: auth.acl_file names no file of rules; users come from [[auth.user]] of the configuration, \
                        and ACL SETUSER changes them until the next restart";
            encode::error(out, text);
        }
        file
    }

    async fn load(&self, question: &ControlRequest, out: &mut Vec<u8>) {
        let Some(file) = self.acl_file(out) else { return };
        let table = self.gateway.commands.load_full();
        match users_of_file(&file, &table) {
            Ok(users) => {
                let former = self.gateway.users.load();
                let [before, after] = [&former, &users].map(names_of);
                let changes = users.changes_since(&former);
                publish(&self.gateway, users).await;
                let by = question.asker.author();
                let entry = AuditEntry::new(&by, "acl load", file.display().to_string());
                self.gateway.audit.record(entry.from_to(before, after));
                note_users(&self.gateway, &by, "acl load", changes);
                encode::simple(out, "OK");
            }
            Err(errors) => encode::error(out, format!("ERR {}", errors.join(" "))),
        }
    }

    /// Writes another file and puts it in the place of the old one, so that no half of one is ever read.
    fn save(&self, question: &ControlRequest, out: &mut Vec<u8>) {
        let Some(file) = self.acl_file(out) else { return };
        let text = self.gateway.users.load().to_file();
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let written = tempfile::NamedTempFile::new_in(directory.unwrap_or(std::path::Path::new(".")))
            .and_then(|new| {
                std::fs::write(new.path(), &text)?;
                new.as_file().sync_all()?;
                new.persist(&file).map_err(|error| error.error)
            });
        match written {
            Ok(_) => {
                let file = file.display().to_string();
                self.gateway.audit.record(AuditEntry::new(&question.asker.author(), "acl save", file));
                encode::simple(out, "OK");
            }
            Err(error) => {
                tracing::error!(file = %file.display(), "the users can't be saved: {error}");
                encode::error(out, format!("ERR hotgate: {} can't be written: {error}", file.display()));
            }
        }
    }
}

impl Log {
    /// Adds a denial, to the entry of one like it that is young.
    fn add(&mut self, denial: Denial, now_ms: u64) {
        let is_like = |known: &LogEntry| {
            let known_denial = &known.denial;
            now_ms.saturating_sub(known.updated_ms) <= GROUPED_MS
                && (known_denial.reason, known_denial.context) == (denial.reason, denial.context)
                && (&known_denial.object, &known_denial.user) == (&denial.object, &denial.user)
        };
        if let Some(place) = self.entries.iter().position(is_like)
            && let Some(mut entry) = self.entries.remove(place)
        {
            entry.count += 1;
            entry.updated_ms = now_ms;
            entry.denial.client = denial.client;
            self.entries.push_front(entry);
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(LogEntry { id, count: 1, created_ms: now_ms, updated_ms: now_ms, denial });
        self.entries.truncate(LOG_ENTRIES_MAX);
    }
}

impl LogEntry {
    fn show(&self, now_ms: u64, version: RespVersion, out: &mut Vec<u8>) {
        let age_s = now_ms.saturating_sub(self.created_ms) as f64 / 1000.0;
        encode::map(out, version, 10);
        let text = |out: &mut Vec<u8>, name: &str, value: &[u8]| {
            encode::bulk(out, name.as_bytes());
            encode::bulk(out, value);
        };
        let number = |out: &mut Vec<u8>, name: &str, value: u64| {
            encode::bulk(out, name.as_bytes());
            encode::integer(out, value as i64);
        };
        number(out, "count", self.count);
        text(out, "reason", self.denial.reason.word().as_bytes());
        text(out, "context", self.denial.context.as_bytes());
        text(out, "object", &self.denial.object);
        text(out, "username", &self.denial.user);
        encode::bulk(out, b"age-seconds");
        encode::double(out, version, age_s);
        text(out, "client-info", self.denial.client.as_bytes());
        number(out, "entry-id", self.id);
        number(out, "timestamp-created", self.created_ms);
        number(out, "timestamp-last-updated", self.updated_ms);
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn text_of(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The names of users, for a change of all of them.
fn names_of(users: &Users) -> String {
    let names: Vec<String> = users.iter().map(|user| text_of(&user.name)).collect();
    format!("users {}", names.join(", "))
}

fn list(out: &mut Vec<u8>, texts: impl Iterator<Item = Vec<u8>>) {
    let texts: Vec<Vec<u8>> = texts.collect();
    encode::array(out, texts.len());
    texts.iter().for_each(|text| encode::bulk(out, text));
}

fn generate_password(argument: Option<&[u8]>, out: &mut Vec<u8>) {
    let bits = match argument.map(parse_integer) {
        None => 256,
        Some(Some(bits)) => bits,
        Some(None) => return encode::error(out, "ERR value is not an integer or out of range"),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        let text = format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        );
        return encode::error(out, text);
    }
    let letters = (0..(bits + 3) / 4).map(|_| char::from_digit(rand::random_range(0..16), 16).unwrap_or('0'));
    encode::bulk(out, letters.collect::<String>().as_bytes());
}

/// The bytes of a request with these arguments, and where each lies.
fn as_request(arguments: &[&[u8]]) -> (Vec<u8>, Vec<Span>) {
    let mut spans = Vec::with_capacity(arguments.len());
    let mut start = 0;
    for argument in arguments {
        spans.push(Span { start: start as u32, len: argument.len() as u32 });
        start += argument.len();
    }
    (arguments.concat(), spans)
}

/// What `ACL HELP` says, after its first line.
const HELP: [&str; 22] = [
    "CAT [<category>]",
    "    List all commands of <category>, or all categories.",
    "DELUSER <username> [<username> ...]",
    "    Remove users, and disconnect who is logged in as one of them.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Say whether the user may send the command, without sending it.",
    "GETUSER <username>",
    "    Show what the user may do.",
    "GENPASS [<bits>]",
    "    Make a password of 256 bits, or of as many as are given.",
    "LIST",
    "    Show all users as rules.",
    "LOAD | SAVE",
    "    Read the users from auth.acl_file, or write them there.",
    "LOG [<count> | RESET]",
    "    Show what was denied lately, or forget it.",
    "SETUSER <username> <rule> [<rule> ...]",
    "    Make or change a user.",
    "USERS",
    "    List the names of the users.",
    "WHOAMI",
    "    Return the user of this connection.",
];

fn list_of_help(out: &mut Vec<u8>) {
    let first = "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    let lines = std::iter::once(first).chain(HELP).chain(["HELP", "    Print this help."]);
    let lines: Vec<&str> = lines.collect();
    encode::array(out, lines.len());
    lines.iter().for_each(|line| encode::simple(out, line));
}
