//! Tells the program what `hotgate --version` says: its version, and the commit that it was built from.
//!
//! Only a release names the commit: every other build would be made anew with each commit.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let version = env!("CARGO_PKG_VERSION");
    if std::env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        println!("cargo::rustc-env=HOTGATE_VERSION={version} (built for development)");
        return;
    }
    // It changes with each commit and each checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=HOTGATE_VERSION={version} (commit {commit})");
}

/// What git prints, if there is git, and the sources are in a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
