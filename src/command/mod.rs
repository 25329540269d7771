//! What the gateway knows of commands: names, arities, flags, where their keys are, how they are carried.
//!
//! Owns: the table of commands, the search for keys in a request, the replies to `COMMAND` and its subcommands,
//! what is taken from an upstream's own `COMMAND` reply, and the matching of glob patterns as Redis does it.
//!
//! Deliberately does not: carry anything. A [`Class`] says what is to be done; `worker/` does it.
//!
//! On the data path: [`CommandTable::resolve`] turns a request into a number, [`Command::class_of`] says what to do
//! with it, [`Command::keys`] where its keys are. None of the three allocates (up to four keys).

mod arguments;
mod class;
#[allow(clippy::module_inception, reason = "the module is of commands, the file of one")]
mod command;
mod error;
mod flags;
pub mod glob;
mod keys;
mod lookup;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod oracle_tests;
pub mod render;
mod table;
pub mod upstream;

pub use arguments::{Argument, ArgumentType};
pub use class::{Class, Fan, GIVEN_BY_RULE, Local, Reserve, Session, Split};
pub use command::{Command, CommandId, KeyUses};
pub use error::CommandError;
pub use flags::{Categories, CommandFlags, KeyFlags};
pub use keys::{KeyError, KeyPositions, KeyRange, KeySpec};
pub use lookup::CommandTable;
pub use table::Group;
pub use upstream::UpstreamCommand;
