//! Which sales there are: the names in the registry, and those that the database knows. The registry's half of the follower.
//!
//! A name that is missing in the registry is no reason to look away from a sale that is there: the part's master may have lost it.

use std::collections::HashSet;

use bytes::Bytes;
use tokio::time::sleep;

use super::counts::Cause;
use super::follower::{Follower, PAUSE};
use super::names::text_of;
use super::node::Questions;
use super::registry;
use super::sale::Sale;
use crate::reserve::ledger_key;
use crate::resp::first_error;

/// The longest name of a sale, as text: databases have it in a key, whose length they bound.
const NAME_CHARS_MAX: usize = 512;
/// What is said of one that is longer.
const NAME_CHARS_SHOWN: usize = 64;

impl Follower {
    /// Reads the parts of the registry that changed: sales come and go.
    pub(super) async fn read_registry(&mut self) {
        let mut is_one_away = false;
        for at in 0..self.registry.len() {
            if !self.registry[at].is_due {
                continue;
            }
            match self.read_part(at).await {
                Some(names) => self.take_names(at, names),
                // Others are elsewhere, perhaps.
                None => is_one_away = true,
            }
        }
        if is_one_away {
            sleep(PAUSE).await;
        }
    }

    /// All names of a part. `None` where its server does not say.
    async fn read_part(&mut self, at: usize) -> Option<HashSet<Bytes>> {
        let key = self.registry[at].key.clone();
        let server = self.servers.master_of(&key);
        self.registry[at].server.clone_from(&server);
        let mut names = HashSet::new();
        let Some(server) = server else {
            self.servers.doubt_key(&key);
            return None;
        };
        // What changes from here on is told.
        self.registry[at].is_due = false;
        let mut after = Bytes::new();
        loop {
            let mut questions = Questions::default();
            questions.push(|out| registry::encode_page(&key, &after, out));
            let replies = self.ask(&server, &questions).await;
            let page = replies.as_ref().and_then(|replies| registry::page_of(replies.first()?));
            let Some(page) = page else {
                self.registry[at].is_due = true;
                if let Some(text) = replies.iter().flatten().find_map(|reply| first_error(reply)) {
                    let text = String::from_utf8_lossy(text).into_owned();
                    self.complain(
                        "registry",
                        Cause::Redis,
                        &format!("the names of sales can't be read: {text}"),
                    );
                    self.servers.doubt(server.cluster);
                }
                return None;
            };
            let is_last = page.len() < registry::NAMES_PER_CALL;
            after = page.last().cloned().unwrap_or_default();
            names.extend(page);
            if is_last {
                self.complaints.remove("registry");
                return Some(names);
            }
        }
    }

    fn take_names(&mut self, at: usize, names: HashSet<Bytes>) {
        let gone: Vec<Bytes> = self.registry[at].names.difference(&names).cloned().collect();
        let come: Vec<Bytes> = names.difference(&self.registry[at].names).cloned().collect();
        self.registry[at].names = names;
        self.registry[at].is_known = true;
        // Dropped, or the registry was lost: the sale's own word decides.
        gone.iter().for_each(|sku| self.queue_one(&ledger_key(sku)));
        come.into_iter().for_each(|sku| self.follow(sku));
        self.order = self.sales.keys().cloned().collect();
    }

    /// Follows a sale from now on.
    pub(super) fn follow(&mut self, sku: Bytes) {
        let text = text_of(&sku);
        if text.chars().count() > NAME_CHARS_MAX {
            self.counts.error(Cause::Name);
            let beginning: String = text.chars().take(NAME_CHARS_SHOWN).collect();
            tracing::error!(
                "a sale is not followed: its name has more than {NAME_CHARS_MAX} characters, and begins with '{beginning}'"
            );
            return;
        }
        self.complaints.remove(&unlisted(&text));
        let stream = ledger_key(&sku);
        if !self.sales.contains_key(&stream) {
            let sale = Sale::new(sku, self.positions.get(&text).cloned());
            self.sales.insert(stream.clone(), sale);
            self.queue_one(&stream);
        }
    }

    /// Says of a sale that Redis has if the registry does not have its name.
    pub(super) fn look_whether_listed(&mut self, stream: &Bytes) {
        let Some(sale) = self.sales.get(stream) else { return };
        if registry::lacks(&self.registry, &sale.sku) {
            let text = sale.text.clone();
            self.say_once(
                &unlisted(&text),
                &format!("the registry of sales does not have '{text}' any more; it is followed all the same, and RESERVE.OPEN enters it again"),
            );
        }
    }
}

fn unlisted(text: &str) -> String {
    format!("unlisted {text}")
}
