//! Answers commands of clients that need the figures of all workers or the word of the servers: `INFO`, `CONFIG GET`,
//! `COMMAND DOCS`, `CLIENT LIST|KILL|UNBLOCK`, `HOTKEYS`, `HOTGATE`, and what `RESERVE` commands change of whole sales.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::acl::AclService;
use super::admin::{Monitoring, unix_ms};
use super::administer::Administration;
use super::command_figures::CommandFigures;
use super::masters::Masters;
use super::quota_list::QuotaList;
use super::routes::{place_of, routes_of};
use super::upstream_questions::{Targets, UpstreamQuestions};
use super::{client_command, command_docs, command_log, config_get, quota_reader, sales};
use crate::admission::{KeyQuota, QuotaRules, Verb};
use crate::command::Local;
use crate::detect::TopKey;
use crate::monitor::admin::{self, AdminCommand};
use crate::monitor::board::Frame;
use crate::monitor::hotkeys::{Hotkeys, HotkeysContext, Usage};
use crate::monitor::info::{self, InfoFacts};
use crate::monitor::logged_requests::shown;
use crate::monitor::quota_page::{QuotaQuery, QuotaRow, QuotaSort, view_of};
use crate::monitor::server_info::ServerInfo;
use crate::resp::{self, encode};
use crate::shared::audit::AuditEntry;
use crate::shared::gateway::Gateway;
use crate::shared::keys::{self, KeyNames};
use crate::shared::mailbox::ControlRequest;
use crate::shared::topology::UpstreamKind;

/// Answers the commands that need the control thread. Lives as long as the process, on the control thread.
pub struct AdminService {
    gateway: Arc<Gateway>,
    monitoring: Arc<Monitoring>,
    servers: UpstreamQuestions,
    /// The session of `HOTKEYS START`. Only the control thread takes this lock, and never across an await.
    hotkeys: Mutex<Hotkeys>,
    /// The keys with the most accesses and with the most bytes, as of the last second.
    top: ArcSwap<Vec<TopKey>>,
    quotas: QuotaList,
    acl: Arc<AclService>,
    administration: Administration,
    commands: CommandFigures,
}

impl AdminService {
    /// A service without a session.
    pub fn new(
        gateway: Arc<Gateway>,
        monitoring: Arc<Monitoring>,
        quotas: QuotaList,
        acl: Arc<AclService>,
    ) -> Self {
        let servers = UpstreamQuestions::new(Arc::clone(&gateway));
        let administration = Administration::new(Arc::clone(&gateway));
        Self {
            administration,
            commands: CommandFigures::new(Arc::clone(&gateway)),
            gateway,
            monitoring,
            servers,
            hotkeys: Mutex::default(),
            top: ArcSwap::default(),
            quotas,
            acl,
        }
    }

    /// Takes a new ranking of keys, once a second, for the session and for later answers.
    pub fn observe(&self, top: Vec<TopKey>) {
        let usage = usage(&self.monitoring.board.latest());
        self.session().observe(unix_ms(), &top, usage);
        self.top.store(Arc::new(top));
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Hotkeys> {
        // A panic while it was held leaves a session that is still a session.
        self.hotkeys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers questions until the process stops. Each is answered in a task of its own, so that a slow one delays no other.
pub async fn answer_questions(service: Arc<AdminService>, mut questions: mpsc::Receiver<ControlRequest>) {
    while let Some(question) = questions.recv().await {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let answer = service.answer(&question).await;
            // The client may have gone.
            let _ = question.reply.send(answer);
        });
    }
}

impl AdminService {
    async fn answer(&self, question: &ControlRequest) -> Bytes {
        let arguments: Vec<&[u8]> = question.arguments.iter().skip(1).map(|argument| &argument[..]).collect();
        match question.command {
            Local::Client => {
                let mut out = Vec::new();
                client_command::answer(&self.gateway, question, &mut out).await;
                out.into()
            }
            // Only its documentation is asked for here.
            Local::Command => {
                let mut out = Vec::new();
                let (table, names) = (self.gateway.commands.load(), arguments.get(1..).unwrap_or_default());
                command_docs::answer(&table, &self.servers, names, question.version, &mut out).await;
                out.into()
            }
            Local::Acl => {
                let mut out = Vec::new();
                self.acl.answer(question, &mut out).await;
                out.into()
            }
            Local::Info => self.info(&arguments, question).await,
            Local::Config => {
                let mut out = Vec::new();
                let patterns = arguments.get(1..).unwrap_or_default();
                config_get::answer(&self.gateway, &self.servers, patterns, question.version, &mut out).await;
                out.into()
            }
            Local::Administer => {
                if is_resetstat(&question.arguments) {
                    self.commands.reset().await;
                }
                self.administration.at_all(question).await
            }
            Local::ResetLog => self.administration.at_all(question).await,
            Local::Latency => {
                let names = arguments.get(1..).unwrap_or_default();
                self.commands.latency_histogram(names, question.version).await.into()
            }
            Local::Hotkeys => self.hotkeys(&arguments, question),
            Local::CommandLog => command_log::answer(&self.gateway, question).into(),
            Local::Reserve => {
                sales::answer(&self.gateway, &question.arguments, &question.asker.author()).await
            }
            _ => self.hotgate(&arguments, question).await,
        }
    }

    async fn info(&self, sections: &[&[u8]], question: &ControlRequest) -> Bytes {
        let servers = match info::needs_servers(sections) {
            true => self.server_info().await,
            false => ServerInfo::default(),
        };
        if info::names_sales(sections) {
            self.gateway.sales_looked_at.notify_one();
        }
        let config = self.gateway.config.load();
        let topology = self.gateway.topology.load();
        let map = topology.cluster(self.gateway.routes().keyless());
        let facts = InfoFacts {
            tcp_port: self.gateway.listen.first().map_or(0, std::net::SocketAddr::port),
            cluster: map.is_shown_as_cluster(&config),
            several_masters: map.kind == UpstreamKind::Cluster,
            connected: self.gateway.connections.open(),
            clients_max: config.gateway.clients_max,
            window_ms: config.detect.window.as_millis() as u64,
            commands: self.commands.info().await,
            servers,
        };
        let mut text = info::render(sections, &self.monitoring.board.latest().view, &facts);
        let users = self.gateway.users.load();
        if !users.get(question.asker.user.as_bytes()).is_some_and(|user| user.reads_all_keys()) {
            text = info::without_keys(&text);
        }
        let mut out = Vec::new();
        encode::verbatim(&mut out, question.version, "txt", text.as_bytes());
        out.into()
    }

    /// `INFO` of every master. One that refuses to say, as where the gateway's user may not ask, counts as missing.
    async fn server_info(&self) -> ServerInfo {
        let answers = self.servers.ask(Targets::AllMasters, &[b"INFO", b"everything"]).await;
        let texts: Vec<String> = answers
            .replies
            .iter()
            .filter(|reply| reply.first() == Some(&b'$'))
            .filter_map(|reply| Some(String::from_utf8_lossy(resp::bulk_payload(reply)?).into_owned()))
            .collect();
        let missing = answers.missing + answers.replies.len() - texts.len();
        ServerInfo::of(&texts, missing)
    }

    fn hotkeys(&self, arguments: &[&[u8]], question: &ControlRequest) -> Bytes {
        let hot_set = Arc::clone(&self.gateway.hot_set.borrow());
        let (topology, top) = (self.gateway.topology.load(), self.top.load_full());
        let context = HotkeysContext {
            now_ms: unix_ms(),
            version: question.version,
            hot_set: &hot_set,
            top: &top,
            map: topology.cluster(self.gateway.routes().keyless()),
            usage: usage(&self.monitoring.board.latest()),
        };
        let answer = self.session().answer(arguments, &context).freeze();
        let word = arguments.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
        let changes = matches!(word.as_slice(), b"start" | b"stop" | b"reset");
        if changes && resp::first_error(&answer).is_none() {
            let change = format!("hotkeys {}", String::from_utf8_lossy(&word));
            let told: Vec<String> = arguments.iter().skip(1).map(|word| keys::text(word)).collect();
            let entry = AuditEntry::new(&question.asker.author(), change, "");
            self.gateway.audit.record(entry.from_to("", told.join(" ")));
        }
        answer
    }

    async fn hotgate(&self, arguments: &[&[u8]], question: &ControlRequest) -> Bytes {
        let mut out = Vec::new();
        match admin::parse(arguments) {
            Err(error) => encode::error(&mut out, error),
            Ok(AdminCommand::Node) => return self.administration.at_node(question).await,
            Ok(AdminCommand::Audit(count)) => {
                return admin::listed(&self.gateway.audit.latest(count), question.version).freeze();
            }
            Ok(AdminCommand::Events(count)) => {
                return admin::listed(&self.gateway.events.latest(count), question.version).freeze();
            }
            Ok(AdminCommand::SlowLog(kind, count)) => {
                let latest = self.gateway.command_log.latest(kind, count);
                let rows: Vec<_> = latest.iter().map(shown).collect();
                return admin::listed(&rows, question.version).freeze();
            }
            Ok(AdminCommand::Routes) => {
                return admin::listed(&routes_of(&self.gateway).routes, question.version).freeze();
            }
            Ok(AdminCommand::Place { key, user }) => {
                let user = user.as_deref().unwrap_or(question.asker.user.as_bytes());
                let place = place_of(&self.gateway, user, &key);
                return admin::described(&place, question.version).freeze();
            }
            Ok(AdminCommand::Quota(Verb::Change(key, action, reason))) => {
                let (by, reason) = (question.asker.author(), keys::text(&reason));
                match self.monitoring.sources.quota_changes.change(key.to_vec(), action, by, reason).await {
                    Ok(text) => encode::simple(&mut out, text),
                    Err(error) => encode::error(&mut out, format!("ERR hotgate: {error}")),
                }
            }
            Ok(AdminCommand::Quota(Verb::Get(key))) => return self.quota(&key, question).await,
            Ok(AdminCommand::Quota(Verb::List { search, sort, offset, count })) => {
                let word: &[u8] = if sort.is_empty() { b"used" } else { &sort };
                let Some(sort) = QuotaSort::parse(word) else {
                    encode::error(&mut out, "ERR SORT is one of USED, REFUSED, GRANTED, KEY, FOREMOST");
                    return out.into();
                };
                let query = QuotaQuery { search: search.to_vec(), sort, offset, count };
                return self.quotas(&query, question).await;
            }
            Ok(AdminCommand::Quota(Verb::Count)) => {
                let query = QuotaQuery { count: 0, ..QuotaQuery::default() };
                encode::integer(&mut out, self.quotas.page(&query, Instant::now()).total as i64);
            }
            Ok(command) => {
                let frame = self.monitoring.board.latest();
                return admin::answer(&command, &frame, question.version).unwrap_or_default().freeze();
            }
        }
        out.into()
    }
}

impl AdminService {
    /// One counter, as Redis has it; while that can't be asked, as it was last seen.
    async fn quota(&self, key: &Bytes, question: &ControlRequest) -> Bytes {
        let rules = QuotaRules::compile(&self.gateway.config.load().quotas);
        if let Some(quota) = rules.of(key) {
            let mut masters = Masters::new(Arc::clone(&self.gateway));
            if let Some(Some(rows)) = quota_reader::levels(&mut masters, &rules, &[quota]).await.pop() {
                self.quotas.looked_up(key, rows, Instant::now());
            }
        }
        self.shown(&self.quotas.of_key(key), question)
    }

    /// A page of the list, with its levels as Redis has them.
    async fn quotas(&self, query: &QuotaQuery, question: &ControlRequest) -> Bytes {
        let rules = QuotaRules::compile(&self.gateway.config.load().quotas);
        let mut masters = Masters::new(Arc::clone(&self.gateway));
        let rows = self.quotas.page(query, Instant::now()).rows;
        let mut keys: Vec<Bytes> = rows.into_iter().map(|row| row.facts.key.into()).collect();
        keys.dedup();
        let quotas: Vec<KeyQuota> = keys.iter().filter_map(|key| rules.of(key)).collect();
        let levels = quota_reader::levels(&mut masters, &rules, &quotas).await;
        for (quota, rows) in quotas.iter().zip(levels) {
            // One that can't be asked about is shown as it was last seen.
            if let Some(rows) = rows {
                self.quotas.looked_up(quota.key(), rows, Instant::now());
            }
        }
        self.shown(&self.quotas.page(query, Instant::now()).rows, question)
    }

    fn shown(&self, rows: &[QuotaRow], question: &ControlRequest) -> Bytes {
        let names = KeyNames::Plain;
        let rows: Vec<_> = rows.iter().map(|row| view_of(names.label(&row.facts.key), row)).collect();
        admin::listed(&rows, question.version).freeze()
    }
}

/// `CONFIG RESETSTAT`, which empties what the gateway shows as well as what the servers do.
fn is_resetstat(arguments: &[Bytes]) -> bool {
    matches!(arguments, [config, resetstat] if config.eq_ignore_ascii_case(b"config") && resetstat.eq_ignore_ascii_case(b"resetstat"))
}

/// Processor time and bytes of the gateway since its start, as of the latest view.
fn usage(frame: &Frame) -> Usage {
    let (process, clients) = (&frame.view.process, &frame.view.merged.all.clients);
    Usage {
        cpu_user_us: (process.cpu_user_s * 1e6) as u64,
        cpu_system_us: (process.cpu_system_s * 1e6) as u64,
        net_bytes: clients.bytes_in + clients.bytes_out,
    }
}
