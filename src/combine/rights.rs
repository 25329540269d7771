//! Which command forms the server allows the gateway's user on the key of a queue, learned from replies.
//!
//! A fold says one command in place of the members' own: `INCRBY` for `INCR`, or nothing for a `GET` behind a `SET`. The server may
//! refuse the fold and allow the members, or the reverse. So nothing is folded before the server has accepted each member's own
//! command once, and if the server refuses a form, everything goes as it came. An access list may change, and may
//! differ per key and node. So each queue learns for itself, and forgets after some time.

use super::member::Verb;
use super::retryable::is_retryable;
use crate::resp::first_error;

/// How long what was learned holds: one operation of each kind that goes by itself is no load, and whoever takes a right away
/// from a running gateway sees it taken within this time.
const RIGHTS_NS: u64 = 10_000_000_000;

/// Before the reason why a transaction was not run.
const ABORTED_BY: &[u8] = b"EXECABORT Transaction discarded because of: ";

/// The form of a command as a client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandForm {
    Increment(Verb),
    Get,
    HashGet,
    Set,
    HashIncrement,
}

impl CommandForm {
    fn bit(self) -> u8 {
        1 << match self {
            Self::Increment(Verb::Incr) => 0,
            Self::Increment(Verb::Decr) => 1,
            Self::Increment(Verb::Incrby) => 2,
            Self::Increment(Verb::Decrby) => 3,
            Self::Get => 4,
            Self::HashGet => 5,
            Self::Set => 6,
            Self::HashIncrement => 7,
        }
    }
}

/// The forms that replies showed to be allowed or denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RightsLearned {
    allowed: u8,
    denied: u8,
}

impl RightsLearned {
    /// Takes in the reply to a command as a member said it, or to the fold.
    pub fn learn(&mut self, form: CommandForm, reply: &[u8]) {
        let bit = form.bit();
        if is_refused(reply) {
            self.denied |= bit;
            self.allowed &= !bit;
        } else if !is_retryable(reply) && !reply.is_empty() {
            // Redis looks at rights before it looks at anything else that it refuses.
            self.allowed |= bit;
            self.denied &= !bit;
        }
    }
}

/// Whether the user may not say this, or there is no such command under this name.
pub(super) fn is_refused(reply: &[u8]) -> bool {
    first_error(reply).is_some_and(|text| {
        let text = text.strip_prefix(ABORTED_BY).unwrap_or(text);
        text.starts_with(b"NOPERM") || text.starts_with(b"ERR unknown command")
    })
}

/// Whether the user may not run a script, or something that the script does.
pub(super) fn is_script_refused(reply: &[u8]) -> bool {
    let in_script: [&[u8]; 2] = [b"ERR The user executing the script can't", b"ERR ACL failure in script"];
    let begins = |text: &[u8]| in_script.iter().any(|words| text.starts_with(words));
    is_refused(reply) || first_error(reply).is_some_and(begins)
}

/// The forms that are known to be allowed or denied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rights {
    /// An unknown form counts as denied until it was tried.
    is_cautious: bool,
    known: RightsLearned,
    learned_ns: u64,
}

impl Rights {
    pub fn cautious() -> Self {
        Self { is_cautious: true, ..Self::default() }
    }

    /// Forgets what is too old, and says whether it was.
    pub fn forget(&mut self, now_ns: u64) -> bool {
        let is_old = self.is_cautious && now_ns.saturating_sub(self.learned_ns) > RIGHTS_NS;
        if is_old {
            (self.known, self.learned_ns) = (RightsLearned::default(), now_ns);
        }
        is_old
    }

    pub fn absorb(&mut self, rights_learned: RightsLearned) {
        self.known.allowed = (self.known.allowed & !rights_learned.denied) | rights_learned.allowed;
        self.known.denied = (self.known.denied & !rights_learned.allowed) | rights_learned.denied;
    }

    /// It has been refused.
    pub fn denies(&self, form: CommandForm) -> bool {
        self.known.denied & form.bit() != 0
    }

    /// It has been taken, or need not be tried.
    pub fn allows(&self, form: CommandForm) -> bool {
        !self.denies(form) && (!self.is_cautious || self.known.allowed & form.bit() != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INCR: CommandForm = CommandForm::Increment(Verb::Incr);

    #[test]
    fn replies_tell_what_is_allowed() {
        let check = |reply: &str, allowed: bool, denied: bool| {
            let mut rights = Rights::cautious();
            let mut rights_learned = RightsLearned::default();
            rights_learned.learn(INCR, reply.as_bytes());
            rights.absorb(rights_learned);
            assert_eq!((rights.allows(INCR), rights.denies(INCR)), (allowed, denied), "{reply:?}");
            assert!(!rights.allows(CommandForm::Get));
        };
        check(":1\r\n", true, false);
        check("-WRONGTYPE Operation\r\n", true, false);
        check("-OOM command not allowed\r\n", true, false);
        check("-NOPERM this user has no permissions to run the 'incr' command\r\n", false, true);
        check("-EXECABORT Transaction discarded because of: NOPERM this user\r\n", false, true);
        check("-EXECABORT Transaction discarded because of: OOM command\r\n", true, false);
        check("-ERR unknown command 'incr', with args beginning with: \r\n", false, true);
        check("-MOVED 1 h:1\r\n", false, false);
        check("-LOADING Redis is loading\r\n", false, false);
        check("", false, false);
    }

    #[test]
    fn a_script_is_refused_as_a_whole_or_inside() {
        let check = |reply: &str, expect| assert_eq!(is_script_refused(reply.as_bytes()), expect, "{reply}");
        check("-NOPERM this user has no permissions to run the 'eval' command\r\n", true);
        check("-ERR The user executing the script can't run this command or subcommand script: x\r\n", true);
        check("-ERR ACL failure in script: User gate has no permissions to run the 'set' command\r\n", true);
        check("-UNUSUAL value script: x\r\n", false);
    }

    #[test]
    fn what_was_learned_is_forgotten_in_time() {
        let mut rights = Rights::cautious();
        rights.forget(RIGHTS_NS * 2);
        let mut rights_learned = RightsLearned::default();
        rights_learned.learn(INCR, b":1\r\n");
        rights.absorb(rights_learned);
        rights.forget(RIGHTS_NS * 3);
        assert!(rights.allows(INCR));
        rights.forget(RIGHTS_NS * 3 + 1);
        assert!(!rights.allows(INCR));
        assert!(Rights::default().allows(INCR), "nothing to be tried");
    }
}
