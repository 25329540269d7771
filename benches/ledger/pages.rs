//! What a page of holders costs in SQLite, by place in line and by `OFFSET`; and the tables that this and the floor fill.

use std::path::Path;
use std::time::Instant;

use hotgate::ledger::store::{Database, Store};
use rusqlite::{Connection, Transaction, params};

/// How often each is tried; the best counts.
const TRIES: usize = 5;

const BY_SEQ: &str = "SELECT seq, user_id, count FROM reservation WHERE sku = 'mask' AND opened_ms = 5 AND seq > ?1 ORDER BY seq LIMIT 100";
const BY_OFFSET: &str = "SELECT seq, user_id, count FROM reservation WHERE sku = 'mask' AND opened_ms = 5 ORDER BY seq LIMIT 100 OFFSET ?1";

/// The ledger's own tables, which are empty, as durable as the ledger has them.
pub fn tables(file: &Path) -> Connection {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    drop(runtime.block_on(Store::open(&Database::Sqlite(file.to_owned()))).unwrap());
    let database = Connection::open(file).unwrap();
    database.pragma_update(None, "synchronous", "FULL").unwrap();
    database
}

/// So many holders of one sale, by one prepared statement.
pub fn insert(transaction: &Transaction<'_>, rows: usize) {
    let mut statement = transaction
        .prepare("INSERT INTO reservation VALUES ('mask', 5, ?1, ?2, 1, 0, 'confirmed', ?3, 0, ?3, ?1)")
        .unwrap();
    for row in 1..=rows as i64 {
        statement.execute(params![row, format!("user{row:08}"), 1_795_955_497_775 + row]).unwrap();
    }
}

/// Fills a table and prints the curve.
pub fn show(rows: usize) {
    let directory = tempfile::tempdir().unwrap();
    let mut database = tables(&directory.path().join("pages.db"));
    let transaction = database.transaction().unwrap();
    insert(&transaction, rows);
    transaction.commit().unwrap();
    println!("\n{:<34}{:>12}{:>12}", "a page of 100 behind row", "by seq, ms", "OFFSET, ms");
    let last = rows.saturating_sub(100);
    for behind in [10, 100_000, last].into_iter().filter(|behind| *behind <= last) {
        let [by_seq, by_offset] = [BY_SEQ, BY_OFFSET].map(|query| best_ms(&database, query, behind));
        println!("{behind:<34}{by_seq:>12.2}{by_offset:>12.2}");
    }
}

fn best_ms(database: &Connection, query: &str, behind: usize) -> f64 {
    let mut statement = database.prepare(query).unwrap();
    let mut tries = (0..TRIES).map(|_| {
        let start = Instant::now();
        let page = statement.query_map([behind as i64], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(page.map(Result::unwrap).count(), 100);
        start.elapsed().as_secs_f64() * 1e3
    });
    let first = tries.next().unwrap_or_default();
    tries.fold(first, f64::min)
}
