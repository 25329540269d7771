//! The cores of this machine: who runs on which, and what each process took of them.
//!
//! Servers, gateway and load share one machine, so a figure means something only if it is known who had which core.

use std::fs;

use rustix::io;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// Where the parts of a measurement run. On a small machine some of them are the same core.
#[derive(Clone, Debug)]
pub struct Cores {
    /// All that this process may use.
    all: Vec<usize>,
    /// The server that is to be overloaded.
    pub server: usize,
    /// The gateway.
    pub gateway: usize,
    /// The load, with the servers that have little to do.
    pub load: usize,
}

impl Cores {
    /// By the cores that the system lets this process use.
    ///
    /// # Errors
    /// The system does not say.
    pub fn of_this_machine() -> std::io::Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self::among((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()))
    }

    fn among(all: Vec<usize>) -> Self {
        let (server, gateway, load) = match all[..] {
            [] => (0, 0, 0),
            [only] => (only, only, only),
            [first, second] => (first, first, second),
            [first, second, third, ..] => (first, second, third),
        };
        Self { all, server, gateway, load }
    }

    /// Whether the load can outrun the server at all.
    pub fn load_is_apart(&self) -> bool {
        self.load != self.server
    }

    /// Who shares what, in a sentence or two.
    pub fn describe(&self) -> String {
        let Self { server, gateway, load, .. } = self;
        match self.all.len() {
            0 | 1 => "This process may use one core only: Redis, hotgate and the load share it, so the load can't outrun \
                      Redis as it would from other machines. Take the figures as a picture."
                .to_owned(),
            2 => format!(
                "All of it runs on this machine. Redis has core {server}, and hotgate, when it is there, gets no core of its \
                 own: it shares that one. The load is on core {load}."
            ),
            _ => format!(
                "All of it runs on this machine: Redis on core {server}, hotgate on core {gateway}, the load on core {load}."
            ),
        }
    }

    /// Keeps all threads of a process, and those that they start later, on one core. A process that has gone is none.
    pub fn pin(&self, pid: u32, core: usize) {
        self.allow(pid, &[core]);
    }

    /// Lets a process run where it likes again.
    pub fn unpin(&self, pid: u32) {
        self.allow(pid, &self.all);
    }

    /// Keeps the thread that calls this on the load's core.
    pub fn pin_load(&self) {
        // Refused only by a system that knows no affinity; then the figures say how late the load was.
        let _ = set_affinity(None, &[self.load]);
    }

    fn allow(&self, pid: u32, cores: &[usize]) {
        for thread in threads_of(pid) {
            let _ = set_affinity(Pid::from_raw(thread), cores);
        }
    }
}

fn set_affinity(thread: Option<Pid>, cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(thread, &set)
}

/// The ids of the threads that a process has now.
fn threads_of(pid: u32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect()
}

/// Processor time of all threads of a process so far, in seconds; nothing for one that has gone. The scheduler counts it in
/// nanoseconds (`/proc/PID/task/TID/schedstat`, first field: Documentation/scheduler/sched-stats.rst).
pub fn cpu_seconds(pid: u32) -> f64 {
    let nanoseconds = |thread: i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0)
    };
    threads_of(pid).into_iter().map(nanoseconds).sum::<u64>() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_a_place_for_each_part() {
        for (all, placed) in [
            (vec![], (0, 0, 0)),
            (vec![5], (5, 5, 5)),
            (vec![2, 3], (2, 2, 3)),
            (vec![0, 1, 2, 3], (0, 1, 2)),
        ] {
            let cores = Cores::among(all);
            assert_eq!((cores.server, cores.gateway, cores.load), placed);
            assert!(!cores.describe().is_empty());
        }
    }

    #[test]
    fn this_process_has_cores_and_takes_time() {
        let cores = Cores::of_this_machine().unwrap();
        assert!(!cores.all.is_empty());
        assert!(cpu_seconds(std::process::id()) > 0.0);
        assert!(cpu_seconds(u32::MAX) == 0.0);
    }
}
