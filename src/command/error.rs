//! What is wrong with a request before any server sees it, in the words of Redis.

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
    /// leading `-`. Bytes that are not UTF-8 are replaced; line ends must be by the encoder.
    pub fn message(self, request: &Request) -> String {
        let (name, subcommand) = (shown(request.name()), request.arg(1).map(shown).unwrap_or_default());
        match self {
            Self::Unknown => {
                format!(
                    "ERR unknown command '{name}', with args beginning with: {}",
                    shown_arguments(request)
                )
            }
            Self::UnknownSubcommand => {
                format!("ERR unknown subcommand '{subcommand}'. Try {} HELP.", name.to_ascii_uppercase())
            }
            Self::Arity { of_subcommand } => {
                let (name, subcommand) = (name.to_ascii_lowercase(), subcommand.to_ascii_lowercase());
                let subcommand = if of_subcommand { format!("|{subcommand}") } else { String::new() };
                format!("ERR wrong number of arguments for '{name}{subcommand}' command")
            }
        }
    }
}

/// The beginning of an argument, up to a NUL, as C's `%.128s` shows it.
fn shown(arg: &[u8]) -> String {
    shown_up_to(arg, SHOWN_BYTES_MAX)
}

fn shown_up_to(arg: &[u8], bytes_max: usize) -> String {
    let end = arg.iter().take(bytes_max).position(|byte| *byte == 0).unwrap_or(arg.len().min(bytes_max));
    String::from_utf8_lossy(&arg[..end]).into_owned()
}

fn shown_arguments(request: &Request) -> String {
    let mut shown = String::new();
    for arg in request.args().skip(1) {
        if shown.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let arg = shown_up_to(arg, SHOWN_BYTES_MAX - shown.len());
        shown.push_str(&format!("'{arg}' "));
    }
    shown
}
