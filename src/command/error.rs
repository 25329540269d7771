//! What is wrong with a request before any server sees it, in the words of Redis.
//!
//! Owns the texts. Deliberately decides nothing: whoever looks a command up finds what is wrong.

use crate::resp::Request;

/// Why a request names no command that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Neither the table nor the upstream knows the name.
    Unknown,
    /// The command exists and has no such subcommand.
    UnknownSubcommand,
    /// Too many or too few arguments.
    Arity {
        /// Whether the subcommand, not the command, counts its arguments.
        of_subcommand: bool,
    },
}

/// Redis shows this much of a name, and of all arguments together.
const SHOWN_BYTES_MAX: usize = 128;

impl CommandError {
    /// The text that Redis 7 gives (`commandCheckExistence` and `commandCheckArity` of its `server.c`), without the
    /// leading `-`. The client's own bytes are in it as they came; line ends among them are for the encoder.
    pub fn message(self, request: &Request) -> Vec<u8> {
        let (name, subcommand) = (shown(request.name()), request.arg(1).map(shown).unwrap_or_default());
        match self {
            Self::Unknown => {
                [b"ERR unknown command '", name, b"', with args beginning with: ", &shown_arguments(request)]
                    .concat()
            }
            Self::UnknownSubcommand => {
                [b"ERR unknown subcommand '", subcommand, b"'. Try ", &name.to_ascii_uppercase(), b" HELP."]
                    .concat()
            }
            Self::Arity { of_subcommand } => {
                let separator: &[u8] = if of_subcommand { b"|" } else { b"" };
                let subcommand = if of_subcommand { subcommand } else { b"" };
                let full = [name, separator, subcommand].concat().to_ascii_lowercase();
                [b"ERR wrong number of arguments for '", &full[..], b"' command"].concat()
            }
        }
    }
}

/// The beginning of an argument, up to a NUL, as C's `%.128s` shows it.
fn shown(arg: &[u8]) -> &[u8] {
    shown_up_to(arg, SHOWN_BYTES_MAX)
}

fn shown_up_to(arg: &[u8], bytes_max: usize) -> &[u8] {
    let end = arg.iter().take(bytes_max).position(|byte| *byte == 0).unwrap_or(arg.len().min(bytes_max));
    &arg[..end]
}

fn shown_arguments(request: &Request) -> Vec<u8> {
    let mut shown = Vec::new();
    for arg in request.args().skip(1) {
        if shown.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let arg = shown_up_to(arg, SHOWN_BYTES_MAX - shown.len());
        shown.extend_from_slice(&[b"'", arg, b"' "].concat());
    }
    shown
}
