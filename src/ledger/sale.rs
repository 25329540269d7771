//! What the follower knows of one sale, and what a look at it comes to. Pure; asks nobody.

use bytes::{Bytes, BytesMut};

use super::entry::entries_of;
use super::fold::{Gap, step_of};
use super::names::text_of;
use super::store::{Position, Step};
use super::upstream::Server;
use crate::reserve::{LedgerStatus, Refusal, encode_ledger, ledger_key, sale_key};
use crate::resp::{encode, first_error};

/// Entries that one `XRANGE` returns: about a millisecond of Redis's time.
pub const ENTRIES_PER_CALL: i64 = 1000;

/// Entries that one round takes of sales with much to read: the next round has the others. Where the database did not do it, perhaps because it was too much for
/// the time or the room that it has, half of that is tried, and an eighth more each time that it succeeds.
pub const ENTRIES_PER_ROUND: i64 = 20_000;

/// Calls for entries of one sale in one round.
const CALLS_MAX: i64 = 10;

/// One sale.
pub struct Sale {
    /// Its name.
    pub sku: Bytes,
    /// The same as text.
    pub text: String,
    /// Its stream.
    pub stream: Bytes,
    /// Its hash.
    key: Bytes,
    /// What the database has; `None` if it knows no sale of the name.
    pub position: Option<Position>,
    /// Where it was looked at last: there Redis tells of its changes.
    pub server: Option<Server>,
    /// Which sale of the name this is, once it was asked.
    opened_ms: Option<i64>,
    /// The last entry that Redis was heard to have.
    pub last: i64,
    /// The last entry that it was told the database has: so far the database is at the least, also while nobody can ask it.
    told: i64,
    /// It waits to be looked at.
    pub is_queued: bool,
    /// Why nothing more of it is applied.
    pub halted: Option<String>,
    /// Redis does not have it any more, and should.
    pub lost: Option<String>,
    /// The entry of the position was not found, and the sale was asked since.
    was_doubted: bool,
    /// The sale does not know how far the database is, as far as is known here.
    pub is_untold: bool,
    /// About when the oldest entry was written that the database has not, by Redis's clock; `None` if it has all.
    oldest_unread_ms: Option<i64>,
    /// How much Redis's clock is ahead of the one here.
    ahead_ms: i64,
}

/// What a look came to.
#[derive(Debug)]
pub enum Look {
    /// The database has what there is.
    Nothing,
    /// This is to be written.
    Write(Box<Step>),
    /// Look again at once: what was asked was not enough to tell.
    Again,
    /// Look again in a while: the server could not say, and why.
    Later(String),
    /// There is no such sale now.
    Gone,
    /// It is halted from now on, for this sale of the name.
    Halt(i64, Gap),
}

impl Sale {
    /// A sale of this name; `position` is the database's.
    pub fn new(sku: Bytes, position: Option<Position>) -> Self {
        Self {
            text: text_of(&sku),
            stream: ledger_key(&sku),
            key: sale_key(&sku),
            sku,
            halted: position.as_ref().and_then(|position| position.halted.clone()),
            lost: None,
            position,
            server: None,
            opened_ms: None,
            last: 0,
            told: 0,
            is_queued: false,
            was_doubted: false,
            is_untold: true,
            oldest_unread_ms: None,
            ahead_ms: 0,
        }
    }

    /// Why the database does not follow it, if it does not.
    pub fn fault(&self) -> Option<&str> {
        self.lost.as_deref().or(self.halted.as_deref())
    }

    /// How many entries Redis was heard to have that the database has not.
    pub fn behind(&self) -> i64 {
        (self.last - self.at().entry).max(0)
    }

    /// The same, where it is known which sale of the name it is: what counts as a lag.
    pub fn lag(&self) -> i64 {
        if self.opened_ms.is_some() { (self.last - self.at().entry.max(self.told)).max(0) } else { 0 }
    }

    /// How old the oldest entry is that the database has not, by the clock that says `now_ms` here.
    pub fn lag_ms(&self, now_ms: i64) -> i64 {
        self.oldest_unread_ms.map_or(0, |oldest_ms| (now_ms + self.ahead_ms - oldest_ms).max(0))
    }

    /// This sale, to be looked at anew with another position: the database was opened again.
    pub fn anew(&self, position: Option<Position>) -> Self {
        let (oldest_unread_ms, ahead_ms, lost) = (self.oldest_unread_ms, self.ahead_ms, self.lost.clone());
        Self { oldest_unread_ms, ahead_ms, lost, ..Self::new(self.sku.clone(), position) }
    }

    /// The position in the sale that the name has now.
    fn at(&self) -> Position {
        let opened_ms = self.opened_ms.unwrap_or(0);
        let same = self.position.as_ref().filter(|position| position.opened_ms == opened_ms);
        same.cloned().unwrap_or(Position { opened_ms, ..Position::default() })
    }

    /// The transaction that held it was committed; its last entry was written at `last_ms`.
    pub fn moved_to(&mut self, position: Position, last_ms: i64) {
        self.position = Some(position);
        self.is_untold = true;
        // The next one is hardly older.
        self.oldest_unread_ms = (self.lag() > 0).then_some(last_ms);
    }

    /// Which sale of the name it is has to be asked again.
    pub fn forget(&mut self) {
        self.opened_ms = None;
    }

    /// The calls of a look, for about so many entries at the most.
    pub fn questions(&self, entries_max: i64) -> Vec<BytesMut> {
        if self.opened_ms.is_none() {
            // What is in it is read with the next look.
            return self.status_questions().into();
        }
        let first = self.at().entry.max(1);
        let calls_max = (entries_max / ENTRIES_PER_CALL).clamp(1, CALLS_MAX);
        let calls = ((self.behind() + ENTRIES_PER_CALL) / ENTRIES_PER_CALL).clamp(1, calls_max);
        let range = |call: i64| {
            // Each call has the last entry of the one before it no second time, but for the one that the database has.
            let from = if call == 0 { first } else { first + call * ENTRIES_PER_CALL + 1 };
            let [from, to] = [format!("{from}-0"), format!("{}-0", first + (call + 1) * ENTRIES_PER_CALL)];
            let mut out = BytesMut::new();
            encode::command(&mut out, &[b"XRANGE", &self.stream, from.as_bytes(), to.as_bytes()]);
            out
        };
        (0..calls).map(range).collect()
    }

    /// The calls that ask how the ledger of the sale stands. The stream is read first, so that Redis tells when it changes, also of a sale that
    /// is only now being opened: what scripts read is not told everywhere.
    pub fn status_questions(&self) -> [BytesMut; 2] {
        let mut first = BytesMut::new();
        encode::command(&mut first, &[b"XRANGE", &self.stream, b"-", b"+", b"COUNT", b"1"]);
        [first, self.status_call()]
    }

    fn status_call(&self) -> BytesMut {
        let mut out = BytesMut::new();
        encode_ledger(&self.key, None, false, &mut out);
        out
    }

    /// The call that says how far the database is; `None` while it is not known which sale has the name.
    pub fn progress_call(&self, unread_max: i64) -> Option<BytesMut> {
        // Which sale it is has to be known, and a halted one is not told.
        self.opened_ms?;
        let at = self.at();
        let mut out = BytesMut::new();
        encode_ledger(&self.key, Some((at.opened_ms, at.entry, unread_max)), false, &mut out);
        Some(out)
    }

    /// What the script said of it. An error is why it did not.
    pub fn take_status(&mut self, reply: &[u8], now_ms: i64) -> Result<(), Look> {
        match LedgerStatus::parse(reply) {
            Some(Ok(status)) => {
                self.opened_ms = Some(status.opened_ms);
                self.last = status.last;
                self.told = status.read;
                self.lost = None;
                self.is_untold |= status.read < self.at().entry;
                self.ahead_ms = status.now_ms - now_ms;
                self.oldest_unread_ms = match self.lag() {
                    0 => None,
                    _ => self.oldest_unread_ms.or(Some(status.now_ms)),
                };
                Ok(())
            }
            Some(Err(Refusal::NoSku)) => {
                self.opened_ms = None;
                self.last = 0;
                self.oldest_unread_ms = None;
                Err(Look::Gone)
            }
            Some(Err(_)) => Err(Look::Later("the sale is being dropped".to_owned())),
            None => Err(Look::Later(why_of(reply))),
        }
    }

    /// What the replies to [`Sale::questions`] come to.
    pub fn look(&mut self, replies: &[Bytes], now_ms: i64) -> Look {
        match self.opened_ms {
            Some(_) => self.read(replies),
            None => self.attach(replies, now_ms),
        }
    }

    /// Finds out which sale of the name it is, and whether it still has what the database lacks.
    fn attach(&mut self, replies: &[Bytes], now_ms: i64) -> Look {
        let Some((status, _)) = replies.split_last() else { return Look::Again };
        if let Err(look) = self.take_status(status, now_ms) {
            return look;
        }
        let Some(Ok(status)) = LedgerStatus::parse(status) else { return Look::Again };
        let at = self.at();
        if self.position.as_ref().is_some_and(|position| position.opened_ms != status.opened_ms) {
            self.halted = None;
        }
        if self.halted.is_some() {
            self.forget();
            return Look::Nothing;
        }
        if at.entry > status.last {
            return Look::Halt(at.opened_ms, Gap::Lost { position: at.entry });
        }
        let first = if status.first == 0 { status.last + 1 } else { status.first };
        if first > at.entry + 1 {
            return Look::Halt(at.opened_ms, Gap::Missing { from: at.entry + 1, to: first - 1 });
        }
        // Whether the entry of the position is the one that the database has is still to be seen.
        if status.last > 0 { Look::Again } else { Look::Nothing }
    }

    /// Reads the entries behind the position.
    fn read(&mut self, replies: &[Bytes]) -> Look {
        let at = self.at();
        let mut entries = Vec::new();
        for reply in replies {
            if first_error(reply).is_some() {
                return Look::Later(why_of(reply));
            }
            match entries_of(reply) {
                Some(more) => entries.extend(more),
                None => return Look::Halt(at.opened_ms, Gap::Unreadable),
            }
        }
        let place = entries.first().filter(|first| first.number == at.entry).map(|first| first.checksum);
        let is_same = |checksum| checksum == at.checksum || at.checksum == 0;
        let is_doubtful = at.entry > 0 && !place.is_some_and(is_same);
        if is_doubtful && !self.was_doubted {
            // Dropped and opened anew, trimmed by hand, or lost: the sale's own word decides.
            self.was_doubted = true;
            self.forget();
            return Look::Again;
        }
        self.was_doubted = false;
        if place.is_some() {
            if is_doubtful {
                return Look::Halt(at.opened_ms, Gap::Lost { position: at.entry });
            }
            entries.remove(0);
        }
        match step_of(&self.text, &at, &entries) {
            Err(gap) => Look::Halt(at.opened_ms, gap),
            Ok(None) => Look::Nothing,
            Ok(Some(step)) => {
                self.last = self.last.max(step.to.entry);
                self.oldest_unread_ms = Some(step.written_ms.0);
                Look::Write(Box::new((self.position.clone(), step)))
            }
        }
    }
}

/// An error reply in words.
fn why_of(reply: &[u8]) -> String {
    match first_error(reply) {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => "the reply is none that a sale's script gives".to_owned(),
    }
}
