//! The walk over the parsed file along the schema, and the collection of everything that is wrong with it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::Address;
use super::error::ConfigError;
use super::schema::{Directive, Kind, join, visit_directives};

/// A value in the file and what it should be.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// Dotted path.
    pub path: &'a str,
    /// The expected kind.
    pub kind: &'static Kind,
    /// The value that was found.
    pub value: &'a Spanned<DeValue<'a>>,
}

/// Collects errors and where each key stands in the text.
pub struct Reader<'a> {
    text: &'a str,
    /// The tables and keys at the top of the file.
    root: &'static [Directive],
    places: HashMap<String, usize>,
    errors: Vec<Report>,
}

struct Report {
    /// Byte of the text; none for what the text does not hold.
    place: Option<usize>,
    key: String,
    message: String,
}

impl<'a> Reader<'a> {
    /// A reader of this text, for a file whose top has the directives of `root`.
    pub fn new(text: &'a str, root: &'static [Directive]) -> Self {
        Reader { text, root, places: HashMap::new(), errors: Vec::new() }
    }

    /// The table behind `node`, after its unknown and its missing keys were reported.
    pub fn table<'n>(
        &mut self,
        node: &Node<'n>,
        directives: &'static [Directive],
    ) -> Option<&'n DeTable<'n>> {
        let Some(table) = node.value.get_ref().as_table() else { return self.mismatch(node) };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if !directives.iter().any(|directive| directive.key == name) {
                let message = self.unknown_key(name, node.path, directives, value.get_ref().is_table());
                self.error_at(key.span().start, join(node.path, name), message);
            }
        }
        for directive in directives.iter().filter(|directive| directive.default.is_none()) {
            if !table.contains_key(directive.key) {
                let message =
                    format!("expected {}, found nothing: it must be given", directive.kind.describe());
                self.error_at(node.value.span().start, join(node.path, directive.key), message);
            }
        }
        Some(table)
    }

    /// Remembers where the value of a key stands, for what is wrong with several keys together.
    pub fn place(&mut self, path: &str, span: Range<usize>) {
        self.places.insert(path.to_owned(), span.start);
    }

    /// The lines, counted from 1, where the values of all keys stand that were read.
    pub fn lines(&self) -> HashMap<String, usize> {
        let line = |place: &usize| line_and_column(self.text, *place).0;
        self.places.iter().map(|(path, place)| (path.clone(), line(place))).collect()
    }

    /// Whether the text has this key.
    pub fn has_read(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Reports a value that is not what its kind says.
    pub fn mismatch<T>(&mut self, node: &Node<'_>) -> Option<T> {
        let found = found(node.value.get_ref(), node.kind);
        let mut message = format!("expected {}, found {found}", node.kind.describe());
        if let Some(advice) = advice(node) {
            message.push_str("; ");
            message.push_str(&advice);
        }
        self.error_at(node.value.span().start, node.path.to_owned(), message);
        None
    }

    /// Reports something wrong at a key, or at the nearest table above it that the file has.
    pub fn error(&mut self, path: &str, message: String) {
        let mut above = path;
        let place = loop {
            match (self.places.get(above), above.rfind(['.', '['])) {
                (Some(place), _) => break Some(*place),
                (None, Some(end)) => above = &above[..end],
                (None, None) => break None,
            }
        };
        self.errors.push(Report { place, key: path.to_owned(), message });
    }

    /// Reports what is no TOML. On a line that has such an error nothing else is to be believed, so what was
    /// reported there gives way.
    pub fn syntax_errors(&mut self, errors: &[toml::de::Error]) {
        let text = self.text;
        let place_of = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        let line_of = |place: usize| line_and_column(text, place).0;
        let lines: HashSet<usize> = errors.iter().map(|error| line_of(place_of(error))).collect();
        self.errors.retain(|report| !report.place.is_some_and(|place| lines.contains(&line_of(place))));
        for error in errors {
            self.error_at(place_of(error), String::new(), format!("not TOML: {}", error.message()));
        }
    }

    /// The error for a key that its table does not have: which known key may be meant.
    fn unknown_key(
        &self,
        name: &str,
        prefix: &str,
        directives: &'static [Directive],
        is_table: bool,
    ) -> String {
        let what = if is_table { "table" } else { "key" };
        if let Some(near) = nearest(name, directives.iter().map(|directive| directive.key)) {
            return format!("unknown {what}; did you mean `{near}`?");
        }
        let mut elsewhere = None;
        visit_directives("", self.root, &mut |path, directive| {
            if directive.key == name && elsewhere.is_none() {
                elsewhere = Some(path.to_owned());
            }
        });
        if let Some(path) = elsewhere {
            return format!("unknown {what} here; did you mean `{path}`?");
        }
        let known: Vec<&str> = directives.iter().map(|directive| directive.key).collect();
        let place = if prefix.is_empty() { "the file".to_owned() } else { format!("[{prefix}]") };
        format!("unknown {what}; {place} takes {}", known.join(", "))
    }

    /// Reports something wrong at a byte of the text.
    fn error_at(&mut self, place: usize, key: String, message: String) {
        self.errors.push(Report { place: Some(place), key, message });
    }

    /// Whether something was reported at this key or below it.
    pub fn has_error(&self, path: &str) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.errors.iter().any(|report| report.key.strip_prefix(path).is_some_and(is_below))
    }

    /// Everything reported, in the order of the file.
    pub fn into_errors(mut self) -> Vec<ConfigError> {
        self.errors.sort_by_key(|report| report.place);
        let text = self.text;
        let error = |report: Report| {
            let (line, column) = report.place.map_or((0, 0), |place| line_and_column(text, place));
            ConfigError { line, column, key: report.key, message: report.message }
        };
        self.errors.into_iter().map(error).collect()
    }
}

/// Line and column, both from 1, of a byte of the text.
fn line_and_column(text: &str, place: usize) -> (usize, usize) {
    let before = text.get(..place).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// What was found, in words; a secret only by its type, and so is text that may hold one
/// (`user:password@host`).
fn found(value: &DeValue<'_>, kind: &Kind) -> String {
    const SHOWN_MAX: usize = 60;
    let show = |text: &str| !kind.is_secret() && !text.contains('@') && text.chars().count() <= SHOWN_MAX;
    match value {
        DeValue::String(text) if text.is_empty() => "an empty string".into(),
        DeValue::String(text) if show(text) => format!("{:?}", text.as_ref()),
        DeValue::String(_) => "another string".into(),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) if kind.is_secret() => {
            "no string".into()
        }
        DeValue::Integer(number) => format!("the integer {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date or time".into(),
        DeValue::Array(items) => format!("an array of {}", items.len()),
        DeValue::Table(_) => "a table".into(),
    }
}

/// Advice for the most common mistakes.
fn advice(node: &Node<'_>) -> Option<String> {
    match (node.kind, node.value.get_ref()) {
        (Kind::Duration { .. }, DeValue::Integer(number)) => {
            Some(format!("write a string with its unit, such as \"{}ms\"", number.as_str()))
        }
        (Kind::Bytes { .. }, DeValue::String(_)) => Some("units are b, kb, mb and gb".into()),
        (Kind::Duration { .. }, DeValue::String(_)) => Some("units are us, ms, s, m, h and d".into()),
        (Kind::List { of: Kind::Table { .. }, .. }, DeValue::Table(_)) => {
            Some(format!("write [[{}]] for each", node.path))
        }
        (Kind::List { .. }, DeValue::String(_)) => Some("put it in [ ]".into()),
        (Kind::Flag, DeValue::String(_)) => Some("leave the quotes out".into()),
        (Kind::Address | Kind::Server, DeValue::String(text)) => {
            text.parse::<Address>().err().map(str::to_owned)
        }
        _ => None,
    }
}

/// The known name that differs least, if it differs little: by a third of its length.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let (distance, near) = known.map(|known| (edit_distance(name, known), known)).min()?;
    (distance <= near.len().max(3) / 3).then_some(near)
}

/// Levenshtein distance: the insertions, removals and replacements that turn one into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let check = |name: &str, expect: Option<&str>| {
            assert_eq!(nearest(name, ["listen", "workers", "clients_max"].into_iter()), expect, "{name}");
        };
        check("lisen", Some("listen"));
        check("worker", Some("workers"));
        check("max_clients", None);
        check("client_max", Some("clients_max"));
        check("timeout", None);
    }

    #[test]
    fn columns_count_characters() {
        let check = |text: &str, place: usize, expect: (usize, usize)| {
            assert_eq!(line_and_column(text, place), expect);
        };
        check("a = 1\nb = 2", 6, (2, 1));
        check("\"é\" = 1", 5, (1, 5));
        check("", 0, (1, 1));
        check("a", 9, (1, 2));
    }
}
