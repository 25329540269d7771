//! Connections of the control thread to the masters of slots, kept from one question to the next.
//!
//! For what quotas need to be asked now and then. Masters are asked side by side, with all questions for each in pipelines; a
//! connection that failed is dropped. A master that did not answer in time is left alone for a moment, so that it holds up no
//! other for longer than once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::topology::KeeperSettings;
use super::upstream_client::UpstreamClient;
use crate::config::Config;
use crate::resp::{encode, first_error};
use crate::shared::gateway::Gateway;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::Address;

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

/// See the module.
pub struct Masters {
    gateway: Arc<Gateway>,
    connections: HashMap<Address, UpstreamClient>,
    /// Masters that did not answer, and until when they are left alone.
    unheard: HashMap<Address, Instant>,
}

/// What one master said, by the places of the questions, and the connection if it is still good.
type Answers = (Address, Option<UpstreamClient>, Vec<(usize, Bytes)>);

impl Masters {
    /// No connection yet.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, connections: HashMap::new(), unheard: HashMap::new() }
    }

    /// The whole reply to each question, an error reply included; `None` where none came in time.
    pub async fn ask(&mut self, questions: &[Question]) -> Vec<Option<Bytes>> {
        let replies = self.ask_at(questions, self.by_master(questions)).await;
        self.look_at_moves(questions, &replies);
        replies
    }

    /// The whole reply of each of these servers to this command of one word.
    pub async fn ask_each(
        &mut self,
        servers: impl Iterator<Item = &Address>,
        word: &'static [u8],
    ) -> Vec<Option<Bytes>> {
        let mut places: HashMap<Address, Vec<usize>> = HashMap::new();
        servers.enumerate().for_each(|(place, server)| {
            places.entry(server.clone()).or_default().push(place);
        });
        let count = places.values().map(Vec::len).sum();
        let question = Question { key: Bytes::new(), words: vec![Bytes::from_static(word)] };
        self.ask_at(&vec![question; count], places).await
    }

    /// The reply to each question at the servers that have their places.
    async fn ask_at(
        &mut self,
        questions: &[Question],
        places: HashMap<Address, Vec<usize>>,
    ) -> Vec<Option<Bytes>> {
        let now = Instant::now();
        self.unheard.retain(|_, until| *until > now);
        let mut replies = vec![None; questions.len()];
        let mut asked = JoinSet::new();
        for (address, places) in places {
            if self.unheard.contains_key(&address) {
                continue;
            }
            let questions: Vec<(usize, Question)> =
                places.into_iter().map(|place| (place, questions[place].clone())).collect();
            let kept = self.connections.remove(&address);
            let config = self.gateway.config.load_full();
            asked.spawn(ask_master(address, kept, config, questions, now + PATIENCE));
        }
        while let Some(joined) = asked.join_next().await {
            let Ok((address, connection, answers)) = joined else { continue };
            match connection {
                Some(connection) => drop(self.connections.insert(address, connection)),
                None => drop(self.unheard.insert(address, Instant::now() + LEFT_ALONE)),
            }
            answers.into_iter().for_each(|(place, reply)| replies[place] = Some(reply));
        }
        replies
    }

    /// The places of the questions for each master.
    fn by_master(&self, questions: &[Question]) -> HashMap<Address, Vec<usize>> {
        let mut places: HashMap<Address, Vec<usize>> = HashMap::new();
        for (place, question) in questions.iter().enumerate() {
            let master = self.gateway.master_at(self.gateway.routes.place_of(&question.key));
            if let Some(address) = master {
                places.entry(address).or_default().push(place);
            }
        }
        places
    }

    /// A slot has moved, and nobody may have noticed.
    fn look_at_moves(&self, questions: &[Question], replies: &[Option<Bytes>]) {
        let has_moved = |reply: &Bytes| first_error(reply).is_some_and(|text| text.starts_with(b"MOVED "));
        for (question, reply) in questions.iter().zip(replies) {
            if reply.as_ref().is_some_and(has_moved) {
                let cluster = self.gateway.routes.place_of(&question.key).cluster;
                let seen_version = self.gateway.topology.load().cluster(cluster).version;
                return self.gateway.refresh.request(cluster, RefreshReason::Unassigned, seen_version);
            }
        }
    }
}

async fn ask_master(
    address: Address,
    kept: Option<UpstreamClient>,
    config: Arc<Config>,
    questions: Vec<(usize, Question)>,
    deadline: Instant,
) -> Answers {
    let mut answers = Vec::with_capacity(questions.len());
    let asked = async {
        let mut client = match kept {
            Some(client) => client,
            None => {
                let KeeperSettings { credentials, timeouts, .. } = KeeperSettings::from(&config.upstream);
                UpstreamClient::connect(&address, &credentials, timeouts).await.ok()?
            }
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
    (address, connection, answers)
}
