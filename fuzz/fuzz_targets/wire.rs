//! Has a peer send anything at any time to the request side of an upstream connection, with requests pushed, written in
//! part and cut off meanwhile, and holds it to what must be true of any such story. The story itself is shared with the
//! unit tests.

#![no_main]

use hotgate::resp::{ReplyScan, ReplyScanner};
use hotgate::worker::pending::{Hook, Pending};
use hotgate::worker::upstream::{Turn, Unanswered, Wire};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/worker/upstream/wire/model.rs"]
mod model;

fuzz_target!(|script: &[u8]| model::Model::default().run(script));
