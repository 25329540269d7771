//! What workers send each other about combined keys: operations to the home worker of a key, answers back.
//!
//! A client is named by a number here, because it belongs to one worker and no other may touch it.

use bytes::Bytes;

use super::ending::Ending;
use super::labels::RequestClass;
use crate::combine::{Member, ScriptShape, TransactionShape, Verb, WriteForm};
use crate::command::CommandId;
use crate::limits::LARGE_REPLY_BYTES;
use crate::resp::RespVersion;
use crate::route::KeyId;

/// An operation that folds, with bytes of its own. See [`crate::combine::Op`].
#[derive(Clone, Debug)]
pub enum OwnedOp {
    /// An increment of a string.
    Increment(i64),
    /// `GET`.
    Get,
    /// A plain `SET` of this value.
    Set(Bytes),
    /// An increment of this field.
    HashIncrement(Bytes, i64),
    /// `HGET` of this field.
    HashGet(Bytes),
    /// Another read, whole, and whether its reply is a scalar.
    Read(Bytes, bool),
    /// A write, whole, and how it folds.
    Write(Bytes, WriteForm),
    /// A transaction, what it has in common with others, and its delta.
    Transaction(Bytes, TransactionShape, i64),
    /// A call of a script, what it has in common with others, and its delta.
    Script(Bytes, ScriptShape, i64),
}

/// One operation on its way to the home of its key.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// The key.
    pub key: Bytes,
    /// Which key that is.
    pub id: KeyId,
    /// The operation.
    pub op: OwnedOp,
    /// How its client wants the reply.
    pub version: RespVersion,
    /// The waiting client.
    pub waiter: Waiter,
    /// Its client has changed the key outside of the queue before, and that was answered.
    pub written: bool,
}

/// What an answer is for, at the worker that it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerTo {
    /// A slot of a client's reply queue; the first of as many as it waits for operations.
    Slot {
        /// The client's number.
        client: u64,
        /// The slot.
        sequence: u32,
    },
    /// The admission: what a quota has let through is added to its counter.
    Admission,
    /// The home of a sale, which asks who holds places of it.
    SaleHome,
}

/// Who waits for a combined operation, or for several equal ones in a row.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// The worker that waits.
    pub worker: u16,
    /// For what.
    pub to: AnswerTo,
    /// For how many operations it waits; at least 1.
    pub operations: u32,
    /// When the request came in, in nanoseconds of the process's clock.
    pub received_ns: u64,
    /// How long Redis took with what it was folded into; 0 until that is answered, and where Redis was not asked.
    pub upstream_ns: u64,
    /// What it counts as.
    pub class: RequestClass,
    /// Its command, if it is a client's.
    pub command: Option<CommandId>,
    /// The delta of each of them; 0 for anything but an increment.
    pub delta: i64,
    /// How it says the increment.
    pub verb: Verb,
    /// How its client wants the reply.
    pub version: RespVersion,
    /// Bytes that the queue may hold for each of them.
    pub bytes: u32,
}

impl Waiter {
    /// Somebody of `worker` who asks something at `now_ns`.
    pub fn asking(worker: usize, to: AnswerTo, now_ns: u64) -> Self {
        Self {
            worker: worker as u16,
            to,
            operations: 1,
            received_ns: now_ns,
            upstream_ns: 0,
            class: RequestClass::Local,
            command: None,
            delta: 0,
            verb: Verb::default(),
            version: RespVersion::Resp2,
            bytes: 0,
        }
    }
}

/// Whose operations keep their order in the queue of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// A client, numbered by its worker for itself.
    Client {
        /// The worker.
        worker: u16,
        /// The client's number there.
        client: u64,
    },
    /// A worker itself.
    Worker(u16),
}

impl Member for Waiter {
    type Caller = Caller;

    fn operations(&self) -> u32 {
        self.operations
    }

    fn one(&self, place: u32) -> Self {
        let to = match self.to {
            AnswerTo::Slot { client, sequence } => {
                AnswerTo::Slot { client, sequence: sequence.wrapping_add(place) }
            }
            other => other,
        };
        Self { to, operations: 1, ..*self }
    }

    fn caller(&self) -> Caller {
        match self.to {
            AnswerTo::Slot { client, .. } => Caller::Client { worker: self.worker, client },
            AnswerTo::Admission | AnswerTo::SaleHome => Caller::Worker(self.worker),
        }
    }

    fn verb(&self) -> Verb {
        self.verb
    }
}

/// What a member is told.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The hash of the combined key, or the sale, among whose unsettled operations it counts, if it does.
    pub hash: Option<u64>,
    /// The waiting client.
    pub waiter: Waiter,
    /// How the operation ended.
    pub ending: Ending,
    reply: Stored,
}

#[derive(Clone, Debug)]
enum Stored {
    /// The next so many bytes of the buffer.
    Copied(usize),
    Shared(Bytes),
}

/// The whole reply to a member, or as many as it waits for, one behind the other.
#[derive(Clone, Copy, Debug)]
pub enum AnswerBytes<'a> {
    /// Small ones, to be copied.
    Copied(&'a [u8]),
    /// A buffer of its own, which others may share.
    Shared(&'a Bytes),
}

impl AnswerBytes<'_> {
    /// How many bytes it has.
    pub fn len(self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Answers to members, in order. Small replies lie one behind the other in one buffer, so an answer needs no allocation of its own.
#[derive(Debug, Default)]
pub struct Answers {
    list: Vec<Answer>,
    bytes: Vec<u8>,
}

impl Answers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds an answer whose reply is copied.
    pub fn push_copied(&mut self, hash: Option<u64>, waiter: Waiter, ending: Ending, reply: &[u8]) {
        if reply.len() >= LARGE_REPLY_BYTES {
            return self.push_shared(hash, waiter, ending, Bytes::copy_from_slice(reply));
        }
        self.bytes.extend_from_slice(reply);
        self.list.push(Answer { hash, waiter, ending, reply: Stored::Copied(reply.len()) });
    }

    /// Adds an answer whose reply is passed on as it is.
    pub fn push_shared(&mut self, hash: Option<u64>, waiter: Waiter, ending: Ending, reply: Bytes) {
        self.list.push(Answer { hash, waiter, ending, reply: Stored::Shared(reply) });
    }

    /// The answers with their replies, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Answer, AnswerBytes<'_>)> {
        let mut rest = &self.bytes[..];
        self.list.iter().map(move |answer| match &answer.reply {
            Stored::Shared(bytes) => (answer, AnswerBytes::Shared(bytes)),
            Stored::Copied(len) => {
                let (reply, behind) = rest.split_at_checked(*len).unwrap_or_default();
                rest = behind;
                (answer, AnswerBytes::Copied(reply))
            }
        })
    }

    /// Forgets all of them and keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }

    /// Gives memory back beyond so many bytes each for answers and replies.
    pub fn give_back(&mut self, kept_bytes_max: usize) {
        if self.list.is_empty() && self.list.capacity() > kept_bytes_max / size_of::<Answer>() {
            self.list = Vec::new();
        }
        if self.bytes.is_empty() && self.bytes.capacity() > kept_bytes_max {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::labels::Outcome;

    #[test]
    fn clients_of_two_workers_are_never_one_caller() {
        let client = |worker, client| Waiter::asking(worker, AnswerTo::Slot { client, sequence: 0 }, 1);
        // The first client of worker 1, and one that came to worker 0 after 65,536 others.
        assert_ne!(client(1, 0).caller(), client(0, 1 << 48).caller());
        assert_eq!(client(1, 7).caller(), client(1, 7).one(3).caller());
        assert_eq!(Waiter::asking(1, AnswerTo::Admission, 1).caller(), Caller::Worker(1));
    }

    #[test]
    fn each_answer_has_its_own_reply() {
        let waiter = |client| Waiter::asking(0, AnswerTo::Slot { client, sequence: 0 }, 1);
        let mut answers = Answers::default();
        for round in 0..2 {
            answers.push_copied(Some(7), waiter(1), Outcome::Combined.into(), b":1\r\n");
            answers.push_shared(
                Some(7),
                waiter(2),
                Outcome::Combined.into(),
                Bytes::from_static(b"$5\r\nlarge\r\n"),
            );
            answers.push_copied(Some(8), waiter(3), Outcome::Failed.into(), b"");
            answers.push_copied(Some(8), waiter(4), Outcome::Refused.into(), b"-ERR no\r\n");
            let client_of = |waiter: Waiter| match waiter.to {
                AnswerTo::Slot { client, .. } => client,
                other => panic!("{other:?}"),
            };
            let all: Vec<(u64, &[u8])> = answers
                .iter()
                .map(|(answer, reply)| match reply {
                    AnswerBytes::Copied(bytes) => (client_of(answer.waiter), bytes),
                    AnswerBytes::Shared(bytes) => (client_of(answer.waiter), &bytes[..]),
                })
                .collect();
            let expected: [(u64, &[u8]); 4] =
                [(1, b":1\r\n"), (2, b"$5\r\nlarge\r\n"), (3, b""), (4, b"-ERR no\r\n")];
            assert_eq!(all, expected, "round {round}");
            answers.clear();
            assert!(answers.is_empty() && answers.iter().next().is_none());
        }
        answers.give_back(0);
        assert_eq!((answers.list.capacity(), answers.bytes.capacity()), (0, 0));
    }
}
