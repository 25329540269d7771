//! A running ledger reads its configuration again at SIGHUP: other servers, routes, bounds, another database.
//!
//! All or nothing: a file with errors, or one that no ledger could start with, changes nothing, and every error is logged. What is taken is taken whole, by
//! following anew from what the database has; only the log is as it was at the start. As at a gateway, routes that would have sales looked for elsewhere than where they are have to say so.
//!
//! Owns the signal. Deliberately does not look at the file by itself: passwords that change in files of their own are `upstream`'s business.

use signal_hook::consts::SIGHUP;
use tokio::sync::mpsc;

use super::store::Database;
use super::upstream::Upstream;
use crate::config::Config;
use crate::control::hangup;
use crate::control::reload::ConfigSource;
use crate::shared::audit::Author;

/// What a configuration comes to.
pub struct Running {
    /// Where sales are.
    pub servers: Upstream,
    /// Where they go.
    pub database: Database,
}

impl Running {
    /// Opens what is needed to follow.
    ///
    /// # Errors
    /// No database is configured, or a certificate or password can't be had: in words.
    pub async fn open(config: Config) -> Result<Self, String> {
        let database = super::database_of(&config)?;
        Ok(Self { servers: Upstream::open(config).await?, database })
    }
}

/// Waits for signals.
pub struct Reloads {
    source: ConfigSource,
    hangups: mpsc::Receiver<Author>,
}

impl Reloads {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system gives no handler.
    pub fn listen(source: ConfigSource) -> Result<Self, String> {
        let hangups =
            hangup::listen(SIGHUP, "SIGHUP").map_err(|error| format!("can't listen for SIGHUP: {error}"))?;
        Ok(Self { source, hangups })
    }

    /// The next configuration that holds, and what it comes to.
    pub async fn next(&mut self, in_force: &Config) -> (Config, Running) {
        loop {
            let Some(by) = self.hangups.recv().await else { std::future::pending().await };
            match self.read(in_force).await {
                Ok((config, running)) => {
                    say_changes(in_force, &config, &by);
                    return (config, running);
                }
                Err(wrong) => {
                    wrong.iter().for_each(|why| tracing::error!("configuration not reloaded: {why}"))
                }
            }
        }
    }

    async fn read(&self, in_force: &Config) -> Result<(Config, Running), Vec<String>> {
        let ConfigSource { file, overrides } = &self.source;
        let mut config = Config::load(file.as_deref(), overrides).map_err(|error| error.lines())?;
        config.log.clone_from(&in_force.log);
        let moved = in_force.moved_keys(&config).into_iter().filter(|moved| !moved.is_forced);
        let moved: Vec<String> = moved.map(|moved| format!("route: {}", moved.why)).collect();
        if !moved.is_empty() {
            return Err(moved);
        }
        let running = Running::open(config.clone()).await.map_err(|why| vec![why])?;
        Ok((config, running))
    }
}

/// Says which directives are others now.
fn say_changes(before: &Config, now: &Config, by: &Author) {
    let changes = before.changes(now);
    let names: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    let what = if names.is_empty() { "nothing has changed".to_owned() } else { names.join(", ") };
    tracing::info!(
        "read the configuration again ({}): {what}; following goes on from what the database has",
        by.address
    );
}
