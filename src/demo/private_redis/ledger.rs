//! A ledger beside private servers: `hotgate ledger` of this very program, as a child process, with an SQLite file in a temporary directory.
//!
//! It can be killed and started again: the file stays until this is dropped.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PrivateRedisError;
use super::directory::{Running, ServerDirectory};
use crate::shared::topology::Address;

/// See the module. Dropping it kills the process and removes the file.
pub struct PrivateLedger {
    running: Option<Running>,
    path: PathBuf,
    _directory: ServerDirectory,
}

impl PrivateLedger {
    /// Starts one before `servers`.
    ///
    /// # Errors
    /// [`PrivateRedisError::Io`].
    pub fn start(servers: &[Address]) -> Result<Self, PrivateRedisError> {
        let directory = ServerDirectory::create()?;
        let path = directory.server_directory("ledger")?;
        let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
        let mut ledger = Self { running: None, path, _directory: directory };
        let config = format!("[upstream]\nservers = [{}]\n{}", servers.join(", "), ledger.config());
        fs::write(ledger.file(), config)?;
        ledger.start_again()?;
        Ok(ledger)
    }

    /// What a gateway's configuration says of it.
    pub fn config(&self) -> String {
        format!("[ledger]\nurl = \"sqlite:{}\"\n", self.database().display())
    }

    /// The SQLite file.
    pub fn database(&self) -> PathBuf {
        self.path.join("reservations.db")
    }

    fn file(&self) -> PathBuf {
        self.path.join("hotgate.toml")
    }

    /// Starts the process, which is not running.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_again(&mut self) -> std::io::Result<()> {
        let arguments: [OsString; 3] = ["ledger".into(), "--config".into(), self.file().into()];
        self.running = Some(Running::start(&std::env::current_exe()?, &arguments, &self.path)?);
        Ok(())
    }

    /// As `kill -9`.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Runs `hotgate ledger` with these words to its end; what it prints.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run(&self, words: &[&str]) -> std::io::Result<String> {
        let config: &Path = &self.file();
        let output = Command::new(std::env::current_exe()?)
            .args(["ledger", "--config"])
            .arg(config)
            .args(words)
            .output()?;
        // The log tells why only where nothing else was said.
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        Ok(String::from_utf8_lossy(&said).trim_end().to_owned())
    }
}
