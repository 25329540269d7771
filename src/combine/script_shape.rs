//! The shape of a call of a script that counts, and how a segment of such calls goes. Plain data: what is made of it, says
//! `counter_script`.

use bytes::Bytes;

/// Values, and sums, above which nothing is folded: a number of Lua is exact up to 2^53, which is more than twice as much.
pub(super) const VALUE_MAX: i64 = 1_000_000_000_000_000;

/// What calls of one script have in common that fold with each other, beside their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptShape {
    /// Its place among the scripts of the configuration.
    pub script: u16,
    /// Where its number stands among the bytes, if callers may differ in it.
    pub(super) number: (u32, u32),
    /// 0 for none.
    pub(super) expire_ms: i64,
    pub(super) expires_always: bool,
}

impl ScriptShape {
    /// The bytes before and behind the number.
    pub(super) fn around(self, request: &[u8]) -> (&[u8], &[u8]) {
        let (start, end) = self.number;
        (request.get(..start as usize).unwrap_or(b""), request.get(end as usize..).unwrap_or(b""))
    }

    /// Whether these calls fold with each other.
    pub(super) fn is_shared(self, request: &[u8], other: Self, others: &[u8]) -> bool {
        (self.script, self.expire_ms) == (other.script, other.expire_ms)
            && self.around(request) == other.around(others)
    }

    /// Whether another call may be added to a sum.
    pub(super) fn has_room(self, sum: i64, delta: i64) -> bool {
        sum.saturating_add(delta) <= VALUE_MAX
    }
}

/// How a segment of calls goes, beside their number.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptCalls {
    /// With what stands there before and behind it, to be compared with the declaration.
    pub is_trial: bool,
    /// Its node has said once that it does not know the script.
    pub is_missing: bool,
    /// The script, to be loaded before.
    pub body: Option<Bytes>,
}

impl ScriptCalls {
    /// Commands before the calls.
    pub fn leading(&self) -> usize {
        usize::from(self.body.is_some()) + 2 * usize::from(self.is_trial)
    }

    /// Commands around the calls.
    pub fn around(&self) -> usize {
        usize::from(self.body.is_some()) + 4 * usize::from(self.is_trial)
    }
}
