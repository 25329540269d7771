//! What a directive is, and the kinds of value that it may have.
//!
//! The directives themselves are declared in `sections` and `policies`.

use std::time::Duration;

/// One directive as declared: what the parser accepts, what the manual must say.
pub struct Directive {
    /// Its name inside its table.
    pub key: &'static str,
    /// Type, unit and range.
    pub kind: Kind,
    /// Renders the default as TOML; `None` where the key must be given.
    pub default: Option<fn(&Kind) -> String>,
    /// Whether a live reload takes a changed value; if not, it waits for the next start.
    pub reload: bool,
    /// Its meaning, in a sentence or two.
    pub meaning: &'static str,
}

impl Directive {
    /// The default as it is written in TOML. `None` where there is none: the key must be given, or it is
    /// unset until it is.
    pub fn default_literal(&self) -> Option<String> {
        self.default.map(|render| render(&self.kind)).filter(|literal| !literal.is_empty())
    }
}

/// Type, unit and range of a value.
///
/// A non-empty `zero` says what the value 0 stands for, outside the range; such a field is an `Option` and 0
/// reads as `None`. In the same way the empty string reads as `None` for an optional text, path or address.
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number of something that the key names.
    Count {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// The meaning of 0.
        zero: &'static str,
    },
    /// A signed 64-bit integer, the range of a Redis counter.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A part of a whole, 0.0 to 1.0.
    Share,
    /// A string with a unit: `"100ms"`.
    Duration {
        /// Shortest value.
        min: Duration,
        /// Longest value.
        max: Duration,
        /// The meaning of 0.
        zero: &'static str,
    },
    /// A string with a unit, `"64mb"`, or a plain number of bytes.
    Bytes {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// The meaning of 0.
        zero: &'static str,
    },
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A file name.
    Path,
    /// An `http://` or `https://` address; it may hold a token, so it is never shown either.
    Url,
    /// `host:port`.
    Address,
    /// `host:port`, or `unix:` and a path.
    Server,
    /// `ip:port` to bind, or a port on loopback; port 0 takes a free one.
    Listen,
    /// An IP address, or one with the number of its leading bits that count.
    Network,
    /// A pattern for key names, with the syntax of Redis's `KEYS`.
    Glob,
    /// A key name in which `$1` to `$9` stand for what the pattern's stars matched.
    Template,
    /// One of these words.
    Choice {
        /// The words.
        names: &'static [&'static str],
    },
    /// One of these words, or an inline table of one key.
    ChoiceOr {
        /// The words.
        names: &'static [&'static str],
        /// The inline table's key.
        key: &'static str,
        /// What that key holds.
        of: &'static Kind,
    },
    /// An array; for tables, `[[key]]`.
    List {
        /// What each element is.
        of: &'static Kind,
        /// Fewest elements.
        min: usize,
        /// Most elements.
        max: usize,
    },
    /// A table with these keys.
    Table {
        /// The keys.
        directives: &'static [Directive],
    },
}

/// One microsecond, in the unit of [`duration`].
pub const US: u64 = 1;
/// One millisecond, in the unit of [`duration`].
pub const MS: u64 = 1000 * US;
/// One second, in the unit of [`duration`].
pub const SECOND: u64 = 1000 * MS;
/// One minute, in the unit of [`duration`].
pub const MINUTE: u64 = 60 * SECOND;
/// One hour, in the unit of [`duration`].
pub const HOUR: u64 = 60 * MINUTE;
/// 1024 bytes.
pub const KB: u64 = 1024;
/// 1024 KiB.
pub const MB: u64 = 1024 * KB;
/// 1024 MiB.
pub const GB: u64 = 1024 * MB;

/// A duration between two bounds in microseconds.
pub const fn duration(min_us: u64, max_us: u64) -> Kind {
    duration_or(min_us, max_us, "")
}

/// A duration between two bounds in microseconds, or 0 for what `zero` says.
pub const fn duration_or(min_us: u64, max_us: u64, zero: &'static str) -> Kind {
    Kind::Duration { min: Duration::from_micros(min_us), max: Duration::from_micros(max_us), zero }
}

/// A number between two bounds.
pub const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max, zero: "" }
}

/// A number between two bounds, or 0 for what `zero` says.
pub const fn count_or(min: u64, max: u64, zero: &'static str) -> Kind {
    Kind::Count { min, max, zero }
}

/// A size between two bounds in bytes.
pub const fn size(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max, zero: "" }
}

impl Kind {
    /// Type, unit and range in words, as errors and the manual say it.
    pub fn describe(&self) -> String {
        use super::units::{render_bytes, render_duration};
        let or_zero = |zero: &str| if zero.is_empty() { String::new() } else { format!(", or 0: {zero}") };
        match self {
            Kind::Flag => "true or false".into(),
            Kind::Count { min, max, zero } => format!("a number from {min} to {max}{}", or_zero(zero)),
            Kind::Integer { min, max } => match (*min, *max) {
                (i64::MIN, i64::MAX) => "a signed 64-bit integer".into(),
                (min, max) => format!("an integer from {min} to {max}"),
            },
            Kind::Share => "a share from 0.0 to 1.0".into(),
            Kind::Duration { min, max, zero } => format!(
                "a duration from \"{}\" to \"{}\"{}",
                render_duration(*min),
                render_duration(*max),
                or_zero(zero)
            ),
            Kind::Bytes { min, max, zero } => {
                format!(
                    "a size from \"{}\" to \"{}\"{}",
                    render_bytes(*min),
                    render_bytes(*max),
                    or_zero(zero)
                )
            }
            Kind::Text => "a string".into(),
            Kind::Secret => "a string (never shown)".into(),
            Kind::Path => "a file name".into(),
            Kind::Url => {
                "an \"http://host[:port]/path\" or \"https://host[:port]/path\" address (never shown)".into()
            }
            Kind::Address => "\"host:port\"".into(),
            Kind::Server => "\"host:port\" or \"unix:/path\"".into(),
            Kind::Listen => "\"ip:port\" to bind, or \"port\" on loopback (port 0 takes a free one)".into(),
            Kind::Network => "\"ip\" or \"ip/bits\"".into(),
            Kind::Glob => "a key pattern as in Redis's KEYS".into(),
            Kind::Template => "a key name, in which $1 to $9 are what the stars of match matched".into(),
            Kind::Choice { names } => alternatives(names),
            Kind::ChoiceOr { names, key, of } => {
                format!("{}, or {{ {key} = {} }}", alternatives(names), of.describe())
            }
            Kind::List { of: Kind::Table { .. }, max, .. } => format!("up to {max} tables"),
            Kind::List { of, min, max } => format!("a list of {min} to {max}, each {}", of.describe()),
            Kind::Table { .. } => "a table".into(),
        }
    }

    /// Whether a value of this kind must never be repeated in an error.
    pub fn is_secret(&self) -> bool {
        matches!(self, Kind::Secret | Kind::Url)
    }
}

fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    quoted.join(" | ")
}

/// The TOML key of a field: its own name unless the declaration gives another.
pub const fn key_of(field: &'static str, given: &[&'static str]) -> &'static str {
    match given {
        [] => field,
        [key, ..] => key,
    }
}

/// The dotted path of `key` below `prefix`.
pub fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// Calls `visit` with the dotted path of every directive below `directives`, tables before their keys. The
/// keys of `[[rule]]` are visited as `rule[].match`.
pub fn visit_directives(
    prefix: &str,
    directives: &'static [Directive],
    visit: &mut impl FnMut(&str, &'static Directive),
) {
    for directive in directives {
        let path = join(prefix, directive.key);
        visit(&path, directive);
        match &directive.kind {
            Kind::Table { directives } => visit_directives(&path, directives, visit),
            Kind::List { of: Kind::Table { directives }, .. } => {
                visit_directives(&format!("{path}[]"), directives, visit);
            }
            _ => {}
        }
    }
}
