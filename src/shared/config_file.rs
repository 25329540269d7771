//! How the configuration file and the running process differ: what the last reload came to.
//!
//! The control thread writes it at each reload and reads it for the status line.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// What the last reload came to. Empty: the file is what the process runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadOutcome {
    /// Why it was refused, as clauses.
    pub refused: Vec<String>,
    /// Directives that have changed and that only a restart takes.
    pub restart_needed: Vec<String>,
    /// Files with secrets that can't be used as they are now, as clauses; the former secrets hold.
    pub secrets_refused: Vec<String>,
}

/// Where it is put down.
#[derive(Debug, Default)]
pub struct ConfigFile(ArcSwap<ReloadOutcome>);

impl ConfigFile {
    /// What the last reload came to.
    pub fn load(&self) -> Arc<ReloadOutcome> {
        self.0.load_full()
    }

    /// The last reload was refused for these reasons. What an earlier one left for the restart is left still.
    pub fn refused(&self, refused: Vec<String>) {
        let former = ReloadOutcome::clone(&self.0.load());
        self.0.store(Arc::new(ReloadOutcome { refused, ..former }));
    }

    /// What is wrong with the files that hold secrets, if anything is.
    pub fn secrets_refused(&self, secrets_refused: Vec<String>) {
        let former = ReloadOutcome::clone(&self.0.load());
        self.0.store(Arc::new(ReloadOutcome { secrets_refused, ..former }));
    }

    /// The last reload took all but these directives.
    pub fn taken(&self, restart_needed: Vec<String>) {
        self.0.store(Arc::new(ReloadOutcome { restart_needed, ..ReloadOutcome::default() }));
    }
}
