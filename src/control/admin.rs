//! The HTTP side of the process.
use crate::shared::gateway::Gateway;
use std::sync::Arc;
/// Serves.
pub fn start(_gateway: Arc<Gateway>, _listener: tokio::net::TcpListener) {}
