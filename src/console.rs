//! Standard output: the one writer of all that commands answer with.
//!
//! A reader that has seen enough (`hotgate ledger verify | head`) closes the pipe. That ends a command as it ends other programs: without a word, and
//! with the exit code that a shell gives for a closed pipe, because a command that was cut short did not find all well. Anything else that keeps a line from being written is
//! said. `print!` and its kind panic instead, so the lint refuses them in all of the program.

use std::io::{self, ErrorKind, Write};

/// The exit code of a command whose reader has gone: 128 and the number of SIGPIPE.
pub const READER_GONE: i32 = 141;

/// Writes a text as it is. Ends the process where nobody reads it.
pub fn print(text: &str) {
    match write(text.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(READER_GONE),
        Err(error) => {
            // Standard error may be gone as well.
            let _ = writeln!(io::stderr(), "hotgate: can't write to standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// Writes a line. Ends the process where nobody reads it.
pub fn say(line: &str) {
    print(&format!("{line}\n"));
}

/// Writes a line that nobody has to read: the process is there for something else, and goes on.
pub fn mention(line: &str) {
    let _ = write(format!("{line}\n").as_bytes());
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
