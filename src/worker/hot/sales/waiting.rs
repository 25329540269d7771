//! The operations on one sale that wait, in the order in which they came.
//!
//! It knows neither the wire nor what the operations mean. Taking, putting back and giving up keep the order. Has no bound of its own: workers hold
//! their clients back ([`super::room`]).

use std::collections::VecDeque;

use crate::reserve::ReserveOp;
use crate::shared::handoff::Waiter;

/// One operation: a request, or a part of one that names several users.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Who waits.
    pub waiter: Waiter,
    /// What is asked.
    pub op: ReserveOp,
    /// The hash of its user.
    pub user: u64,
    /// Its place in a reply that is an array.
    pub part: Option<Part>,
}

/// A part of a request that names several users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Which, from 0 on.
    pub place: u32,
    /// Of so many.
    pub of: u32,
}

impl Item {
    /// Its waiter is answered when it is: it is no part, or the last.
    pub fn ends(&self) -> bool {
        self.part.is_none_or(|part| part.place + 1 == part.of)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    items: VecDeque<Item>,
}

impl Waiting {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The one that came first.
    pub fn first(&self) -> Option<&Item> {
        self.items.front()
    }

    /// Adds one behind all others.
    pub fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.give_back();
        Some(item)
    }

    /// Takes as many from the front as there may be in so many operations and bytes together; one in any case.
    pub fn take(&mut self, ops_max: usize, bytes_max: usize) -> Vec<Item> {
        let (mut bytes, mut count) = (0, 0);
        for item in self.items.iter().take(ops_max.max(1)) {
            let with_it = bytes + item.op.weight_bytes();
            if count > 0 && with_it > bytes_max {
                break;
            }
            (bytes, count) = (with_it, count + 1);
        }
        let taken = self.items.drain(..count).collect();
        self.give_back();
        taken
    }

    /// Puts what was taken back before all others.
    pub fn put_back(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.items.push_front(item);
        }
    }

    /// Gives the memory of a burst back when it is over.
    fn give_back(&mut self) {
        if self.items.is_empty() && self.items.capacity() > crate::limits::KEPT_BYTES_MAX / size_of::<Item>()
        {
            self.items = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::OpKind;
    use crate::shared::handoff::AnswerTo;

    fn item(number: u64, name: &str) -> Item {
        let waiter = Waiter::asking(0, AnswerTo::Slot { client: number, sequence: 0 }, 1);
        Item { waiter, op: ReserveOp::on(OpKind::Check, name.as_bytes()), user: number, part: None }
    }

    fn users(items: &[Item]) -> Vec<u64> {
        items.iter().map(|item| item.user).collect()
    }

    #[test]
    fn what_is_put_back_goes_first_again() {
        let mut waiting = Waiting::default();
        for (number, name) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
            waiting.push(item(number, name));
        }
        let each = ReserveOp::on(OpKind::Check, b"").weight_bytes();
        assert_eq!(waiting.items.len(), 4);
        let taken = waiting.take(2, 1_000_000);
        assert_eq!(users(&taken), [1, 2]);
        waiting.put_back(taken);
        assert_eq!(waiting.items.len(), 4);
        assert_eq!(waiting.pop().map(|item| item.user), Some(1));
        assert_eq!(users(&waiting.take(1000, 2 * each + 8)), [2, 3]);
        assert_eq!(users(&waiting.take(0, 0)), [4], "one goes in any case");
        assert!(waiting.is_empty() && waiting.take(1, 1).is_empty());
    }
}
