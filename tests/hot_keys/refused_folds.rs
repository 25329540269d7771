//! What Redis refuses of a folded key is refused in the words that a cold one gets, to those whom it concerns, and nothing goes to Redis
//! again and again for it.

use crate::support::figures::calls;
use crate::support::text::{one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server};

const FOLDED: &str = "[[rule]]\nmatch = '*'\nmode = 'combine'\n";
const COLD: &str = "[combine]\nenabled = false\n";
const CLIENTS: usize = 8;
const PIPELINE: usize = 8;
const ROUNDS: usize = 10;

/// The lines, by turns each from a client of its own, all at once. Returns what each client was told.
fn rush(clients: &mut [Client], lines: &[&str]) -> Vec<Vec<String>> {
    let line_of = |client: usize| request(lines[client % lines.len()]).repeat(PIPELINE);
    clients.iter_mut().enumerate().for_each(|(place, client)| client.send(&line_of(place)));
    let replies = |client: &mut Client| (0..PIPELINE).map(|_| one_line(&client.reply())).collect();
    clients.iter_mut().map(replies).collect()
}

/// On the key as `prepare` leaves it, each line is answered through folding as it is without.
fn check(server: &Server, prepare: &[&str], lines: &[&str]) {
    prepare.iter().for_each(|line| assert!(!server.client().ask(line).starts_with('-'), "{line}"));
    let cold = Gateway::before(server).config(COLD).start();
    let folded = Gateway::before(server).config(FOLDED).start();
    for version in BOTH_VERSIONS {
        let mut client = cold.speaking(version);
        let expect: Vec<String> = lines.iter().map(|line| client.ask(line)).collect();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| folded.speaking(version)).collect();
        for _ in 0..ROUNDS {
            for (place, told) in rush(&mut clients, lines).iter().enumerate() {
                let place = place % lines.len();
                assert!(told.iter().all(|told| *told == expect[place]), "{}: {told:?}", lines[place]);
            }
        }
    }
}

#[test]
fn what_is_refused_is_refused_in_the_words_of_a_cold_key() {
    let server = Server::start();
    check(&server, &["SET text abc"], &["INCR text", "GET text", "DECRBY text 5", "STRLEN text"]);
    check(&server, &["HSET hash f abc"], &["HINCRBY hash f 1", "HGET hash f", "HGETALL hash"]);
    check(&server, &["RPUSH list a"], &["INCR list", "GET list", "LRANGE list 0 -1", "HINCRBY list f 1"]);
    check(&server, &["SET far 9223372036854775807"], &["INCR far", "GET far", "INCRBY far 3"]);
    let full = ["CONFIG SET maxmemory 1"];
    check(&server, &full, &["INCR text", "GET text", "SET text 5", "HSET hash g 1", "EXPIRE missing 5"]);
    server.client().check("CONFIG SET maxmemory 0", "+OK");
    check(&server, &["REPLICAOF 127.0.0.1 1"], &["INCR text", "GET text", "SET text 5", "HGET hash f"]);
}

#[test]
fn a_refusal_costs_redis_no_more_than_a_fold() {
    let server = Server::start();
    server.client().check("SET text abc", "+OK");
    let gateway = Gateway::before(&server).config(FOLDED).start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    for _ in 0..ROUNDS {
        rush(&mut clients, &["INCR text", "GET text"]);
    }
    let mut direct = server.client();
    let [single, folded, reads] = ["incr", "incrby", "get"].map(|name| calls(&mut direct, name));
    println!("INCR {single}, INCRBY {folded}, GET {reads}");
    // A form is tried once as it came: by one client with its pipeline. That may be forgotten once meanwhile.
    let offered = ROUNDS * CLIENTS / 2 * PIPELINE;
    assert!(single <= 2 * PIPELINE as u64, "{single} of {offered} went as they came");
    assert!(folded > 0 && reads > 0);
}
