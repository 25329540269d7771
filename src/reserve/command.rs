//! The clients' commands: words to a typed command.
//!
//! Owns the syntax of `RESERVE.*` behind the command's name, and the words of what is wrong with it. Deliberately does not check the number of arguments
//! twice: the command table has the arity, and here a word that is missing is a syntax error.

use bytes::Bytes;

use super::op::{OpKind, ReserveOp};
use super::terms::{ID_BYTES_MAX, LIMIT_MAX, OpenTerms, SKU_BYTES_MAX, USER_BYTES_MAX};
use super::words::{Words, integer, unknown_word};

/// Rows of a page, steps of a move: the bound of COUNT, so that no call takes longer than 2 ms.
const COUNT_MAX: i64 = 1000;
const COUNT_DEFAULT: i64 = 100;

/// Users of one MCHECK: whoever comes behind it waits for the calls of all of them.
const USERS_CHECKED_MAX: usize = 1000;

/// Which holdings `RESERVE.LIST` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFilter {
    /// Places that wait to be confirmed.
    Held,
    /// Places that are final.
    Confirmed,
    /// What went to another sale.
    Moved,
}

/// A command behind its name. The SKU is the first argument of each but `Skus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReserveCommand<'a> {
    /// `RESERVE.OPEN sku ...`
    Open(OpenTerms<'a>),
    /// `RESERVE.CLOSE sku`
    Close,
    /// `RESERVE.REOPEN sku`
    Reopen,
    /// `RESERVE.ADD`, `CONFIRM`, `CANCEL`, `CHECK` and `INFO`: one operation.
    Op(ReserveOp),
    /// `RESERVE.MCHECK sku user...`
    CheckMany(Vec<Bytes>),
    /// `RESERVE.LIST sku AFTER seq COUNT n [STATE s]`
    List {
        /// Rows behind this place in line.
        after: i64,
        /// How many at the most.
        count: usize,
        /// Only those.
        state: Option<StateFilter>,
    },
    /// `RESERVE.MOVE from to [COUNT n]`
    Move {
        /// The sale that gets the holders.
        to: &'a [u8],
        /// Only one step, of so many.
        count: Option<usize>,
    },
    /// `RESERVE.DROP sku [COUNT n]`
    Drop {
        /// Only one step, of so many keys.
        count: Option<usize>,
    },
    /// `RESERVE.SKUS [AFTER sku] [COUNT n]`
    Skus {
        /// Sales behind this one.
        after: &'a [u8],
        /// How many at the most.
        count: usize,
    },
}

impl<'a> ReserveCommand<'a> {
    /// Reads a request, its name first. Errors are replies without the leading `-`.
    pub fn parse(request: &[&'a [u8]]) -> Result<Self, String> {
        let Some((name, rest)) = request.split_first() else { return Err("ERR empty command".to_owned()) };
        let name = name.to_ascii_lowercase();
        let verb = name.strip_prefix(b"reserve.").unwrap_or_default();
        let wrong_number = || format!("ERR wrong number of arguments for '{}' command", name.escape_ascii());
        if verb == b"skus" {
            return skus(Words::new(rest));
        }
        let Some((sku, rest)) = rest.split_first() else { return Err(wrong_number()) };
        check_sku(sku)?;
        let first = || rest.first().copied().ok_or_else(wrong_number);
        let behind = |skipped: usize| Words::new(rest.get(skipped..).unwrap_or_default());
        let alone = |command, count| if rest.len() == count { Ok(command) } else { Err(wrong_number()) };
        let on_user = |kind| alone(Self::Op(ReserveOp::on(kind, user(first()?)?)), 1);
        match verb {
            b"open" => OpenTerms::parse(sku, behind(0)).map(Self::Open),
            b"close" => alone(Self::Close, 0),
            b"reopen" => alone(Self::Reopen, 0),
            b"info" => alone(Self::Op(ReserveOp::on(OpKind::Info, b"")), 0),
            b"add" => add(first()?, behind(1)),
            b"cancel" => cancel(first()?, behind(1)),
            b"confirm" => on_user(OpKind::Confirm),
            b"check" => on_user(OpKind::Check),
            b"mcheck" => {
                first()?;
                if rest.len() > USERS_CHECKED_MAX {
                    return Err(format!("ERR RESERVE.MCHECK takes at most {USERS_CHECKED_MAX} users"));
                }
                let users = rest.iter().map(|name| user(name).map(Bytes::copy_from_slice));
                users.collect::<Result<_, _>>().map(Self::CheckMany)
            }
            b"list" => list(behind(0)),
            b"move" if first()? == *sku => Err("ERR a sale cannot be moved to itself".to_owned()),
            b"move" => {
                check_sku(first()?)?;
                Ok(Self::Move { to: first()?, count: only_count("RESERVE.MOVE", behind(1))? })
            }
            b"drop" => Ok(Self::Drop { count: only_count("RESERVE.DROP", behind(0))? }),
            _ => Err(format!("ERR unknown command '{}'", name.escape_ascii())),
        }
    }
}

fn add<'a>(name: &'a [u8], mut words: Words<'_, 'a>) -> Result<ReserveCommand<'a>, String> {
    let mut op = ReserveOp { count: Some(1), ..ReserveOp::on(OpKind::Add, user(name)?) };
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"COUNT" => op.count = Some(places(words.value(b"COUNT")?)?),
            b"IDMP" => {
                let id = words.value(b"IDMP")?;
                if !(1..=ID_BYTES_MAX).contains(&id.len()) {
                    return Err(format!(
                        "ERR IDMP takes an id of 1 to {ID_BYTES_MAX} bytes, not of {}",
                        id.len()
                    ));
                }
                op.id = Bytes::copy_from_slice(id);
            }
            _ => return Err(unknown_word("RESERVE.ADD", word)),
        }
    }
    Ok(ReserveCommand::Op(op))
}

fn cancel<'a>(name: &'a [u8], mut words: Words<'_, 'a>) -> Result<ReserveCommand<'a>, String> {
    let mut op = ReserveOp::on(OpKind::Cancel, user(name)?);
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"COUNT" => op.count = Some(places(words.value(b"COUNT")?)?),
            _ => return Err(unknown_word("RESERVE.CANCEL", word)),
        }
    }
    Ok(ReserveCommand::Op(op))
}

fn list<'a>(mut words: Words<'_, 'a>) -> Result<ReserveCommand<'a>, String> {
    let (mut after, mut count, mut state) = (0, COUNT_DEFAULT, None);
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"AFTER" => after = integer(b"AFTER", words.value(b"AFTER")?, 0, 1 << 40)?,
            b"COUNT" => count = integer(b"COUNT", words.value(b"COUNT")?, 1, COUNT_MAX)?,
            b"STATE" => state = Some(state_filter(words.value(b"STATE")?)?),
            _ => return Err(unknown_word("RESERVE.LIST", word)),
        }
    }
    Ok(ReserveCommand::List { after, count: count as usize, state })
}

fn state_filter(word: &[u8]) -> Result<StateFilter, String> {
    match word.to_ascii_lowercase().as_slice() {
        b"held" => Ok(StateFilter::Held),
        b"confirmed" => Ok(StateFilter::Confirmed),
        b"moved" => Ok(StateFilter::Moved),
        _ => Err(format!("ERR STATE is held, confirmed or moved, not '{}'", word.escape_ascii())),
    }
}

fn skus<'a>(mut words: Words<'_, 'a>) -> Result<ReserveCommand<'a>, String> {
    let (mut after, mut count): (&[u8], i64) = (b"", COUNT_DEFAULT);
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"AFTER" => after = words.value(b"AFTER")?,
            b"COUNT" => count = integer(b"COUNT", words.value(b"COUNT")?, 1, COUNT_MAX)?,
            _ => return Err(unknown_word("RESERVE.SKUS", word)),
        }
    }
    Ok(ReserveCommand::Skus { after, count: count as usize })
}

fn only_count(command: &str, mut words: Words<'_, '_>) -> Result<Option<usize>, String> {
    let mut count = None;
    while let Some(word) = words.next() {
        if !word.eq_ignore_ascii_case(b"COUNT") {
            return Err(unknown_word(command, word));
        }
        count = Some(integer(b"COUNT", words.value(b"COUNT")?, 1, COUNT_MAX)? as usize);
    }
    Ok(count)
}

fn check_sku(name: &[u8]) -> Result<(), String> {
    match name.len() {
        1..=SKU_BYTES_MAX => Ok(()),
        length => Err(format!("ERR a sale has a name of 1 to {SKU_BYTES_MAX} bytes, not of {length}")),
    }
}

fn user(name: &[u8]) -> Result<&[u8], String> {
    match name.len() {
        1..=USER_BYTES_MAX => Ok(name),
        length => Err(format!("ERR a user has a name of 1 to {USER_BYTES_MAX} bytes, not of {length}")),
    }
}

fn places(value: &[u8]) -> Result<u32, String> {
    // Within the bound of u32.
    integer(b"COUNT", value, 1, LIMIT_MAX).map(|places| places as u32)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
