//! `hotgate top` as the real program: JSON and text for other programs, a screen for people, and what it says of a token.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::made_up::{OPENS_S, SKU, Sale, Served, Stage};

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway with a sale under way, served with this token.
async fn sale(token: Option<&'static str>) -> Served {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, token).await;
    for tick in 0..20 {
        sale.play(OPENS_S + f64::from(tick) * 0.25);
        served.tick();
    }
    served
}

fn top(served: &Served, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotgate"));
    command.args(["top", "--admin", &served.url]).args(more).env_remove("HOTGATE_TOKEN").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit code, and what it wrote on standard output and error.
async fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("an end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn json_is_one_object_a_refresh() {
    let served = sale(Some("sesame")).await;
    let mut child = top(&served, &["--json", "--token", "sesame"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut object = async || -> Value {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap();
        serde_json::from_str(&line.expect("a line")).expect("an object")
    };
    for _ in 0..3 {
        let frame = object().await;
        assert_eq!(frame["hotkeys"][0]["key"].as_str().unwrap().as_bytes(), SKU);
        assert!(
            frame["stats"]["status"]["sentence"].is_string() && frame["nodes"].as_array().unwrap().len() == 6
        );
        assert!(frame["quotas"].as_array().unwrap().len() == 2 && frame["error"].is_null(), "{frame}");
    }
    served.stop();
    loop {
        let frame = object().await;
        if let Some(error) = frame["error"].as_str() {
            assert!(error.starts_with("hotgate at http://"), "{error}");
            break;
        }
    }
    child.start_kill().unwrap();
}

#[tokio::test]
async fn one_frame_is_text_as_wide_as_the_terminal() {
    let served = sale(None).await;
    for (columns, expect) in [("60", "RATE/S"), ("200", "ADDED")] {
        let mut command = top(&served, &["--once"]);
        command.env("COLUMNS", columns);
        let (code, text, error) = ended(command).await;
        assert_eq!((code, error.as_str()), (Some(0), ""), "{text}");
        assert!(
            text.contains(expect) && text.contains("sku:{8421}:reserved") && text.contains("QUOTA"),
            "{text}"
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        let widest = text.lines().map(|line| ratatui::text::Span::raw(line).width()).max().unwrap();
        assert!(widest <= columns.parse().unwrap(), "{widest} of {columns} columns:\n{text}");
    }
    let (code, text, _) = ended(top(&served, &["--once", "--json"])).await;
    assert_eq!((code, text.lines().count()), (Some(0), 1));
}

#[tokio::test]
async fn no_token_and_a_wrong_one_are_told_apart() {
    let served = sale(Some("sesame")).await;
    for mode in ["--json", "--once"] {
        let (code, text, error) = ended(top(&served, &[mode])).await;
        assert_eq!((code, text.as_str()), (Some(1), ""));
        assert!(error.contains("asks for its admin token: give it with --token"), "{error}");
        let (code, text, error) = ended(top(&served, &[mode, "--token", "open"])).await;
        assert_eq!((code, text.as_str()), (Some(1), ""));
        assert!(error.contains("refuses the token") && !error.contains("open"), "{error}");
        let mut by_environment = top(&served, &[mode]);
        by_environment.env("HOTGATE_TOKEN", "wrong");
        assert!(ended(by_environment).await.2.contains("refuses the token"));
    }
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_hotgate"));
    elsewhere.args(["top", "--json", "--admin", "http://127.0.0.1:1"]).stdin(Stdio::null());
    let (code, _, error) = ended(elsewhere).await;
    assert!(code == Some(1) && error.contains("can't connect"), "{error}");
}

/// On a terminal of its own, which `script` makes.
#[tokio::test]
async fn on_a_terminal_it_draws_follows_keys_and_leaves_the_terminal_as_it_was() {
    let served = sale(Some("sesame")).await;
    let line = format!("stty cols 100 rows 30; {} top --admin {}", env!("CARGO_BIN_EXE_hotgate"), served.url);
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm-256color").env("HOTGATE_TOKEN", "sesame");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script (bsdutils)");
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    let mut until = async |wanted: &str| {
        let reading = async {
            let mut buffer = [0; 4096];
            while !seen.contains(wanted) {
                let count = screen.read(&mut buffer).await.unwrap();
                assert!(count > 0, "ended without {wanted:?}: {seen}");
                seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            // What comes behind it is looked at next.
            seen = seen.split_once(wanted).unwrap().1.to_owned();
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{wanted:?} does not come"));
    };
    until("\x1b[?1049h").await;
    until("q quit").await;
    keys.write_all(b"/nothing").await.unwrap();
    until("filter: ").await;
    keys.write_all(b"\rq").await.unwrap();
    until("\x1b[?1049l").await;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("an end").unwrap();
    assert!(status.success(), "{status}");
}
