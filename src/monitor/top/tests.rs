//! The screen at 60, 100 and 200 columns, and what keys do to it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::draw::Screen;
use super::looks::{Looks, Next, Table};
use super::tables::fit;
use super::{line_of, text};

const LONG: &str = "tenant:{4711}:basket:of:the:customer:with:a:very:long:name:indeed:and:more:lines";

fn frame() -> Value {
    let key = |name: &str, per_s: f64, share: f64| {
        json!({
            "key": name, "class": "counter", "requests_per_s": per_s, "share": share, "offered_per_s": per_s,
            "flushed_per_s": 900.0, "connections": 396, "node": "10.0.0.1:6379", "history": [0, 10, 20],
            "bytes_per_s": 1_000_000.0, "added_wait_us": 430.0,
        })
    };
    json!({
        "stats": {
            "gateway": { "version": "0.1.0" }, "uptime_s": 3_700, "upstream_kind": "cluster",
            "status": {
                "level": "critical",
                "sentence": "10.0.0.3:6379 has not answered for 3 s; 41 requests wait.",
                "others": [{ "level": "notice", "sentence": "k takes 61 % of all requests." }],
            },
            "now": { "requests_per_s": 84_213.0, "request_time": { "p50_us": 210.0, "p99_us": 1_300.0 } },
            "totals": { "clients": 412 },
        },
        "hotkeys": [
            key("sku:{8421}:reserved\u{1b}[2J\u{202e}", 84_000.0, 0.61),
            key(LONG, 70.0, 0.02),
            key("購物車:{u:1929}:items", 910.0, 0.05),
        ],
        "nodes": [
            { "node": "10.0.0.1:6379", "role": "master", "up": false, "state": "up", "errors_per_s": 3.0 },
            { "node": "10.0.0.2:6379", "role": "master", "up": true, "state": "up", "p99_us": 1_024.0 },
        ],
        "quotas": [
            { "key": "k1", "used_share": 0.5, "remaining": 500_000, "limit": 1_000_000, "exhausted": false, "enforce": true },
            { "key": "k2", "used_share": 1.0, "exhausted": true, "enforce": true, "window_ms": 1000 },
        ],
        "sales": [{
            "key": "mask", "state": "soldout", "limit": 1_200, "taken": 1_100, "held": 30, "confirmed": 1_070, "taken_share": 0.92,
            "taken_per_s": 7.0, "refused_per_s": 66.0, "sold_out_in_s": null,
        }],
    })
}

fn looks() -> Looks {
    let mut looks = Looks::default();
    looks.take(Ok(frame()));
    looks
}

/// The lines of the screen, as a terminal of that size has them.
fn screen(looks: &Looks, columns: u16, lines: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| frame.render_widget(Screen(looks), frame.area())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    (0..lines).map(|line| line_of(&buffer, line)).collect()
}

fn press(looks: &mut Looks, keys: &str) -> Next {
    keys.chars().fold(Next::Stay, |_, c| {
        let code = match c {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        looks.press(KeyEvent::new(code, KeyModifiers::NONE))
    })
}

#[test]
fn every_width_shows_what_matters_first() {
    let looks = looks();
    for columns in [60, 80, 100, 140, 200] {
        let lines = screen(&looks, columns, 30);
        let all = lines.join("\n");
        assert!(lines[1].starts_with("[critical] 10.0.0.3:6379 has not answered"), "{all}");
        assert!(!all.chars().any(|c| c.is_control() && c != '\n') && !all.contains('\u{202e}'), "{all}");
        for expect in [
            "[notice] k takes 61 %",
            "84,200/s",
            "84,000",
            "down",
            "paused",
            "REFUSED/S",
            "at its rate",
            "q quit",
        ] {
            assert!(all.contains(expect) || expect == "paused", "{expect:?} at {columns} columns in\n{all}");
        }
        assert!(all.contains("tenant:{4711}") && all.contains("more:lines"), "cut in the middle:\n{all}");
        assert!(all.contains("購物車:{u:1929}:items"), "{all}");
        for (expect, from) in [
            ("84,000->900", 80),
            ("▁▅█", 100),
            ("500,000", 80),
            ("#####.....", 100),
            ("~396", 140),
            ("430 µs", 200),
        ] {
            assert_eq!(all.contains(expect), columns >= from, "{expect:?} at {columns} columns in\n{all}");
        }
    }
}

#[test]
fn sixty_columns_are_used_to_the_last() {
    let lines = screen(&looks(), 60, 24);
    let head = lines.iter().find(|line| line.contains("HOT KEY")).unwrap();
    assert_eq!(head, "> HOT KEY                          CLASS      RATE/S   SHARE");
    let row = lines.iter().find(|line| line.starts_with("sku:{8421}")).unwrap();
    assert_eq!(row, "sku:{8421}:reserved[2J             counter    84,000    61 %");
}

#[test]
fn a_small_screen_keeps_the_cause_and_the_table_that_is_looked_at() {
    let mut looks = looks();
    press(&mut looks, "\t\t");
    let all = screen(&looks, 60, 12).join("\n");
    assert!(all.contains("[critical]") && all.contains("> QUOTA") || all.contains("> HOT KEY"), "{all}");
    for lines in 1..12 {
        screen(&looks, 60, lines);
    }
}

#[test]
fn rows_that_do_not_fit_are_counted() {
    let all = |looks: &Looks, lines| screen(looks, 100, lines).join("\n");
    let mut looks = looks();
    let node = looks.frame["nodes"][1].clone();
    looks.frame["nodes"] = json!(vec![node; 9]);
    assert!(all(&looks, 20).contains("NODE 1-4 of 9"), "{}", all(&looks, 20));
    press(&mut looks, "\t");
    looks.press(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE));
    assert!(all(&looks, 40).contains("> NODE 2-9 of 9"), "{}", all(&looks, 40));
    looks.press(KeyEvent::new(KeyCode::Home, KeyModifiers::NONE));
    assert!(!all(&looks, 60).contains(" of 9"), "{}", all(&looks, 60));
}

#[test]
fn keys_sort_filter_and_quit() {
    let mut looks = looks();
    let names = |looks: &Looks, table: Table, field: &str| -> Vec<String> {
        looks.rows(table).iter().map(|row| row[field].as_str().unwrap().chars().take(4).collect()).collect()
    };
    assert_eq!(names(&looks, Table::HotKeys, "key"), ["sku:", "tena", "購物車:"]);
    press(&mut looks, "s");
    assert!(screen(&looks, 100, 30).join("\n").contains("HOT KEY▼"));
    press(&mut looks, "s");
    assert_eq!(names(&looks, Table::HotKeys, "key"), ["sku:", "購物車:", "tena"]);
    press(&mut looks, "r");
    assert_eq!(names(&looks, Table::HotKeys, "key"), ["tena", "購物車:", "sku:"]);
    assert!(screen(&looks, 100, 30).join("\n").contains("RATE/S▲"));

    press(&mut looks, "\t");
    assert_eq!(looks.focus, Table::Nodes);
    assert_eq!(press(&mut looks, "/K2q"), Next::AskAgain, "while a filter is typed, q is a letter");
    assert!(looks.typing && looks.filter == "K2q");
    looks.press(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    press(&mut looks, "\n");
    assert_eq!(
        (names(&looks, Table::Quotas, "key"), names(&looks, Table::HotKeys, "key").len()),
        (vec!["k2".into()], 0)
    );
    assert!(screen(&looks, 100, 30).join("\n").contains("(none by this filter)"));
    assert_eq!(press(&mut looks, "\u{1b}"), Next::AskAgain, "the filter goes first");
    assert_eq!(looks.filter, "");
    assert_eq!(press(&mut looks, "\u{1b}"), Next::Quit);
    assert_eq!(press(&mut looks, "q"), Next::Quit);
    assert_eq!(looks.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Next::Quit);
}

#[test]
fn every_sort_is_reached_and_the_gateways_order_comes_again() {
    let mut looks = looks();
    for table in Table::ALL {
        let mut seen = 0;
        loop {
            press(&mut looks, "s");
            if looks.look(table).sorted.is_none() {
                break;
            }
            seen += 1;
            assert!(seen < 20, "{table:?} sorts for ever");
        }
        assert_eq!(seen, 1 + table.columns().iter().filter(|column| column.rank.is_some()).count());
        press(&mut looks, "\t");
    }
}

#[test]
fn a_gateway_that_is_away_is_said_to_be_and_the_last_frame_stays() {
    let mut looks = looks();
    looks.take(Err("hotgate at http://127.0.0.1:1: can't connect".into()));
    let all = screen(&looks, 80, 30).join("\n");
    assert!(all.starts_with("hotgate at http://127.0.0.1:1: can't connect. Trying again"), "{all}");
    assert!(all.contains("84,000"), "{all}");
}

#[test]
fn an_answer_that_is_not_a_frame_is_drawn_empty() {
    let mut looks = Looks::default();
    looks.take(Ok(json!({ "stats": [], "hotkeys": 7 })));
    assert!(text(&looks, 80).contains("(no key is hot)"));
    assert!(screen(&Looks::default(), 60, 5).join("").contains("q quit"));
}

#[test]
fn names_are_cut_in_the_middle_by_cells() {
    for (name, width, expect) in [
        ("short", 5, "short"),
        ("abcdefghij", 5, "ab…ij"),
        ("abcdefghij", 6, "abc…ij"),
        ("購物車購物車", 7, "購…物車"),
        ("ab", 1, "…"),
    ] {
        assert_eq!(fit(name, width), expect, "{name} in {width}");
    }
}

#[test]
fn the_ledger_has_a_row_where_there_is_one() {
    let mut looks = looks();
    looks.frame["ledger"] = json!({
        "state": "waiting", "database": "postgres", "lag_entries": 12_345, "lag_s": 40.0, "rows_per_s": 2_100.0, "sales": 7,
        "late": 2, "halted": 1, "halted_named": [{ "key": "vase", "why": "entry 8 is missing" }],
        "errors": [["database", 5], ["gap", 1]],
    });
    let row = |looks: &Looks, columns| {
        screen(looks, columns, 40)
            .into_iter()
            .skip_while(|line| !line.contains("LEDGER"))
            .nth(1)
            .unwrap_or_default()
    };
    for (columns, expect) in [
        (60, &["postgres", "waits", "12,345", "2,100"][..]),
        (100, &["postgres", "waits", "12,345", "40 s", "2,100", "7", "2", "1", "6"]),
        (140, &["postgres", "waits", "12,345", "40 s", "2,100", "7", "2", "1", "6", "vase"]),
    ] {
        let row = row(&looks, columns);
        let mut rest = &row[..];
        for cell in expect {
            rest =
                rest.split_once(cell).unwrap_or_else(|| panic!("{cell} at {columns} columns in {row:?}")).1;
        }
    }
    looks.frame["ledger"] = json!({ "state": "unknown", "database": "" });
    assert!(
        row(&looks, 100).starts_with('-') && row(&looks, 100).contains("not known"),
        "{}",
        row(&looks, 100)
    );
    looks.frame["ledger"] = Value::Null;
    assert!(!screen(&looks, 100, 40).join("\n").contains("LEDGER"));
}
