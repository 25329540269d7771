//! What transactions that fold with each other have in common. Plain data: which transactions have a shape, says `transaction`.

use super::member::Verb;

/// What transactions that fold with each other have in common, beside their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionShape {
    /// How the string is incremented. None if fields of a hash are.
    pub(super) verb: Option<Verb>,
    /// Where the number of `INCRBY` or `DECRBY` stands among the bytes, from its length on: there members may differ.
    pub(super) number: (u32, u32),
    /// Some reply may be null, which the versions of the protocol spell differently.
    pub(super) may_be_null: bool,
}

impl TransactionShape {
    /// The bytes before and behind the number.
    pub(super) fn around(self, commands: &[u8]) -> (&[u8], &[u8]) {
        let (start, end) = self.number;
        (commands.get(..start as usize).unwrap_or(b""), commands.get(end as usize..).unwrap_or(b""))
    }

    /// Whether these transactions fold with each other.
    pub(super) fn is_shared(self, commands: &[u8], other: Self, others: &[u8]) -> bool {
        self.verb == other.verb && self.around(commands) == other.around(others)
    }

    /// Whether members say their number, and do not all say 1.
    pub(super) fn has_number(self) -> bool {
        self.number.1 > 0
    }
}
