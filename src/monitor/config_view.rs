//! The configuration in force as the API shows it.

use serde::Serialize;

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConfigView {
    /// The file; empty where there is none.
    pub file: String,
    /// Every directive but for those of lists of tables, in the order of the manual.
    pub directives: Vec<DirectiveView>,
    /// The tables of lists: rules, quotas, routes, tenants, clusters, zones, counter scripts.
    pub tables: Vec<TableView>,
    /// Directives that have changed in the file and that only a restart takes.
    pub restart_needed: Vec<String>,
    /// Why the last reload was refused; empty where it was not.
    pub refused: Vec<String>,
    /// Files with secrets that can't be used as they are now.
    pub secrets_refused: Vec<String>,
}

/// A directive.
#[derive(Clone, Debug, Serialize)]
pub struct DirectiveView {
    /// Dotted path.
    pub path: String,
    /// The value in force, as TOML; empty where it is unset. Nothing of a secret.
    pub value: String,
    /// The default, as TOML; empty where there is none.
    pub default: String,
    /// The value is the default.
    pub is_default: bool,
    /// `default`, `file`, or the flag that overrides both.
    pub from: String,
    /// The line of the file.
    pub line: Option<usize>,
    /// Whether a reload takes another value.
    pub reload: bool,
    /// The file has another value, which waits for a restart.
    pub waits_for_restart: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// A table of a list.
#[derive(Clone, Debug, Serialize)]
pub struct TableView {
    /// `rule`, `quota`, `route`, `tenant`, `cluster`, `zone` or `counter_script`.
    pub kind: &'static str,
    /// Its place among its kind, counted from 0.
    pub index: usize,
    /// What it says, in one line.
    pub text: String,
    /// Where it begins in the file.
    pub line: Option<usize>,
    /// Of a quota the counters that it holds, of a cluster the keys at its masters.
    pub keys: Option<u64>,
    /// Of a rule, a route or a tenant the hot keys that its pattern is the first to match.
    pub hot_keys: Option<u64>,
}
