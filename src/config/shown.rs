//! The configuration as people look at it: each directive with its value, and where that comes from.
//!
//! Deliberately shows nothing secret: values are written as the list of changes writes them ([`Change`](super::value::Change)).

use std::collections::HashMap;

use super::schema::{Directive, Kind};
use super::sections::Config;
use super::value::Value;

/// Where values come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// By path, the line of the file, counted from 1.
    pub lines: HashMap<String, usize>,
    /// Directives that a flag of the command line sets, with the flag.
    pub flags: Vec<(&'static str, &'static str)>,
}

/// A directive with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Dotted path.
    pub path: String,
    /// As TOML; empty where it is unset.
    pub value: String,
    /// The default as TOML; empty where there is none.
    pub default: String,
    /// The flag that sets it, if one does.
    pub flag: Option<&'static str>,
    /// The line of the file that sets it, if one does; where a flag does, the line is overridden.
    pub line: Option<usize>,
    /// Whether a reload takes another value.
    pub reload: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// One table of a list, such as a `[[rule]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownTable {
    /// Its place among its kind, counted from 0.
    pub index: usize,
    /// What it says, in one line.
    pub text: String,
    /// Where it begins in the file.
    pub line: Option<usize>,
}

impl Config {
    /// Every directive, in the order of the schema; lists of tables by [`Config::shown_tables`].
    pub fn shown(&self, origins: &Origins) -> Vec<Shown> {
        let changed: HashMap<String, String> =
            Config::default().changes(self).into_iter().map(|change| (change.path, change.after)).collect();
        let mut shown = Vec::new();
        Config::visit_directives(|path, directive| {
            let is_table = |kind: &Kind| matches!(kind, Kind::Table { .. });
            let is_list_of_tables = matches!(&directive.kind, Kind::List { of, .. } if is_table(of));
            if path.contains("[]") || is_table(&directive.kind) || is_list_of_tables {
                return;
            }
            let default = directive.default_literal().unwrap_or_default();
            let value = changed.get(path).cloned().unwrap_or_else(|| default.clone());
            shown.push(origins.of(path, directive, value, default));
        });
        shown
    }

    /// The tables of each list of them that says what is done with keys, by the name of the list.
    pub fn shown_tables(&self, origins: &Origins) -> Vec<(&'static str, Vec<ShownTable>)> {
        let rules = &self.rules[self.rules_of_operators(origins)..];
        vec![
            ("rule", tables("rule", rules, origins)),
            ("quota", tables("quota", &self.quotas, origins)),
            ("route", tables("route", &self.routes, origins)),
            ("tenant", tables("tenant", &self.tenants, origins)),
            ("cluster", tables("cluster", &self.further_clusters, origins)),
            ("zone", tables("zone", &self.zones, origins)),
            ("counter_script", tables("counter_script", &self.counter_scripts, origins)),
        ]
    }
}

impl Config {
    /// How many rules come from operators and not from the file. They are about single keys, and stand before the others.
    pub fn rules_of_operators(&self, origins: &Origins) -> usize {
        let is_rule = |path: &&String| path.starts_with("rule[") && path.ends_with(']');
        self.rules.len().saturating_sub(origins.lines.keys().filter(is_rule).count())
    }
}

impl Origins {
    fn of(&self, path: &str, directive: &'static Directive, value: String, default: String) -> Shown {
        Shown {
            path: path.to_owned(),
            value,
            default,
            flag: self.flags.iter().find(|(of, _)| *of == path).map(|(_, flag)| *flag),
            line: self.lines.get(path).copied(),
            reload: directive.reload,
            meaning: directive.meaning,
        }
    }
}

fn tables<T: Value>(name: &str, values: &[T], origins: &Origins) -> Vec<ShownTable> {
    let shown = |(index, value): (usize, &T)| ShownTable {
        index,
        text: value.describe(&Kind::Flag),
        line: origins.lines.get(&format!("{name}[{index}]")).copied(),
    };
    values.iter().enumerate().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn each_value_says_where_it_comes_from_and_no_secret_is_shown() {
        let text = "[gateway]\nworkers = 3\n\n[auth]\npassword = \"hunter2\"\n\n[[quota]]\nmatch = \"sku:*\"\nlimit = 9\n";
        let overrides = Overrides { workers: Some(5), ..Overrides::default() };
        let mut config = Config::parse(text).expect("it is right");
        config.gateway.workers = Some(5);
        let origins = Config::origins(text, &overrides);
        let shown = config.shown(&origins);
        let of = |path: &str| shown.iter().find(|shown| shown.path == path).cloned().expect("it is shown");
        let workers = of("gateway.workers");
        assert_eq!((workers.value.as_str(), workers.flag, workers.line), ("5", Some("--workers"), Some(2)));
        assert!(!workers.reload);
        let detect = of("detect.top_k");
        assert_eq!((detect.value.as_str(), detect.default.as_str()), ("128", "128"));
        assert_eq!((detect.flag, detect.line), (None, None));
        let password = of("auth.password");
        assert_eq!(password.line, Some(5));
        assert!(!format!("{shown:?}").contains("hunter2"), "{password:?}");
        let tables = config.shown_tables(&origins);
        let quotas = &tables.iter().find(|(name, _)| *name == "quota").expect("quotas are shown").1;
        assert_eq!(quotas.len(), 1);
        assert_eq!(quotas[0].line, Some(7));
        assert!(quotas[0].text.contains("sku:*") && quotas[0].text.contains("limit = 9"), "{quotas:?}");
    }
}
