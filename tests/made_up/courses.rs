//! What the made-up gateway does with its hot keys, and what an operator may say of that.

use std::sync::Arc;

use bytes::Bytes;
use hotgate::pace::Course;
use hotgate::shared::audit::AuditEntry;
use hotgate::shared::courses::KeyCourse;
use hotgate::shared::key_modes::KeyModePort;
use hotgate::shared::keys;

use super::{SKU, Stage};

/// One key is folded, another passes.
pub fn courses() -> Vec<KeyCourse> {
    let passing = KeyCourse {
        key: Bytes::from_static(b"config:flags"),
        course: Course::Passing,
        forced: false,
        for_ms: 61_000,
        excess_us: 0,
        probe_in_ms: None,
        flushes_max: None,
        turn_wait_us: 0,
        unfolded: Vec::new(),
        commands: vec![("get".into(), 900), ("hgetall".into(), 90)],
        clients: (0..8).map(|id| (id, 100)).collect(),
    };
    let folding = KeyCourse {
        key: Bytes::from_static(SKU),
        course: Course::Folding,
        for_ms: 9_000,
        excess_us: 4_200,
        probe_in_ms: Some(2_500),
        unfolded: vec!["expire".into()],
        commands: vec![("incr".into(), 8_000), ("get".into(), 1_950), ("expire".into(), 50)],
        clients: vec![(3, 4_100), (7, 900), (4_711, 300)],
        ..passing.clone()
    };
    vec![passing, folding]
}

/// Takes what an operator says of folding a key, and notes it.
pub fn key_modes(stage: &Arc<Stage>) -> KeyModePort {
    let (port, mut inbox) = KeyModePort::new();
    let stage = Arc::clone(stage);
    tokio::spawn(async move {
        while let Some(change) = inbox.changes.recv().await {
            let entry = AuditEntry::new(&change.by, "key folding", keys::text(&change.key));
            stage.audit.record(entry.from_to("auto", change.mode.word()).because(change.reason));
            inbox.modes.store(Arc::new(vec![(change.key, change.mode)]));
            let _ = change.verdict.send(Ok("done".into()));
        }
    });
    port
}
