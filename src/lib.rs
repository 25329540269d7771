//! hotgate
pub mod admission;
pub mod combine;
pub mod command;
pub mod config;
pub mod control;
pub mod demo;
pub mod detect;
pub mod journal;
pub mod limits;
pub mod monitor;
pub mod process;
pub mod resp;
pub mod shared;
pub mod worker;
