//! Keeps idle cores awake while a bench measures.
//!
//! On a virtual machine a core that idles is handed back to the host, which gives it again when it likes, and to wake one
//! costs whoever does it a trip to the host. The one would be most of the latency of a server that leaves its core idle now
//! and then, and none of that of an overloaded one; the other much of what a system call costs without pipelining.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// Cores stay awake for as long as this lives, if the system lets us.
pub struct Awake(Option<File>);

/// Asks for it, for as long as the file is open (Documentation/power/pm_qos_interface.rst).
pub fn keep() -> Awake {
    let mut latency_max = OpenOptions::new().write(true).open("/dev/cpu_dma_latency").ok();
    if latency_max.as_mut().is_some_and(|file| file.write_all(&0_i32.to_ne_bytes()).is_err()) {
        latency_max = None;
    }
    Awake(latency_max)
}

impl Awake {
    /// What a report says of it.
    pub fn remark(&self) -> &'static str {
        match self.0 {
            Some(_) => "Idle cores were kept awake (/dev/cpu_dma_latency).",
            None => {
                "Idle cores could not be kept awake (/dev/cpu_dma_latency, for root only): on a virtual machine some of \
                 these figures are its host's."
            }
        }
    }
}
