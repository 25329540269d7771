//! README.md tells the truth where a program can tell: its commands, flags, directives and links exist.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use hotgate::config;

const README: &str = include_str!("../../README.md");
const CI: &str = include_str!("../../.ci/run");

/// The commands of the `sh` blocks, in order.
fn commands() -> Vec<&'static str> {
    let blocks = README.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    blocks.flat_map(str::lines).collect()
}

/// Everything between backticks outside of blocks.
fn code_spans() -> Vec<&'static str> {
    let prose = README.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

fn program(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hotgate")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_first_command_is_the_demo_and_the_second_the_tests() {
    let commands = commands();
    assert_eq!(
        commands[0],
        "sudo apt-get install -y redis-server redis-tools && cargo run --release -- demo"
    );
    assert_eq!(commands[1], "tests/setup && cargo test");
    for command in commands[1].split(" && ") {
        let twice = format!("with_second_try {command}");
        let runs = CI.lines().any(|line| line == command || line == twice);
        assert!(runs, ".ci/run runs the README's test command: {command}");
    }
}

#[test]
fn every_subcommand_exists() {
    let help = program(&["--help"]);
    for command in commands() {
        let Some((_, arguments)) =
            command.split_once("hotgate ").or(command.split_once("cargo run --release -- "))
        else {
            continue;
        };
        let subcommand = arguments.split(' ').next().unwrap();
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(subcommand)),
            "{subcommand} is not in:\n{help}"
        );
    }
}

#[test]
fn every_flag_exists() {
    let help = program(&["serve", "--help"]) + &program(&["check", "--help"]);
    let known: BTreeSet<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    let ours = commands().into_iter().filter(|line| line.contains("/hotgate ")).chain(code_spans());
    for flag in ours.flat_map(str::split_whitespace).filter(|word| word.starts_with("--") && word.len() > 2) {
        assert!(known.contains(flag), "{flag} is not a flag of hotgate");
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
    for span in code_spans() {
        if let Some(table) = span.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            assert!(tables.contains(table), "[{table}] is no table of the configuration");
        } else if span.split_once('.').is_some_and(|(table, _)| tables.contains(table)) {
            assert!(known.contains(span), "{span} is no directive");
            named += 1;
        }
    }
    assert!(named > 0);
}

#[test]
fn every_link_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let links: Vec<&str> = README.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0).collect();
    assert!(!links.is_empty());
    for link in links {
        let path = link.split('#').next().unwrap();
        assert!(link.starts_with("https://") || root.join(path).exists(), "{link} leads nowhere");
    }
}

#[test]
fn every_bench_named_exists() {
    for command in commands() {
        let Some(name) = command.strip_prefix("cargo bench --bench ") else { continue };
        let name = name.split(' ').next().unwrap();
        assert!(include_str!("../../Cargo.toml").contains(&format!("name = \"{name}\"")), "no bench {name}");
    }
}

#[test]
fn the_signals_are_in_the_readme_and_in_the_help() {
    assert!(README.contains("SIGHUP") && README.contains("SIGTERM"));
    for help in [program(&["--help"]), program(&["serve", "--help"])] {
        assert!(help.contains("  HUP ") && help.contains("  TERM"), "{help}");
    }
}

/// A seed that a failure prints is given back in the variable that the README names, whichever test it was.
#[test]
fn there_is_one_variable_for_seeds() {
    let mut waiting = ["src", "tests", "benches", "fuzz"]
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
