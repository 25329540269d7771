//! How each Rust type is read from, and written as, a TOML value.
//!
//! The range is the [`Kind`]'s, the type is Rust's; a value that fits both is returned, anything else is
//! reported and read as `None`, so that the walk goes on to the next error.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::address::listen_address;
use super::reader::{Node, Reader};
use super::schema::{Directive, Kind, join};
use super::units;

/// A directive whose value differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Dotted path; `rule`, `quota` and `auth.user` change as wholes.
    pub path: String,
    /// Whether a live reload takes it.
    pub reloadable: bool,
    /// The value before, as TOML, and nothing of a secret. Of a list of tables those that are not in the other.
    pub before: String,
    /// The other value.
    pub after: String,
}

/// A type that a directive can have.
pub trait Value: Sized + Clone + PartialEq {
    /// The value, or `None` after its error was reported.
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// The value as TOML; empty for what TOML can only leave out.
    fn render(&self, kind: &Kind) -> String;

    /// The value in few words, without anything secret.
    fn describe(&self, kind: &Kind) -> String {
        self.render(kind)
    }

    /// Appends what differs.
    fn changes(&self, other: &Self, path: &str, directive: &Directive, out: &mut Vec<Change>) {
        if self != other {
            let [before, after] = [self, other].map(|value| value.describe(&directive.kind));
            out.push(Change { path: path.to_owned(), reloadable: directive.reload, before, after });
        }
    }

    /// Puts back the running value where only a restart takes another.
    fn keep_running(&mut self, running: &Self, directive: &Directive) {
        if !directive.reload {
            self.clone_from(running);
        }
    }
}

/// Appends what differs below the directive of the table at `prefix`.
pub fn changes_of<T: Value>(
    one: &T,
    other: &T,
    prefix: &str,
    directive: Option<&Directive>,
    out: &mut Vec<Change>,
) {
    if let Some(directive) = directive {
        one.changes(other, &join(prefix, directive.key), directive, out);
    }
}

/// A table in one line, by what differs from the defaults.
pub fn in_one_line(changes: Vec<Change>) -> String {
    let fields: Vec<String> =
        changes.into_iter().map(|change| format!("{} = {}", change.path, change.after)).collect();
    format!("{{ {} }}", fields.join(", "))
}

/// Puts back what only a restart takes at or below the directive.
pub fn keep_running<T: Value>(value: &mut T, running: &T, directive: Option<&Directive>) {
    if let Some(directive) = directive {
        value.keep_running(running, directive);
    }
}

/// Reads the directive into `field` if the table has it.
pub fn read_field<T: Value>(
    field: &mut T,
    table: &DeTable<'_>,
    prefix: &str,
    directive: Option<&'static Directive>,
    reader: &mut Reader<'_>,
) {
    let Some(directive) = directive else { return };
    let Some(value) = table.get(directive.key) else { return };
    let path = join(prefix, directive.key);
    reader.place(&path, value.span());
    if let Some(read) = T::read(Node { path: &path, kind: &directive.kind, value }, reader) {
        *field = read;
    }
}

/// Reads the value of an inline table's only key, for a `Kind::ChoiceOr`.
pub(super) fn read_only_key<T: Value>(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<T> {
    let Kind::ChoiceOr { key, of, .. } = node.kind else { return reader.mismatch(node) };
    let table = node.value.get_ref().as_table().filter(|table| table.len() == 1);
    let Some(value) = table.and_then(|table| table.get(*key)) else { return reader.mismatch(node) };
    T::read(Node { path: &join(node.path, key), kind: of, value }, reader)
}

/// Implements `Value` for a scalar from how it is had from a `DeValue` and how it is written.
macro_rules! scalar {
    ($type:ty, |$value:ident, $kind:ident| $read:expr, |$this:ident, $render_kind:ident| $render:expr) => {
        impl $crate::config::value::Value for $type {
            fn read(
                node: $crate::config::reader::Node<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let ($value, $kind) = (node.value.get_ref(), node.kind);
                let read: Option<Self> = $read;
                read.or_else(|| reader.mismatch(&node))
            }

            fn render(&self, $render_kind: &$crate::config::schema::Kind) -> String {
                let $this = self;
                $render
            }
        }
    };
}

pub(super) use scalar;

scalar!(bool, |value, _kind| value.as_bool(), |this, _kind| this.to_string());
scalar!(u64, |value, kind| unsigned(value, kind), |this, kind| render_unsigned(*this, kind));
scalar!(
    usize,
    |value, kind| unsigned(value, kind).and_then(|number| number.try_into().ok()),
    |this, kind| render_unsigned(*this as u64, kind)
);
scalar!(u32, |value, kind| unsigned(value, kind).and_then(|number| number.try_into().ok()), |this, kind| {
    render_unsigned(u64::from(*this), kind)
});
scalar!(i64, |value, kind| signed(value, kind), |this, _kind| this.to_string());
scalar!(f64, |value, _kind| share(value), |this, _kind| format!("{this:?}"));
scalar!(Duration, |value, kind| value.as_str().and_then(|text| duration(text, kind)), |this, _kind| quote(
    &units::render_duration(*this)
));
scalar!(
    String,
    |value, kind| value.as_str().filter(|text| text_fits(text, kind)).map(str::to_owned),
    |this, _kind| quote(this)
);
scalar!(
    PathBuf,
    |value, _kind| value.as_str().filter(|text| !text.is_empty() && !text.contains('\0')).map(PathBuf::from),
    |this, _kind| quote(&this.display().to_string())
);
scalar!(
    SocketAddr,
    |value, _kind| value.as_str().and_then(|text| listen_address(text).ok()),
    |this, _kind| quote(&this.to_string())
);

impl<T: Value> Value for Option<T> {
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if is_none(node.value.get_ref(), node.kind) { Some(None) } else { T::read(node, reader).map(Some) }
    }

    fn render(&self, kind: &Kind) -> String {
        match self {
            Some(value) => value.render(kind),
            None => none_literal(kind).to_owned(),
        }
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let Kind::List { of, min, max } = node.kind else { return reader.mismatch(&node) };
        let Some(items) = node.value.get_ref().as_array() else { return reader.mismatch(&node) };
        if items.len() < *min || items.len() > *max {
            return reader.mismatch(&node);
        }
        let read = items.iter().enumerate().map(|(index, value)| {
            let path = format!("{}[{index}]", node.path);
            reader.place(&path, value.span());
            T::read(Node { path: &path, kind: of, value }, reader)
        });
        // All are read before any is given up, so that each reports its errors.
        read.collect::<Vec<_>>().into_iter().collect()
    }

    fn render(&self, kind: &Kind) -> String {
        let Kind::List { of, .. } = kind else { return String::new() };
        let items: Vec<String> = self.iter().map(|item| item.render(of)).collect();
        format!("[{}]", items.join(", "))
    }

    /// Of tables, those that differ.
    fn changes(&self, other: &Self, path: &str, directive: &Directive, out: &mut Vec<Change>) {
        if self == other {
            return;
        }
        let [before, after] = match &directive.kind {
            Kind::List { of: kind @ Kind::Table { .. }, .. } => {
                let only = |these: &Self, others: &Self| {
                    let differing = these.iter().filter(|table| !others.contains(table));
                    differing.map(|table| table.describe(kind)).collect::<Vec<_>>().join(", ")
                };
                [only(self, other), only(other, self)]
            }
            kind => [self, other].map(|value| value.render(kind)),
        };
        out.push(Change { path: path.to_owned(), reloadable: directive.reload, before, after });
    }
}

/// The value's integer, whatever its base, if it fits 64 bits.
fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn unsigned(value: &DeValue<'_>, kind: &Kind) -> Option<u64> {
    let number = integer(value).and_then(|number| u64::try_from(number).ok());
    match kind {
        Kind::Count { min, max, .. } => number.filter(|number| (min..=max).contains(&number)),
        Kind::Bytes { min, max, .. } => {
            let bytes = value.as_str().and_then(units::parse_bytes);
            number.or(bytes).filter(|bytes| (min..=max).contains(&bytes))
        }
        _ => None,
    }
}

fn render_unsigned(number: u64, kind: &Kind) -> String {
    match kind {
        Kind::Bytes { .. } => quote(&units::render_bytes(number)),
        _ => number.to_string(),
    }
}

fn signed(value: &DeValue<'_>, kind: &Kind) -> Option<i64> {
    let Kind::Integer { min, max } = kind else { return None };
    integer(value).filter(|number| (min..=max).contains(&number))
}

fn share(value: &DeValue<'_>) -> Option<f64> {
    let float = value.as_float().and_then(|float| float.as_str().parse().ok());
    float.or_else(|| integer(value).map(|number| number as f64)).filter(|share| (0.0..=1.0).contains(share))
}

fn duration(text: &str, kind: &Kind) -> Option<Duration> {
    let Kind::Duration { min, max, .. } = kind else { return None };
    units::parse_duration(text).filter(|duration| (min..=max).contains(&duration))
}

pub(super) fn text_fits(text: &str, kind: &Kind) -> bool {
    match kind {
        Kind::Url => {
            ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
        }
        _ => !text.is_empty(),
    }
}

/// Whether the value is how the file writes "none" of an optional directive.
fn is_none(value: &DeValue<'_>, kind: &Kind) -> bool {
    let is_zero = |zero: &str| !zero.is_empty() && integer(value) == Some(0);
    match kind {
        Kind::Count { zero, .. } => is_zero(zero),
        Kind::Bytes { zero, .. } => {
            is_zero(zero) || (!zero.is_empty() && value.as_str().and_then(units::parse_bytes) == Some(0))
        }
        Kind::Duration { zero, .. } => {
            let parsed = value.as_str().and_then(units::parse_duration);
            is_zero(zero) || (!zero.is_empty() && parsed == Some(Duration::ZERO))
        }
        Kind::Integer { .. } => false,
        _ => value.as_str() == Some(""),
    }
}

/// How the file writes "none"; empty where it can only leave the key out.
fn none_literal(kind: &Kind) -> &'static str {
    match kind {
        Kind::Integer { .. } | Kind::Count { zero: "", .. } => "",
        Kind::Bytes { zero: "", .. } | Kind::Duration { zero: "", .. } => "",
        Kind::Count { .. } => "0",
        Kind::Bytes { .. } => "\"0b\"",
        Kind::Duration { .. } => "\"0s\"",
        _ => "\"\"",
    }
}

/// Text as a TOML basic string.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
