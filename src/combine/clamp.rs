//! The clamp: what a quota tells the flush script, and what the script reports back.
//!
//! The script applies the clamp in the same atomic step that adds the folded increments. So any number of gateways share
//! one quota without overshoot, and no gateway holds a share of it. Members are granted in order of arrival, each wholly or
//! not at all. A later, smaller member may fit where an earlier one did not. A refused member changes neither the counter nor
//! a window.
//!
//! Rules:
//! - A ceiling limits increments and never a decrement. A release is always granted, and its room is granted to the members
//!   behind it in the same batch. A floor limits decrements and never an increment.
//! - A delta of zero is always granted.
//! - A window counts what is consumed (increments, or decrements where [`Clamp::consumes`] says so). A release gives
//!   nothing back to it. A window begins with its first grant and ends when its key expires, so it needs no clock of the
//!   gateway. If the key has longer to live than the window is long, Redis's clock was set back or another server wrote it:
//!   then the window is over, and the next grant begins a new one.
//! - Paused refuses every increment and decrement, releases too. `GET` is answered.
//! - `SET` is not limited: operators correct counters with it. A caller that wants it refused must refuse it before the queue.
//! - Numbers beyond 2^52 are refused, or are a fault, because Lua computes with doubles.
//! - A shadow quota next to an enforced one sees only what the enforced quota granted. It only counts. A fault of its own
//!   leaves it out.
//! - A fault (a limit that is no number, a key of the wrong type) is the error of every increment of the batch, and
//!   changes nothing. In shadow mode it is only reported.
//!
//! Deliberately does not decide which keys have a quota, nor what a refused client is answered.

use crate::limits::QUOTA_VALUE_MAX;
use bytes::Bytes;

use super::slot_tags::companion_key;
use crate::resp::parse_integer;

/// The largest limit, floor and counter that a clamp can hold: up to here the script's sums and differences of two
/// are exact.
pub const CLAMP_VALUE_MAX: i64 = QUOTA_VALUE_MAX;

/// Where a ceiling is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// In the configuration: 0 to [`CLAMP_VALUE_MAX`].
    Value(i64),
    /// In this key, read at every flush. It has to be in the counter's slot.
    Key(Bytes),
}

/// A cap on what is taken within a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where Redis counts. It has to be in the counter's slot: see [`window_key`].
    pub key: Bytes,
    /// The most that is granted within a window: 0 to [`CLAMP_VALUE_MAX`].
    pub limit: i64,
    /// The window's length in milliseconds, at least 1.
    pub window_ms: u64,
}

/// Units that were let through while Redis was away, to be counted in a window together with their increments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The window's key.
    pub key: Bytes,
    /// How many units: 1 to [`CLAMP_VALUE_MAX`].
    pub units: i64,
    /// How long the window has to last, in milliseconds, if nothing has been counted there: at least 1.
    pub left_ms: u64,
    /// The window's length in milliseconds.
    pub window_ms: u64,
}

/// Which way of the counter takes from the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consumes {
    /// Reservations are counted up.
    #[default]
    Up,
    /// Stock is counted down.
    Down,
}

/// The quota of one counter, as the script applies it. Values are expected to be within their ranges: the
/// configuration checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clamp {
    /// The lowest of them counts.
    pub ceilings: Vec<Ceiling>,
    /// The counter does not go below.
    pub floor: Option<i64>,
    /// All of them have to have room.
    pub windows: Vec<Window>,
    /// What they hold, in their order, where this flush was counted in them beforehand: then it names none of their keys.
    pub windows_found: Vec<WindowState>,
    /// Which way windows count, and whether the override's limit is a ceiling or a floor.
    pub consumes: Consumes,
    /// A hash in the counter's slot whose field `limit`, if present, replaces the ceilings (or the floor), and whose
    /// field `paused`, if `1`, refuses everything. See [`override_key`].
    pub override_key: Option<Bytes>,
    /// The operator has paused it: everything is refused.
    pub paused: bool,
    /// Grant everything, and count what would have been refused.
    pub shadow: bool,
    /// Units that are counted in windows once, in addition to the increments. Only together with [`Self::shadow`], and without windows.
    pub charges: Vec<Charge>,
    /// Why it can never be applied, whatever Redis holds: a sentence.
    pub fault: Option<String>,
    /// The shadow quotas next to enforced ones. They see only what the enforced quotas granted.
    pub shadow_bounds: Option<ShadowBounds>,
}

/// The bounds of shadow quotas next to enforced ones. See [`Clamp`] for the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShadowBounds {
    /// The lowest of them counts.
    pub ceilings: Vec<Ceiling>,
    /// The counter does not go below.
    pub floor: Option<i64>,
    /// A window whose length an enforced quota has too is counted there.
    pub windows: Vec<Window>,
    /// Why it cannot be applied, and is left out.
    pub fault: Option<String>,
}

/// The name of a counter's override hash: `{tag}hotgate:quota:<key>`, in the counter's slot.
pub fn override_key(counter: &[u8]) -> Bytes {
    companion_key(counter, b"quota").into()
}

/// The name of a counter's window of this length: `{tag}hotgate:window:<milliseconds>:<key>`, in the counter's slot.
pub fn window_key(counter: &[u8], window_ms: u64) -> Bytes {
    companion_key(counter, format!("window:{window_ms}").as_bytes()).into()
}

/// Why a member was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It would have passed the ceiling.
    Ceiling,
    /// It would have gone below the floor.
    Floor,
    /// This window (an index into [`Clamp::windows`]) has no room for it.
    Window(usize),
    /// The quota is paused.
    Paused,
    /// The delta, or the value it leads to, is beyond [`CLAMP_VALUE_MAX`].
    TooLarge,
}

/// Why a member was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why it was refused.
    pub cause: Cause,
    /// The limit that stopped it: the ceiling, the floor or the window's. The last known ceiling or floor, or 0, when
    /// paused.
    pub limit: i64,
    /// The counter's value at that point of the batch.
    pub value: i64,
}

/// The state of one window after a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowState {
    /// The units taken in it.
    pub used: i64,
    /// Milliseconds until it ends; 0 if it has not begun.
    pub left_ms: u64,
}

/// The state of the quota after a flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClampReport {
    /// Members of this flush that were granted.
    pub granted: u64,
    /// Members that were refused, or in shadow mode would have been.
    pub refused: u64,
    /// Granted members that the shadow quota would have refused.
    pub would_refuse: u64,
    /// The counter after the flush, if it is an integer.
    pub value: Option<i64>,
    /// The ceiling that was in force.
    pub ceiling: Option<i64>,
    /// The floor that was in force.
    pub floor: Option<i64>,
    /// The windows, in the clamp's order.
    pub windows: Vec<WindowState>,
    /// The operator has paused it.
    pub paused: bool,
    /// Why the quota could not be applied.
    pub fault: Option<String>,
}

impl ClampReport {
    /// How much of the ceiling or above the floor is left: never negative, and no word on the windows.
    pub fn remaining(&self) -> Option<i64> {
        let value = self.value?;
        let above = self.ceiling.map(|ceiling| ceiling.saturating_sub(value));
        let below = self.floor.map(|floor| value.saturating_sub(floor));
        above.into_iter().chain(below).min().map(|left| left.max(0))
    }

    /// Takes in the state string of one step: `ceiling;floor;refused;paused;used left used left;would
    /// refuse;fault`.
    pub(super) fn absorb(&mut self, state: &[u8]) -> Option<()> {
        let mut fields = state.splitn(7, |&byte| byte == b';');
        let bound = |field: &[u8]| if field == b"-" { Some(None) } else { parse_integer(field).map(Some) };
        self.ceiling = bound(fields.next()?)?;
        self.floor = bound(fields.next()?)?;
        self.refused += u64::try_from(parse_integer(fields.next()?)?).ok()?;
        self.paused = fields.next()? == b"1";
        let numbers: Vec<i64> =
            fields.next()?.split(|&byte| byte == b' ').filter_map(parse_integer).collect();
        self.windows = numbers
            .chunks_exact(2)
            .map(|pair| WindowState { used: pair[0], left_ms: u64::try_from(pair[1]).unwrap_or(0) })
            .collect();
        self.would_refuse += u64::try_from(parse_integer(fields.next()?)?).ok()?;
        let fault = fields.next()?;
        self.fault = (!fault.is_empty()).then(|| String::from_utf8_lossy(fault).into_owned());
        Some(())
    }

    /// The limit behind a cause.
    pub(super) fn limit_of(&self, cause: Cause, clamp: &Clamp) -> i64 {
        match cause {
            Cause::Ceiling => self.ceiling.unwrap_or(0),
            Cause::Floor => self.floor.unwrap_or(0),
            Cause::Window(index) => clamp.windows.get(index).map_or(0, |window| window.limit),
            Cause::Paused => self.ceiling.or(self.floor).unwrap_or(0),
            Cause::TooLarge => CLAMP_VALUE_MAX,
        }
    }
}

impl Cause {
    /// The script's spelling: `c`, `f`, `w<index from 1>`, `p`, `x`.
    pub(super) fn parse(code: &[u8]) -> Option<Self> {
        Some(match code {
            b"c" => Self::Ceiling,
            b"f" => Self::Floor,
            b"p" => Self::Paused,
            b"x" => Self::TooLarge,
            [b'w', index @ ..] => Self::Window(usize::try_from(parse_integer(index)? - 1).ok()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_state() {
        let mut report = ClampReport::default();
        report.absorb(b"100;-;3;1;7 250 9 0;4;a; b").unwrap();
        report.absorb(b"90;-5;2;0;;1;").unwrap();
        let expect = ClampReport {
            refused: 5,
            would_refuse: 5,
            ceiling: Some(90),
            floor: Some(-5),
            ..ClampReport::default()
        };
        assert_eq!(report, expect);
        report.absorb(b"-;-;0;0;7 250 9 0;0;limit; key").unwrap();
        let states = [WindowState { used: 7, left_ms: 250 }, WindowState { used: 9, left_ms: 0 }];
        assert_eq!(report.windows, states);
        assert_eq!(report.fault.as_deref(), Some("limit; key"));
        assert_eq!(report.absorb(b"1;2"), None);
    }

    #[test]
    fn remaining_is_the_narrower_side() {
        let check = |value, ceiling, floor, expect| {
            let report = ClampReport { value, ceiling, floor, ..ClampReport::default() };
            assert_eq!(report.remaining(), expect);
        };
        check(Some(7), Some(10), None, Some(3));
        check(Some(12), Some(10), None, Some(0));
        check(Some(4), Some(10), Some(2), Some(2));
        check(Some(4), None, None, None);
        check(None, Some(10), None, None);
    }
}
