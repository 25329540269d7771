//! The order of replies of one client.
//!
//! Each request takes a slot when it is read, and slots leave in that order whatever the order in which upstreams
//! answer. A reply that finds its slot at the head goes straight to the output; one that comes early is held.
//!
//! Invariant: the head is never a settled slot, so `is_empty()` means that nothing is unsettled.

use std::collections::VecDeque;

use bytes::Bytes;

use super::merge::Merge;
use super::output::Output;
use super::settled::{Ran, Settled};
use crate::limits::{HELD_INLINE_BYTES_MAX, KEPT_BYTES_MAX};
use crate::shared::command_tallies::CommandRow;
use crate::worker::reply::ReplyBytes;

/// A reply that is complete but not yet due.
#[derive(Debug)]
enum Kept {
    Inline { len: u8, bytes: [u8; HELD_INLINE_BYTES_MAX] },
    Shared(Bytes),
}

#[derive(Debug)]
enum Reply {
    /// One reply is awaited.
    Waiting,
    /// The reply to an `EXEC` is awaited, which runs these commands.
    Running(Box<[CommandRow]>),
    /// Several replies are awaited, to be merged.
    Merging(Box<Merge>),
    /// ReplyBytes, behind others that are not.
    Kept(Kept),
}

#[derive(Debug)]
struct Slot {
    reply: Reply,
    /// What took it.
    command: CommandRow,
    /// The client asked not to be answered (`CLIENT REPLY OFF|SKIP`).
    suppressed: bool,
}

/// Keeps a reply beyond the buffer that it came in.
fn keep(reply: ReplyBytes<'_>) -> Kept {
    match reply {
        ReplyBytes::Borrowed(bytes) if bytes.len() <= HELD_INLINE_BYTES_MAX => {
            let mut inline = [0; HELD_INLINE_BYTES_MAX];
            inline[..bytes.len()].copy_from_slice(bytes);
            Kept::Inline { len: bytes.len() as u8, bytes: inline }
        }
        reply => Kept::Shared(reply.into_bytes()),
    }
}

fn write(reply: ReplyBytes<'_>, output: &mut Output) {
    match reply {
        ReplyBytes::Borrowed(bytes) => output.tail().extend_from_slice(bytes),
        ReplyBytes::Owned(bytes) => output.push(bytes),
    }
}

/// The reply queue of one client.
#[derive(Debug, Default)]
pub struct ReplyQueue {
    slots: VecDeque<Slot>,
    /// The sequence number of the head; wraps around.
    head: u32,
    /// Bytes of replies that are held out of order.
    held_bytes: usize,
    /// The command of the request at hand, which the slots that are taken now are for.
    at_hand: CommandRow,
    /// What that runs, if it is an `EXEC`.
    runs: Option<Box<[CommandRow]>>,
}

impl ReplyQueue {
    /// Unsettled and held slots.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether every request has been answered.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of held replies.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The sequence number that the next slot will have.
    pub fn next_sequence(&self) -> u32 {
        self.head.wrapping_add(self.slots.len() as u32)
    }

    /// The sequence number of the first slot that has not left; that of the next one if all have.
    pub fn first_sequence(&self) -> u32 {
        self.head
    }

    /// Gives back what the largest pipeline has left behind.
    pub fn give_back(&mut self) {
        if self.slots.is_empty() && self.slots.capacity() > KEPT_BYTES_MAX / size_of::<Slot>() {
            self.slots = VecDeque::new();
        }
    }

    /// Whether every slot before `sequence` has been answered and has left. `sequence` is at most the next one.
    pub fn has_left(&self, sequence: u32) -> bool {
        // The head is behind by at most the length of the queue, so a small distance means that it has yet to come there.
        let ahead = sequence.wrapping_sub(self.head) as usize;
        ahead == 0 || ahead > self.slots.len()
    }

    /// Whether the slot `sequence` and every one before it has been answered and has left. While nothing has taken it, that
    /// is so when nothing is unsettled.
    pub fn has_settled(&self, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.head) as usize;
        ahead > self.slots.len() || self.slots.is_empty()
    }

    /// A request is at hand: slots that are taken from now on are for it.
    #[inline]
    pub fn begin(&mut self, command: CommandRow) {
        self.at_hand = command;
    }

    /// The command of the request at hand.
    pub fn at_hand(&self) -> CommandRow {
        self.at_hand
    }

    /// The request at hand is an `EXEC` that runs these.
    pub fn begin_transaction(&mut self, commands: Vec<CommandRow>) {
        self.runs = Some(commands.into());
    }

    /// The command that took the slot `sequence`, while that is in the queue.
    pub fn command_of(&self, sequence: u32) -> Option<CommandRow> {
        self.slots.get(sequence.wrapping_sub(self.head) as usize).map(|slot| slot.command)
    }

    /// Takes the next slot for a request that is about to be forwarded; returns its sequence number.
    pub fn push_waiting(&mut self, suppressed: bool) -> u32 {
        self.push(Reply::Waiting, suppressed)
    }

    /// Takes the next slot for the `EXEC` at hand.
    pub fn push_transaction(&mut self, suppressed: bool) -> u32 {
        let runs = self.runs.take().unwrap_or_default();
        self.push(Reply::Running(runs), suppressed)
    }

    /// Takes the next slots for so many equal requests, whose replies come together; returns the first one's sequence
    /// number.
    pub fn push_waiting_run(&mut self, requests: u32) -> u32 {
        let (sequence, command) = (self.next_sequence(), self.at_hand);
        let slot = || Slot { reply: Reply::Waiting, command, suppressed: false };
        self.slots.extend((0..requests).map(|_| slot()));
        sequence
    }

    /// Takes the next slot for a request that was taken apart.
    pub fn push_merge(&mut self, merge: Merge, suppressed: bool) -> u32 {
        self.push(Reply::Merging(Box::new(merge)), suppressed)
    }

    /// The slot `sequence`, for which one reply was awaited, awaits several.
    pub fn gather(&mut self, sequence: u32, merge: Merge) {
        let index = sequence.wrapping_sub(self.head) as usize;
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| matches!(slot.reply, Reply::Waiting)) {
            slot.reply = Reply::Merging(Box::new(merge));
        }
    }

    /// Answers the newest request at once, in its turn.
    pub fn answer(&mut self, reply: ReplyBytes<'_>, suppressed: bool, output: &mut Output) {
        if self.slots.is_empty() {
            if !suppressed {
                write(reply, output);
            }
            return;
        }
        let held = keep(reply);
        self.held_bytes += held.len();
        self.push(Reply::Kept(held), suppressed);
    }

    /// Settles slot `sequence` (its part `part` when it merges), and says what that does. A sequence that is not in the queue is ignored.
    pub fn settle(
        &mut self,
        sequence: u32,
        part: u32,
        reply: ReplyBytes<'_>,
        output: &mut Output,
    ) -> Option<Settled> {
        let index = sequence.wrapping_sub(self.head) as usize;
        let slot = self.slots.get_mut(index)?;
        let mut settled = Settled::whole(slot.command, reply.as_slice());
        let reply = match &mut slot.reply {
            Reply::Waiting => reply,
            Reply::Running(commands) => {
                settled.ran = Ran::of(commands, reply.as_slice());
                reply
            }
            Reply::Merging(merge) => {
                let part_settled = Settled::part(slot.command, reply.as_slice());
                let Some(whole) = merge.add(part as usize, reply.into_bytes()) else {
                    return Some(part_settled);
                };
                settled = Settled::whole(slot.command, &whole);
                ReplyBytes::Owned(whole)
            }
            Reply::Kept(_) => return None,
        };
        if index > 0 {
            let held = keep(reply);
            self.held_bytes += held.len();
            slot.reply = Reply::Kept(held);
            return Some(settled);
        }
        let suppressed = slot.suppressed;
        self.pop();
        if !suppressed {
            write(reply, output);
        }
        if self.has_due() {
            self.release_held(output);
        }
        Some(settled)
    }

    /// Settles a run of slots of one command, of which `sequence` is the first, with their replies one behind the other: all errors, or
    /// none. A run that is not in the queue is ignored.
    pub fn settle_run(
        &mut self,
        sequence: u32,
        requests: u32,
        replies: ReplyBytes<'_>,
        output: &mut Output,
    ) -> Option<Settled> {
        let first = sequence.wrapping_sub(self.head) as usize;
        let run = first..first.saturating_add(requests as usize);
        if run.end > self.slots.len() {
            return None;
        }
        let settled = Settled::whole(self.slots.get(first)?.command, replies.as_slice());
        if first > 0 {
            // The first slot holds all of them; the others have nothing to add when their turn comes.
            let held = keep(replies);
            self.held_bytes += held.len();
            let mut held = Some(held);
            for slot in self.slots.range_mut(run) {
                slot.reply = Reply::Kept(held.take().unwrap_or(Kept::NOTHING));
            }
            return Some(settled);
        }
        self.slots.drain(run);
        self.head = self.head.wrapping_add(requests);
        write(replies, output);
        self.release_held(output);
        Some(settled)
    }

    /// The reply at the head goes out whatever the client has said: it is one that Redis counts as a push.
    pub fn unsuppress_head(&mut self) {
        if let Some(slot) = self.slots.front_mut() {
            slot.suppressed = false;
        }
    }

    /// Gives up every slot: whoever settles one later is not heard.
    pub fn abandon(&mut self) {
        self.head = self.next_sequence();
        self.slots.clear();
        self.held_bytes = 0;
    }

    /// Takes back the newest slot, whose request will come again.
    pub fn retract(&mut self) {
        self.slots.pop_back();
    }

    /// Whether the reply that is due has come already.
    #[inline]
    fn has_due(&self) -> bool {
        matches!(self.slots.front(), Some(Slot { reply: Reply::Kept(_), .. }))
    }

    fn release_held(&mut self, output: &mut Output) {
        while self.has_due() {
            let Some(Slot { reply: Reply::Kept(held), suppressed, .. }) = self.pop() else { return };
            self.held_bytes -= held.len();
            if suppressed {
                continue;
            }
            match held {
                Kept::Inline { len, bytes } => output.tail().extend_from_slice(&bytes[..usize::from(len)]),
                Kept::Shared(bytes) => output.push(bytes),
            }
        }
    }

    fn push(&mut self, reply: Reply, suppressed: bool) -> u32 {
        let sequence = self.head.wrapping_add(self.slots.len() as u32);
        self.slots.push_back(Slot { reply, command: self.at_hand, suppressed });
        sequence
    }

    fn pop(&mut self) -> Option<Slot> {
        self.head = self.head.wrapping_add(1);
        self.slots.pop_front()
    }
}

impl Kept {
    const NOTHING: Kept = Kept::Inline { len: 0, bytes: [0; HELD_INLINE_BYTES_MAX] };

    fn len(&self) -> usize {
        match self {
            Kept::Inline { len, .. } => usize::from(*len),
            Kept::Shared(bytes) => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settles the slots of `order` one after the other and returns what has gone out after each.
    fn check(order: &[u32], expected: &[&str]) {
        let mut queue = ReplyQueue { head: u32::MAX - 1, ..ReplyQueue::default() };
        let mut output = Output::default();
        let sequences: Vec<u32> = order.iter().map(|_| queue.push_waiting(false)).collect();
        for (step, slot) in order.iter().enumerate() {
            let reply = format!("+{slot}\r\n");
            queue.settle(sequences[*slot as usize], 0, ReplyBytes::Borrowed(reply.as_bytes()), &mut output);
            let sent = String::from_utf8_lossy(output.tail()).replace("\r\n", "");
            assert_eq!(sent, expected[step], "after settling {:?}", &order[..=step]);
        }
        assert!(queue.is_empty());
        assert_eq!(queue.held_bytes(), 0);
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        check(&[0, 1, 2], &["+0", "+0+1", "+0+1+2"]);
        check(&[2, 1, 0], &["", "", "+0+1+2"]);
        check(&[1, 0, 2], &["", "+0+1", "+0+1+2"]);
    }

    #[test]
    fn a_slot_has_settled_when_it_and_all_before_it_have_left() {
        let mut queue = ReplyQueue { head: u32::MAX, ..ReplyQueue::default() };
        let mut output = Output::default();
        let before = queue.next_sequence().wrapping_sub(1);
        assert!(queue.has_settled(before) && queue.has_settled(queue.next_sequence()), "nothing was asked");
        let (first, second) = (queue.push_waiting(false), queue.push_waiting(false));
        let third = queue.next_sequence();
        let check = |queue: &ReplyQueue, expected: [bool; 4]| {
            let settled = [before, first, second, third].map(|sequence| queue.has_settled(sequence));
            assert_eq!(settled, expected);
        };
        check(&queue, [true, false, false, false]);
        queue.settle(second, 0, ReplyBytes::Borrowed(b"+2\r\n"), &mut output);
        check(&queue, [true, false, false, false]);
        queue.settle(first, 0, ReplyBytes::Borrowed(b"+1\r\n"), &mut output);
        check(&queue, [true, true, true, true]);
    }

    #[test]
    fn a_run_is_settled_as_one() {
        let mut queue = ReplyQueue { head: u32::MAX - 1, ..ReplyQueue::default() };
        let mut output = Output::default();
        let (first, run) = (queue.push_waiting(false), queue.push_waiting_run(3));
        let (second, last) = (queue.push_waiting_run(2), queue.push_waiting(false));
        assert_eq!((queue.len(), run, second), (7, u32::MAX, 2));
        queue.settle_run(run, 3, ReplyBytes::Borrowed(b":1\r\n:2\r\n:3\r\n"), &mut output);
        queue.settle_run(run, 8, ReplyBytes::Borrowed(b"beyond the queue"), &mut output);
        queue.settle(last, 0, ReplyBytes::Borrowed(b"+last\r\n"), &mut output);
        assert_eq!((queue.len(), queue.held_bytes(), output.len()), (7, 19, 0));
        queue.settle(first, 0, ReplyBytes::Borrowed(b"+first\r\n"), &mut output);
        assert_eq!((queue.len(), output.tail().as_slice()), (3, &b"+first\r\n:1\r\n:2\r\n:3\r\n"[..]));
        // A run may be settled one by one as well.
        queue.settle(second.wrapping_add(1), 0, ReplyBytes::Borrowed(b":5\r\n"), &mut output);
        queue.settle_run(second, 1, ReplyBytes::Borrowed(b":4\r\n"), &mut output);
        assert!(output.tail().ends_with(b":3\r\n:4\r\n:5\r\n+last\r\n"));
        assert!(queue.is_empty() && queue.held_bytes() == 0);
        let run = queue.push_waiting_run(2);
        queue.settle_run(run, 2, ReplyBytes::Borrowed(b":6\r\n:7\r\n"), &mut output);
        assert!(output.tail().ends_with(b"+last\r\n:6\r\n:7\r\n") && queue.is_empty());
    }

    #[test]
    fn a_suppressed_reply_keeps_its_turn_and_leaves_nothing() {
        let mut queue = ReplyQueue::default();
        let mut output = Output::default();
        let first = queue.push_waiting(true);
        queue.answer(ReplyBytes::Borrowed(b"+PONG\r\n"), false, &mut output);
        queue.answer(ReplyBytes::Owned(Bytes::from(vec![b'x'; 100])), true, &mut output);
        assert!(output.is_empty());
        queue.settle(first, 0, ReplyBytes::Borrowed(b"+OK\r\n"), &mut output);
        assert_eq!(output.tail(), b"+PONG\r\n");
    }

    #[test]
    fn a_reply_that_comes_twice_or_for_nobody_is_ignored() {
        let mut queue = ReplyQueue::default();
        let mut output = Output::default();
        let head = queue.push_waiting(false);
        let second = queue.push_waiting(false);
        queue.settle(second, 0, ReplyBytes::Borrowed(b"+2\r\n"), &mut output);
        queue.settle(second, 0, ReplyBytes::Borrowed(b"+x\r\n"), &mut output);
        queue.settle(second.wrapping_add(1), 0, ReplyBytes::Borrowed(b"+x\r\n"), &mut output);
        queue.settle(head, 0, ReplyBytes::Borrowed(b"+1\r\n"), &mut output);
        queue.settle(head, 0, ReplyBytes::Borrowed(b"+x\r\n"), &mut output);
        assert_eq!(output.tail(), b"+1\r\n+2\r\n");
    }
}
