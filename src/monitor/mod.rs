//! COLD: what operators see. Metrics, INFO and HOTKEYS views, HTTP, the dashboard, notices, `hotgate top`.
//!
//! Everything here runs on the control thread and reads snapshots that the workers publish; nothing here can make a
//! worker wait.

pub mod exposition;
pub mod keys;
pub mod metrics;
