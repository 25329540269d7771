//! Redis and the database beside each other: holders, row by row, and how far the ledger is.

use hotgate::reserve::sale_key;
use hotgate::resp::{bulk_payload, elements, parse_integer_reply};

use super::process::Place;
use crate::support::text::one_line;
use crate::support::{Client, wait_until};

/// Place in line, user, places, state.
pub type Row = (i64, String, i64, String);

/// The holders of a sale as Redis has them.
pub fn in_redis(gateway: &mut Client, sku: &str) -> Vec<Row> {
    let (mut rows, mut after): (Vec<Row>, i64) = (Vec::new(), 0);
    loop {
        let page = gateway.call_line(&format!("RESERVE.LIST {sku} AFTER {after} COUNT 100"));
        let row = |row: &[u8]| {
            let cells: Vec<&[u8]> = elements(row).unwrap().collect();
            let number = |cell| parse_integer_reply(cell).unwrap();
            let text = |cell| bulk_payload(cell).unwrap();
            let state = String::from_utf8(text(cells[3]).to_vec()).unwrap();
            (number(cells[0]), as_the_page_says(text(cells[1])), number(cells[2]), state)
        };
        let before = rows.len();
        rows.extend(elements(&page).unwrap().map(row));
        match rows[before..].last() {
            Some(last) => after = last.0,
            None => return rows,
        }
    }
}

/// A name as docs/ledger.md says that the database has it: each byte that is no text as `\\xNN`, a backslash doubled.
fn as_the_page_says(name: &[u8]) -> String {
    let chunks = name.utf8_chunks().map(|chunk| {
        let no_text: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        chunk.valid().replace('\\', "\\\\").replace('\0', "\\x00") + &no_text
    });
    chunks.collect()
}

/// The holders of the sale that has the name now, as the database has them.
pub fn in_sql(place: &Place, sku: &str) -> Vec<Row> {
    let query = format!(
        "SELECT seq, user_id, count, state FROM reservation_now
            WHERE sku = '{sku}' AND state IN ('held', 'confirmed', 'moved') ORDER BY seq"
    );
    let row =
        |row: Vec<String>| (row[0].parse().unwrap(), row[1].clone(), row[2].parse().unwrap(), row[3].clone());
    place.query(&query).into_iter().map(row).collect()
}

/// The number of the last entry that the database has of a sale; 0 if it knows none of the name.
pub fn position(place: &Place, sku: &str) -> i64 {
    let rows = place.query(&format!("SELECT entry FROM ledger_position WHERE sku = '{sku}'"));
    rows.first().map_or(0, |row| row[0].parse().unwrap())
}

/// The number of the last entry that Redis wrote, by the sale's own count.
pub fn last_entry(server: &mut Client, sku: &str) -> i64 {
    let script = "return cmsgpack.unpack(redis.call('HGET', KEYS[1], 'numbers'))[27]";
    let key = sale_key(sku.as_bytes());
    let packed = server.call(&[b"EVAL", script.as_bytes(), b"1", &key]);
    one_line(&packed)[1..].parse().unwrap_or_else(|_| panic!("{}", one_line(&packed)))
}

/// Holders are the same, and nothing is missing between.
#[track_caller]
pub fn check_equal(place: &Place, gateway: &mut Client, server: &mut Client, sku: &str) {
    let (redis, sql) = (in_redis(gateway, sku), in_sql(place, sku));
    assert_eq!(redis.len(), sql.len(), "{sku}");
    // The first that differs, and not thousands of others.
    for (redis, sql) in redis.iter().zip(&sql) {
        assert_eq!(redis, sql, "{sku}");
    }
    assert_eq!(position(place, sku), last_entry(server, sku), "{sku}");
}

/// Waits until the database has all entries of a sale.
pub fn wait_until_read(place: &Place, server: &mut Client, sku: &str) {
    let last = last_entry(server, sku);
    wait_until("the database has all entries", || position(place, sku) >= last);
}
