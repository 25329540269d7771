//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong with the file: what was expected, what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line in the file from 1; 0 for what was not written in a file but given on the command line.
    pub line: usize,
    /// Column in characters from 1; 0 as above.
    pub column: usize,
    /// Dotted path, `quota[1].limit`; empty where the file is no TOML.
    pub key: String,
    /// What was expected, what was found, what to do. Holds no secret.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line != 0 {
            write!(out, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Why no configuration could be had from a file.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The file was read and is wrong.
    Invalid {
        /// The file.
        path: PathBuf,
        /// All errors, in the order of the file.
        errors: Vec<ConfigError>,
    },
}

impl LoadError {
    /// One line for each error: `FILE:LINE:COLUMN: key: message`.
    pub fn lines(&self) -> Vec<String> {
        match self {
            LoadError::Read { path, error } => {
                vec![format!("{}: cannot be read: {error}; check its name and permissions", path.display())]
            }
            LoadError::Invalid { path, errors } => errors
                .iter()
                .map(|error| {
                    let separator = if error.line == 0 { ": " } else { ":" };
                    format!("{}{separator}{error}", path.display())
                })
                .collect(),
        }
    }
}

/// One line: the only error, or the first and how to see the others.
impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        out.write_str(lines.first().map_or("", String::as_str))?;
        match self {
            LoadError::Invalid { path, errors } if errors.len() > 1 => write!(
                out,
                " (and {} more: `hotgate check --config {}` shows all)",
                errors.len() - 1,
                path.display()
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}
