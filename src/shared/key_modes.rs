//! What an operator says of folding one key, at this gateway and until it ends: always, never, or as the configuration has it.
//!
//! The reloader on the control thread owns the list: it puts a rule for each before those of the file, so the workers take a change as they take a
//! reload. A sender waits for the verdict. The mailbox and the list are bounded.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::audit::Author;

/// Changes that wait. People make them.
const WAITING_MAX: usize = 16;

/// How long a change may take: the reloader may be at a reload, which asks servers.
const VERDICT_PATIENCE: Duration = Duration::from_secs(5);

/// Keys of which something may be said. Each is a rule that new keys are matched with.
pub const MODES_MAX: usize = 64;

/// What is said of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMode {
    /// What the configuration says.
    Auto,
    /// Its operations are folded, whether its node queues or not.
    Fold,
    /// They go as they came.
    Never,
}

impl KeyMode {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fold => "fold",
            Self::Never => "never",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Auto, Self::Fold, Self::Never].into_iter().find(|mode| mode.word() == word)
    }
}

/// One change, with who asked for it.
#[derive(Debug)]
pub struct KeyModeChange {
    /// The key.
    pub key: Vec<u8>,
    /// What is to hold.
    pub mode: KeyMode,
    /// Who asked.
    pub by: Author,
    /// Why, if that was said.
    pub reason: String,
    /// Where the verdict goes: what holds now, or why nothing changed.
    pub verdict: oneshot::Sender<Result<String, String>>,
}

/// The keys of which something is said. [`KeyMode::Auto`] is not among them.
pub type KeyModes = Vec<(Vec<u8>, KeyMode)>;

/// The reloader's end: the changes, and where it publishes what holds.
pub struct KeyModeInbox {
    /// Changes that are asked for.
    pub changes: mpsc::Receiver<KeyModeChange>,
    /// What holds.
    pub modes: Arc<ArcSwap<KeyModes>>,
}

/// The askers' end.
#[derive(Clone)]
pub struct KeyModePort {
    changes: mpsc::Sender<KeyModeChange>,
    modes: Arc<ArcSwap<KeyModes>>,
}

impl KeyModePort {
    /// A port, and the inbox that the reloader serves.
    pub fn new() -> (Self, KeyModeInbox) {
        let (sender, changes) = mpsc::channel(WAITING_MAX);
        let modes = Arc::new(ArcSwap::default());
        (Self { changes: sender, modes: Arc::clone(&modes) }, KeyModeInbox { changes, modes })
    }

    /// What holds of a key.
    pub fn of(&self, key: &[u8]) -> KeyMode {
        self.modes.load().iter().find(|(known, _)| known == key).map_or(KeyMode::Auto, |(_, mode)| *mode)
    }

    /// All keys of which something is said.
    pub fn all(&self) -> Arc<KeyModes> {
        self.modes.load_full()
    }

    /// Asks for a change and waits for the verdict.
    ///
    /// # Errors
    /// A sentence for the operator: it can't be, too many wait, or no verdict came in time.
    pub async fn change(
        &self,
        key: Vec<u8>,
        mode: KeyMode,
        by: Author,
        reason: String,
    ) -> Result<String, String> {
        let (verdict, answer) = oneshot::channel();
        if self.changes.try_send(KeyModeChange { key, mode, by, reason, verdict }).is_err() {
            return Err(
                "changes are not taken at the moment: too many wait, or the gateway is stopping".into()
            );
        }
        match timeout(VERDICT_PATIENCE, answer).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err("the gateway is stopping; nothing was changed".into()),
            Err(_) => Err("no verdict within 5 s: look at the key before trying again".into()),
        }
    }
}
