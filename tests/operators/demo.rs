//! `hotgate demo` measures what it prints, on real servers, and whenever it ends it leaves no process and no file.
//!
//! Loads are short here, and no figure is held against another: the machine of a test is busy.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use tempfile::TempDir;

use crate::support::redis::signal;
use crate::support::{PATIENCE, reaper, wait_for, wait_until};

/// A running demo. What it makes lies in a directory of its own.
struct Demo {
    child: Child,
    lines: mpsc::Receiver<String>,
    directory: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let directory = tempfile::Builder::new().prefix("hotgate-test-demo").tempdir().unwrap();
        reaper::remove_at_end(directory.path());
        let mut child = Command::new(env!("CARGO_BIN_EXE_hotgate"))
            .arg("demo")
            .args(arguments)
            .env("TMPDIR", directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        reaper::kill_at_end(child.id());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Demo { child, lines, directory }
    }

    /// Everything that it prints until a line holds `text`, that line included.
    fn until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(text)) {
            let line = self.lines.recv_timeout(PATIENCE);
            seen.push(line.unwrap_or_else(|error| panic!("no line holds {text}: {error}; {seen:#?}")));
        }
        seen
    }

    /// The processes that it has started, and those that these have.
    fn descendants(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::from([self.child.id()]);
        let mut grown = true;
        while grown {
            grown = false;
            for (pid, parent) in parents() {
                grown |= found.contains(&parent) && found.insert(pid);
            }
        }
        found.remove(&self.child.id());
        found
    }

    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the demo ends", || child.try_wait().unwrap());
        reaper::spare(self.child.id());
        status
    }

    /// None of `processes` runs, no other process works in the directory, and that is empty.
    fn check_nothing_is_left(&self, processes: &BTreeSet<u32>) {
        let left = || {
            let files = std::fs::read_dir(self.directory.path()).unwrap().count();
            let running = parents().into_iter().filter(|(pid, _)| processes.contains(pid)).count();
            (running, files, self.works_there())
        };
        wait_until(&format!("nothing is left: {:?}", left()), || left() == (0, 0, 0));
    }

    /// How many processes have their working directory there, or name it in their arguments.
    fn works_there(&self) -> usize {
        let directory = self.directory.path().to_str().unwrap();
        let works = |pid: u32| {
            let at = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            at.starts_with(directory) || String::from_utf8_lossy(&arguments).contains(directory)
        };
        parents().into_iter().filter(|(pid, _)| works(*pid)).count()
    }
}

/// Every process that is no zombie, with its parent.
fn parents() -> Vec<(u32, u32)> {
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        fields.next()?.parse().ok().filter(|_| state != "Z")
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// Ends a demo in a phase of it.
fn end_in(arguments: &[&str], signal_name: &str, reach: impl Fn(&Demo)) -> ExitStatus {
    let mut demo = Demo::start(arguments);
    reach(&demo);
    let processes = demo.descendants();
    signal(demo.child.id(), signal_name);
    let status = demo.wait();
    demo.check_nothing_is_left(&processes);
    status
}

#[test]
fn ctrl_c_while_things_start_leaves_nothing() {
    // Watchdog, three servers, another watchdog, the gateway: it is told at each of them.
    for started in 1..=6 {
        let reach = |demo: &Demo| {
            demo.until("Starting");
            wait_until("so many processes run", || demo.descendants().len() >= started);
        };
        assert_eq!(end_in(&["--seconds", "1"], "INT", reach).code(), Some(0), "{started}");
    }
}

#[test]
fn ctrl_c_under_load_and_after_it_leaves_nothing() {
    for (arguments, phase) in [
        (&["--seconds", "30"][..], "p99, ms"),
        (&["--seconds", "1"], "The same sale through hotgate"),
        (&["--seconds", "1"], "nothing is kept"),
        (&["--compare", "--seconds", "30"], "clients that wait"),
        (&["--quotas", "--seconds", "60"], "commands at Redis"),
        (&["--ledger", "--seconds", "60"], "holders in SQL"),
    ] {
        let reach = |demo: &Demo| drop(demo.until(phase));
        assert_eq!(end_in(arguments, "INT", reach).code(), Some(0), "{arguments:?} at {phase}");
    }
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_either() {
    let reach = |demo: &Demo| drop(demo.until("p99, ms"));
    assert_eq!(end_in(&["--seconds", "30"], "KILL", reach).code(), None);
}

#[test]
fn the_story_puts_both_sales_side_by_side_and_says_who_had_which_core() {
    let mut demo = Demo::start(&["--seconds", "2"]);
    let told = demo.until("nothing is kept");
    let text = told.join("\n");
    assert!(text.contains(" core"), "{text}");
    let figures = |name: &str| -> Vec<f64> {
        let line =
            told.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        let words = line[name.len()..].split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let asked = figures("INCR of the SKU, asked for per second");
    assert!(asked.len() == 2 && asked[0] > 1000.0, "{text}");
    let ran = figures("commands of the SKU that its Redis ran, per second");
    assert!(ran.len() == 2 && ran.iter().all(|ran| *ran > 0.0), "{text}");
    assert_eq!(figures("  errors"), [0.0, 0.0], "{text}");
    // Two lines of the first sale, and two with both.
    let of_the_second =
        told.iter().filter(|line| line.starts_with("2 ")).map(|line| line.split_whitespace().count());
    assert_eq!(of_the_second.collect::<Vec<_>>(), [4, 7], "{text}");
    signal(demo.child.id(), "TERM");
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn the_comparison_fills_each_cell_and_ends_by_itself() {
    let mut demo = Demo::start(&["--compare", "--seconds", "1"]);
    let told = demo.until("age.");
    assert_eq!(demo.wait().code(), Some(0));
    demo.check_nothing_is_left(&BTreeSet::new());
    let text = told.join("\n");
    for row in [
        "1 client ",
        "10 clients ",
        "50 clients ",
        "1000 clients ",
        "50 clients, 16",
        "half of",
        "overload: 3 times",
    ] {
        let line = told.iter().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{row}: {text}"));
        let figures: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let cells = &figures[figures.len().saturating_sub(9)..];
        assert!(cells.len() == 9 && cells.iter().step_by(3).all(|rate| *rate > 0.0), "{line}");
        assert!(cells.chunks(3).all(|cell| cell[1] <= cell[2]), "p50 is above p99: {line}");
    }
    for row in ["commands at Redis, of those asked", "processor of Redis", "processor of hotgate"] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn a_quota_is_sold_out_to_the_last_unit_and_no_further() {
    let mut demo = Demo::start(&["--quotas", "--seconds", "1"]);
    let told = demo.until("Buyers got");
    assert_eq!(demo.wait().code(), Some(0));
    demo.check_nothing_is_left(&BTreeSet::new());
    let last = told.last().unwrap();
    assert!(
        last.starts_with("Buyers got 100000 units, and Redis has sku:{8421}:reserved = 100000;"),
        "{told:#?}"
    );
}

#[test]
fn each_grant_is_in_the_database_though_the_ledger_is_killed_and_an_empty_redis_gets_them_back() {
    let mut demo = Demo::start(&["--ledger", "--seconds", "6"]);
    let told = demo.until("is killed").len() + demo.until("starts").len();
    assert!(told > 8, "{told}");
    let told = demo.until("Redis gave").pop().unwrap();
    let numbers: Vec<&str> =
        told.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()).collect();
    assert!(numbers.len() == 3 && numbers[0] == numbers[1] && numbers[2] == "0", "{told}");
    assert!(told.ends_with("`hotgate ledger verify` says: 0 differences."), "{told}");
    demo.until("and it has 0 keys.");
    let told = demo.until("`hotgate ledger restore mask` says").pop().unwrap();
    assert!(told.contains(&format!("says: {} holders were given back.", numbers[0])), "{told}");
    assert!(told.contains("RESERVE.CHECK mask buyer0: confirmed, 1, 1, 0."), "{told}");
    demo.until("`hotgate ledger verify` says: 0 differences.");
    assert_eq!(demo.wait().code(), Some(0));
    demo.check_nothing_is_left(&BTreeSet::new());
}

#[test]
fn without_a_server_program_it_names_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    for show in [&["demo"][..], &["demo", "--compare"], &["demo", "--quotas"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hotgate"))
            .args(show)
            .env("PATH", empty.path())
            .env("TMPDIR", empty.path())
            .env_remove("HOTGATE_TEST_SERVER")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("apt-get install -y redis-server") && said.lines().count() == 1, "{said}");
        assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    }
}
