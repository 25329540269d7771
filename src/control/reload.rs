//! Live reload: SIGHUP reads the configuration file again, and files that hold secrets are looked at by themselves.
//!
//! A password that is replaced in its file, or that a program prints anew, is taken without a word from anybody ([`SECRETS_PERIOD`]), and nothing
//! else with it: what the configuration file has become meanwhile waits for its SIGHUP.
//!
//! All or nothing: a file with errors changes nothing, and every error is logged. Directives that need a restart keep their
//! running value, and the log names them. The published configuration is what the process does from then on, so its readers
//! need not know which directive is reloadable.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::descriptors::{Descriptors, TooFewDescriptors};
use super::hangup;
use super::key_modes::HeldModes;
use super::password_commands::PasswordCommands;
use super::rights::missing_rights;
use super::service_manager;
use super::topology::KeeperSettings;
use super::users::{note_users, publish, users_of};
use crate::config::{Change, Config, Origins, Overrides};
use crate::shared::audit::{AuditEntry, Author};
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::Gateway;
use crate::shared::key_modes::{KeyMode, KeyModeChange};
use crate::shared::tenants::Tenants;

/// Between two looks at the files that hold secrets. A new content is taken when two looks have found it, so one that is half written
/// is not.
pub const SECRETS_PERIOD: Duration = Duration::from_secs(3);

/// Where the configuration came from.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The flags that override it.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Where its values come from, as the file is now; nothing of a file that can't be read.
    pub fn origins(&self) -> Origins {
        let text = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        Config::origins(&text.unwrap_or_default(), &self.overrides)
    }
}

/// The configuration in force, and where a new one is published.
pub struct Reloader {
    /// Where the process publishes its configuration.
    pub gateway: Arc<Gateway>,
    /// Where it came from.
    pub source: ConfigSource,
    /// The configuration as it was asked for. Bounds in force may be lower, because of file descriptors.
    pub asked: Config,
    /// Fits them.
    pub descriptors: Descriptors,
    /// The programs that print passwords.
    pub password_commands: PasswordCommands,
    /// Told of what concerns the keeper of each cluster, by [`crate::route::ClusterId`].
    pub keepers: Vec<watch::Sender<KeeperSettings>>,
    /// What operators say of folding single keys.
    pub key_modes: HeldModes,
    /// Told that the configuration is another, for whoever reads files that it names.
    pub reloaded: Arc<Notify>,
}

/// What looks at the files that hold secrets have come to.
#[derive(Default)]
struct SecretLooks {
    /// The last one found this, which differs from what is in force.
    found: Option<Config>,
    /// This could not be taken.
    refused: Option<Config>,
}

/// What the reloader does next.
enum Task {
    /// It reads the file again, since somebody sent the signal; none: the process ends.
    Read(Option<Author>),
    /// It takes write-behind out or back in.
    Journal,
    /// It takes what an operator says of one key.
    Mode(KeyModeChange),
}

/// Reloads at each SIGHUP, takes what operators say of single keys, and looks at the files that hold secrets between them.
pub async fn follow_reloads(mut reloader: Reloader, mut changes: mpsc::Receiver<KeyModeChange>) {
    let mut hangups = match hangup::listen(SIGHUP, "SIGHUP") {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!("can't listen for SIGHUP, so the configuration can't be reloaded: {error}");
            return;
        }
    };
    let mut looks = SecretLooks::default();
    let mut journal_given = reloader.gateway.journal_given.subscribe();
    loop {
        let task = async {
            tokio::select! {
                by = hangups.recv() => Task::Read(by),
                // The sender lives as long as the gateway does.
                _ = journal_given.changed() => Task::Journal,
                Some(change) = changes.recv() => Task::Mode(change),
            }
        };
        match timeout(SECRETS_PERIOD, task).await {
            Ok(Task::Read(Some(by))) => reloader.read_again(&by).await,
            Ok(Task::Read(None)) => return,
            Ok(Task::Journal) => reloader.follow_journal(),
            Ok(Task::Mode(change)) => reloader.set_key_mode(change),
            Err(_) => reloader.look_at_secrets(&mut looks).await,
        }
    }
}

/// What a reload changed.
fn note(gateway: &Gateway, changes: &[Change], by: &Author) {
    for change in changes {
        let entry = AuditEntry::new(by, "reload", &change.path).from_to(&change.before, &change.after);
        gateway.audit.record(match change.reloadable {
            true => entry,
            false => entry.failed("only a restart takes it"),
        });
    }
    let listed = |reloadable| {
        let of_kind = changes.iter().filter(|change| change.reloadable == reloadable);
        of_kind.map(|change| change.path.as_str()).collect::<Vec<_>>().join(", ")
    };
    let text = match (listed(true), listed(false)) {
        (taken, waiting) if taken.is_empty() && waiting.is_empty() => "nothing has changed".to_owned(),
        (taken, waiting) if waiting.is_empty() => taken,
        (taken, waiting) if taken.is_empty() => format!("only a restart takes {waiting}"),
        (taken, waiting) => format!("{taken}; only a restart takes {waiting}"),
    };
    gateway.events.record(Event::new(EventKind::Reloaded, "configuration", text).by(by));
}

/// Who replaced a secret in its file: nobody has told the gateway.
fn whoever_wrote_the_file() -> Author {
    Author { user: "-".to_owned(), address: "a file of secrets".to_owned() }
}

impl Reloader {
    /// Reads the file and takes what may be taken of it. Whoever can be told of the outcome is.
    async fn read_again(&mut self, by: &Author) {
        service_manager::say_reloading();
        let source = &self.source;
        let outcome = match Config::load(source.file.as_deref(), &source.overrides) {
            Ok(file) => self.reload(file, by).await,
            Err(error) => Err(error.lines()),
        };
        let told = &self.gateway.config_file;
        match outcome {
            Ok(restart_needed) => {
                self.gateway.config_origins.store(Arc::new(self.source.origins()));
                told.taken(restart_needed);
            }
            Err(refused) => {
                refused.iter().for_each(|why| tracing::error!("configuration not reloaded: {why}"));
                let event = Event::new(EventKind::ReloadRefused, "configuration", refused.join("; "));
                self.gateway.events.record(event.by(by));
                told.refused(refused);
            }
        }
        service_manager::say_ready();
    }

    /// Carries out what an operator says of folding a key, notes it, and tells who asked.
    fn set_key_mode(&mut self, change: KeyModeChange) {
        let KeyModeChange { key, mode, by, reason, verdict } = change;
        let former = self.key_modes.of(&key);
        let outcome = self.take_key_mode(&key, mode);
        let shown = self.gateway.key_names.label(&key);
        let entry = AuditEntry::new(&by, "key folding", shown).from_to(former.word(), mode.word());
        let entry = entry.because(reason);
        self.gateway.audit.record(match &outcome {
            Ok(_) => entry,
            Err(why) => entry.failed(why),
        });
        // Who asked may have gone.
        let _ = verdict.send(outcome);
    }

    fn take_key_mode(&mut self, key: &[u8], mode: KeyMode) -> Result<String, String> {
        let former = self.key_modes.say(key, mode, &self.asked)?;
        match self.in_force(&self.asked) {
            Ok(config) => self.gateway.config.store(Arc::new(config)),
            Err(error) => {
                self.key_modes.restore(former);
                return Err(error.to_string());
            }
        }
        self.key_modes.show();
        Ok(match mode {
            KeyMode::Auto => "left to the gateway",
            KeyMode::Fold => "folded always",
            KeyMode::Never => "never folded",
        }
        .to_owned())
    }

    /// Takes the rules of write-behind out of what is in force while another process has the journal, and back in.
    fn follow_journal(&self) {
        match self.in_force(&self.asked) {
            Ok(config) => self.gateway.config.store(Arc::new(config)),
            // What was asked for fitted when it was taken.
            Err(error) => tracing::error!("the rules of write-behind could not be changed: {error}"),
        }
    }

    /// A configuration as far as it can be had.
    fn in_force(&self, asked: &Config) -> Result<Config, TooFewDescriptors> {
        let fitted = self.descriptors.fit(asked)?;
        let given = *self.gateway.journal_given.borrow();
        let mut config = if given { fitted.without_write_behind() } else { fitted };
        config.rules.splice(0..0, self.key_modes.rules(asked));
        Ok(config)
    }

    /// Takes the secrets that files hold now and programs have printed, if the last look has found the same.
    async fn look_at_secrets(&mut self, looks: &mut SecretLooks) {
        let failures = self.password_commands.look(&self.asked).await;
        let now = match self.asked.with_secrets_of_now() {
            Ok(now) => self.password_commands.with_passwords(now),
            Err(refused) => return self.refuse_secrets([refused, failures].concat()),
        };
        if looks.refused.as_ref() == Some(&now) {
            return;
        }
        self.refuse_secrets(failures);
        if now == self.asked {
            *looks = SecretLooks::default();
        } else if looks.found.as_ref() != Some(&now) {
            looks.found = Some(now);
        } else {
            // Tokens that are renewed every few minutes would hide what else has happened.
            let is_routine = self.password_commands.are_all_that_changed(&self.asked, &now);
            let by = (!is_routine).then(whoever_wrote_the_file);
            if let Err(refused) = self.publish(now.clone(), by.as_ref()).await {
                looks.refused = Some(now);
                self.refuse_secrets(refused);
            }
        }
    }

    /// Says what is wrong with secrets, unless it has been said. Nothing may be.
    fn refuse_secrets(&self, refused: Vec<String>) {
        if self.gateway.config_file.load().secrets_refused != refused {
            refused.iter().for_each(|why| tracing::error!("the former secret holds: {why}"));
            self.gateway.config_file.secrets_refused(refused);
        }
    }

    /// Takes a file, with the passwords that the programs in it print.
    ///
    /// # Errors
    /// As [`Self::publish`].
    async fn reload(&mut self, file: Config, by: &Author) -> Result<Vec<String>, Vec<String>> {
        self.password_commands.run_new(&file).await?;
        self.publish(self.password_commands.with_passwords(file), Some(by)).await
    }

    /// Takes what a reload may take, and notes by whom, unless it is routine. Returns the directives that have changed and that only a restart takes.
    ///
    /// # Errors
    /// Why nothing was taken, as clauses.
    async fn publish(&mut self, file: Config, by: Option<&Author>) -> Result<Vec<String>, Vec<String>> {
        let config = self.asked.reloaded(file.clone()).map_err(|errors| {
            let why =
                |error| format!("{error}; this holds with what the running process keeps until a restart");
            errors.into_iter().map(why).collect::<Vec<_>>()
        })?;
        let moved = self.asked.moved_keys(&config).into_iter().filter(|moved| !moved.is_forced);
        let moved: Vec<String> = moved.map(|moved| format!("route: {}", moved.why)).collect();
        if !moved.is_empty() {
            return Err(moved);
        }
        let fitted = self.in_force(&config).map_err(|error| vec![error.to_string()])?;
        let routing = config.routing();
        let missing = missing_rights(&config, &routing, &self.gateway.dialers).await;
        if !missing.is_empty() {
            return Err(missing);
        }
        // Behind the last wait: the servers may have told of other commands meanwhile.
        let users = users_of(&config.auth, &self.gateway.commands.load()).map_err(|errors| {
            errors.iter().map(|error| format!("auth.acl_file: {error}")).collect::<Vec<_>>()
        })?;
        let changes = self.asked.changes(&file);
        for change in &changes {
            match change.reloadable {
                true => tracing::info!(directive = %change.path, "reloaded"),
                false => {
                    tracing::warn!(directive = %change.path, "changed in the file, but only a restart takes it")
                }
            }
        }
        self.descriptors.report(&config, &fitted);
        for (cluster, keeper) in fitted.clusters().zip(&self.keepers) {
            let dialer = self.gateway.dialer_of(cluster);
            keeper.send_replace(KeeperSettings::new(fitted.upstream_of(cluster), dialer));
        }
        let has_other_users = self.gateway.config.load().auth != fitted.auth;
        // Workers look at the routes and the tenants when they find another configuration.
        self.gateway.routing.store(Arc::new(routing));
        let tenants = Tenants::of(&fitted, self.gateway.tenants.load().as_deref());
        self.gateway.tenants.store(tenants);
        self.gateway.config.store(Arc::new(fitted));
        if let Some(by) = by {
            note(&self.gateway, &changes, by);
        }
        if has_other_users {
            let changes = users.changes_since(&self.gateway.users.load());
            publish(&self.gateway, users).await;
            if let Some(by) = by {
                note_users(&self.gateway, by, "reload of a user", changes);
            }
        }
        self.reloaded.notify_one();
        self.asked = config;
        tracing::info!(changes = changes.len(), "configuration reloaded");
        Ok(changes.into_iter().filter(|change| !change.reloadable).map(|change| change.path).collect())
    }
}
