//! Random commands of 200 users through four gateways: the scripts in a real server say what the model says, and in the end the count, the holdings and
//! the ledger agree.
//!
//! Time is the server's. Each reply says what it was, and the model is told: so holds end in the test when they end there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hotgate::reserve::{FlushResults, OPS_PER_CALL_MAX, OpKind, ReserveOp, is_try_again};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::desk::{Desk, Event, words};
use super::model::Model;
use crate::support::seeds::seeds;
use crate::support::text::one_line;
use crate::support::{Client, Server};

const USERS: usize = 200;

/// Four gateways before one sale, and its model.
pub struct Play {
    pub desks: Vec<Desk>,
    pub model: Model,
    pub rng: SmallRng,
    pub seed: u64,
    /// Of the last call.
    now: i64,
}

impl Play {
    pub fn new(clients: impl Fn() -> Vec<Client>, sku: &str, seed: u64) -> Play {
        let desk = |number| Desk::of_nodes(clients(), sku, &format!("g{number}"));
        let rng = SmallRng::seed_from_u64(seed);
        Play { desks: (0..4).map(desk).collect(), model: Model::default(), rng, seed, now: 0 }
    }

    pub fn open(&mut self) {
        let Play { model, rng, .. } = self;
        model.limit = rng.random_range(1..260);
        model.per_user = rng.random_range(1..5);
        if model.hold == 0 && rng.random_ratio(3, 4) {
            model.hold = rng.random_range(1..60);
        }
        let line = format!("OPEN LIMIT {} PERUSER {} HOLD {}", model.limit, model.per_user, model.hold);
        self.desks[0].check(&line, "+OK");
    }

    fn random_op(&mut self) -> ReserveOp {
        let user = format!("user{}", self.rng.random_range(0..USERS));
        let kind = match self.rng.random_range(0..10) {
            0..6 => OpKind::Add,
            6 => OpKind::Check,
            7 | 8 => OpKind::Confirm,
            _ => OpKind::Cancel,
        };
        let mut op = ReserveOp::on(kind, user.as_bytes());
        if kind == OpKind::Add {
            op.count = Some(self.rng.random_range(1..4));
            if self.rng.random_ratio(1, 3) {
                op.id = Bytes::from(format!("id{}", self.rng.random_range(0..40)));
            }
        } else if kind == OpKind::Cancel && self.rng.random_ratio(1, 3) {
            op.count = Some(1);
        }
        op
    }

    /// One flush through one of the gateways; sometimes its reply is lost and it goes again. Says whether the sale's keys were on one node: otherwise nothing
    /// happened.
    pub fn flush(&mut self, ops_max: usize) -> bool {
        let ops: Vec<ReserveOp> = (0..self.rng.random_range(1..=ops_max)).map(|_| self.random_op()).collect();
        let desk = self.rng.random_range(0..self.desks.len());
        let again = self.rng.random_ratio(1, 4);
        let desk = &mut self.desks[desk];
        desk.sequence += 1;
        let sequence = desk.sequence;
        let reply = desk.send(&ops, sequence);
        if is_try_again(&reply[1..]) {
            return false;
        }
        if again && ops.iter().any(|op| op.kind.is_write()) {
            assert_eq!(desk.send(&ops, sequence), reply, "seed {}: it was applied twice", self.seed);
            let late = desk.send(&ops, sequence - 1);
            assert!(late.starts_with(b"-STALE"), "seed {}: {}", self.seed, one_line(&late));
        }
        self.compare(&ops, &reply);
        true
    }

    fn compare(&mut self, ops: &[ReserveOp], reply: &[u8]) {
        let Some(results) = FlushResults::parse(reply, ops.len()) else {
            panic!("seed {}: {}", self.seed, one_line(reply));
        };
        let state = results.state;
        assert!(state.now_ms >= self.now);
        self.now = state.now_ms;
        let loose = self.model.advance(self.now);
        for (op, got) in ops.iter().zip(words(reply, ops)) {
            if got == "~" {
                assert!(loose && op.kind == OpKind::Add, "seed {}: {op:?} is not done", self.seed);
                continue;
            }
            let expect = self.model.apply(op, self.now);
            let same = if loose { alike(op, &got) == alike(op, &expect) } else { got.starts_with(&expect) };
            assert!(same, "seed {}: {op:?} at {}: {got}, not {expect}", self.seed, self.now);
        }
        assert!(state.taken <= state.limit, "seed {}: oversold", self.seed);
        if !loose {
            assert_eq!(state.taken, self.model.taken(), "seed {}", self.seed);
        }
        assert_eq!(state.seq, self.model.seq, "seed {}", self.seed);
    }

    /// What an operator or the clock of the shop does.
    pub fn change(&mut self) {
        let taken = self.model.taken();
        let (limit, now) = (self.rng.random_range(1..260), self.now);
        match self.rng.random_range(0..6) {
            0 => {
                self.desks[1].check("CLOSE", "+OK");
                self.model.closed = true;
            }
            1 | 2 => {
                self.desks[2].check("REOPEN", "+OK");
                self.model.closed = false;
            }
            3 => {
                let start = now + self.rng.random_range(-5..15);
                self.desks[3].check(&format!("OPEN LIMIT {} START {start} END 0", self.model.limit), "+OK");
                (self.model.start, self.model.end) = (start, 0);
            }
            4 => {
                let end = now + self.rng.random_range(1..30);
                self.desks[3].check(&format!("OPEN LIMIT {} START 0 END {end}", self.model.limit), "+OK");
                (self.model.start, self.model.end) = (0, end);
            }
            _ => {
                let reply = self.desks[0].ask(&format!("OPEN LIMIT {limit}"));
                // What is over but was not looked at yet counts as taken there.
                if reply == "+OK" {
                    assert!(limit >= taken || self.model.hold > 0, "seed {}", self.seed);
                    self.model.limit = limit;
                } else {
                    assert!(reply.starts_with("-ERR LIMIT is below the "), "seed {}: {reply}", self.seed);
                }
            }
        }
    }

    /// Everything that can be counted agrees.
    pub fn audit(&mut self) {
        let seed = self.seed;
        // No hold ends between the questions: the clock does not reach the end of the next one.
        let (settled, rows, ledger) = loop {
            let desk = &mut self.desks[0];
            let settled = desk.settle();
            let (rows, ledger) = (desk.rows(0, 64, ""), desk.ledger());
            if desk.settle().taken == settled.taken {
                break (settled, rows, ledger);
            }
        };
        self.model.advance(settled.now);
        let users: BTreeSet<&String> = rows.iter().map(|row| &row.1).collect();
        assert_eq!(users.len(), rows.len(), "seed {seed}: a user is there twice");
        assert!(rows.is_sorted_by(|one, next| one.0 < next.0), "seed {seed}");
        let listed: i64 = rows.iter().map(|row| row.2).sum();
        let in_ledger: i64 = ledger.iter().map(Event::places).sum();
        assert_eq!(listed, settled.taken, "seed {seed}: the list and the count differ");
        assert_eq!(in_ledger, settled.taken, "seed {seed}: the ledger and the count differ");
        assert_eq!(settled.held + settled.confirmed, settled.taken, "seed {seed}");
        assert_eq!(self.model.taken(), settled.taken, "seed {seed}");
        let mut by_user: BTreeMap<String, i64> = BTreeMap::new();
        for event in &ledger {
            *by_user.entry(event.user.clone()).or_default() += event.places();
        }
        by_user.retain(|_, places| *places != 0);
        let held: BTreeMap<String, i64> =
            self.model.users.iter().map(|(user, holding)| (user.clone(), holding.count())).collect();
        assert_eq!(by_user, held, "seed {seed}");
    }
}

/// The reply without what depends on holds that are over and not taken back yet.
fn alike(op: &ReserveOp, reply: &str) -> String {
    let part = |at: usize| reply.split(' ').nth(at).unwrap_or_default();
    match op.kind {
        OpKind::Add if reply.starts_with('*') => format!("{} {} {}", part(2), part(3), part(5)),
        _ if reply.starts_with('-') => part(0).to_owned(),
        _ => reply.to_owned(),
    }
}

#[test]
fn the_scripts_say_what_the_model_says() {
    let server = Server::start();
    for seed in seeds(60) {
        let mut play = Play::new(|| vec![server.client()], &format!("{{8421}}:mask{seed}"), seed);
        play.open();
        let ops_max = if seed % 2 == 0 { 16 } else { OPS_PER_CALL_MAX };
        for round in 0..60 {
            if round % 7 == 6 {
                play.change();
            }
            assert!(play.flush(ops_max));
        }
        play.audit();
    }
}
