//! What the kernel says of this process, from `/proc/self` (proc(5)): processor time, memory, file
//! descriptors, and of each thread, by name, for how long it ran and for how long it waited for a processor.
//!
//! Where `/proc` is not to be had the figures are zero; nothing depends on them.

use std::fs;

use serde::Serialize;

/// Clock ticks per second in `/proc/*/stat`. It is 100 on every Linux that Rust runs on (USER_HZ, time(7)).
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes per page in `statm`, on x86-64 and on arm64 as commonly configured.
const PAGE_BYTES: u64 = 4096;
/// Threads reported; a gateway has at most 256 workers and a few more.
const THREADS_MAX: usize = 300;

/// A reading.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessFigures {
    /// Processor time in user mode, in seconds.
    pub cpu_user_s: f64,
    /// Processor time in the kernel, in seconds.
    pub cpu_system_s: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Address space in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// The most file descriptors that it may have open; 0 when unlimited or not known.
    pub fds_max: u64,
    /// Each thread, by name.
    pub threads: Vec<ThreadFigures>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThreadFigures {
    /// Its name.
    pub name: String,
    /// Processor time in seconds.
    pub cpu_s: f64,
    /// For how long it could run and got no processor, in seconds.
    pub waited_s: f64,
}

impl ProcessFigures {
    /// Reads the figures now. A few file reads, under a millisecond; done once per sampling period.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let (cpu_user_s, cpu_system_s) = cpu_seconds(&stat);
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = statm.split(' ').map(|n| n.parse::<u64>().unwrap_or(0));
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            cpu_user_s,
            cpu_system_s,
            virtual_bytes: pages.next().unwrap_or(0) * PAGE_BYTES,
            resident_bytes: pages.next().unwrap_or(0) * PAGE_BYTES,
            fds: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            fds_max: fds_max(&limits),
            threads: threads(),
        }
    }

    /// User and system time together, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.cpu_user_s + self.cpu_system_s
    }
}

/// User and system time of a `stat` line. The command name may hold spaces and parentheses; fields count from
/// the last `)`.
fn cpu_seconds(stat: &str) -> (f64, f64) {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_ascii_whitespace().skip(11).map(|n| n.parse::<f64>().unwrap_or(0.0));
    (fields.next().unwrap_or(0.0) / TICKS_PER_SECOND, fields.next().unwrap_or(0.0) / TICKS_PER_SECOND)
}

fn fds_max(limits: &str) -> u64 {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Threads of one name are added together, so that a name is one metric series.
fn threads() -> Vec<ThreadFigures> {
    let mut threads: Vec<ThreadFigures> = Vec::new();
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten().take(THREADS_MAX) {
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let (name, (user, system)) = (read("comm"), cpu_seconds(&read("stat")));
        let waited_s = waited_seconds(&read("schedstat"));
        match threads.iter_mut().find(|known| known.name == name.trim_end()) {
            Some(known) => {
                known.cpu_s += user + system;
                known.waited_s += waited_s;
            }
            None => {
                let name = name.trim_end().to_owned();
                threads.push(ThreadFigures { name, cpu_s: user + system, waited_s });
            }
        }
    }
    threads.sort_by(|a, b| a.name.cmp(&b.name));
    threads
}

/// The second field of a `schedstat` line: nanoseconds on a run queue.
fn waited_seconds(schedstat: &str) -> f64 {
    schedstat.split_ascii_whitespace().nth(1).and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_seconds(stat), (2.5, 0.5));
        assert_eq!(cpu_seconds(""), (0.0, 0.0));
        assert_eq!([waited_seconds("7 2500000000 3\n"), waited_seconds("")], [2.5, 0.0]);
    }

    #[test]
    fn fds_max_of_limits() {
        assert_eq!(
            fds_max("Limit  Soft Hard\nMax open files            1024                 4096  files\n"),
            1024
        );
        assert_eq!(fds_max("Max open files   unlimited  unlimited files\n"), 0);
    }

    #[test]
    fn this_process_has_figures() {
        let figures = ProcessFigures::read();
        assert!(figures.resident_bytes > 0 && figures.fds > 0 && !figures.threads.is_empty());
    }
}
