//! A sale's holders go over to another sale: whatever call is lost, repeated or the last before a crash, nobody is lost, nobody is there twice, and the order
//! stays. Then the old sale is dropped.

use std::collections::BTreeMap;

use hotgate::reserve::{Departure, encode_drop, encode_move_out, open_result, steps_left};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::desk::{Desk, Event};
use crate::support::Server;
use crate::support::seeds::seeds;
use crate::support::text::one_line;

/// Two sales, and what each user has in both together.
struct Shop {
    from: Desk,
    to: Desk,
    owned: BTreeMap<String, i64>,
    rng: SmallRng,
}

impl Shop {
    fn new(server: &Server, name: &str, seed: u64) -> Shop {
        let from = Desk::new(server.client(), &format!("{name}:spring"), "g1");
        let to = Desk::new(server.client(), &format!("{name}:autumn"), "g1");
        Shop { from, to, owned: BTreeMap::new(), rng: SmallRng::seed_from_u64(seed) }
    }

    fn fill(&mut self) {
        self.from.check("OPEN LIMIT 900 PERUSER 3 HOLD 600000", "+OK");
        self.to.check("OPEN LIMIT 2000 PERUSER 3", "+OK");
        for user in 0..self.rng.random_range(0..400) {
            let (user, count) = (format!("user{user}"), self.rng.random_range(1..3));
            self.from.starts(&format!("ADD {user} COUNT {count}"), "*4 $4 held");
            *self.owned.entry(user.clone()).or_default() += count;
            match self.rng.random_range(0..6) {
                0 => self.cancel(true, &user),
                1 => self.from.starts(&format!("CONFIRM {user}"), "*4 $9 confirmed"),
                2 => self.add_to(&user),
                _ => {}
            }
        }
    }

    fn add_to(&mut self, user: &str) {
        let before = self.to.ask(&format!("CHECK {user}"));
        self.to.starts(&format!("ADD {user}"), "*4 ");
        if before == "*-1" {
            *self.owned.entry(user.to_owned()).or_default() += 1;
        }
    }

    fn cancel(&mut self, in_from: bool, user: &str) {
        let desk = if in_from { &mut self.from } else { &mut self.to };
        let before = desk.ask(&format!("CHECK {user}"));
        let reply = desk.ask(&format!("CANCEL {user}"));
        if reply.starts_with("*4 $9 cancelled") {
            let count: i64 = before.split(' ').nth(4).unwrap()[1..].parse().unwrap();
            *self.owned.get_mut(user).unwrap() -= count;
        } else {
            let moved = reply == "~" || reply.starts_with("-GONE ");
            assert!(reply == "*-1" || (in_from && moved), "{reply}");
        }
    }

    /// What customers do meanwhile.
    fn meanwhile(&mut self) {
        for _ in 0..self.rng.random_range(0..3) {
            let user = format!("user{}", self.rng.random_range(0..420));
            match self.rng.random_range(0..4) {
                0 => self.cancel(true, &user),
                1 => self.cancel(false, &user),
                2 => self.add_to(&user),
                _ => self.from.starts(&format!("ADD new{user}"), "-GONE this sale went on as"),
            }
        }
    }

    fn depart(&mut self) -> Vec<u8> {
        let (key, to, count) = (self.from.key(), self.to.sku.clone(), self.rng.random_range(1..50));
        self.from.call(|with_body, out| encode_move_out(&key, to.as_bytes(), count, 2000, with_body, out))
    }

    /// Runs the move until it is done; a crash is a step that is begun anew.
    fn run(&mut self) {
        loop {
            let reply = self.depart();
            let rows = Departure::parse(&reply).unwrap_or_else(|| panic!("{}", one_line(&reply))).unwrap();
            self.meanwhile();
            if self.rng.random_ratio(1, 5) {
                continue;
            }
            if rows.is_last() {
                break;
            }
            let (from, to) = (self.from.sku.clone(), self.to.key());
            for _ in 0..self.rng.random_range(1..3) {
                let reply =
                    self.to.call(|with_body, out| rows.encode_move_in(&to, from.as_bytes(), with_body, out));
                assert_eq!(open_result(&reply), Some(Ok(())), "{}", one_line(&reply));
                self.meanwhile();
            }
            if self.rng.random_ratio(1, 5) {
                continue;
            }
            let key = self.from.key();
            for _ in 0..self.rng.random_range(1..3) {
                let reply = self.from.call(|with_body, out| rows.encode_move_done(&key, with_body, out));
                assert!(steps_left(&reply).is_some_and(|left| left.is_ok()), "{}", one_line(&reply));
                self.meanwhile();
            }
        }
    }

    fn audit(&mut self, order: &[String]) {
        let rows = self.to.rows(0, 50, "");
        let have: BTreeMap<String, i64> = rows.iter().map(|row| (row.1.clone(), row.2)).collect();
        assert_eq!(have.len(), rows.len(), "a user is there twice");
        self.owned.retain(|_, places| *places > 0);
        assert_eq!(have, self.owned);
        let left = self.from.rows(0, 50, "");
        assert!(left.iter().all(|row| row.3 == "moved"), "{left:?}");
        assert_eq!(self.from.rows(0, 50, "moved").len(), left.len());
        assert_eq!(self.from.settle().taken, 0);
        for desk in [&mut self.from, &mut self.to] {
            let places: i64 = desk.ledger().iter().map(Event::places).sum();
            assert_eq!(places, desk.settle().taken);
        }
        // Who came to the new sale only by the move stands there in the old order.
        let at = |user: &String| order.iter().position(|other| other == user);
        let came: Vec<usize> = rows.iter().filter_map(|row| at(&row.1)).collect();
        assert!(came.is_sorted(), "{came:?}");
    }
}

fn drop_step(desk: &mut Desk, count: usize) -> i64 {
    let key = desk.key();
    let reply = desk.call(|with_body, out| encode_drop(&key, count, with_body, out));
    steps_left(&reply).unwrap_or_else(|| panic!("{}", one_line(&reply))).unwrap()
}

#[test]
fn a_move_that_breaks_off_anywhere_loses_nobody() {
    let server = Server::start();
    for seed in seeds(25) {
        println!("seed {seed}");
        let mut shop = Shop::new(&server, &format!("move{seed}"), seed);
        shop.fill();
        let only_here = |shop: &mut Shop| -> Vec<String> {
            let there = shop.to.rows(0, 100, "");
            let rows = shop.from.rows(0, 100, "").into_iter().map(|row| row.1);
            rows.filter(|user| !there.iter().any(|row| row.1 == *user)).collect()
        };
        // Customers may go to the new sale by themselves during the move, at its end of the line: they are left out.
        let order = only_here(&mut shop);
        shop.run();
        let joined: Vec<String> = shop
            .to
            .ledger()
            .into_iter()
            .filter(|event| event.name == "add" || event.name == "cancel")
            .map(|event| event.user)
            .collect();
        let order: Vec<String> = order.into_iter().filter(|user| !joined.contains(user)).collect();
        shop.audit(&order);
        while drop_step(&mut shop.from, 3) > 0 {
            shop.from.starts("ADD ann", "-NOSKU");
        }
        let pattern = format!("*sale*:{}", shop.from.sku);
        assert!(shop.to.client().list(&format!("KEYS {pattern}")).is_empty());
        shop.from.check("OPEN LIMIT 1", "+OK");
        shop.from.check("ADD ann", "*4 $9 confirmed :1 :0 :0");
    }
}

#[test]
fn a_move_needs_places_and_a_drop_needs_an_end() {
    let server = Server::start();
    let mut shop = Shop::new(&server, "shop", 1);
    shop.from.check("OPEN LIMIT 9", "+OK");
    shop.from.starts("ADD ann", "*4 ");
    shop.from.starts("ADD bob", "*4 ");
    let key = shop.from.key();
    let refusal = |shop: &mut Shop, drops: bool, left: i64| {
        let reply = shop.from.call(|with_body, out| {
            if drops {
                encode_drop(&key, 100, with_body, out);
            } else {
                encode_move_out(&key, b"shop:autumn", 10, left, with_body, out);
            }
        });
        let mut out = Vec::new();
        let refused = if drops {
            steps_left(&reply).map(|left| left.map(|_| ()))
        } else {
            Departure::parse(&reply).map(|rows| rows.map(|_| ()))
        };
        if let Some(Err(refusal)) = refused {
            refusal.write(&mut out);
        }
        one_line(&out)
    };
    assert!(refusal(&mut shop, false, 1).starts_with("-SOLDOUT the sale to move to has 1 places too few"));
    shop.from.starts("ADD cyd", "*4 ");
    assert!(refusal(&mut shop, true, 0).starts_with("-ERR the sale is open; RESERVE.CLOSE it first"));
    assert_eq!(refusal(&mut shop, false, 3), "");
    shop.from.starts("ADD dan", "-GONE this sale went on as 'shop:autumn'");
    shop.from.check("CONFIRM ann", "~");
    shop.from.check("CANCEL ann", "~");
    shop.from.check("CHECK ann", "*4 $9 confirmed :1 :1 :0");
    assert!(refusal(&mut shop, true, 0).starts_with("-ERR holders are on their way to 'shop:autumn'"));
}
