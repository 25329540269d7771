//! The slot of a sale moves to another node key by key while customers go on: what cannot be known for certain is not answered, and nothing is ever granted
//! that the model would not grant.

use rand::Rng;

use super::play::Play;
use crate::support::Cluster;
use crate::support::migration::Migration;
use crate::support::seeds::seeds;

#[test]
fn nothing_is_granted_wrongly_while_a_slot_moves() {
    let cluster = Cluster::start();
    let (mut done, mut put_off) = (0, 0);
    for seed in seeds(12) {
        println!("seed {seed}");
        let sku = format!("{{moving{seed}}}:mask");
        let from = cluster.master_of(&sku);
        let to = cluster.masters().into_iter().find(|&node| node != from).unwrap();
        let mut play = Play::new(|| vec![cluster.client(from), cluster.client(to)], &sku, seed);
        play.open();
        for _ in 0..20 {
            assert!(play.flush(32));
        }
        let migration = Migration::begin(&cluster, &sku);
        assert_eq!((migration.from, migration.to), (from, to));
        loop {
            let keys = migration.keys();
            if keys.is_empty() {
                break;
            }
            migration.move_key(&keys[play.rng.random_range(0..keys.len())]);
            for _ in 0..6 {
                let counted = if play.flush(4) { &mut done } else { &mut put_off };
                *counted += 1;
            }
        }
        migration.end();
        for _ in 0..20 {
            assert!(play.flush(32));
        }
        play.audit();
    }
    assert!(put_off > 50, "{put_off} flushes met keys on two nodes");
    println!("{done} flushes while keys moved, {put_off} put off");
}
