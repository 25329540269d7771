//! The HTTP side of the process.
use std::sync::Arc;
use crate::shared::gateway::Gateway;
/// Serves.
pub fn start(_gateway: Arc<Gateway>, _listener: tokio::net::TcpListener) {}
