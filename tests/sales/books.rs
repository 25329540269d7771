//! What Redis has of a sale, read past the gateway.

use crate::support::Client;
use crate::support::text::one_line;

/// Places of a sale that are taken, by its ledger, moves among it.
pub fn places_by_ledger(server: &mut Client, sku: &str) -> i64 {
    let keys = server.list(&format!("KEYS *hotgate:sale.ledger:{sku}"));
    let words = server.list(&format!("XRANGE {} - +", keys[0]));
    let field = |entry: usize, name: &str| {
        let at = words[entry..].iter().position(|word| word == name).unwrap();
        words[entry + at + 1].clone()
    };
    let events = (0..words.len()).filter(|at| words[*at] == "event");
    events
        .map(|at| {
            let count: i64 = field(at, "count").parse().unwrap();
            match words[at + 1].as_str() {
                "add" | "move-in" => count,
                "cancel" | "expire" | "move-out" => -count,
                _ => 0,
            }
        })
        .sum()
}

/// Places of a sale that are taken, by its own count and by its ledger.
pub fn taken(server: &mut Client, sku: &str) -> (i64, i64) {
    let keys = server.list(&format!("KEYS *hotgate:sale*:{sku}"));
    let of = |part: &str| {
        keys.iter().find(|key| key.contains(part)).unwrap_or_else(|| panic!("{part}: {keys:?}")).clone()
    };
    // The ninth of the sale's numbers.
    let script = "return cmsgpack.unpack(redis.call('HGET', KEYS[1], 'numbers'))[9]";
    let count = one_line(&server.call(&["EVAL", script, "1", &of("hotgate:sale:")]));
    let entries = server.list(&format!("XRANGE {} - +", of("sale.ledger:")));
    let events = |name: &str| entries.iter().filter(|word| *word == name).count() as i64;
    (count[1..].parse().unwrap(), events("add") - events("cancel") - events("expire"))
}
