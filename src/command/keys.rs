//! Where the keys of a command are among its arguments.
//!
//! Owns: key specifications (the same data that `COMMAND INFO` shows since Redis 7,
//! <https://redis.io/docs/latest/develop/reference/key-specs/>) and the search for keys that follows them.
//!
//! Deliberately does not: judge a request. Arguments among which no keys can be found are an error of the client
//! that only the server words rightly, so the caller forwards such a request to any node.

use smallvec::SmallVec;

use super::flags::KeyFlags;
use crate::resp::{Request, parse_integer};

/// The positions of the keys of a request as argument indexes; the name of the command is argument 0.
pub type KeyPositions = SmallVec<[u32; 4]>;

/// The keys cannot be determined, because the arguments are not what the command wants: a count of keys that is
/// no number, negative or beyond the arguments, or a missing `STREAMS`. Forward the request to any node: Redis
/// itself gives the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl KeyError {
    /// The text with which `COMMAND GETKEYS` says so.
    pub fn message(self) -> &'static str {
        "ERR Invalid arguments specified for command"
    }
}

/// One run of keys: where it begins, how far it goes, what the command does with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub(super) begin: Begin,
    pub(super) find: Find,
    pub(super) flags: KeyFlags,
}

/// Where a run of keys begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// At this argument.
    Index(i32),
    /// After this word, sought from this argument on; from the end backwards when negative.
    Keyword(std::borrow::Cow<'static, str>, i32),
    /// After the last `STORE` of `SORT`, whose options have to be skipped one by one because a pattern may be
    /// called `STORE` as well. Redis shows this as unknown.
    SortStore,
    /// Not told. `SORT`'s `BY` and `GET` patterns: a cluster refuses those that lead to another slot.
    Unknown,
}

/// How far a run of keys goes from where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// To `last`, counted from the beginning, or from the end of the arguments when negative; with a `limit` of 2
    /// it is half of what remains (the other half are the ids of `XREAD`).
    Range { last: i32, step: i32, limit: i32 },
    /// The argument at `count` (from the beginning) says how many follow from `first` on.
    Counted { count: i32, first: i32, step: i32 },
    /// Not told.
    Unknown,
}

impl KeySpec {
    /// Appends the positions of this run. A keyword that is absent is a run without keys, not an error.
    pub(super) fn find(&self, request: &Request, out: &mut KeyPositions) -> Result<(), KeyError> {
        let len = request.len() as i64;
        let Some(begin) = self.begin.position(request) else { return Ok(()) };
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit } => {
                let last = match (last, limit) {
                    (0.., _) => begin + i64::from(last),
                    (_, 0 | 1) => len + i64::from(last),
                    (_, limit) => begin + (len - begin) / i64::from(limit) + i64::from(last),
                };
                (begin, last, step)
            }
            Find::Counted { count, first, step } => {
                let position = usize::try_from(begin + i64::from(count)).map_err(|_| KeyError)?;
                let count = request.arg(position).and_then(parse_integer).ok_or(KeyError)?;
                // More keys than arguments is wrong whatever the step, and makes the product below safe.
                if !(0..=len).contains(&count) {
                    return Err(KeyError);
                }
                let first = begin + i64::from(first);
                (first, first + count * i64::from(step) - 1, step)
            }
            Find::Unknown => return Ok(()),
        };
        if step < 1 || first < 1 || last >= len || last < first {
            return Err(KeyError);
        }
        out.extend((first as u32..=last as u32).step_by(step as usize));
        Ok(())
    }

    /// Whether the run names keys, not the channels of sharded publish/subscribe.
    pub(super) fn names_keys(&self) -> bool {
        !self.flags.contains(KeyFlags::NOT_KEY)
    }
}

impl Begin {
    fn position(&self, request: &Request) -> Option<i64> {
        match self {
            Self::Index(index) => Some(i64::from(*index)),
            Self::Keyword(word, from) => position_after(request, word, i64::from(*from)),
            Self::SortStore => position_after_sort_store(request),
            Self::Unknown => None,
        }
    }
}

/// The argument after `word`, sought forwards from `from`, or backwards from the end when `from` is negative. The
/// last argument forwards and the first backwards cannot be the word: nothing would follow, or precede.
fn position_after(request: &Request, word: &str, from: i64) -> Option<i64> {
    let len = request.len() as i64;
    let found = |i: &i64| is_word(request, *i, word);
    let at = if from >= 0 { (from.max(1)..len - 1).find(found) } else { (2..=len + from).rev().find(found) };
    at.map(|i| i + 1)
}

fn position_after_sort_store(request: &Request) -> Option<i64> {
    let len = request.len() as i64;
    let (mut i, mut found) = (2, None);
    while i < len {
        if is_word(request, i, "limit") {
            i += 2;
        } else if is_word(request, i, "get") || is_word(request, i, "by") {
            i += 1;
        } else if is_word(request, i, "store") && i + 1 < len {
            found = Some(i + 1);
        }
        i += 1;
    }
    found
}

/// Whether `SORT` has a pattern that leads to other keys. Only those with a star do: Redis takes any other weight as none,
/// and any other value as absent or, for `#`, as the element. Every argument that may be the word is taken for it, so that
/// none is missed.
pub(super) fn has_sort_pattern(request: &Request) -> bool {
    let len = request.len() as i64;
    let leads_on = |i: i64| request.arg(i as usize).is_some_and(|pattern| pattern.contains(&b'*'));
    (2..len).any(|i| (is_word(request, i, "by") || is_word(request, i, "get")) && leads_on(i + 1))
}

fn is_word(request: &Request, i: i64, word: &str) -> bool {
    request.arg(i as usize).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

/// The keys of `MIGRATE`: the third argument, or those after `KEYS` where that one is empty. The options before it are
/// skipped one by one, because a password may be `KEYS` as well.
pub(super) fn migrate_keys(request: &Request, out: &mut KeyPositions) -> Result<(), KeyError> {
    let len = request.len();
    let mut i = 6;
    while i + 1 < len {
        match request.arg(i).unwrap_or_default().to_ascii_lowercase().as_slice() {
            b"auth" => i += 1,
            b"auth2" => i += 2,
            b"keys" if request.arg(3).is_some_and(|key| !key.is_empty()) => return Err(KeyError),
            b"keys" => {
                out.extend(i as u32 + 1..len as u32);
                return Ok(());
            }
            _ => {}
        }
        i += 1;
    }
    out.extend((len > 3).then_some(3));
    Ok(())
}

/// The first key, the last and the step between them, as `COMMAND` gave them before Redis 7 and still does; and
/// whether that leaves keys out, which is what the flag `movablekeys` says. The rules are those of Redis'
/// `populateCommandLegacyRangeSpec`: consecutive runs with a step of 1 are joined, all others left out.
pub(super) fn legacy_range(specs: &[KeySpec]) -> (KeyRange, bool) {
    let absolute = |begin: i32, last: i32| if last >= 0 { begin + last } else { last };
    if let [KeySpec { begin: Begin::Index(first), find: Find::Range { last, step, .. }, flags }] = specs {
        let range =
            KeyRange { first: *first as i16, last: absolute(*first, *last) as i16, step: *step as i16 };
        return (range, flags.contains(KeyFlags::INCOMPLETE));
    }
    let (mut joined, mut movable) = (None::<(i32, i32)>, false);
    for spec in specs {
        match (&spec.begin, spec.find) {
            (Begin::Index(begin), Find::Range { last, step: 1, .. })
                if joined.is_none_or(|(_, previous)| previous == begin - 1) =>
            {
                movable |= spec.flags.contains(KeyFlags::INCOMPLETE);
                joined = Some((joined.map_or(*begin, |(first, _)| first), absolute(*begin, last)));
            }
            _ => movable = true,
        }
    }
    let range = joined.map(|(first, last)| KeyRange { first: first as i16, last: last as i16, step: 1 });
    (range.unwrap_or_default(), movable)
}

/// A run of keys in the form that `COMMAND` had before key specifications; all zero: no keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key's argument index; 0 when the command has no keys, or none at a fixed place.
    pub first: i16,
    /// The last key's argument index; counted from the end when negative, -1 being the last argument.
    pub last: i16,
    /// From one key to the next: 2 where keys alternate with values.
    pub step: i16,
}

impl KeyRange {
    /// Appends the positions.
    pub(super) fn find(self, request: &Request, out: &mut KeyPositions) -> Result<(), KeyError> {
        let last = if self.last < 0 { request.len() as i64 + i64::from(self.last) } else { self.last.into() };
        if self.step < 1 || self.first < 1 || last < self.first.into() || last >= request.len() as i64 {
            return Err(KeyError);
        }
        out.extend((self.first as u32..=last as u32).step_by(self.step as usize));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandTable;
    use crate::command::oracle::Arguments;
    use proptest::prelude::*;

    #[test]
    fn a_count_of_keys_beyond_the_arguments_is_an_error() {
        let table = CommandTable::builtin();
        for line in [
            "EVAL s 01 a",
            "EVAL s 4294967297 a",
            "EVAL s 9223372036854775807 a",
            "MSETEX 9223372036854775807 a 1",
            "MSETEX 2 a 1 b",
            "ZUNIONSTORE d 18446744073709551618 a b",
            "LMPOP -1 a LEFT",
        ] {
            let arguments = Arguments::of_line(line);
            let request = arguments.request();
            let mut keys = KeyPositions::from_slice(&[7]);
            let command = table.get(table.resolve(&request).unwrap());
            assert_eq!(command.keys(&request, &mut keys), Err(KeyError), "{line}");
            assert_eq!(keys.as_slice(), [7], "{line}");
        }
    }

    #[test]
    fn a_counted_pair_is_a_key_and_its_value() {
        let table = CommandTable::builtin();
        let arguments = Arguments::of_line("MSETEX 2 a 1 b 2 EX 10");
        let mut keys = KeyPositions::new();
        let command = table.get(table.resolve(&arguments.request()).unwrap());
        command.keys(&arguments.request(), &mut keys).unwrap();
        assert_eq!(keys.as_slice(), [2, 4]);
    }

    #[test]
    fn a_sort_with_a_starred_pattern_leads_to_keys_that_it_does_not_name() {
        let table = CommandTable::builtin();
        let check = |line: &str, expected| {
            let arguments = Arguments::of_line(line);
            let command = table.get(table.resolve(&arguments.request()).unwrap());
            assert_eq!(command.follows_patterns(&arguments.request()), expected, "{line}");
        };
        for line in [
            "SORT l BY w:*",
            "sort l limit 0 1 get # get v:*->f desc",
            "SORT_RO l by nosort Get v:*",
            "SORT l GET v:* STORE d",
            "SORT l BY nosort STORE GET GET *",
        ] {
            check(line, true);
        }
        for line in
            ["SORT l", "SORT l BY nosort GET #", "SORT l* ALPHA STORE d*", "SORT_RO l GET", "MGET get *"]
        {
            check(line, false);
        }
    }

    proptest! {
        /// Whatever the arguments, a position is that of an argument behind the name.
        #[test]
        fn a_key_is_always_an_argument(
            command in 0..CommandTable::builtin().len(),
            words in prop::collection::vec("-?[0-9]{1,3}|STREAMS|STORE|LIMIT|GET|KEYS|BLOCK|a|", 0..12),
        ) {
            let table = CommandTable::builtin();
            let (_, command) = table.iter().nth(command).unwrap();
            let mut line: Vec<&str> = command.name.split('|').collect();
            line.extend(words.iter().map(String::as_str));
            let arguments = Arguments::new(&line);
            let mut keys = KeyPositions::new();
            if command.keys(&arguments.request(), &mut keys).is_ok() {
                prop_assert!(keys.iter().all(|key| (1..line.len() as u32).contains(key)), "{keys:?}");
            }
            command.class_of(&arguments.request());
        }
    }
}
