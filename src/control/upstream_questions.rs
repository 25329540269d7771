//! Questions to the servers on behalf of clients' commands: what `INFO` and `CONFIG GET` need to know of the data.
//!
//! ```text
//! client --INFO--> worker --> control: ask --> every master, over a connection of its own, at most PATIENCE
//!                                      \----> or the last answer, when many ask
//! ```
//!
//! While few ask, an answer is at least as new as its command: commands that arrive while a question is under way share the
//! next one. Beyond [`QUESTIONS_PER_SECOND`] an answer that is at most [`REUSED_AGE_MAX`] old is given again, so a storm of `INFO`
//! does not reach Redis. A server that did not answer is not waited for again for a while.
//!
//! Deliberately does not use the workers' connections, where it would wait behind their requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::masters::{Server, masters_of};
use super::topology::KeeperSettings;
use super::upstream_client::{UpstreamClient, UpstreamError};
use crate::shared::gateway::Gateway;

/// How long one server may take, its connection included. `INFO` of a busy server takes a few milliseconds, and a
/// dashboard that asks waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a server that did not answer is passed over.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// Fresh questions: as many at once, and as many in each second. `INFO everything` costs a server about 100 µs, so all of
/// them 5 ms of each second.
const QUESTIONS_PER_SECOND: f64 = 50.0;

/// The age up to which an answer is given again when more is asked.
const REUSED_AGE_MAX: Duration = Duration::from_millis(100);

/// Different questions whose last answers are kept. Beyond it all are forgotten, and asked anew.
const QUESTIONS_KEPT_MAX: usize = 64;

/// Connections to servers at a time, for all questions together. Further ones wait for their turn.
const CONNECTIONS_MAX: usize = 32;

/// Which servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Targets {
    /// Every master.
    AllMasters,
    /// The first master that answers.
    OneMaster,
}

/// The servers' answers.
#[derive(Debug, Default)]
pub struct Answers {
    /// The whole RESP2 reply of each master that answered.
    pub replies: Vec<Bytes>,
    /// Masters that did not answer.
    pub missing: usize,
}

/// What makes two questions equal: the nodes and the arguments.
type Wording = (Targets, Vec<Bytes>);

/// One question, and what was answered last. Who holds the lock asks.
#[derive(Default)]
struct Question {
    last: tokio::sync::Mutex<Option<(Instant, Arc<Answers>)>>,
}

/// Asks. Lives as long as the process, on the control thread.
pub struct UpstreamQuestions {
    gateway: Arc<Gateway>,
    /// Only the control thread takes these locks, and never across an await.
    kept: Mutex<HashMap<Wording, Arc<Question>>>,
    silent: Mutex<HashMap<Server, Instant>>,
    budget: Mutex<Budget>,
    connections: Arc<Semaphore>,
}

impl UpstreamQuestions {
    /// Has asked nothing yet.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            kept: Mutex::default(),
            silent: Mutex::default(),
            budget: Mutex::new(Budget::full(Instant::now())),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }
    }

    /// Asks, or gives the last answer again.
    pub async fn ask(&self, targets: Targets, words: &[&[u8]]) -> Arc<Answers> {
        let wanted_at = Instant::now();
        let question = self.question(targets, words);
        let mut last = question.last.lock().await;
        if let Some((asked_at, answers)) = &*last
            && *asked_at >= wanted_at
        {
            return Arc::clone(answers);
        }
        let within_budget = locked(&self.budget).take(wanted_at);
        if let Some((asked_at, answers)) = &*last
            && !within_budget
            && asked_at.elapsed() <= REUSED_AGE_MAX
        {
            return Arc::clone(answers);
        }
        let asked_at = Instant::now();
        let answers = Arc::new(match targets {
            Targets::AllMasters => self.ask_all(words).await,
            Targets::OneMaster => self.ask_one(words).await,
        });
        *last = Some((asked_at, Arc::clone(&answers)));
        answers
    }

    fn question(&self, targets: Targets, words: &[&[u8]]) -> Arc<Question> {
        let key = (targets, words.iter().map(|word| Bytes::copy_from_slice(word)).collect());
        let mut kept = locked(&self.kept);
        if kept.len() >= QUESTIONS_KEPT_MAX && !kept.contains_key(&key) {
            kept.clear();
        }
        Arc::clone(kept.entry(key).or_default())
    }

    async fn ask_all(&self, words: &[&[u8]]) -> Answers {
        let masters = self.masters(Targets::AllMasters);
        let mut asked = JoinSet::new();
        for (place, address) in masters.iter().enumerate().filter(|(_, address)| !self.is_silent(address)) {
            let reply = self.exchange(address.clone(), words);
            asked.spawn(async move { (place, reply.await) });
        }
        let mut replies = Vec::new();
        while let Some(Ok((place, reply))) = asked.join_next().await {
            self.note(&masters[place], reply.is_some());
            replies.extend(reply.map(|reply| (place, reply)));
        }
        replies.sort_by_key(|(place, _)| *place);
        let missing = masters.len() - replies.len();
        Answers { replies: replies.into_iter().map(|(_, reply)| reply).collect(), missing }
    }

    async fn ask_one(&self, words: &[&[u8]]) -> Answers {
        let masters = self.masters(Targets::OneMaster);
        for address in masters.iter().filter(|address| !self.is_silent(address)) {
            let reply = self.exchange(address.clone(), words).await;
            self.note(address, reply.is_some());
            if let Some(reply) = reply {
                return Answers { replies: vec![reply], missing: 0 };
            }
        }
        Answers { replies: Vec::new(), missing: masters.len() }
    }

    /// One question to one server: `None` when it does not answer in time.
    fn exchange(
        &self,
        server: Server,
        words: &[&[u8]],
    ) -> impl Future<Output = Option<Bytes>> + Send + 'static {
        let settings = KeeperSettings::of_cluster(&self.gateway, server.cluster);
        let address = server.address;
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        let connections = Arc::clone(&self.connections);
        async move {
            let _place = connections.acquire_owned().await.ok()?;
            let exchange = async {
                let mut client =
                    UpstreamClient::connect(&address, &settings.credentials, settings.timeouts).await?;
                let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                client.command_raw(&words).await
            };
            match timeout(PATIENCE, exchange).await.unwrap_or(Err(UpstreamError::ReplyTimeout)) {
                Ok(reply) => Some(reply),
                Err(error) => {
                    tracing::debug!(%address, "a question of a client was not answered: {error}");
                    None
                }
            }
        }
    }

    /// Nodes that their cluster considers failed come last. Where one is enough, it is one of the first cluster.
    fn masters(&self, targets: Targets) -> Vec<Server> {
        let topology = self.gateway.topology.load();
        let maps = match targets {
            Targets::AllMasters => topology.clusters(),
            Targets::OneMaster => std::slice::from_ref(topology.cluster(self.gateway.routes().keyless())),
        };
        let mut masters: Vec<_> = maps.iter().flat_map(|map| masters_of(&topology, map)).collect();
        masters.sort_by_key(|(_, healthy)| !healthy);
        masters.into_iter().map(|(server, _)| server).collect()
    }

    fn is_silent(&self, address: &Server) -> bool {
        locked(&self.silent).get(address).is_some_and(|since| since.elapsed() < PASSED_OVER)
    }

    fn note(&self, address: &Server, answered: bool) {
        let mut silent = locked(&self.silent);
        silent.retain(|_, since| since.elapsed() < PASSED_OVER);
        if !answered {
            silent.insert(address.clone(), Instant::now());
        }
    }
}

/// A panic ends the process, so that nobody sees what it left; until then what is locked is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many fresh questions may be asked now.
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn full(now: Instant) -> Self {
        Self { left: QUESTIONS_PER_SECOND, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * QUESTIONS_PER_SECOND;
        (self.left, self.at) = ((self.left + grown).min(QUESTIONS_PER_SECOND), now);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_asked_and_a_storm_is_not() {
        let start = Instant::now();
        let mut budget = Budget::full(start);
        let mut taken = |after_ms: u64| {
            let now = start + Duration::from_millis(after_ms);
            (0..1000).filter(|_| budget.take(now)).count()
        };
        assert_eq!(taken(0), 50);
        assert_eq!(taken(100), 5);
        assert_eq!(taken(60_000), 50, "what is not used does not pile up");
    }
}
