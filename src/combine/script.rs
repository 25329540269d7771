//! The flush script, and the bytes of its call.
//!
//! Owns the layout of KEYS and ARGV that `flush.lua` documents. The call declares every key that the script touches, so it
//! runs on Redis Cluster from 7.0 on.

use std::{borrow::Cow, sync::LazyLock};

use bytes::{Bytes, BytesMut};

use super::{
    clamp::{Ceiling, Charge, Clamp, Consumes, Window},
    member::Member,
    segment::{Kind, Segment},
    wire::read_arguments,
};
use crate::resp::encode;

/// The source of the flush script, for `SCRIPT LOAD` on a fresh connection.
pub const FLUSH_SCRIPT: &str = include_str!("flush.lua");

/// The SHA-1 by which Redis knows [`FLUSH_SCRIPT`], in lower case hex.
pub fn flush_script_sha() -> &'static str {
    static SHA: LazyLock<String> = LazyLock::new(|| sha1_smol::Sha1::from(FLUSH_SCRIPT).hexdigest());
    &SHA
}

/// How long Redis remembers a token. See the essay of the module for why it only has to outlive the retries.
pub const TOKEN_TTL_MS: u64 = 600_000;

/// How long a companion may keep the time to live that it has: to set it costs Redis a fifth of a flush.
pub(super) const RENEWAL_NS: u64 = TOKEN_TTL_MS / 4 * 1_000_000;

/// The most that the increments of a short call may move the counter on their way: so they can't leave its range.
const SHORT_MAX: i64 = 99_999_999_999_999;

/// Where a companion may be written by short calls all its sequences have so many digits, so that the script may compare them as they
/// are. Others stay as they are: the next process reads what write-behind leaves.
pub(super) const SHORT_DIGITS: usize = 16;

/// Whether these steps may be told in short: increments of a string without a read among them.
pub(super) fn goes_short<M: Member>(steps: &[Segment<M>]) -> bool {
    let [step] = steps else { return false };
    let moves = |most: i64| (-SHORT_MAX..=SHORT_MAX).contains(&most);
    step.is_clampable() && step.gets == 0 && moves(step.fold.low) && moves(step.fold.high)
}

/// How long after its first sending a flush is retried: well within the memory of its token.
pub(super) const RETRY_NS_MAX: u64 = TOKEN_TTL_MS / 2 * 1_000_000;

/// The parameters of a call of the script, except its steps.
pub(super) struct ScriptCall<'a> {
    pub key: &'a Bytes,
    /// The companion key and the token's sequence.
    pub token: Option<(&'a Bytes, u64)>,
    pub token_ttl_ms: u64,
    /// Digits that the sequence has at least: see [`SHORT_DIGITS`].
    pub sequence_digits: usize,
    pub clamp: Option<&'a Clamp>,
    /// The one step is told in short: see [`goes_short`].
    pub short: bool,
    /// Send the source along: Redis said that it does not know the script.
    pub with_body: bool,
}

type Arg<'a> = Cow<'a, [u8]>;

impl ScriptCall<'_> {
    pub fn encode<M: Member>(&self, steps: &[Segment<M>], out: &mut BytesMut) {
        let mut keys: Vec<&[u8]> = vec![self.key];
        keys.extend(self.token.map(|(companion, _)| companion.as_ref()));
        let clauses = self.clamp.map(|clamp| clauses(clamp, &mut keys)).unwrap_or_default();
        let digits = self.sequence_digits;
        let sequence = self.token.map_or(String::new(), |(_, sequence)| format!("{sequence:0digits$}"));
        let mut argv: Vec<Arg> = vec![Cow::Owned(sequence.into_bytes())];
        if let (true, [step]) = (self.short, steps) {
            argv.push(decimal(step.fold.sum));
        } else {
            argv.extend([decimal(self.token_ttl_ms), decimal(clauses.len())]);
            argv.extend(clauses.into_iter().map(|clause| Cow::Owned(clause.into_bytes())));
            steps.iter().for_each(|step| push_step(self.key, step, &mut argv));
        }
        let count = itoa::Buffer::new().format(keys.len()).to_owned();
        let (name, script): (&[u8], &str) =
            if self.with_body { (b"EVAL", FLUSH_SCRIPT) } else { (b"EVALSHA", flush_script_sha()) };
        let mut parts: Vec<&[u8]> = vec![name, script.as_bytes(), count.as_bytes()];
        parts.extend(keys);
        parts.extend(argv.iter().map(AsRef::as_ref));
        encode::command(out, &parts);
    }
}

/// The arguments of one step.
fn push_step<'a, M: Member>(key: &'a [u8], step: &'a Segment<M>, argv: &mut Vec<Arg<'a>>) {
    match step.kind {
        _ if !step.is_write() => {
            let request = read_arguments(key, step);
            argv.push(Cow::Borrowed(b"R"));
            argv.push(decimal(request.len()));
            argv.extend(request.into_iter().map(Cow::Borrowed));
        }
        Kind::Sets => {
            argv.push(Cow::Borrowed(b"S"));
            argv.push(Cow::Borrowed(step.last_value()));
            argv.push(decimal(step.gets));
        }
        Kind::Counter => {
            argv.push(Cow::Borrowed(b"I"));
            push_fold(step, argv);
        }
        Kind::HashCounter => {
            argv.push(Cow::Borrowed(b"H"));
            argv.push(Cow::Borrowed(&step.arena));
            push_fold(step, argv);
        }
        Kind::Read { .. } | Kind::Write(_) | Kind::Transaction(_) | Kind::Script(_) => {
            unreachable!("the script neither has such a step nor is given one")
        }
    }
}

fn push_fold<'a, M: Member>(step: &'a Segment<M>, argv: &mut Vec<Arg<'a>>) {
    let fold = &step.fold;
    argv.extend([decimal(fold.sum), decimal(fold.low), decimal(fold.high), decimal(step.gets)]);
    let mut runs = Vec::with_capacity(fold.runs.len() * 4);
    let mut digits = itoa::Buffer::new();
    for &(delta, times) in &fold.runs {
        if !runs.is_empty() {
            runs.push(b' ');
        }
        runs.extend_from_slice(digits.format(delta).as_bytes());
        runs.push(b' ');
        runs.extend_from_slice(digits.format(times).as_bytes());
    }
    argv.push(Cow::Owned(runs));
}

/// The clamp in the script's words; the keys that it names are appended to `keys`. The override comes behind what it
/// replaces.
fn clauses<'a>(clamp: &'a Clamp, keys: &mut Vec<&'a [u8]>) -> Vec<String> {
    let mut index_of = |key: &'a Bytes| {
        keys.push(key);
        keys.len()
    };
    let mut clauses = Vec::new();
    if clamp.consumes == Consumes::Down {
        clauses.push("d".to_owned());
    }
    if clamp.shadow {
        clauses.push("s".to_owned());
    }
    if clamp.paused {
        clauses.push("p".to_owned());
    }
    let is_counted = clamp.windows_found.len() == clamp.windows.len();
    let windows: &[Window] = if is_counted { &[] } else { &clamp.windows };
    push_bounds(&clamp.ceilings, clamp.floor, windows, &mut index_of, &mut clauses);
    for (window, found) in clamp.windows.iter().zip(&clamp.windows_found) {
        clauses.push(format!("v {} {} {}", window.limit, found.used, found.left_ms));
    }
    for charge in &clamp.charges {
        let Charge { key, units, left_ms, window_ms } = charge;
        clauses.push(format!("t {} {units} {left_ms} {window_ms}", index_of(key)));
    }
    clauses.extend(clamp.fault.as_ref().map(|fault| format!("e {fault}")));
    clauses.extend(clamp.override_key.as_ref().map(|key| format!("o {}", index_of(key))));
    if clauses.is_empty() {
        clauses.push("c 4503599627370496".to_owned());
    }
    if let Some(shadow) = &clamp.shadow_bounds {
        clauses.push("b".to_owned());
        push_bounds(&shadow.ceilings, shadow.floor, &shadow.windows, &mut index_of, &mut clauses);
        clauses.extend(shadow.fault.as_ref().map(|fault| format!("e {fault}")));
    }
    clauses
}

fn push_bounds<'a>(
    ceilings: &'a [Ceiling],
    floor: Option<i64>,
    windows: &'a [Window],
    index_of: &mut impl FnMut(&'a Bytes) -> usize,
    clauses: &mut Vec<String>,
) {
    for ceiling in ceilings {
        clauses.push(match ceiling {
            Ceiling::Value(limit) => format!("c {limit}"),
            Ceiling::Key(key) => format!("C {}", index_of(key)),
        });
    }
    clauses.extend(floor.map(|floor| format!("f {floor}")));
    for window in windows {
        clauses.push(format!("w {} {} {}", index_of(&window.key), window.limit, window.window_ms));
    }
}

fn decimal<'a>(number: impl itoa::Integer) -> Arg<'a> {
    Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec())
}
