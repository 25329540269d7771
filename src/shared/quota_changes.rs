//! How an operator's change of a quota reaches the control thread, from the HTTP API or from `HOTGATE QUOTA`.
//!
//! The quota registry on the control thread owns the quotas and writes changes to Redis, so that every gateway and every restart
//! agrees. A sender waits for the result. The mailbox is bounded: people make changes, and a flood of them is refused.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::audit::Author;
use crate::admission::QuotaAction;
use crate::limits::QUOTA_CHANGES_WAITING_MAX;

/// How long a change may take: a write to Redis with its retries. After that its outcome is unknown to the
/// asker.
const VERDICT_PATIENCE: Duration = Duration::from_secs(5);

/// One change, with who asked for it.
#[derive(Debug)]
pub struct QuotaChange {
    /// The counter's key.
    pub key: Vec<u8>,
    /// What to do.
    pub action: QuotaAction,
    /// Who asked.
    pub by: Author,
    /// Why, if that was said.
    pub reason: String,
    /// Where the verdict goes: what holds now, or why nothing changed.
    pub verdict: oneshot::Sender<Result<String, String>>,
}

/// The control thread's end.
pub type QuotaChangeInbox = mpsc::Receiver<QuotaChange>;

/// The askers' end.
#[derive(Clone, Debug)]
pub struct QuotaChangePort {
    changes: mpsc::Sender<QuotaChange>,
}

impl QuotaChangePort {
    /// A port and the inbox that the control thread serves.
    pub fn new() -> (Self, QuotaChangeInbox) {
        let (changes, inbox) = mpsc::channel(QUOTA_CHANGES_WAITING_MAX);
        (Self { changes }, inbox)
    }

    /// Asks for a change and waits for the verdict.
    ///
    /// Errors are sentences for the operator: no quota holds the key, the limit is out of range, Redis could
    /// not be written, too many changes are waiting, or no verdict came in time.
    pub async fn change(
        &self,
        key: Vec<u8>,
        action: QuotaAction,
        by: Author,
        reason: String,
    ) -> Result<String, String> {
        let (verdict, answer) = oneshot::channel();
        let change = QuotaChange { key, action, by, reason, verdict };
        if self.changes.try_send(change).is_err() {
            return Err(
                "quota changes are not taken at the moment: too many wait, or the gateway is stopping".into(),
            );
        }
        match timeout(VERDICT_PATIENCE, answer).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err("the gateway is stopping; the quota was not changed".into()),
            Err(_) => Err("no verdict within 5 s: look at the quota before trying again".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Author {
        Author { user: "me".into(), address: "here".into() }
    }

    #[tokio::test]
    async fn a_change_gets_its_verdict() {
        let (port, mut inbox) = QuotaChangePort::new();
        tokio::spawn(async move {
            while let Some(change) = inbox.recv().await {
                let verdict = match change.action {
                    QuotaAction::Limit(limit) if limit < 0 => Err("a limit is 0 or more".into()),
                    _ => Ok(format!("done by {}", change.by)),
                };
                let _ = change.verdict.send(verdict);
            }
        });
        assert_eq!(
            port.change(b"k".to_vec(), QuotaAction::Pause, me(), String::new()).await,
            Ok("done by here (me)".into())
        );
        assert!(port.change(b"k".to_vec(), QuotaAction::Limit(-1), me(), String::new()).await.is_err());
    }

    #[tokio::test]
    async fn a_flood_of_changes_is_refused_at_the_door() {
        let (port, inbox) = QuotaChangePort::new();
        for _ in 0..QUOTA_CHANGES_WAITING_MAX {
            let port = port.clone();
            tokio::spawn(
                async move { port.change(b"k".to_vec(), QuotaAction::Pause, me(), String::new()).await },
            );
        }
        tokio::task::yield_now().await;
        let refused = port.change(b"k".to_vec(), QuotaAction::Pause, me(), String::new()).await;
        assert!(refused.unwrap_err().contains("too many"));
        drop(inbox);
    }
}
