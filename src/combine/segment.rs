//! A segment: a run of operations that become one command, or one step of the flush script.
//!
//! Owns the order within: a segment's members are in the order in which they joined, and so they take effect. Which segment an
//! operation joins, `places` says; nothing is moved once it is in one.
//!
//! Members lie in one flat vector, and segments are reused with their vectors. So in a steady state no member needs an allocation.

mod parting;

use super::{
    fold::Fold,
    member::{Member, Verb},
    op::Op,
    rights::CommandForm,
    script_shape::{ScriptCalls, ScriptShape},
    transaction_shape::TransactionShape,
    write_form::WriteForm,
};
use crate::resp::RespVersion;

/// The kind of a segment's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `INCRBY` and `GET` on the string; without an increment it is a plain `GET`.
    Counter,
    /// `HINCRBY` and `HGET` on one field, whose name is in the arena.
    HashCounter,
    /// Begins with a `SET`; further `SET`s and `GET`s, whose answers are known. The values are in the arena.
    Sets,
    /// Equal reads; the request is in the arena. Clients of both versions share one with a scalar reply.
    Read { scalar: bool, version: RespVersion },
    /// Writes of one form; the request that goes is in the arena.
    Write(WriteForm),
    /// Transactions of one shape; the commands of the first are in the arena.
    Transaction(TransactionShape),
    /// Calls of a script that counts; the request of the first is in the arena.
    Script(ScriptShape),
}

/// The kind of one entry's operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// The counter after its delta.
    Increment,
    /// `OK`; in a `Write` or `Transaction` what its form says.
    Set,
    /// In a `Counter` or `HashCounter` the value at this point, in a `Read` the reply, in `Sets` the value that it carries.
    Get,
}

/// What an entry's command and its answer need besides what all of its segment share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    Nothing,
    /// The delta of an increment, of a script's call, or of the increment in a transaction.
    Delta(i64),
    /// How many elements a push has.
    Elements(i64),
    /// For a `GET` behind a `SET`: where in the arena the value lies.
    Value {
        start: u32,
        length: u32,
    },
}

/// One operation, or as many equal ones as its member waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<M> {
    pub member: M,
    pub carried: Carried,
    pub ask: EntryKind,
    pub version: RespVersion,
}

impl<M> Entry<M> {
    /// What it adds; 0 for what adds nothing.
    pub fn delta(&self) -> i64 {
        if let Carried::Delta(delta) = self.carried { delta } else { 0 }
    }

    /// How many elements it pushes; 0 for what is no push.
    pub fn elements(&self) -> i64 {
        if let Carried::Elements(elements) = self.carried { elements } else { 0 }
    }
}

#[derive(Debug)]
pub(super) struct Segment<M> {
    pub kind: Kind,
    pub entries: Vec<Entry<M>>,
    pub arena: Vec<u8>,
    pub fold: Fold,
    /// How many operations the entries are.
    pub operations: usize,
    /// How many of them are `GET`s.
    pub gets: u32,
    /// It goes as it came: one command for each operation.
    pub unfolded: bool,
    /// What its replies said of the counters of a transaction: whether they are near zero.
    pub is_calm: Option<bool>,
    /// Of calls of a script: how they go.
    pub calls: ScriptCalls,
    /// Its value is read right before it, so that its reads have an answer if Redis refuses it.
    pub is_read_before: bool,
    /// Where in the arena the last `SET`'s value begins.
    value_start: usize,
    /// Some `GET` has been answered with the last value, so that it has to stay.
    value_read: bool,
}

/// Entries of a recycled segment that are kept allocated: 4,096 of about 64 bytes. One that grew beyond is let go.
const ENTRIES_KEPT: usize = 1 << 12;
/// Likewise for its arena.
const ARENA_BYTES_KEPT: usize = 1 << 16;

impl<M: Member> Segment<M> {
    pub fn new() -> Self {
        Self {
            kind: Kind::Counter,
            entries: Vec::new(),
            arena: Vec::new(),
            fold: Fold::default(),
            operations: 0,
            gets: 0,
            unfolded: false,
            is_calm: None,
            calls: ScriptCalls::default(),
            is_read_before: false,
            value_start: 0,
            value_read: false,
        }
    }

    /// Empties the segment, keeping its memory within reason.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(ENTRIES_KEPT);
        self.arena.clear();
        self.arena.shrink_to(ARENA_BYTES_KEPT);
        self.fold.clear();
        self.operations = 0;
        self.gets = 0;
        self.unfolded = false;
        self.is_calm = None;
        self.calls = ScriptCalls::default();
        self.is_read_before = false;
        self.value_start = 0;
        self.value_read = false;
    }

    /// Makes an empty segment one of the operation's kind and takes the operation as its first.
    pub fn begin(&mut self, op: &Op, member: M, version: RespVersion) {
        self.kind = match *op {
            Op::Increment(_) | Op::Get => Kind::Counter,
            Op::Set(_) => Kind::Sets,
            Op::HashIncrement { field, .. } | Op::HashGet { field } => {
                self.arena.extend_from_slice(field);
                Kind::HashCounter
            }
            Op::Read { request, scalar } => {
                self.arena.extend_from_slice(request);
                Kind::Read { scalar, version }
            }
            Op::Write { request, form } => {
                self.arena.extend_from_slice(request);
                let carried = Carried::Elements(form.elements(request));
                self.add(Entry { member, carried, ask: EntryKind::Set, version });
                self.kind = Kind::Write(form);
                return;
            }
            Op::Transaction { commands, shape, .. } => {
                self.arena.extend_from_slice(commands);
                Kind::Transaction(shape)
            }
            Op::Script { request, shape, .. } => {
                self.arena.extend_from_slice(request);
                Kind::Script(shape)
            }
        };
        let joined = self.join(op, member, version);
        debug_assert!(joined, "a segment takes an operation of its own kind");
    }

    /// Takes the operation if it continues the run. False if it does not; nothing is changed then.
    #[inline]
    pub fn join(&mut self, op: &Op, member: M, version: RespVersion) -> bool {
        let operations = member.operations();
        let (ask, carried) = match (self.kind, *op) {
            (Kind::Counter, Op::Increment(delta)) if self.fold.add(delta, operations) => {
                (EntryKind::Increment, Carried::Delta(delta))
            }
            (Kind::Counter, Op::Get) => (EntryKind::Get, Carried::Nothing),
            (Kind::HashCounter, Op::HashIncrement { field, delta })
                if self.arena == field && self.fold.add(delta, operations) =>
            {
                (EntryKind::Increment, Carried::Delta(delta))
            }
            (Kind::HashCounter, Op::HashGet { field }) if self.arena == field => {
                (EntryKind::Get, Carried::Nothing)
            }
            (Kind::Sets, Op::Set(value)) if self.replace_value(value) => (EntryKind::Set, Carried::Nothing),
            (Kind::Sets, Op::Get) => {
                self.value_read = true;
                let length = self.arena.len() - self.value_start;
                (EntryKind::Get, Carried::Value { start: self.value_start as u32, length: length as u32 })
            }
            (Kind::Read { scalar, version: first }, Op::Read { request, .. })
                if self.arena == request && (scalar || first == version) =>
            {
                (EntryKind::Get, Carried::Nothing)
            }
            (Kind::Write(form), Op::Write { request, form: other })
                if form == other && form.take(&mut self.arena, request) =>
            {
                (EntryKind::Set, Carried::Elements(form.elements(request)))
            }
            (Kind::Transaction(shape), Op::Transaction { commands, shape: other, delta })
                if shape.is_shared(&self.arena, other, commands)
                    && (!shape.may_be_null
                        || self.needs_version().is_none_or(|needed| needed == version))
                    && self.fold.add(delta, operations) =>
            {
                (EntryKind::Set, Carried::Delta(delta))
            }
            (Kind::Script(shape), Op::Script { request, shape: other, delta })
                if shape.is_shared(&self.arena, other, request)
                    && self.needs_version().is_none_or(|needed| needed == version)
                    && shape.has_room(self.fold.sum, delta)
                    && self.fold.add(delta, operations) =>
            {
                (EntryKind::Increment, Carried::Delta(delta))
            }
            _ => return false,
        };
        self.add(Entry { member, carried, ask, version });
        true
    }

    fn add(&mut self, entry: Entry<M>) {
        let operations = entry.member.operations();
        self.operations += operations as usize;
        self.gets += if entry.ask == EntryKind::Get { operations } else { 0 };
        self.entries.push(entry);
    }

    /// Only the last value goes onto the wire, so one that no `GET` saw is overwritten. False if the arena would
    /// outgrow what an entry can point into.
    fn replace_value(&mut self, value: &[u8]) -> bool {
        let start = if self.value_read { self.arena.len() } else { self.value_start };
        if start + value.len() > i32::MAX as usize && !self.entries.is_empty() {
            return false;
        }
        self.arena.truncate(start);
        self.value_start = start;
        self.value_read = false;
        self.arena.extend_from_slice(value);
        true
    }

    /// The value of the last `SET`.
    pub fn last_value(&self) -> &[u8] {
        &self.arena[self.value_start..]
    }

    /// The value that a `GET` among `SET`s was answered with.
    pub fn value_at(&self, entry: &Entry<M>) -> &[u8] {
        let Carried::Value { start, length } = entry.carried else { return &[] };
        &self.arena[start as usize..][..length as usize]
    }

    pub fn is_write(&self) -> bool {
        match self.kind {
            Kind::Counter | Kind::HashCounter => self.fold.increments > 0,
            Kind::Sets | Kind::Write(_) | Kind::Transaction(_) | Kind::Script(_) => true,
            Kind::Read { .. } => false,
        }
    }

    /// No script does it.
    pub fn is_plain_only(&self) -> bool {
        matches!(self.kind, Kind::Write(_) | Kind::Transaction(_) | Kind::Script(_))
    }

    /// A read whose reply survives the barrier through Lua unchanged.
    pub fn is_scalar_read(&self) -> bool {
        !self.is_write() && !matches!(self.kind, Kind::Read { scalar: false, .. })
    }

    /// Has increments that a quota can hold.
    pub fn is_clampable(&self) -> bool {
        self.kind == Kind::Counter && self.fold.increments > 0
    }

    /// Whether the write can go as one plain command which, if Redis refuses it, has done nothing: the first member
    /// is not a `GET` (that would need the value before), and the increments never turn (so that a sum that fits proves
    /// that every step fits).
    pub fn can_go_plain(&self) -> bool {
        match self.kind {
            Kind::Counter | Kind::HashCounter => {
                self.fold.monotone()
                    && self.entries.first().is_some_and(|first| first.ask == EntryKind::Increment)
            }
            Kind::Sets | Kind::Read { .. } | Kind::Write(_) | Kind::Transaction(_) | Kind::Script(_) => true,
        }
    }

    /// The protocol version that the connection must speak, if the reply depends on it.
    pub fn needs_version(&self) -> Option<RespVersion> {
        match self.kind {
            Kind::Read { scalar: false, version } => Some(version),
            Kind::Transaction(shape) if shape.may_be_null => self.entries.first().map(|first| first.version),
            // As it came, a script may answer with anything.
            Kind::Script(_) => self.entries.first().map(|first| first.version),
            _ => None,
        }
    }

    /// How many commands it is, without the script.
    pub fn commands(&self) -> usize {
        let own = if self.unfolded { self.operations } else { 1 };
        own + self.calls.around() + usize::from(self.is_read_before)
    }

    /// How many commands stand before its own.
    pub fn leading(&self) -> usize {
        self.calls.leading() + usize::from(self.is_read_before)
    }

    /// From now on it goes as it came.
    pub fn unfold(&mut self) {
        (self.unfolded, self.is_read_before) = (true, false);
    }

    /// Whether it is folded into a command that not all of its members said.
    pub fn is_own_form(&self) -> bool {
        let is_counter = self.is_clampable() && !self.all_say(Verb::Incrby);
        let is_counted =
            matches!(self.kind, Kind::Transaction(shape) if !matches!(shape.verb, None | Some(Verb::Incrby)));
        self.operations > 1 && (is_counter || is_counted)
    }

    /// Whether each increment was said in this way.
    fn all_say(&self, verb: Verb) -> bool {
        self.entries.iter().all(|entry| entry.ask != EntryKind::Increment || entry.member.verb() == verb)
    }

    /// The first entry whose own form is not `allowed`, if the segment folds into another form, or has reads that the fold answers.
    pub fn first_not(&self, allowed: impl Fn(CommandForm) -> bool) -> Option<usize> {
        if self.operations == 1 || !self.is_write() {
            return None;
        }
        let is_other = |form: CommandForm| (self.gets > 0 || form != self.folded_form()) && !allowed(form);
        self.entries.iter().position(|entry| self.entry_form(entry).is_some_and(is_other))
    }

    /// The form of the one command that the segment folds into.
    pub fn folded_form(&self) -> CommandForm {
        match self.kind {
            Kind::HashCounter => CommandForm::HashIncrement,
            Kind::Sets => CommandForm::Set,
            Kind::Counter | Kind::Read { .. } | Kind::Write(_) | Kind::Transaction(_) | Kind::Script(_) => {
                CommandForm::Increment(Verb::Incrby)
            }
        }
    }

    /// The form that the client of an entry used.
    pub fn entry_form(&self, entry: &Entry<M>) -> Option<CommandForm> {
        match (self.kind, entry.ask) {
            (Kind::Counter, EntryKind::Increment) => Some(CommandForm::Increment(entry.member.verb())),
            (Kind::Counter, _) => Some(CommandForm::Get),
            (Kind::HashCounter, EntryKind::Get) => Some(CommandForm::HashGet),
            (Kind::HashCounter, _) => Some(CommandForm::HashIncrement),
            _ => None,
        }
    }

    /// The operation at this place, and who waits for it.
    pub fn operation(&self, mut place: usize) -> Option<(&Entry<M>, M)> {
        for entry in &self.entries {
            let operations = entry.member.operations() as usize;
            if place < operations {
                return Some((entry, entry.member.one(place as u32)));
            }
            place -= operations;
        }
        None
    }
}
