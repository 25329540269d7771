//! The ledger: `cargo bench --bench ledger [-- ENTRIES [ROWS]]`.
//!
//! Fills a Redis with a sale of so many entries (100,000 unless told otherwise), and another with a thousand sales that
//! have as many together. `hotgate ledger --once` brings them into SQLite, PostgreSQL and MariaDB, all of which commit durably; rows per second are those of the whole
//! process from its start to its end. Beside it the floor: the same rows by one prepared statement in one transaction of SQLite, without Redis. Then the books: entries of the
//! stream, rows, and `hotgate ledger verify`, which compares holder by holder.
//!
//! At the end a page of 100 rows of a sale with so many rows (a million unless told otherwise) at row 10, at row 100,000 and at the last: by place in line and by `OFFSET`.
//! Says for the target of 20,000 rows per second whether it is met, and never fails for it. Nothing is pinned: Redis, the database and the ledger share the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

mod pages;
#[path = "../reserve_scripts/redis.rs"]
#[allow(dead_code, reason = "this bench asks less of it")]
mod redis;
#[path = "../../tests/ledger/servers.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use hotgate::demo::private_redis::PrivateServer;
use hotgate::reserve::{ledger_key, registry_key, registry_shard};
use redis::{Redis, verdict};
use rusqlite::Connection;
use servers::{Kind, SqlServer};

const ENTRIES: usize = 100_000;
const ROWS: usize = 1_000_000;
/// Sales of the second run.
const SALES: usize = 1000;
/// The bound that is told as met or not.
const ROWS_PER_S_MIN: f64 = 20_000.0;

/// A Redis that has sales.
struct Stage {
    server: PrivateServer,
    skus: Vec<String>,
    /// Entries of all of them, terms among them.
    entries: usize,
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let entries = numbers.next().unwrap_or(ENTRIES);
    let rows = numbers.next().unwrap_or(ROWS);
    println!("{:<34}{:>12}{:>10}{:>12}", "", "entries", "seconds", "rows/s");
    floor(entries);
    for sales in [1, SALES] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reservations.db");
        run("SQLite", &stage(sales, entries), &format!("sqlite:{}", file.display()), |query| {
            let database = Connection::open(&file).unwrap();
            database.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap()
        });
        for (name, kind) in [("PostgreSQL", Kind::Postgres), ("MariaDB", Kind::Maria)] {
            let server = SqlServer::start_with(kind, |_| match kind {
                // The tests do without.
                Kind::Postgres => ["-c", "fsync=on"].map(str::to_owned).to_vec(),
                Kind::Maria => Vec::new(),
            });
            run(name, &stage(sales, entries), &server.url(), |query| {
                server.query(query)[0][0].parse().unwrap()
            });
        }
    }
    pages::show(rows);
}

/// The same rows by one prepared statement in one transaction.
fn floor(entries: usize) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("floor.db");
    let mut database = pages::tables(&file);
    let start = Instant::now();
    let transaction = database.transaction().unwrap();
    pages::insert(&transaction, entries);
    transaction.commit().unwrap();
    show("floor: SQLite alone", entries, start.elapsed().as_secs_f64(), "");
}

/// A Redis with so many sales, which have so many entries together.
fn stage(sales: usize, entries: usize) -> Stage {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(PrivateServer::start(&["--save", ""])).unwrap();
    let mut redis = Redis::connect(server.address().port);
    let skus: Vec<String> = (0..sales).map(|sale| format!("sale{sale}")).collect();
    let holders_each = (entries / sales).max(2) - 1;
    for sku in &skus {
        let registry = registry_key(registry_shard(sku.as_bytes()));
        redis.ask(&format!("ZADD {} 0 {sku}", String::from_utf8_lossy(&registry)));
        redis.open(sku, "LIMIT 4294967295");
        redis.fill(sku, holders_each);
    }
    Stage { server, skus, entries: sales * (holders_each + 1) }
}

/// Brings all of a stage into a database, and compares the books.
fn run(name: &str, stage: &Stage, url: &str, ask: impl Fn(&str) -> i64) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hotgate.toml");
    let config = format!("[upstream]\nservers = ['{}']\n[ledger]\nurl = '{url}'\n", stage.server.address());
    std::fs::write(&file, config).unwrap();
    let port = stage.server.address().port;
    let length = |redis: &mut Redis, sku: &String| -> usize {
        let stream = String::from_utf8(ledger_key(sku.as_bytes()).to_vec()).unwrap();
        redis.ask(&format!("XLEN {stream}")).trim_start_matches(':').trim_end().parse().unwrap()
    };
    let mut redis = Redis::connect(port);
    let in_streams: usize = stage.skus.iter().map(|sku| length(&mut redis, sku)).sum();
    let start = Instant::now();
    ledger(&file, &["--once"]);
    let seconds = start.elapsed().as_secs_f64();
    let what = format!("{name}, {} sales", stage.skus.len());
    let met = verdict(stage.entries as f64 / seconds >= ROWS_PER_S_MIN);
    show(&what, stage.entries, seconds, &format!("at least {ROWS_PER_S_MIN}: {met}"));
    let rows = ask("SELECT count(*) FROM reservation");
    let last = ask("SELECT sum(entry) FROM ledger_position");
    let said = ledger(&file, &["verify"]);
    let expected = (stage.entries, (stage.entries - stage.skus.len()) as i64, stage.entries as i64);
    let agree = (in_streams, rows, last) == expected && said.trim_end() == "0 differences";
    println!(
        "{:<34}streams {in_streams}, holders in SQL {rows}, positions {last}, verify: {}: {}",
        "",
        said.trim_end(),
        if agree { "all the same" } else { "THEY DIFFER" }
    );
}

/// Runs `hotgate ledger` to its end; what it says.
fn ledger(file: &Path, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotgate"));
    let output = command.args(["ledger", "--config"]).arg(file).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn show(what: &str, entries: usize, seconds: f64, remark: &str) {
    println!("{what:<34}{entries:>12}{seconds:>10.2}{:>12.0}   {remark}", entries as f64 / seconds);
}
