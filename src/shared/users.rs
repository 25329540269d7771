//! Who may do what, as every thread sees it, and what is told of those who were denied.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::access::{DenialReason, Users};

/// A request or a log-in that was denied, for `ACL LOG`.
#[derive(Debug)]
pub struct Denial {
    /// What kind of thing was denied.
    pub reason: DenialReason,
    /// `toplevel`, or `multi` between `MULTI` and `EXEC`.
    pub context: &'static str,
    /// What was denied: the command, the key, the channel; the command that should have logged in.
    pub object: Vec<u8>,
    /// Who was denied.
    pub user: Vec<u8>,
    /// Its connection, as `CLIENT INFO` begins.
    pub client: String,
}

/// The users, and where denials are told. A worker looks at the users as it looks at the configuration: when it has published
/// work to do, or when it is told that they have changed.
#[derive(Debug)]
pub struct UsersCell {
    users: ArcSwap<Users>,
    /// When it is full, a denial is not told. It has been counted then.
    denials: mpsc::Sender<Denial>,
}

impl UsersCell {
    /// A cell with these users.
    pub fn new(users: Users, denials: mpsc::Sender<Denial>) -> Self {
        Self { users: ArcSwap::from_pointee(users), denials }
    }

    /// The users.
    pub fn load(&self) -> Arc<Users> {
        self.users.load_full()
    }

    /// The same, without taking part in owning them.
    pub fn peek(&self) -> arc_swap::Guard<Arc<Users>> {
        self.users.load()
    }

    /// Publishes others.
    pub fn store(&self, users: Users) {
        self.users.store(Arc::new(users));
    }

    /// Tells of a denial, if there is room.
    pub fn send(&self, denial: Denial) {
        let _ = self.denials.try_send(denial);
    }
}
