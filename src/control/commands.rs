//! Takes commands that the gateway's table lacks from the upstream's `COMMAND` reply, so that a new command is not refused.

use std::sync::Arc;

use crate::command::upstream::parse_resp2;
use crate::route::ClusterId;
use crate::shared::gateway::Gateway;

/// Extends the published command table whenever a cluster tells its own. There is one such task for each cluster; they share a thread.
pub async fn follow_commands(gateway: Arc<Gateway>, cluster: ClusterId) {
    let facts = gateway.facts_of(cluster);
    let mut changes = facts.changes();
    loop {
        if let Some(reply) = &facts.load().commands {
            match redis_protocol::resp2::decode::decode(reply) {
                Ok(Some((frame, _))) => {
                    let table = gateway.commands.load().with_upstream(parse_resp2(&frame));
                    let users = gateway.users.load().for_table(&table);
                    gateway.commands.store(Arc::new(table));
                    gateway.users.store(users);
                }
                _ => tracing::warn!(
                    "the upstream's COMMAND reply can't be read; only the gateway's own commands are known"
                ),
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
