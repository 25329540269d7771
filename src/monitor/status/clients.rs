//! Clients: who is turned away, who is closed, whose replies pile up.

use super::{Findings, Level, StatusInput, is_nearly_full, percent, rate, whole};

/// The part of the descriptors from which the next clients are in danger.
const DESCRIPTORS_SHARE: f64 = 0.95;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    let (now, totals) = (input.now, input.totals);
    if now.clients_rejected_per_s > 0.0 {
        found.add(
            Level::Critical,
            format!(
                "New clients are turned away ({}/s): {} are connected, which is gateway.clients_max.",
                rate(now.clients_rejected_per_s),
                whole(totals.clients as i64)
            ),
        );
    }
    if now.clients_stalled_per_s > 0.0 {
        found.add(
            Level::Warning,
            format!(
                "Clients that do not read are closed ({}/s): limits.output_stall_timeout is over, or \
                 limits.client_output_buffer_max is full of messages.",
                rate(now.clients_stalled_per_s)
            ),
        );
    }
    if is_nearly_full(totals.buffered_bytes, totals.buffered_bytes_max) {
        let share = percent(totals.buffered_bytes as f64 / totals.buffered_bytes_max as f64);
        found.add(
            Level::Warning,
            format!("Client buffers are {share} full: clients read slower than Redis replies."),
        );
    }
    if totals.descriptors_max > 0
        && totals.descriptors as f64 >= DESCRIPTORS_SHARE * totals.descriptors_max as f64
    {
        let (open, bound) = (whole(totals.descriptors as i64), whole(totals.descriptors_max as i64));
        found.add(
            Level::Critical,
            format!("File descriptors run out: {open} of {bound} are open; raise `ulimit -n`."),
        );
    }
}
