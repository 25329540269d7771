//! The program that an upgrade starts: where it lies, and with which arguments it was started.
//!
//! The path is remembered at the start, so a file that was replaced since is the new program. Where the program was started by a name or
//! a link that leads to it, that name is kept: a link that leads elsewhere since is followed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// This program, to be started again.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// All arguments, its own name left out.
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// The one that runs. To be asked before its file can have been replaced.
    ///
    /// # Errors
    /// The system does not say where it lies.
    pub fn of_this_process() -> std::io::Result<Self> {
        let real = env::current_exe()?;
        let mut arguments = env::args_os();
        let name = arguments.next().map(PathBuf::from);
        let leads_here = |path: &PathBuf| path.canonicalize().is_ok_and(|found| found == real);
        let by_name = name.and_then(|name| candidates(&name).into_iter().find(leads_here));
        Ok(Self { path: by_name.unwrap_or(real), arguments: arguments.collect() })
    }
}

/// Where a name may lead: as a path, or along PATH.
fn candidates(name: &Path) -> Vec<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).into_iter().collect();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|directory| directory.join(name)).collect()
}
