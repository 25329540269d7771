//! Replies to operations on a counter under a quota, and their counts.

use super::{
    counts::Reason,
    known::taken,
    machine::{Admission, Denial},
    refusal,
};
use crate::{
    combine::{Cause, Refusal, Settled},
    config::QuotaReply,
    resp::{RespVersion, encode},
};

impl Admission {
    /// Appends the reply to an operation that [`Admission::decide`] refused. It is counted already.
    pub fn write_denial(&mut self, denial: Denial, version: RespVersion, out: &mut Vec<u8>) {
        match denial {
            Denial::Judged(refusal) => self.write_judgement(&refusal, version, out),
            Denial::Unavailable => encode::error(out, refusal::unavailable_text(self.quota.key())),
            Denial::Fault => {
                encode::error(out, refusal::fault_text(self.quota.key(), self.fault().unwrap_or_default()));
            }
        }
    }

    /// The reply to an increment that went to Redis, and counts it. What has to be worded is put into `scratch`, which is
    /// emptied first.
    pub fn settle<'a>(
        &mut self,
        delta: i64,
        settled: Settled<'a>,
        version: RespVersion,
        scratch: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        scratch.clear();
        match settled {
            Settled::Reply(reply) => {
                if reply.first() == Some(&b':') {
                    self.count_granted(delta);
                }
                return reply;
            }
            Settled::Shared(reply) => return reply,
            Settled::Unsent(reply) | Settled::OutcomeUnknown(reply) => return reply,
            Settled::Refused(refusal) => {
                self.count_refused(Denial::Judged(refusal));
                self.write_judgement(&refusal, version, scratch);
            }
            Settled::ClampError(text) => {
                self.count_refused(Denial::Fault);
                encode::error(scratch, refusal::fault_text(self.quota.key(), text));
            }
        }
        scratch
    }

    /// Counts an operation that was granted and is not answered as a grant, since too few replicas hold it.
    pub fn count_unconfirmed(&mut self) {
        self.counts.iter_mut().for_each(|counts| counts.refused[Reason::Unconfirmed as usize] += 1);
    }

    fn write_judgement(&mut self, refusal: &Refusal, version: RespVersion, out: &mut Vec<u8>) {
        let reply = self.quota.parts()[self.part_behind(Denial::Judged(*refusal))].reply;
        let known = self.known.value.is_some() || refusal.cause != Cause::Paused;
        let value = known.then_some(refusal.value);
        let error = match &mut self.worded {
            Some((cause, limit, text)) if (*cause, *limit) == (refusal.cause, refusal.limit) => text,
            worded if reply == QuotaReply::Error || value.is_none() => {
                let window_ms = match (refusal.cause, &self.clamp) {
                    (Cause::Window(index), Some(clamp)) => {
                        clamp.windows.get(index).map(|window| window.window_ms)
                    }
                    _ => None,
                };
                let text = refusal::error_text(self.quota.key(), refusal, window_ms);
                &mut worded.insert((refusal.cause, refusal.limit, text)).2
            }
            _ => "",
        };
        refusal::write_judgement(reply, error, value, version, out);
    }

    fn count_granted(&mut self, delta: i64) {
        let takes = taken(delta, self.quota.consumes());
        for counts in &mut self.counts {
            counts.admitted += 1;
            counts.admitted_units += takes.unsigned_abs();
        }
    }

    pub(super) fn count_refused(&mut self, denial: Denial) {
        let reason = match denial {
            Denial::Judged(Refusal { cause: Cause::Paused, .. }) => Reason::Paused,
            Denial::Judged(_) => Reason::Exhausted,
            Denial::Unavailable => Reason::Unavailable,
            Denial::Fault => Reason::Fault,
        };
        let part = self.part_behind(denial);
        self.counts[part].refused[reason as usize] += 1;
    }

    /// The part of the quota that a refusal is counted under. Without a judgement that is the first.
    pub(super) fn part_behind(&self, denial: Denial) -> usize {
        match (denial, &self.clamp) {
            (Denial::Judged(refusal), Some(clamp)) => {
                self.quota.part_behind(refusal.cause, refusal.limit, clamp)
            }
            _ => 0,
        }
    }
}
