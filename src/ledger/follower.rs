//! The loop: which sales are looked at next, and what is made of it.
//!
//! A round takes sales off the queue, asks their masters, writes what they say in one transaction, and tells the sales how
//! far the database is. It owns the sales, the connections and the database. Its bounds: sales and entries of a round; the queue has each
//! sale at most once.
//!
//! Whatever fails, the round's sales are queued again. If the database fails, it is opened again and the positions are read anew, because nobody
//! knows what became of the transaction.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Ended;
use super::counts::{Cause, Counts};
use super::node::{News, Node, Questions};
use super::registry::{self, RegistryPart};
use super::sale::{ENTRIES_PER_ROUND, Sale};
use super::store::{Database, Position, Store, StoreError};
use super::upstream::{Server, Upstream};

/// Messages of Redis that wait. Beyond it the servers wait, in the buffers of the sockets.
const NEWS_MAX: usize = 4096;

/// Between attempts to reach a database or a server, doubled up to the second.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A server that does not answer is left alone for so long at the most.
const AWAY_MAX: Duration = Duration::from_secs(5);

/// With `--once`, a database that fails so often in a row is given up: by then it was tried for some ten seconds, if it answers at once.
pub(super) const FAILURES_MAX: u32 = 10;

/// How long the start waits for a first server.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// In this time each sale is looked at, whatever Redis said.
const INSURANCE: Duration = Duration::from_secs(60);

/// How often something is due that nobody says: a part of the insurance, servers that were away.
const TICK: Duration = Duration::from_secs(1);

/// Between rounds that write little: entries that come meanwhile share a transaction.
const GATHER: Duration = Duration::from_millis(10);

/// See the module.
pub struct Follower {
    pub(super) servers: Upstream,
    pub(super) database: Database,
    pub(super) store: Option<Store>,
    /// When it was last heard of.
    pub(super) looked: Instant,
    /// It was open once.
    pub(super) was_open: bool,
    /// How often it could not be opened, or failed, since it took rows.
    pub(super) failures: u32,
    /// Another process was found at work when it was opened last.
    pub(super) is_waiting: bool,
    pub(super) positions: HashMap<String, Position>,
    /// Sales that nobody closed, by the database: Redis must have them.
    pub(super) open_sales: HashSet<String>,
    /// By their streams.
    pub(super) sales: HashMap<Bytes, Sale>,
    /// Their streams, in the order in which the insurance takes them.
    pub(super) order: Vec<Bytes>,
    pub(super) insured: usize,
    pub(super) queue: VecDeque<Bytes>,
    /// How many entries the next round takes.
    pub(super) entries_per_round: i64,
    pub(super) registry: Vec<RegistryPart>,
    pub(super) nodes: HashMap<Server, Node>,
    /// Servers that were away, until when they are left alone.
    pub(super) away: HashMap<Server, Instant>,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) tell_news: mpsc::Sender<News>,
    /// What was last logged of each cause, so that it is logged once.
    pub(super) complaints: HashSet<String>,
    pub(super) counts: Counts,
}

impl Follower {
    /// Knows nothing yet; goes on counting.
    pub fn new(servers: Upstream, database: Database, counts: Counts) -> Self {
        let (tell_news, news) = mpsc::channel(NEWS_MAX);
        Self {
            servers,
            database,
            store: None,
            looked: Instant::now(),
            was_open: false,
            failures: 0,
            is_waiting: false,
            positions: HashMap::new(),
            open_sales: HashSet::new(),
            sales: HashMap::new(),
            order: Vec::new(),
            insured: 0,
            queue: VecDeque::new(),
            entries_per_round: ENTRIES_PER_ROUND,
            registry: registry::parts(),
            nodes: HashMap::new(),
            away: HashMap::new(),
            news,
            tell_news,
            complaints: HashSet::new(),
            counts,
        }
    }

    /// Follows for ever; with `once` until the database has what there is, or has failed [`FAILURES_MAX`] times in a row.
    ///
    /// # Errors
    /// The tables are of a later version. Everything else is tried again.
    pub async fn run(&mut self, once: bool) -> Result<Ended, StoreError> {
        self.servers.wait_until_known(FIRST_LOOK).await;
        let mut changes = self.servers.changes();
        let mut next_tick = Instant::now() + TICK;
        loop {
            if let Some(why) = self.open_store(once).await? {
                return Ok(Ended::GaveUp(why));
            }
            if !self.look_at_database().await {
                continue;
            }
            self.drain_news();
            if changes.has_changed().unwrap_or(false) {
                changes.borrow_and_update();
                self.look_where_moved();
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.insure();
            }
            self.read_registry().await;
            let written = self.round().await?;
            self.report().await;
            if once && self.is_done() {
                return Ok(self.ended());
            }
            if self.queue.is_empty() && !self.registry.iter().any(|part| part.is_due) {
                tokio::select! {
                    Some(news) = self.news.recv() => self.on_news(news),
                    _ = changes.changed() => self.look_where_moved(),
                    () = tokio::time::sleep_until(next_tick) => {}
                }
            }
            if written < 1000 && !once {
                sleep(GATHER).await;
            }
        }
    }

    /// Everything was read and the database has it, nobody is away, and nothing waits.
    fn is_done(&self) -> bool {
        let takes_all = self.store.is_some() && !self.counts.is_untaken;
        let all_read = !self.registry.iter().any(|part| part.is_due);
        takes_all && all_read && self.queue.is_empty() && self.news.is_empty()
    }

    /// What it has counted.
    pub fn into_counts(self) -> Counts {
        self.counts
    }

    fn ended(&self) -> Ended {
        match self.sales.values().filter(|sale| sale.fault().is_some()).count() {
            0 => Ended::Well,
            halted => Ended::Halted(halted),
        }
    }

    /// Counts what went wrong, and says it once, until it is over.
    pub(super) fn complain(&mut self, about: &str, cause: Cause, what: &str) {
        self.counts.error(cause);
        self.say_once(about, what);
    }

    pub(super) fn say_once(&mut self, about: &str, what: &str) {
        if self.complaints.insert(about.to_owned()) {
            tracing::warn!("{what}");
        }
    }

    pub(super) fn queue_all(&mut self, wanted: impl Fn(&Sale) -> bool) {
        for (stream, sale) in &mut self.sales {
            if !sale.is_queued && wanted(sale) {
                sale.is_queued = true;
                self.queue.push_back(stream.clone());
            }
        }
    }

    pub(super) fn queue_one(&mut self, stream: &Bytes) {
        if let Some(sale) = self.sales.get_mut(stream)
            && !sale.is_queued
        {
            sale.is_queued = true;
            self.queue.push_back(stream.clone());
        }
    }

    pub(super) fn drain_news(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.on_news(news);
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Changed(key) => match self.registry.iter_mut().find(|part| part.key == key) {
                Some(part) => part.is_due = true,
                None => self.queue_one(&key),
            },
            News::AllChanged(server) => self.lose(&server),
            News::Lost(server, why) => {
                self.complain(
                    &server.address.to_string(),
                    Cause::Redis,
                    &format!("lost {}: {why}", server.address),
                );
                self.lose(&server);
            }
        }
    }

    /// Nobody knows any more what changed at a server: all that it has is read again.
    pub(super) fn lose(&mut self, server: &Server) {
        self.nodes.remove(server);
        self.servers.doubt(server.cluster);
        self.queue_all(|sale| sale.server.as_ref() == Some(server));
        for part in self.registry.iter_mut().filter(|part| part.server.as_ref() == Some(server)) {
            part.is_due = true;
        }
    }

    /// The topology has changed: sales whose master is another one are looked at there.
    fn look_where_moved(&mut self) {
        let servers = &self.servers;
        let mut moved = Vec::new();
        for (stream, sale) in &mut self.sales {
            if sale.server != servers.master_of(&sale.sku) {
                sale.forget();
                moved.push(stream.clone());
            }
        }
        moved.iter().for_each(|stream| self.queue_one(stream));
        for part in &mut self.registry {
            part.is_due |= part.server != self.servers.master_of(&part.key);
        }
    }

    /// Queues the next part of all sales.
    pub(super) fn insure(&mut self) {
        let count = self.order.len().div_ceil((INSURANCE.as_secs() / TICK.as_secs()) as usize);
        for _ in 0..count {
            self.insured = (self.insured + 1) % self.order.len().max(1);
            if let Some(stream) = self.order.get(self.insured).cloned() {
                self.queue_one(&stream);
            }
        }
    }

    /// The connection to a server; `None` while it is away.
    async fn node(&mut self, server: &Server) -> Option<&mut Node> {
        if self.away.get(server).is_some_and(|until| Instant::now() < *until) {
            return None;
        }
        if !self.nodes.contains_key(server) {
            let began = Instant::now();
            match Node::connect(&self.servers, server, self.tell_news.clone()).await {
                Ok(node) => {
                    self.away.remove(server);
                    if self.complaints.remove(&server.address.to_string()) {
                        tracing::info!("{} answers again", server.address);
                    }
                    self.nodes.insert(server.clone(), node);
                }
                Err(why) => {
                    self.complain(
                        &server.address.to_string(),
                        Cause::Redis,
                        &format!("{} can't be read: {why}", server.address),
                    );
                    self.leave_alone(server, began);
                    self.servers.doubt(server.cluster);
                    return None;
                }
            }
        }
        self.nodes.get_mut(server)
    }

    /// Asks a server; what it did not answer is to be asked again.
    pub(super) async fn ask(&mut self, server: &Server, questions: &Questions) -> Option<Vec<Bytes>> {
        let node = self.node(server).await?;
        let began = Instant::now();
        match node.ask(questions).await {
            Ok(replies) => Some(replies),
            Err(error) => {
                self.complain(
                    &server.address.to_string(),
                    Cause::Redis,
                    &format!("lost {}: {error}", server.address),
                );
                self.lose(server);
                self.leave_alone(server, began);
                None
            }
        }
    }

    /// A server did not answer, and since `began` everybody waited for it: it is left alone for longer than that, so that sales elsewhere go on.
    fn leave_alone(&mut self, server: &Server, began: Instant) {
        let pause = (began.elapsed() * 3).clamp(PAUSE * 3, AWAY_MAX);
        self.away.insert(server.clone(), Instant::now() + pause);
    }
}
