//! Telling people that a key became hot, or cooled: a log line, a pub/sub message, a webhook. Of other events the webhook tells.
//!
//! The control thread calls [`Notifier::announce`] for each transition of the hot set. It never waits: the
//! log line is written by tracing, the pub/sub message is returned for the workers to deliver, and the
//! webhook has a bounded queue of its own. What is dropped there is counted.

pub mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use tracing::info;

use super::view::NoticesView;
use crate::detect::{Class, Transition, TransitionKind};
use crate::shared::events::Event;
use crate::shared::kept::Entry;
use crate::shared::keys::KeyNames;
use webhook::WebhookQueue;

/// The channel on which clients of the gateway hear of hot keys; the name that users of Valkey asked for.
pub const CHANNEL: &str = "__hotkey_notify__";

/// Counts of notices; written by the control thread, read for display.
#[derive(Debug, Default)]
pub struct NoticeFigures {
    hot: AtomicU64,
    cooled: AtomicU64,
    webhook_delivered: AtomicU64,
    webhook_failed: AtomicU64,
    webhook_dropped: AtomicU64,
}

impl NoticeFigures {
    /// The counts now.
    pub fn view(&self) -> NoticesView {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        NoticesView {
            hot: read(&self.hot),
            cooled: read(&self.cooled),
            webhook_delivered: read(&self.webhook_delivered),
            webhook_failed: read(&self.webhook_failed),
            webhook_dropped: read(&self.webhook_dropped),
        }
    }
}

/// The message, as JSON, on the channel and in the webhook.
#[derive(Debug, Serialize)]
struct Notice<'a> {
    /// The key as people read it.
    key: &'a str,
    /// `hot` or `cooled`.
    state: &'static str,
    /// What most accesses do: `read` or `write`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Accesses per second.
    qps: u64,
    /// `string` for counters; empty where the accesses do not tell the type of the value.
    val_type: &'static str,
    /// Milliseconds since 1970.
    timestamp: u64,
    /// `read`, `write`, `counter` or `bytes`.
    class: &'static str,
    /// Part of all key accesses, 0 to 1.
    share: f64,
    /// About how many connections use it.
    connections: u32,
    /// Where it lives; empty while not known.
    node: &'a str,
    /// Which gateway says so.
    gateway: &'a str,
}

/// Writes the log line, counts, queues the webhook and makes the pub/sub message.
pub struct Notifier {
    gateway_id: String,
    key_names: KeyNames,
    figures: Arc<NoticeFigures>,
    webhook: Option<WebhookQueue>,
}

impl Notifier {
    /// A notifier; without a webhook where none is configured.
    pub fn new(
        gateway_id: String,
        key_names: KeyNames,
        figures: Arc<NoticeFigures>,
        webhook: Option<WebhookQueue>,
    ) -> Self {
        Self { gateway_id, key_names, figures, webhook }
    }

    /// Sends an event to the webhook, if there is one. What concerns hot keys goes there by [`Self::announce`].
    pub fn send(&self, event: &Event) {
        if event.comes_in_crowds() {
            return;
        }
        if let Some(webhook) = &self.webhook {
            let message = json!({
                "event": event.kind, "subject": event.subject, "text": event.text, "by": event.by,
                "times": event.stamp.times, "timestamp": event.stamp.at_ms, "gateway": self.gateway_id,
            });
            webhook.offer(Bytes::from(message.to_string()));
        }
    }

    /// Announces one transition of a key that lives at `node` (empty while not known). Returns the message
    /// for the clients subscribed to [`CHANNEL`].
    pub fn announce(&self, transition: &Transition, node: &str) -> Bytes {
        let (hot, key) = (&transition.hot_key, self.key_names.label(transition.hot_key.key.bytes()));
        let (state, count) = match transition.kind {
            TransitionKind::BecameHot => ("hot", &self.figures.hot),
            TransitionKind::Cooled => ("cooled", &self.figures.cooled),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let notice = Notice {
            key: &key,
            state,
            kind: if hot.rates.reads >= hot.rates.writes { "read" } else { "write" },
            qps: hot.rates.ops.round() as u64,
            val_type: if hot.class == Class::CounterHot { "string" } else { "" },
            timestamp: transition.at_ms,
            class: hot.class.name(),
            share: (hot.rates.share * 10_000.0).round() / 10_000.0,
            connections: hot.rates.connections,
            node,
            gateway: &self.gateway_id,
        };
        info!(
            target: "hotgate::hotkeys",
            key = notice.key, state, class = notice.class, kind = notice.kind, qps = notice.qps, share = notice.share,
            connections = notice.connections, node,
            "key {}", if state == "hot" { "became hot" } else { "cooled" },
        );
        let message = Bytes::from(serde_json::to_vec(&notice).unwrap_or_default());
        if let Some(webhook) = &self.webhook {
            webhook.offer(message.clone());
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{HotKey, KeyName, Rates};
    use crate::route::ClusterId;

    #[test]
    fn the_message_has_the_fields_that_were_asked_for() {
        let figures = Arc::new(NoticeFigures::default());
        let notifier = Notifier::new("gw".into(), KeyNames::Plain, figures.clone(), None);
        let rates =
            Rates { ops: 84_000.4, writes: 84_000.0, share: 0.612_345, connections: 50, ..Rates::default() };
        let hot_key = HotKey {
            key: KeyName::new(ClusterId::DEFAULT, b"sku:\xff:reserved"),
            since_ms: 1,
            class: Class::CounterHot,
            rates,
            peak: 0.0,
            history: Arc::from([]),
        };
        let transition = Transition { kind: TransitionKind::BecameHot, at_ms: 1_700_000_000_123, hot_key };
        let message: serde_json::Value =
            serde_json::from_slice(&notifier.announce(&transition, "a:1")).unwrap();
        assert_eq!(
            message,
            serde_json::json!({
                "key": "sku:\\xff:reserved", "state": "hot", "type": "write", "qps": 84_000, "val_type": "string",
                "timestamp": 1_700_000_000_123u64, "class": "counter", "share": 0.6123, "connections": 50, "node": "a:1",
                "gateway": "gw",
            })
        );
        assert_eq!((figures.view().hot, figures.view().cooled), (1, 0));
    }
}
