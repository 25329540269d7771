//! Which transactions fold: those on one key that count, as `MULTI; INCR k; EXPIRE k 60; EXEC` does.
//!
//! Many callers' transactions of one shape become one transaction. It has their commands once, with the sum in place of the
//! increment. That is exact where each command, had the transactions run one behind the other, would have said and done this:
//!
//! | command | what goes | the first is told | the others |
//! |---|---|---|---|
//! | `INCR DECR INCRBY DECRBY`, once | `INCRBY` of the sum | the value behind its own | the same |
//! | `HINCRBY` of a field, once per field | `HINCRBY` of the sum | the value behind its own | the same |
//! | `GET`, `HGET` behind the increment | itself | the value behind its own increment | the same |
//! | `EXPIRE PEXPIRE`, at most once, also `XX` | itself | Redis's reply | the same |
//! | the same with `NX GT LT` | itself | Redis's reply | 0 |
//! | `SET ... NX`, `SETNX`, as the first command | itself | Redis's reply | that of a loser |
//! | `TTL PTTL EXPIRETIME PEXPIRETIME EXISTS TYPE` | itself | Redis's reply | the same |
//!
//! An `EXPIRE` counts only behind an increment or a claim: before them the first transaction may find no key, and the others do. A
//! read of the time to live counts only behind the `EXPIRE`: before it the first sees what was there. Everything else is as it
//! came: a point in time (`EXPIREAT`) may be past and delete the key, other reads see the value on its way.
//!
//! Increments must not overflow, since the other commands of a transaction run even if one fails. So a shape is folded once
//! one transaction of it has shown its counters near zero ([`Shapes`]). If somebody else moves a counter to the end of its range between two
//! flushes, the members are told that the outcome is unknown.

use smallvec::SmallVec;

use super::{
    cut::near_zero,
    op::{Foldable, Op, classify, scanner_of},
    transaction_shape::TransactionShape,
    write_form::{Claim, Overwrite, WriteForm},
};
use crate::resp::{Request, RequestScan, Span, parse_integer};

/// More commands in one transaction do not fold: none that counts has as many.
const COMMANDS_MAX: usize = 16;

/// Reads that all transactions of a run are told alike: of the key's time to live, and that it exists.
const SAME_READS: [&[u8]; 6] = [b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"EXISTS", b"TYPE"];

/// One command of a transaction that folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The increment of the string.
    Increment,
    /// The increment of a field.
    FieldIncrement { field: &'a [u8], delta: i64 },
    /// The value behind the increment that is the command of this index.
    ValueOf(usize),
    /// All are told the same.
    Same,
    /// The first is told what Redis says, the others 0.
    FirstThenZero,
    /// The first is told what Redis says, the others null.
    FirstThenNull,
}

/// The commands of a transaction that folds, with their bytes.
pub(super) struct Steps<'a> {
    pub list: SmallVec<[(Step<'a>, &'a [u8]); 4]>,
    shape: TransactionShape,
    /// The delta of the string's increment, else the largest step that a field makes.
    delta: i64,
    is_created: bool,
    has_expire: bool,
    has_same_read: bool,
}

/// The operation of a transaction, whose commands lie one behind the other in these bytes. All name the same key. `None` if it does not
/// fold.
pub fn transaction_op(commands: &[u8]) -> Option<Op<'_>> {
    let steps = Steps::of(commands)?;
    Some(Op::Transaction { commands, shape: steps.shape, delta: steps.delta })
}

impl<'a> Steps<'a> {
    pub(super) fn of(commands: &'a [u8]) -> Option<Self> {
        let mut steps = Self {
            list: SmallVec::new(),
            shape: TransactionShape { verb: None, number: (0, 0), may_be_null: false },
            delta: 0,
            is_created: false,
            has_expire: false,
            has_same_read: false,
        };
        let mut scanner = scanner_of(commands);
        let mut at = 0;
        while let Some(rest) = commands.get(at..).filter(|rest| !rest.is_empty()) {
            let RequestScan::Complete { len } = scanner.scan(rest) else { return None };
            let bytes = &rest[..len];
            let is_room = steps.list.len() < COMMANDS_MAX;
            let step = is_room.then(|| steps.step(bytes, scanner.spans(), at)).flatten()?;
            steps.list.push((step, bytes));
            at += len;
        }
        steps.position(counts).is_some().then_some(steps)
    }

    /// What the next command is, which begins at this byte.
    fn step(&mut self, bytes: &'a [u8], spans: &[Span], at: usize) -> Option<Step<'a>> {
        let request = &Request::new(bytes, spans);
        let field =
            || spans.get(2).and_then(|span| bytes.get(span.start as usize..)?.get(..span.len as usize));
        let name_is = |names: &[&[u8]]| names.iter().any(|name| request.name().eq_ignore_ascii_case(name));
        match classify(request)? {
            Op::Increment(delta) => self.increment(request, at, delta),
            Op::HashIncrement { delta, .. } => self.field_increment(field()?, delta),
            Op::Get => self.position(|step| *step == Step::Increment).map(Step::ValueOf),
            Op::HashGet { field } => self.position(|step| is_of(step, field)).map(Step::ValueOf),
            Op::Read { .. } if self.is_created && name_is(&SAME_READS) => {
                self.has_same_read = true;
                Some(Step::Same)
            }
            Op::Write { form: WriteForm::First(claim), .. } => self.claim(request, claim),
            Op::Write { form, .. } if name_is(&[b"EXPIRE", b"PEXPIRE"]) => self.expire(form),
            _ => None,
        }
    }

    fn increment(&mut self, request: &Request<'_>, at: usize, delta: i64) -> Option<Step<'a>> {
        if self.position(counts).is_some() {
            return None;
        }
        if let [_, key, number] = request.spans() {
            let end = |span: &Span| at as u32 + span.start + span.len + 2;
            self.shape.number = (end(key), end(number));
        }
        self.shape.verb = Some(Foldable::by_name(request.name())?.verb());
        (self.delta, self.is_created) = (delta, true);
        Some(Step::Increment)
    }

    fn field_increment(&mut self, field: &'a [u8], delta: i64) -> Option<Step<'a>> {
        let is_known = self.position(|step| is_of(step, field)).is_some();
        if self.shape.verb.is_some() || is_known {
            return None;
        }
        self.delta = self.delta.max(delta.checked_abs()?);
        self.is_created = true;
        Some(Step::FieldIncrement { field, delta })
    }

    /// Only the first may win. A claimed value has to be near zero, or no number at all.
    fn claim(&mut self, request: &Request<'_>, claim: Claim) -> Option<Step<'a>> {
        let is_harmless = parse_integer(request.arg(2)?).is_none_or(near_zero);
        (self.list.is_empty() && is_harmless).then_some(())?;
        self.is_created = true;
        self.shape.may_be_null = claim == Claim::SetNew;
        Some(if claim == Claim::SetNew { Step::FirstThenNull } else { Step::FirstThenZero })
    }

    fn expire(&mut self, form: WriteForm) -> Option<Step<'a>> {
        if !self.is_created || self.has_same_read || std::mem::replace(&mut self.has_expire, true) {
            return None;
        }
        match form {
            WriteForm::Once => Some(Step::FirstThenZero),
            WriteForm::Last(
                Overwrite::Expire
                | Overwrite::ExpireExisting
                | Overwrite::Pexpire
                | Overwrite::PexpireExisting,
            ) => Some(Step::Same),
            _ => None,
        }
    }

    fn position(&self, is_it: impl Fn(&Step) -> bool) -> Option<usize> {
        self.list.iter().position(|(step, _)| is_it(step))
    }
}

fn counts(step: &Step) -> bool {
    matches!(step, Step::Increment | Step::FieldIncrement { .. })
}

fn is_of(step: &Step, wanted: &[u8]) -> bool {
    matches!(step, Step::FieldIncrement { field, .. } if *field == wanted)
}

/// The shapes that were tried on a key, and what that showed.
///
/// A shape is tried by one transaction that goes as it came: the server permits its commands, and its counters are near zero. What
/// was learned is forgotten together with the rights of the key.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    tried: SmallVec<[Tried; 1]>,
}

/// Shapes that are known at a time. Transactions of others go as they came: a key that has so many gains nothing by folding.
const SHAPES_MAX: usize = 4;

#[derive(Debug)]
struct Tried {
    commands: Box<[u8]>,
    shape: TransactionShape,
    is_calm: bool,
}

/// What is known of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// Nothing: one has to go as it came.
    Due,
    /// Its counters are near zero.
    Calm,
    /// It has to go as it came.
    AsItCame,
}

impl Shapes {
    pub fn forget(&mut self) {
        self.tried.clear();
    }

    pub fn trial_of(&self, commands: &[u8], shape: TransactionShape) -> Trial {
        match self.tried.iter().find(|tried| tried.shape.is_shared(&tried.commands, shape, commands)) {
            Some(tried) if tried.is_calm => Trial::Calm,
            None if self.tried.len() < SHAPES_MAX => Trial::Due,
            _ => Trial::AsItCame,
        }
    }

    /// One or more transactions of a shape were answered.
    pub fn learn(&mut self, commands: &[u8], shape: TransactionShape, is_calm: bool) {
        let is_it = |tried: &&mut Tried| tried.shape.is_shared(&tried.commands, shape, commands);
        if let Some(tried) = self.tried.iter_mut().find(is_it) {
            tried.is_calm = is_calm;
        } else if self.tried.len() < SHAPES_MAX {
            self.tried.push(Tried { commands: commands.into(), shape, is_calm });
        }
    }

    /// Fields of the hash may not be near zero any more. Of a string the queue knows the value.
    pub fn on_fields_moved(&mut self) {
        let of_fields = self.tried.iter_mut().filter(|tried| tried.shape.verb.is_none());
        of_fields.for_each(|tried| tried.is_calm = false);
    }
}

#[cfg(test)]
mod tests {
    use super::super::member::Verb;
    use super::*;

    fn commands(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            crate::resp::encode::command(&mut out, &words);
        }
        out
    }

    #[test]
    fn what_counts_on_one_key_folds() {
        let check = |lines: &[&str], expect: Option<(Option<Verb>, i64)>| {
            let commands = commands(lines);
            let found = transaction_op(&commands).map(|op| match op {
                Op::Transaction { shape, delta, .. } => (shape.verb, delta),
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expect, "{lines:?}");
        };
        let string = |verb, delta| Some((Some(verb), delta));
        check(&["INCR k", "EXPIRE k 60"], string(Verb::Incr, 1));
        check(&["incr k", "pexpire k 60000 nx", "TTL k"], string(Verb::Incr, 1));
        check(&["DECRBY k 5", "GET k", "EXPIRE k 60 XX GT"], string(Verb::Decrby, -5));
        check(&["SET k 0 EX 60 NX", "INCR k"], string(Verb::Incr, 1));
        check(&["SETNX k 0", "EXPIRE k 60", "INCRBY k 2", "PTTL k"], string(Verb::Incrby, 2));
        check(&["HINCRBY k a 1", "HINCRBY k b -3", "EXPIRE k 9", "HGET k b"], Some((None, 3)));
        for none in [
            &[][..],
            &["EXPIRE k 60"],
            &["EXPIRE k 60", "INCR k"],
            &["TTL k", "INCR k"],
            &["GET k", "INCR k"],
            &["INCR k", "INCR k"],
            &["INCR k", "HINCRBY k a 1"],
            &["HINCRBY k a 1", "INCR k"],
            &["HINCRBY k a 1", "HINCRBY k a 1"],
            &["HGET k a", "HINCRBY k a 1"],
            &["HINCRBY k a 1", "HGET k b"],
            &["INCR k", "TTL k", "EXPIRE k 60"],
            &["INCR k", "EXPIRE k 60", "EXPIRE k 50"],
            &["INCR k", "EXPIRE k 0"],
            &["INCR k", "EXPIRE k x"],
            &["INCR k", "EXPIREAT k 99999999"],
            &["INCR k", "PERSIST k"],
            &["INCR k", "STRLEN k"],
            &["INCR k", "SETNX k 0"],
            &["SET k 0 NX EXAT 99999999", "INCR k"],
            &["SET k 9223372036854775807 NX", "INCR k"],
            &["SET k 0", "INCR k"],
            &["SADD k a", "EXPIRE k 60"],
            &["INCR k", "APPEND k 1"],
        ] {
            check(none, None);
        }
        check(&["INCR k"; COMMANDS_MAX + 1], None);
        let mut many = vec!["INCR k"];
        many.resize(COMMANDS_MAX, "GET k");
        check(&many, string(Verb::Incr, 1));
        many.push("GET k");
        check(&many, None);
        assert!(transaction_op(b"*1\r\n$4\r\nPING").is_none(), "half a request");
    }

    #[test]
    fn a_shape_is_tried_before_it_folds_and_they_are_few() {
        let mut shapes = Shapes::default();
        let lines: Vec<String> = (1..9).map(|ttl| format!("EXPIRE k {ttl}")).collect();
        let all: Vec<Vec<u8>> = lines.iter().map(|line| commands(&["INCRBY k 1", line])).collect();
        let trial = |shapes: &Shapes, place: usize| {
            shapes.trial_of(&all[place], Steps::of(&all[place]).unwrap().shape)
        };
        let learn = |shapes: &mut Shapes, place: usize, is_calm| {
            shapes.learn(&all[place], Steps::of(&all[place]).unwrap().shape, is_calm);
        };
        assert_eq!(trial(&shapes, 0), Trial::Due);
        learn(&mut shapes, 0, true);
        assert_eq!(trial(&shapes, 0), Trial::Calm);
        learn(&mut shapes, 0, false);
        assert_eq!((trial(&shapes, 0), trial(&shapes, 1)), (Trial::AsItCame, Trial::Due));
        (0..all.len()).for_each(|place| learn(&mut shapes, place, true));
        assert_eq!(
            (trial(&shapes, SHAPES_MAX - 1), trial(&shapes, SHAPES_MAX)),
            (Trial::Calm, Trial::AsItCame)
        );
        shapes.on_fields_moved();
        assert_eq!(trial(&shapes, SHAPES_MAX - 1), Trial::Calm, "of a string");
        shapes.forget();
        assert_eq!(trial(&shapes, 0), Trial::Due);
    }

    #[test]
    fn members_may_differ_in_their_number_alone() {
        let check = |one: &[&str], other: &[&str], expect: bool| {
            let (one, other) = (commands(one), commands(other));
            let [first, second] = [&one, &other].map(|commands| Steps::of(commands).unwrap().shape);
            assert_eq!(first.is_shared(&one, second, &other), expect);
        };
        check(&["INCRBY k 1", "EXPIRE k 60"], &["INCRBY k 1000", "EXPIRE k 60"], true);
        check(&["HINCRBY k a 1"], &["HINCRBY k a 1"], true);
        check(&["INCRBY k 1", "EXPIRE k 60"], &["INCRBY k 1", "EXPIRE k 61"], false);
        check(&["INCRBY k 1"], &["DECRBY k 1"], false);
        check(&["INCR k"], &["INCRBY k 1"], false);
        check(&["HINCRBY k a 1"], &["HINCRBY k a 2"], false);
    }
}
