//! What the reply that has come for a request says of it, for the figures by command.
//!
//! A slot of the reply queue remembers the command that took it ([`super::replies`]), so whoever answers a request need not. Plain data:
//! [`crate::worker::ended`] counts it.

use crate::resp;
use crate::shared::command_tallies::CommandRow;
use crate::shared::error_codes::ErrorCode;

/// See the module.
#[derive(Debug)]
pub struct Settled {
    /// The command.
    pub command: CommandRow,
    /// The request has its whole reply. It has not while other parts of it are under way.
    pub is_whole: bool,
    /// It was answered before anything of it was sent.
    pub is_at_hand: bool,
    /// The error that it got.
    pub error: Option<ErrorCode>,
    /// The transaction that it ran.
    pub ran: Option<Box<Ran>>,
}

/// What was queued in a transaction that has been run: each command, and the error that it got.
#[derive(Debug)]
pub struct Ran(pub Vec<(CommandRow, Option<ErrorCode>)>);

impl Settled {
    /// A request has its whole reply.
    #[inline]
    pub fn whole(command: CommandRow, reply: &[u8]) -> Self {
        Self { command, is_whole: true, is_at_hand: false, error: error_of(reply), ran: None }
    }

    /// One of several parts of a request has its reply.
    pub fn part(command: CommandRow, reply: &[u8]) -> Self {
        Self { is_whole: false, ..Self::whole(command, reply) }
    }

    /// The request at hand is answered.
    pub fn at_hand(command: CommandRow, reply: &[u8]) -> Self {
        Self { is_at_hand: true, ..Self::whole(command, reply) }
    }

    /// A request ends without a reply.
    pub fn lost(command: CommandRow) -> Self {
        Self::whole(command, b"")
    }
}

impl Ran {
    /// What a transaction of these commands has done, by the reply to its `EXEC`. `None` if it was not run.
    #[cold]
    pub fn of(commands: &[CommandRow], reply: &[u8]) -> Option<Box<Self>> {
        if !reply.starts_with(b"*") || reply.starts_with(b"*-1") {
            return None;
        }
        // Where the gateway does a part of it, elements come later and piece by piece, and their errors are not told apart.
        let mut errors = resp::elements(reply).into_iter().flatten().map(error_of);
        Some(Box::new(Self(commands.iter().map(|command| (*command, errors.next().flatten())).collect())))
    }
}

#[inline]
fn error_of(reply: &[u8]) -> Option<ErrorCode> {
    (reply.first() == Some(&b'-')).then(|| ErrorCode::of_reply(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_was_not_run_ran_nothing() {
        let commands = [CommandRow::UNKNOWN; 2];
        let check = |reply: &[u8], expected: Option<Vec<Option<&str>>>| {
            let ran = Ran::of(&commands, reply);
            let errors = ran.as_ref().map(|ran| {
                ran.0.iter().map(|(_, error)| error.as_ref().map(ErrorCode::word)).collect::<Vec<_>>()
            });
            assert_eq!(errors, expected, "{}", reply.escape_ascii());
        };
        check(b"*-1\r\n", None);
        check(b"_\r\n", None);
        check(b"-EXECABORT x\r\n", None);
        check(b"*2\r\n:1\r\n-WRONGTYPE x\r\n", Some(vec![None, Some("WRONGTYPE")]));
        // The head alone.
        check(b"*2\r\n", Some(vec![None, None]));
    }
}
