//! How a segment is parted: members leave it, or it goes in two, and each part knows what it holds.

use super::{Entry, EntryKind, Kind, Segment};
use crate::combine::member::Member;

impl<M: Member> Segment<M> {
    /// Takes the first operations off an unfolded segment.
    pub fn split_front(&mut self, operations: usize) -> Self {
        let mut front = Self { kind: self.kind, unfolded: true, ..Self::new() };
        if operations == 0 {
            return front;
        }
        let mut left = operations;
        let mut rest = Vec::with_capacity(self.entries.len());
        for entry in self.entries.drain(..) {
            let count = entry.member.operations() as usize;
            if count <= left {
                left -= count;
                front.entries.push(entry);
                continue;
            }
            for place in 0..count {
                let one = Entry { member: entry.member.one(place as u32), ..entry };
                if place < left { front.entries.push(one) } else { rest.push(one) }
            }
            left = 0;
        }
        self.entries = rest;
        self.recount();
        front.recount();
        front
    }

    /// Puts back what [`Self::split_front`] took.
    pub fn put_front(&mut self, front: Self) {
        self.entries.splice(0..0, front.entries);
        self.recount();
    }

    /// Drops the first operations of an unfolded segment: they are answered.
    pub fn drop_operations(&mut self, operations: usize) {
        if operations > 0 {
            self.split_front(operations);
        }
    }

    /// Takes the entries of some members out. What is left goes as it came.
    pub fn take_members(&mut self, mut taken: impl FnMut(&M) -> bool) -> Self {
        self.take_entries(|entry| taken(&entry.member))
    }

    /// Takes some entries out. If there are any, what is left goes as it came.
    pub fn take_entries(&mut self, taken: impl FnMut(&mut Entry<M>) -> bool) -> Self {
        let mut out = Self { kind: self.kind, unfolded: true, ..Self::new() };
        out.entries = self.entries.extract_if(.., taken).collect();
        if !out.entries.is_empty() {
            let goes_by_one = matches!(self.kind, Kind::Transaction(_) | Kind::Script(_));
            if goes_by_one || matches!(self.kind, Kind::Counter | Kind::HashCounter) {
                self.unfold();
            }
            self.recount();
            out.recount();
        }
        out
    }

    /// Takes the first entries of a run of `SET`s out.
    pub fn split_entries(&mut self, entries: usize) -> Self {
        let mut front = Self { kind: self.kind, ..Self::new() };
        front.entries = self.entries.drain(..entries).collect();
        self.recount();
        front.recount();
        front
    }

    /// Takes the writes out of what was lost: what is left are its reads, which may go again as one.
    pub fn take_writes(&mut self) -> Self {
        let writes = self.take_entries(|entry| entry.ask != EntryKind::Get);
        if self.kind == Kind::Sets {
            // They were to be told what was set. Now they read what is there.
            self.kind = Kind::Counter;
            self.arena.clear();
        }
        self.fold.clear();
        (self.unfolded, self.is_read_before) = (false, false);
        writes
    }

    /// The reads among the operations at these places of an unfolded segment, as one of their own.
    pub fn reads_at(&self, mut places: impl Iterator<Item = usize>) -> Option<Self> {
        let mut reads = Self { kind: self.kind, arena: self.arena.clone(), ..Self::new() };
        let read = |place| self.operation(place).filter(|(entry, _)| entry.ask == EntryKind::Get);
        reads.entries = places
            .by_ref()
            .filter_map(|place| read(place).map(|(entry, member)| Entry { member, ..*entry }))
            .collect();
        reads.recount();
        (reads.operations > 0).then_some(reads)
    }

    /// Counts the operations anew. The fold is not; nothing looks at that of an unfolded segment but for whether it writes.
    fn recount(&mut self) {
        let of = |entry: &Entry<M>| entry.member.operations();
        let counted =
            |ask: EntryKind| self.entries.iter().filter(|entry| entry.ask == ask).map(of).sum::<u32>();
        (self.gets, self.fold.increments) = (counted(EntryKind::Get), counted(EntryKind::Increment));
        self.operations = self.entries.iter().map(|entry| of(entry) as usize).sum();
    }
}
