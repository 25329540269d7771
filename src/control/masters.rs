//! Connections of the control thread to the masters of slots, kept from one question to the next.
//!
//! For what quotas need to be asked now and then. Masters are asked side by side, with all questions for each in pipelines; a
//! connection that failed is dropped. A master that did not answer in time is left alone for a moment, so that it holds up no
//! other for longer than once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::topology::KeeperSettings;
use super::upstream_client::UpstreamClient;
use crate::config::Config;
use crate::resp::{encode, first_error};
use crate::route::ClusterId;
use crate::shared::gateway::Gateway;
use crate::shared::names::Names;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::{Address, ClusterMap, Topology};

/// How long the masters are asked in one round.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long a master that did not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_millis(500);

/// Commands that are sent before their replies are read: their bytes fit into the buffers of the sockets.
const PIPELINE_MAX: usize = 128;

/// A question to the master of a key.
#[derive(Clone, Debug)]
pub struct Question {
    /// The key, by which the master is found.
    pub key: Bytes,
    /// The command.
    pub words: Vec<Bytes>,
}

impl Question {
    /// `GET` of this key.
    pub fn get(key: &Bytes) -> Self {
        Self { key: key.clone(), words: vec![Bytes::from_static(b"GET"), key.clone()] }
    }
}

/// A server that is asked as the settings of its cluster want it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where it listens.
    pub address: Address,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The masters of a cluster, as the topology has them.
pub fn masters_of<'t>(
    topology: &'t Topology,
    cluster: &'t ClusterMap,
) -> impl Iterator<Item = (Server, bool)> + 't {
    let known = cluster.masters.iter().filter_map(|master| topology.node(*master));
    known.map(|node| (Server { cluster: node.cluster, address: node.address.clone() }, node.healthy))
}

/// Questions by who is asked, each with its place among all; one whose answer nobody wants has none.
type Round = HashMap<Server, Vec<(Option<usize>, Question)>>;

/// Where a node wants this once what it was asked (`ASK`). An empty host is that of the node itself.
pub fn asked_at(reply: &[u8], node: &Address) -> Option<Address> {
    let text = std::str::from_utf8(first_error(reply)?).ok()?;
    let target = text.strip_prefix("ASK ")?.split(' ').nth(1)?;
    match target.strip_prefix(':') {
        Some(port) => Some(Address::new(&node.host, port.parse().ok()?)),
        None => target.parse().ok(),
    }
}

/// See the module.
pub struct Masters {
    gateway: Arc<Gateway>,
    connections: HashMap<Server, UpstreamClient>,
    /// Those were made under this configuration, while names had these addresses.
    made_under: (Arc<Config>, Arc<Names>),
    /// Masters that did not answer, and until when they are left alone.
    unheard: HashMap<Server, Instant>,
}

/// What one master said, by the places of the questions, and the connection if it is still good.
type Answers = (Server, Option<UpstreamClient>, Vec<(Option<usize>, Bytes)>);

impl Masters {
    /// No connection yet.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let made_under = (gateway.config.load_full(), gateway.names.load());
        Self { gateway, connections: HashMap::new(), made_under, unheard: HashMap::new() }
    }

    /// The whole reply to each question, an error reply included; `None` where none came in time. Keys that have gone ahead of their
    /// slot are asked for where they are.
    pub async fn ask(&mut self, questions: &[Question]) -> Vec<Option<Bytes>> {
        let mut replies = vec![None; questions.len()];
        self.ask_round(self.by_master(questions), &mut replies).await;
        let gone_ahead = self.by_redirection(questions, &replies);
        if !gone_ahead.is_empty() {
            self.ask_round(gone_ahead, &mut replies).await;
        }
        self.look_at_moves(questions, &replies);
        replies
    }

    /// Asks all servers of a round side by side, but for those that are left alone.
    async fn ask_round(&mut self, round: Round, replies: &mut [Option<Bytes>]) {
        let now = Instant::now();
        self.unheard.retain(|_, until| *until > now);
        let present = (self.gateway.config.load_full(), self.gateway.names.load());
        if !Arc::ptr_eq(&present.0, &self.made_under.0) || !Arc::ptr_eq(&present.1, &self.made_under.1) {
            // Another password, or another server.
            self.connections.clear();
            self.made_under = present;
        }
        let mut asked = JoinSet::new();
        for (server, questions) in round {
            if self.unheard.contains_key(&server) {
                continue;
            }
            let kept = self.connections.remove(&server);
            let settings = KeeperSettings::of_cluster(&self.gateway, server.cluster);
            asked.spawn(ask_master(server, kept, settings, questions, now + PATIENCE));
        }
        while let Some(joined) = asked.join_next().await {
            let Ok((server, connection, answers)) = joined else { continue };
            match connection {
                Some(connection) => drop(self.connections.insert(server, connection)),
                None => drop(self.unheard.insert(server, Instant::now() + LEFT_ALONE)),
            }
            for (place, reply) in answers {
                if let Some(answer) = place.and_then(|place| replies.get_mut(place)) {
                    *answer = Some(reply);
                }
            }
        }
    }

    fn master_of(&self, question: &Question) -> Option<Server> {
        let place = self.gateway.routes().place_of(&question.key);
        Some(Server { cluster: place.cluster, address: self.gateway.master_at(place)? })
    }

    /// The questions for each master.
    fn by_master(&self, questions: &[Question]) -> Round {
        let mut round = Round::new();
        for (place, question) in questions.iter().enumerate() {
            if let Some(server) = self.master_of(question) {
                round.entry(server).or_default().push((Some(place), question.clone()));
            }
        }
        round
    }

    /// The questions that a node redirected once (`ASK`), for each that it named.
    fn by_redirection(&self, questions: &[Question], replies: &[Option<Bytes>]) -> Round {
        let mut round = Round::new();
        for (place, (question, reply)) in questions.iter().zip(replies).enumerate() {
            let Some(reply) = reply else { continue };
            let Some(Server { cluster, address }) = self.master_of(question) else { continue };
            if let Some(target) = asked_at(reply, &address) {
                let of_target = round.entry(Server { cluster, address: target }).or_default();
                let asking =
                    Question { key: question.key.clone(), words: vec![Bytes::from_static(b"ASKING")] };
                of_target.extend([(None, asking), (Some(place), question.clone())]);
            }
        }
        round
    }

    /// A slot has moved, and nobody may have noticed.
    fn look_at_moves(&self, questions: &[Question], replies: &[Option<Bytes>]) {
        let has_moved = |reply: &Bytes| first_error(reply).is_some_and(|text| text.starts_with(b"MOVED "));
        for (question, reply) in questions.iter().zip(replies) {
            if reply.as_ref().is_some_and(has_moved) {
                let cluster = self.gateway.routes().place_of(&question.key).cluster;
                let seen_version = self.gateway.topology.load().cluster(cluster).version;
                return self.gateway.refresh.request(cluster, RefreshReason::Unassigned, seen_version);
            }
        }
    }
}

async fn ask_master(
    server: Server,
    kept: Option<UpstreamClient>,
    settings: KeeperSettings,
    questions: Vec<(Option<usize>, Question)>,
    deadline: Instant,
) -> Answers {
    let mut answers = Vec::with_capacity(questions.len());
    let asked = async {
        let mut client = match kept {
            Some(client) => client,
            None => UpstreamClient::connect(&server.address, &settings.credentials, settings.timeouts)
                .await
                .ok()?,
        };
        for chunk in questions.chunks(PIPELINE_MAX) {
            let (mut request, mut replies) = (BytesMut::new(), Vec::with_capacity(chunk.len()));
            for (_, question) in chunk {
                let words: Vec<&[u8]> = question.words.iter().map(|word| &word[..]).collect();
                encode::command(&mut request, &words);
            }
            let outcome = client.pipeline(&request, chunk.len(), &mut replies).await;
            answers.extend(chunk.iter().map(|(place, _)| *place).zip(replies));
            outcome.ok()?;
        }
        Some(client)
    };
    let connection = timeout_at(deadline, asked).await.ok().flatten();
    (server, connection, answers)
}
