//! Many folded keys whose flushes alone are more than their node takes: they leave by turns, every key has its turn, and nothing is
//! lost.

use crate::support::figures::figure;
use crate::support::text::{one_line, request};
use crate::support::{Client, Gateway, Server, wait_until};

const KEYS: usize = 32;
const ROUNDS: usize = 40;

#[test]
fn every_key_has_its_turn_while_a_queue_stands() {
    for workers in ["1", "2"] {
        let server = Server::start();
        let rules = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
        let gateway = Gateway::before(&server).config(rules).flag("--workers", workers).start();
        let mut clients: Vec<Client> = (0..KEYS).map(|_| gateway.client()).collect();
        // A read that takes the server about a millisecond and has a short reply.
        let mut direct = server.client();
        (0..KEYS).for_each(|key| assert_eq!(direct.integer(&format!("SETBIT hot:bits:{key} 16777215 1")), 0));
        let mut watcher = gateway.client();
        let mut done = 0;
        wait_until("flushes wait for their turns, and it is counted", || {
            std::thread::scope(|scope| {
                for (key, client) in clients.iter_mut().enumerate() {
                    scope.spawn(move || {
                        let count = request(&format!("BITCOUNT hot:bits:{key}"));
                        let both = [request(&format!("INCR hot:{key}")), count].concat();
                        for round in done + 1..=done + ROUNDS {
                            client.send(&both);
                            assert_eq!(one_line(&client.reply()), format!(":{round}"));
                            assert_eq!(one_line(&client.reply()), ":1");
                        }
                    });
                }
            });
            done += ROUNDS;
            let counted =
                ["combine_turn_waits", "combine_turn_wait_us"].map(|name| figure(&mut watcher, name));
            counted.iter().all(|figure| *figure > 0)
        });
    }
}
