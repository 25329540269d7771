//! Passwords that a program prints (`upstream.password_command`): tokens that hold for a while, of a service that knows the gateway by other means.
//!
//! ```text
//!   start, and a reload with another program: run, and waited for; without a password nothing is taken over
//!   two thirds of password_lifetime later:    run again beside everything else; the reload's look takes what it printed
//!   it fails:                                 the former password holds; run again after a pause that doubles
//! ```
//!
//! The program is run without a shell, with the environment of the gateway and nothing on its standard input. Its first line is the password. Bounds: its time
//! (`upstream.password_command_timeout`, after which it is killed), what it prints ([`PRINTED_BYTES_MAX`]), and one run for each cluster at a time.
//!
//! Owns the programs and what they printed last. Deliberately does not: publish it. That is [`super::reload`]'s.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::config::{Config, Secret, Upstream};
use crate::route::ClusterId;

/// What a program may print. Tokens with all that a service knows of somebody have a few thousand bytes.
const PRINTED_BYTES_MAX: u64 = 16 * 1024;

/// How much of its last line is shown when it fails.
const SHOWN_CHARS_MAX: usize = 200;

/// Before a program that has failed is run again.
const PAUSE: Duration = Duration::from_secs(3);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// See the module. By [`ClusterId`].
#[derive(Default)]
pub struct PasswordCommands(Vec<Option<Program>>);

/// A program, and what it has printed.
struct Program {
    words: Vec<String>,
    password: Secret,
    /// When it is to be run again.
    due: Instant,
    running: Option<JoinHandle<Result<Secret, String>>>,
    /// Why the last run came to nothing, and how many in a row did.
    failed: Option<(String, u32)>,
}

impl PasswordCommands {
    /// Runs the programs of a configuration that have not been run yet, all at once, and waits for them.
    ///
    /// # Errors
    /// Why there is no password, as clauses. Then nothing has changed.
    pub async fn run_new(&mut self, config: &Config) -> Result<(), Vec<String>> {
        self.0.resize_with(self.0.len().max(config.clusters().len()), || None);
        let new: Vec<(ClusterId, JoinHandle<_>)> = config
            .clusters()
            .filter(|cluster| self.runs(*cluster, config.upstream_of(*cluster)).is_none())
            .filter_map(|cluster| Some((cluster, start(config.upstream_of(cluster))?)))
            .collect();
        let (mut printed, mut failures) = (Vec::new(), Vec::new());
        for (cluster, running) in new {
            match ended(running).await {
                Ok(password) => printed.push((cluster, password)),
                Err(why) => failures.push(clause(config, cluster, &why)),
            }
        }
        if !failures.is_empty() {
            return Err(failures);
        }
        for (cluster, password) in printed {
            let upstream = config.upstream_of(cluster);
            self.0[cluster.position()] = Some(Program {
                words: upstream.password_command.clone(),
                password,
                due: due(upstream),
                running: None,
                failed: None,
            });
        }
        Ok(())
    }

    /// Runs again whatever is due, and takes what has been printed meanwhile. Returns what is wrong, as clauses.
    pub async fn look(&mut self, config: &Config) -> Vec<String> {
        let mut failures = Vec::new();
        for cluster in config.clusters() {
            let upstream = config.upstream_of(cluster);
            let Some(program) = self.0.get_mut(cluster.position()).and_then(Option::as_mut) else { continue };
            if program.words != upstream.password_command {
                continue;
            }
            program.look(upstream).await;
            failures.extend(program.failed.iter().map(|(why, _)| clause(config, cluster, why)));
        }
        failures
    }

    /// The same configuration with the passwords that its programs have printed.
    #[must_use]
    pub fn with_passwords(&self, mut config: Config) -> Config {
        for cluster in config.clusters() {
            let upstream = config.upstream_of_mut(cluster);
            if let Some(program) = self.runs(cluster, upstream) {
                upstream.password = Some(program.password.clone());
            }
        }
        config
    }

    /// Whether `now` differs from `before` in nothing but passwords that programs have printed anew.
    pub fn are_all_that_changed(&self, before: &Config, now: &Config) -> bool {
        let mut like_before = now.clone();
        for cluster in now.clusters() {
            if self.runs(cluster, now.upstream_of(cluster)).is_some() {
                let former = before.upstream_of(cluster).password.clone();
                like_before.upstream_of_mut(cluster).password = former;
            }
        }
        like_before == *before
    }

    /// The program that was run for a cluster, if it is the one that is named.
    fn runs(&self, cluster: ClusterId, upstream: &Upstream) -> Option<&Program> {
        let program = self.0.get(cluster.position())?.as_ref()?;
        (program.words == upstream.password_command).then_some(program)
    }
}

impl Program {
    async fn look(&mut self, upstream: &Upstream) {
        if self.running.is_none() && Instant::now() >= self.due {
            self.running = start(upstream);
        }
        let Some(running) = self.running.take_if(|running| running.is_finished()) else { return };
        match ended(running).await {
            Ok(password) => (self.password, self.failed, self.due) = (password, None, due(upstream)),
            Err(why) => {
                let failures = self.failed.as_ref().map_or(0, |(_, failures)| *failures);
                self.due = Instant::now() + PAUSE.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
                self.failed = Some((why, failures + 1));
            }
        }
    }
}

/// A program that is not waited for any more is not left behind.
impl Drop for Program {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

fn due(upstream: &Upstream) -> Instant {
    Instant::now() + upstream.password_lifetime * 2 / 3
}

fn clause(config: &Config, cluster: ClusterId, why: &str) -> String {
    match cluster.position() {
        0 => format!("upstream.password_command: {why}"),
        place => {
            format!("cluster[{}].password_command ({}): {why}", place - 1, config.cluster_name(cluster))
        }
    }
}

/// Starts the program that is named, if one is.
fn start(upstream: &Upstream) -> Option<JoinHandle<Result<Secret, String>>> {
    let words = Some(upstream.password_command.clone()).filter(|words| !words.is_empty())?;
    let patience = upstream.password_command_timeout;
    Some(tokio::spawn(async move { run(&words, patience).await }))
}

async fn ended(running: JoinHandle<Result<Secret, String>>) -> Result<Secret, String> {
    running.await.unwrap_or_else(|_| Err("it was not waited for".to_owned()))
}

/// What the program prints first, or why that is no password.
async fn run(words: &[String], patience: Duration) -> Result<Secret, String> {
    let [program, arguments @ ..] = words else { return Err("it names no program".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn();
    let child = child.map_err(|error| format!("{program} can't be run: {error}"))?;
    let mut family = Family(child);
    let (status, printed, complaint) = timeout(patience, family.listen())
        .await
        .map_err(|_| format!("{program} did not end within password_command_timeout ({patience:?})"))?
        .map_err(|error| format!("{program} can't be listened to: {error}"))?;
    if printed.len() as u64 > PRINTED_BYTES_MAX {
        return Err(format!("{program} printed more than {PRINTED_BYTES_MAX} bytes"));
    }
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        let shown: String = last.trim().chars().take(SHOWN_CHARS_MAX).collect();
        return Err(format!("{program} failed ({status}): {}", shown.escape_debug()));
    }
    let text =
        String::from_utf8(printed).map_err(|_| format!("{program} printed something that is no text"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(format!("{program} printed nothing on its first line")),
    }
}

/// A program with all that it has started. Dropping it kills them.
struct Family(Child);

impl Family {
    /// Waits for its end, with what it says until then.
    async fn listen(&mut self) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        // One that prints more than it may finds nobody who listens, and ends.
        let (printed, complaint) = tokio::try_join!(read(stdout), read(stderr))?;
        Ok((self.0.wait().await?, printed, complaint))
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another's.
        if let Some(pid) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    if let Some(stream) = stream {
        stream.take(PRINTED_BYTES_MAX + 1).read_to_end(&mut read).await?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_line_is_the_password_and_what_else_there_may_be_is_told_in_words() {
        let minute = Duration::from_secs(60);
        let run = |script: &str, patience| {
            let words = ["sh", "-c", script].map(str::to_owned);
            async move { super::run(&words, patience).await }
        };
        assert_eq!(run("echo token; echo more", minute).await, Ok(Secret::new("token")));
        assert_eq!(run("printf token", minute).await, Ok(Secret::new("token")));
        for (script, expected) in [
            ("echo nothing; echo 'no such role' >&2; exit 3", "failed (exit status: 3): no such role"),
            ("exit 1", "failed (exit status: 1): it says nothing"),
            ("true", "printed nothing on its first line"),
            ("echo", "printed nothing on its first line"),
            ("printf '\\377'", "no text"),
            ("head -c 20000 /dev/zero | tr '\\0' x", "more than 16384 bytes"),
        ] {
            let why = run(script, minute).await.unwrap_err();
            assert!(why.contains(expected), "{script}: {why}");
        }
        let why = run("sleep 1000 & wait", Duration::from_millis(50)).await.unwrap_err();
        assert!(why.contains("did not end within password_command_timeout (50ms)"), "{why}");
        let why = super::run(&["/no/such/program".to_owned()], minute).await.unwrap_err();
        assert!(why.contains("/no/such/program can't be run"), "{why}");
    }
}
