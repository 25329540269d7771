use super::super::RowState;
use super::*;

fn step(from: Option<&Position>, entry: i64, seq: i64) -> Step {
    let row = HoldingRow {
        seq,
        user: "ann".to_owned(),
        count: 1,
        held: 0,
        state: RowState::Confirmed,
        since_ms: 9,
        expires_ms: 0,
        changed_ms: 9,
        entry,
    };
    let to = Position { opened_ms: 5, entry, checksum: 70 + entry, halted: None };
    (
        from.cloned(),
        SaleStep { sku: "mask".to_owned(), to, rows: vec![row], terms: None, entries: 1, written_ms: (0, 0) },
    )
}

#[test]
fn a_position_that_somebody_else_moved_rolls_all_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.apply(&[step(None, 1, 1)]).unwrap();
    let at = store.positions().unwrap()[0].1.clone();
    assert_eq!((at.opened_ms, at.entry, at.checksum), (5, 1, 71));
    let mut other = SqliteStore::open(&path).unwrap();
    other.apply(&[step(Some(&at), 2, 2)]).unwrap();
    assert!(matches!(store.apply(&[step(Some(&at), 3, 3)]), Err(StoreError::Moved(_))));
    assert!(matches!(store.apply(&[step(None, 3, 3)]), Err(StoreError::Moved(_))));
    let rows = store.page(("mask", 5), 0, 9).unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(store.page(("mask", 5), 1, 9).unwrap().len(), 1);
    assert_eq!(store.page(("mask", 6), 0, 9).unwrap().len(), 0);
}

#[test]
fn one_process_has_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let mut one = SqliteStore::open(&path).unwrap();
    let mut other = SqliteStore::open(&path).unwrap();
    assert!(one.take_lock().unwrap() && one.take_lock().unwrap());
    assert!(!other.take_lock().unwrap());
    drop(one);
    assert!(other.take_lock().unwrap());
}

#[test]
fn tables_of_yesterday_become_those_of_today_and_those_of_tomorrow_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let before = Connection::open(&path).unwrap();
    before.execute(schema::OF_VERSION, []).unwrap();
    for statement in schema::SQLITE[0] {
        before.execute(statement, []).unwrap();
    }
    before.execute("INSERT INTO ledger_schema VALUES (1)", []).unwrap();
    before.execute("INSERT INTO ledger_position VALUES ('mask', 5, 1, 71, NULL)", []).unwrap();
    before
        .execute("INSERT INTO reservation VALUES ('mask', 5, 1, 'ann', 1, 0, 'confirmed', 9, 0, 9, 1)", [])
        .unwrap();
    drop(before);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.page(("mask", 5), 0, 9).unwrap().len(), 1);
    let now: i64 =
        store.connection.query_row("SELECT count(*) FROM reservation_now", [], |row| row.get(0)).unwrap();
    assert_eq!(now, 1);
    drop(store);
    let later = Connection::open(&path).unwrap();
    later.execute("UPDATE ledger_schema SET version = 99", []).unwrap();
    drop(later);
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::Later { version: 99 })));
}
