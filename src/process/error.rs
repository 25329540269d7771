//! Why the process can't start, or ends without all of its work: the lines that an operator reads.

use std::io;

use crate::control::descriptors::TooFewDescriptors;
use crate::journal::OpenError;
use crate::net::tls::TlsError;
use crate::net::{SocketName, listen_advice};
use crate::worker::hot::behind::Unflushed;

/// Why the process can't start or go on.
#[derive(Debug)]
pub enum ProcessError {
    /// An address can't be listened on.
    Listen(SocketName, io::Error),
    /// The system refuses a thread, a runtime or a signal handler.
    System(&'static str, io::Error),
    /// A worker thread ended by itself.
    Worker(usize, String),
    /// There are too few file descriptors.
    Descriptors(TooFewDescriptors),
    /// The file of users is wrong: one line each.
    Users(Vec<String>),
    /// The directory for what survives a restart can't be used.
    StateDirectory(io::Error),
    /// The upstream user may not do what the configuration needs: sentences without a full stop.
    Rights(Vec<String>),
    /// A certificate, a key or an authority can't be used.
    Tls(TlsError),
    /// A program prints no password: clauses.
    Passwords(Vec<String>),
    /// The journal of write-behind can't be opened.
    Journal(OpenError),
    /// It can't take over from the gateway that started it: a clause.
    Handover(String),
    /// The process ended before Redis had all that was answered. The log names the keys.
    Unflushed {
        /// Increments that write-behind answered.
        unflushed: Unflushed,
        /// The journal has that, for the next process.
        journaled: bool,
        /// Increments that quotas let through while Redis was away.
        unpaid: Unflushed,
    },
}

impl std::fmt::Display for ProcessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(f, "can't listen on {address}: {error}; {}", listen_advice(error))
            }
            Self::System(what, error) => write!(f, "the system refused {what}: {error}"),
            Self::StateDirectory(error) => {
                write!(
                    f,
                    "gateway.state_dir can't be used: {error}; name a directory that the process may write to"
                )
            }
            Self::Journal(error) => error.fmt(f),
            Self::Handover(why) => f.write_str(why),
            Self::Tls(error) => error.fmt(f),
            Self::Passwords(why) => write!(f, "{}; see that it prints a password", why.join("; ")),
            Self::Descriptors(error) => error.fmt(f),
            Self::Unflushed { unflushed, journaled, unpaid } => {
                let fate = match journaled {
                    true => "the journal keeps them for the next start",
                    false => "they are lost",
                };
                let within = "within gateway.drain_timeout";
                let mut between = "";
                if unflushed.keys > 0 {
                    let Unflushed { keys, increments } = unflushed;
                    write!(
                        f,
                        "{increments} acknowledged increments of {keys} keys could not be flushed {within}: {fate}"
                    )?;
                    between = "; ";
                }
                if unpaid.keys > 0 {
                    let Unflushed { keys, increments } = unpaid;
                    write!(
                        f,
                        "{between}{increments} increments of {keys} keys that quotas let through while Redis was away could \
                         not be added {within}: they are lost"
                    )?;
                }
                Ok(())
            }
            Self::Rights(missing) => {
                write!(f, "{}; grant that, or take it out of the configuration", missing.join("; "))
            }
            Self::Users(errors) => {
                write!(f, "auth.acl_file: {}; mend it, or name another file", errors.join("; "))
            }
            Self::Worker(index, why) => write!(f, "worker {index} ended by itself: {why}"),
        }
    }
}

impl std::error::Error for ProcessError {}
