//! From text, a file and the command line to a configuration, and from two of them to what changed.
//!
//! The only file of this directory that touches the file system: it reads the configuration and the secrets
//! that it names, at start and again at each reload.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::Address;
use super::error::{ConfigError, LoadError};
use super::reader::{Node, Reader};
use super::relations;
use super::schema::{Directive, Kind, visit_directives};
use super::sections::Config;
use super::shown::Origins;
use super::types::{RuleMode, Secret};
use super::value::{Change, Value};

/// The largest file that a secret is read from. A larger file was named by mistake.
const SECRET_FILE_BYTES_MAX: u64 = 4096;

/// The values from the command line. They override the file, at the start and at each reload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `--listen`, for `gateway.listen`; empty leaves the file's.
    pub listen: Vec<SocketAddr>,
    /// `--admin`, for `admin.listen`.
    pub admin: Option<SocketAddr>,
    /// `--upstream`, for `upstream.servers`; empty leaves the file's.
    pub upstream: Vec<Address>,
    /// `--workers`, for `gateway.workers`; 0 is one for each core.
    pub workers: Option<usize>,
    /// `--drain-delay`, for `gateway.drain_delay`.
    pub drain_delay: Option<Duration>,
}

impl Config {
    /// Reads the text of a file. Secrets in files of their own stay unread.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text: no TOML, unknown keys, wrong types, values out of
    /// range, keys that contradict each other.
    pub fn parse(text: &str) -> Result<Config, Vec<ConfigError>> {
        let mut reader = Reader::new(text, Config::DIRECTIVES);
        let config = read(text, &Overrides::default(), &mut reader);
        finish(config, reader)
    }

    /// Reads the file, if there is one, applies the overrides, and reads the secrets in files of their own
    /// into `password` and `token`, so that nothing else has to look for them.
    ///
    /// # Errors
    /// The file cannot be read; or it is wrong, as for [`Config::parse`], or a file that it names cannot be
    /// read.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Config, LoadError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| LoadError::Read { path: path.to_owned(), error })?,
            None => String::new(),
        };
        let mut reader = Reader::new(&text, Config::DIRECTIVES);
        let mut config = read(&text, overrides, &mut reader);
        read_secrets(&mut config, &mut reader);
        finish(config, reader).map_err(|errors| LoadError::Invalid {
            path: path.map_or_else(|| PathBuf::from("command line"), Path::to_owned),
            errors,
        })
    }

    /// Where the values of a file, which may be empty, and of the command line come from.
    pub fn origins(text: &str, overrides: &Overrides) -> Origins {
        let mut reader = Reader::new(text, Config::DIRECTIVES);
        read(text, overrides, &mut reader);
        Origins { lines: reader.lines(), flags: overrides.flags() }
    }

    /// The same with what the files that it names for secrets hold now.
    ///
    /// # Errors
    /// One of them can't be read, or holds none: clauses.
    pub fn with_secrets_of_now(&self) -> Result<Config, Vec<String>> {
        let mut config = self.clone();
        let mut reader = Reader::new("", Config::DIRECTIVES);
        read_secrets(&mut config, &mut reader);
        match reader.into_errors() {
            errors if errors.is_empty() => Ok(config),
            errors => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    /// Every directive whose value differs in `other`, and whether a live reload takes it.
    pub fn changes(&self, other: &Config) -> Vec<Change> {
        let mut changes = Vec::new();
        Value::changes(self, other, "", &ROOT, &mut changes);
        let mut taken = other.clone();
        taken.keep_clusters(self, other);
        for change in changes.iter_mut().filter(|change| change.path == "cluster") {
            change.reloadable = taken.further_clusters == other.further_clusters;
        }
        changes
    }

    /// What a process that runs with `self` takes of `file`: the values of the file, but its own of what only a restart
    /// takes.
    ///
    /// # Errors
    /// The two do not go together: a value that waits for the restart was needed by one that does not.
    pub fn reloaded(&self, file: Config) -> Result<Config, Vec<ConfigError>> {
        let mut config = file.clone();
        config.keep_running(self, &ROOT);
        config.keep_clusters(self, &file);
        // The file holds by itself, but for secrets that now stand beside the files that they were read from.
        let held_by_file = contradictions(&file);
        let errors: Vec<ConfigError> =
            contradictions(&config).into_iter().filter(|error| !held_by_file.contains(error)).collect();
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Whether a rule has keys answered before Redis has what they were told.
    pub fn has_write_behind(&self) -> bool {
        self.rules.iter().any(|rule| rule.mode == RuleMode::WriteBehind)
    }

    /// The same, but that keys of such rules are combined instead.
    #[must_use]
    pub fn without_write_behind(mut self) -> Self {
        let rules = self.rules.iter_mut().filter(|rule| rule.mode == RuleMode::WriteBehind);
        rules.for_each(|rule| rule.mode = RuleMode::Combine);
        self
    }

    /// Calls `visit` with the dotted path of every directive of the file; see [`visit_directives`].
    pub fn visit_directives(mut visit: impl FnMut(&str, &'static Directive)) {
        visit_directives("", Config::DIRECTIVES, &mut visit);
    }
}

/// The file as a whole, seen as a table.
static ROOT: Directive = Directive {
    key: "",
    kind: Kind::Table { directives: Config::DIRECTIVES },
    default: None,
    reload: true,
    meaning: "",
};

/// What could be read of the text, overridden, with all that is wrong with it reported.
fn read(text: &str, overrides: &Overrides, reader: &mut Reader<'_>) -> Config {
    let (table, syntax_errors) = DeTable::parse_recoverable(text);
    let span = table.span();
    let root = Spanned::new(span, DeValue::Table(table.into_inner()));
    let read = Config::read(Node { path: "", kind: &ROOT.kind, value: &root }, reader);
    let mut config = read.unwrap_or_default();
    overrides.apply(&mut config);
    relations::check(&config, reader);
    reader.syntax_errors(&syntax_errors);
    config
}

/// Relations between directives that do not hold.
fn contradictions(config: &Config) -> Vec<ConfigError> {
    let mut reader = Reader::new("", Config::DIRECTIVES);
    relations::check(config, &mut reader);
    reader.into_errors()
}

fn finish(config: Config, reader: Reader<'_>) -> Result<Config, Vec<ConfigError>> {
    let errors = reader.into_errors();
    if errors.is_empty() { Ok(config) } else { Err(errors) }
}

impl Overrides {
    /// The directives that are overridden, with their flags.
    pub fn flags(&self) -> Vec<(&'static str, &'static str)> {
        let Self { listen, admin, upstream, workers, drain_delay } = self;
        [
            (!listen.is_empty(), ("gateway.listen", "--listen")),
            (admin.is_some(), ("admin.listen", "--admin")),
            (!upstream.is_empty(), ("upstream.servers", "--upstream")),
            (workers.is_some(), ("gateway.workers", "--workers")),
            (drain_delay.is_some(), ("gateway.drain_delay", "--drain-delay")),
        ]
        .into_iter()
        .filter_map(|(is_set, flag)| is_set.then_some(flag))
        .collect()
    }

    fn apply(&self, config: &mut Config) {
        if !self.listen.is_empty() {
            config.gateway.listen.clone_from(&self.listen);
        }
        if let Some(admin) = self.admin {
            config.admin.listen = Some(admin);
        }
        if !self.upstream.is_empty() {
            config.upstream.servers.clone_from(&self.upstream);
        }
        if let Some(workers) = self.workers {
            config.gateway.workers = Some(workers).filter(|workers| *workers != 0);
        }
        if let Some(delay) = self.drain_delay {
            config.gateway.drain_delay = delay;
        }
    }
}

fn read_secrets(config: &mut Config, reader: &mut Reader<'_>) {
    let mut read = |key: String, file: &Option<PathBuf>, secret: &mut Option<Secret>| {
        if let Some(file) = file {
            let found = read_secret(file);
            match found {
                Ok(Some(text)) => *secret = Some(text),
                // Nobody changes anything at present.
                Ok(None) if key.ends_with("_next_file") => *secret = None,
                Ok(None) => {
                    let why = format!("but the first line of {} is empty", file.display());
                    reader.error(&key, format!("expected a file that holds a secret, {why}"));
                }
                Err(why) => reader.error(&key, format!("expected a file that holds a secret, {why}")),
            }
        }
    };
    let auth = &mut config.auth;
    read("auth.password_file".to_owned(), &auth.password_file, &mut auth.password);
    read("auth.password_next_file".to_owned(), &auth.password_next_file, &mut auth.password_next);
    for (index, user) in auth.users.iter_mut().enumerate() {
        read(format!("auth.user[{index}].password_file"), &user.password_file, &mut user.password);
        let (file, secret) = (&user.password_next_file, &mut user.password_next);
        read(format!("auth.user[{index}].password_next_file"), file, secret);
    }
    let further = config.further_clusters.iter_mut().enumerate();
    let further = further.map(|(index, upstream)| (format!("cluster[{index}]"), upstream));
    for (path, upstream) in [("upstream".to_owned(), &mut config.upstream)].into_iter().chain(further) {
        read(format!("{path}.password_file"), &upstream.password_file, &mut upstream.password);
        let (file, secret) = (&upstream.password_next_file, &mut upstream.password_next);
        read(format!("{path}.password_next_file"), file, secret);
        let (file, secret) = (&upstream.sentinel_password_file, &mut upstream.sentinel_password);
        read(format!("{path}.sentinel_password_file"), file, secret);
    }
    read("admin.token_file".to_owned(), &config.admin.token_file, &mut config.admin.token);
    for (index, bearer) in config.admin.bearers.iter_mut().enumerate() {
        read(format!("admin.bearer[{index}].token_file"), &bearer.token_file, &mut bearer.token);
    }
}

/// The file's first line, if it is not empty, or what is wrong with it in words that do not repeat any of it.
fn read_secret(file: &Path) -> Result<Option<Secret>, String> {
    let (shown, mut text) = (file.display(), String::new());
    let opened = std::fs::File::open(file);
    opened
        .and_then(|file| file.take(SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("but {shown} cannot be read: {error}"))?;
    if text.len() as u64 > SECRET_FILE_BYTES_MAX {
        return Err(format!("but {shown} is larger than {SECRET_FILE_BYTES_MAX} bytes"));
    }
    Ok(text.lines().next().filter(|line| !line.is_empty()).map(Secret::new))
}
