//! The pages tell the truth where a program can tell: README.md, CONTRIBUTING.md and docs. Their commands, flags, directives, links
//! and files exist, and the walk-through of a quota does what the README says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotgate::config;

use crate::support::{Gateway, Server, wait_until};

const README: &str = include_str!("../../README.md");
/// What CI runs, set-up and checks.
const CI: &str = concat!(include_str!("../../.ci/setup"), include_str!("../../.ci/run"));

/// Every page with its path from the root of the repository.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = ["docs", "docs/examples"].map(|directory| std::fs::read_dir(root.join(directory)).unwrap());
    let found = docs.into_iter().flatten().map(|entry| entry.unwrap().path());
    let found = found.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].map(|name| root.join(name));
    let pages: Vec<_> = top
        .into_iter()
        .chain(found)
        .map(|path| (path.strip_prefix(root).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(pages.len() > 6, "{pages:?}");
    pages
}

/// The commands of the `sh` blocks, in order.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks.flat_map(str::lines).collect()
}

/// Everything between backticks outside of blocks.
fn code_spans(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn program(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hotgate")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_first_command_is_the_demo_and_the_second_the_tests() {
    let commands = commands(README);
    assert_eq!(
        commands[0],
        "sudo apt-get install -y redis-server redis-tools && cargo run --profile try -- demo"
    );
    assert_eq!(commands[1], "tests/setup && cargo test");
    for command in commands[1].split(" && ") {
        let twice = format!("step with_second_try {command}");
        let runs = CI.lines().any(|line| line == command || line == twice);
        assert!(runs, ".ci/run runs the README's test command: {command}");
    }
}

#[test]
fn every_subcommand_exists() {
    let help = program(&["--help"]);
    for (page, text) in pages() {
        let spans = code_spans(&text).into_iter().filter(|span| span.starts_with("hotgate "));
        for command in commands(&text).into_iter().chain(spans) {
            let Some((_, arguments)) =
                command.split_once("hotgate ").or(command.split_once("cargo run --profile try -- "))
            else {
                continue;
            };
            let subcommand = arguments.split(' ').next().unwrap();
            assert!(
                help.lines().any(|line| line.trim_start().starts_with(subcommand)),
                "{}: {subcommand} is not in:\n{help}",
                page.display()
            );
        }
    }
}

#[test]
fn every_flag_exists() {
    let help = program(&["serve", "--help"])
        + &program(&["check", "--help"])
        + &program(&["top", "--help"])
        + &program(&["demo", "--help"])
        + &program(&["--help"]);
    let known: BTreeSet<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    for (page, text) in pages() {
        let ours = |span: &&str| !span.contains("cargo ") && !span.starts_with("redis-");
        let lines = commands(&text).into_iter().filter(|line| line.contains("/hotgate "));
        for flag in lines
            .chain(code_spans(&text).into_iter().filter(ours))
            .flat_map(str::split_whitespace)
            .filter(|word| word.starts_with("--") && word.len() > 2)
        {
            assert!(known.contains(flag), "{}: {flag} is not a flag of hotgate", page.display());
        }
    }
}

#[test]
fn every_directive_exists() {
    let mut known = BTreeSet::new();
    config::schema::visit_directives("", config::Config::DIRECTIVES, &mut |path: &str, _| {
        known.insert(path.replace("[]", ""));
    });
    let tables: BTreeSet<&str> = known.iter().filter_map(|path| path.split('.').next()).collect();
    let mut named = 0;
    for (page, text) in pages() {
        for span in code_spans(&text) {
            let table = span.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]"));
            if let Some(table) = table.or(span.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))) {
                assert!(known.contains(table), "{}: [{table}] is no table", page.display());
            } else if span.split_once('.').is_some_and(|(table, _)| tables.contains(table)) {
                let directive = span.split(" = ").next().unwrap();
                assert!(known.contains(directive), "{}: {span} is no directive", page.display());
                named += 1;
            }
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn every_link_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, text) in pages() {
        for link in text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
            let path = link.split('#').next().unwrap();
            let beside = root.join(&page).parent().unwrap().join(path);
            assert!(
                link.starts_with("https://") || beside.exists(),
                "{}: {link} leads nowhere",
                page.display()
            );
        }
    }
}

/// A file, directory or module (a file without `.rs`) that a page names in backticks exists. What a page calls new does not exist yet.
#[test]
fn every_file_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for (page, text) in pages().into_iter().filter(|(page, _)| !page.ends_with("CHANGELOG.md")) {
        for prose in text.split("```").step_by(2) {
            let parts: Vec<&str> = prose.split('`').collect();
            for pair in parts.windows(2).step_by(2) {
                let (before, span) = (pair[0].trim_end(), pair[1]);
                let tops = ["src/", "tests/", "conf/", "docs/", "benches/", "fuzz/", ".ci/"];
                if !tops.iter().any(|top| span.starts_with(top)) || span.contains([' ', '*']) {
                    continue;
                }
                let is_new = before.ends_with("New directory") || before.ends_with("New file");
                named += 1;
                let exists = root.join(span).exists() || root.join(format!("{span}.rs")).exists();
                assert_ne!(exists, is_new, "{}: {span}: exists, or called new", page.display());
            }
        }
    }
    assert!(named > 40, "{named}");
}

#[test]
fn every_bench_named_exists() {
    let manifest = include_str!("../../Cargo.toml");
    for (page, text) in pages() {
        for command in commands(&text).into_iter().chain(code_spans(&text)) {
            let Some(name) = command.strip_prefix("cargo bench --bench ") else { continue };
            let name = name.split(' ').next().unwrap();
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{}: no bench {name}", page.display());
        }
    }
}

/// The walk-through of a quota: the commands of its section, and what the text behind them says of their replies.
#[test]
fn the_walk_through_of_a_quota_does_what_it_says() {
    let section = README.split("## A quota").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = commands(section);
    let file = lines[0].strip_prefix("printf '").unwrap().split_once("' > ").unwrap().0.replace("\\n", "\n");
    let server = Server::start();
    let gateway = Gateway::before(&server.address().to_string()).config(&file).start();
    let mut client = gateway.client();
    let mut said = lines.iter().filter_map(|line| line.strip_prefix("redis-cli -p 6380 "));
    let refusal = "QUOTA limit of 3 reached for 'sku:8421:reserved'";
    assert!(section.contains(refusal), "the text says what the fourth gets");
    for expected in [":1", ":2", ":3", &format!("-{refusal}"), "+limit 5"] {
        client.check(said.next().unwrap(), expected);
    }
    // The counter was exhausted: the next recheck learns of the new limit.
    let raised = said.next().unwrap();
    wait_until("the limit is raised", || client.ask(raised) == ":4");
    client.check(said.next().unwrap(), ":3");
    let list = said.next().unwrap();
    wait_until("the counter is listed", || client.ask(list).contains("sku:8421:reserved"));
    assert_eq!(said.next(), None);
}

#[test]
fn the_signals_are_in_the_readme_and_in_the_help() {
    assert!(README.contains("SIGHUP") && README.contains("SIGTERM"));
    for help in [program(&["--help"]), program(&["serve", "--help"])] {
        assert!(help.contains("  HUP ") && help.contains("  TERM"), "{help}");
    }
}

/// A user reads the README to its end, and finds more by its links.
#[test]
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(lines <= 250, "README.md has {lines} lines: a page of docs is the place for details");
}

/// A seed that a failure prints is given back in the variable that the README names, whichever test it was.
#[test]
fn there_is_one_variable_for_seeds() {
    let mut waiting = ["src", "tests", "benches", "fuzz/fuzz_targets"]
        .map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .to_vec();
    let (mut files, mut others) = (0, Vec::new());
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let named = text.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
            let of_seeds =
                named.filter(|word| word.len() > 5 && word.ends_with("_SEED") && *word != "HOTGATE_SEED");
            others.extend(of_seeds.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert!(files > 100 && README.contains("HOTGATE_SEED"));
    assert!(others.is_empty(), "{others:?}");
}

/// Each row of a walk names a file and a function in it.
#[test]
fn the_walk_of_a_request_is_walked_through_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let mut walked = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [_, _, file, function] = cells[..] else { continue };
        let (Some(file), Some(function)) = (unquoted(file), unquoted(function)) else { continue };
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("no file {file}"));
        let declared = ["(", "<"].iter().any(|next| text.contains(&format!("fn {function}{next}")));
        assert!(declared, "{file} has no function {function}");
        walked += 1;
    }
    assert!(walked >= 20, "{walked} steps");
}

fn unquoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}
