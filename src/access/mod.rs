//! Who may do what: users and their rules, in the syntax and with the meaning of Redis's ACL
//! (<https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>).
//!
//! ```text
//!   rules as text --> User: flags, passwords, selectors --> verdict on (command, keys, channels)
//!                           each selector: commands, key patterns, channel patterns
//! ```
//!
//! # What differs from Redis
//!
//! The gateway logs in at Redis as one user, so Redis checks nothing of what a client's user may do. All of it is checked here, before a
//! request is queued, split, folded or served from a copy. Where Redis looks again while it executes, the gateway can't, and says
//! no to everybody who is restricted (see [`User::is_unrestricted`]):
//!
//! - Scripts and functions run with the gateway's rights, so only unrestricted users run them, unless they run as their user
//!   ([`User::check_as_itself`]).
//! - `SORT` by patterns with a star reads keys that it does not name, so its user must be allowed to read all keys.
//! - A module's command that names no keys may touch any, so its user must be allowed all keys.
//! - Where the arguments do not tell the keys, the request is denied. Redis would have found them wrong as well.
//!
//! A rule names commands of the command table. One of a module is known once the gateway has seen it at the server.
//!
//! It owns no connection and reads no file, and it does not know which client is which user.

mod commands;
mod describe;
mod error;
mod patterns;
mod selector;
mod user;
mod users;
mod verdict;

pub use describe::{Described, describe};
pub use error::{ChangeError, RuleError};
pub use selector::Selector;
pub use user::User;
pub use users::{DEFAULT_USER, UserChange, Users};
pub use verdict::{DenialReason, Denied, runs_inside};
