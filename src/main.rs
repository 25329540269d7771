//! The program: what each command of the command line does.
//!
//! It turns flags into a configuration and hands over. If something cannot start, one line says what happened, what was
//! expected, and what to do.

#![deny(clippy::print_stdout)]

mod command_line;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use command_line::{Check, Command, CommandLine, Ledger, Serve, Top};
use hotgate::config::{Config, Log, LogFormat, LogLevel, MovedKeys, Overrides};
use hotgate::control::certificates;
use hotgate::control::reload::ConfigSource;
use hotgate::monitor::http_client::HttpClient;
use hotgate::monitor::top::TopOptions;
use hotgate::process::{self, Origin, Predecessor, Program, Started};
use hotgate::{console, demo, ledger, monitor};
use tracing_subscriber::filter::LevelFilter;

/// For whoever starts it without an argument, perhaps for the first time.
const FIRST_STEPS: &str = "hotgate: no arguments, so this is `hotgate serve` before the Redis at 127.0.0.1:6379. `hotgate demo` shows it on a \
                           private cluster; `hotgate --help` lists the commands";

fn main() -> ExitCode {
    hotgate::panics::end_process_on_panic();
    let command_line = CommandLine::parse();
    if std::env::args_os().len() <= 1 {
        eprintln!("{FIRST_STEPS}");
    }
    let outcome = match command_line.command() {
        Command::Serve(arguments) => serve(&arguments),
        Command::Check(arguments) if arguments.ready => ask_ready(&arguments),
        Command::Check(arguments) => return check(&arguments),
        Command::Demo(arguments) => demo::run(arguments.options()).map_err(|error| error.to_string()),
        Command::Top(arguments) => top(&arguments),
        Command::Ledger(arguments) => ledger(&arguments),
        Command::Upgrade(arguments) => process::request_upgrade(arguments.pid, arguments.config.as_deref())
            .map(|line| console::say(&format!("hotgate: {line}"))),
        Command::Man(arguments) => arguments.print(),
        Command::Completions(arguments) => {
            arguments.print();
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hotgate: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Serve) -> Result<(), String> {
    if arguments.describe_metrics {
        console::print(&monitor::metrics::describe());
        return Ok(());
    }
    let program = Program::of_this_process()
        .map_err(|error| format!("the system does not say where this program lies: {error}"))?;
    let predecessor = Predecessor::of_environment()?;
    let config = arguments.load().map_err(|error| error.to_string()).inspect_err(|why| {
        if let Some(predecessor) = &predecessor {
            predecessor.refuse(why);
        }
    })?;
    start_log(&config.log);
    let source =
        ConfigSource { file: arguments.file().map(ToOwned::to_owned), overrides: arguments.overrides() };
    let origin = Origin { program, predecessor };
    process::run(config, source, origin, announce).map_err(|error| error.to_string())
}

fn ask_ready(arguments: &Check) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = monitor::ask_ready::ask_ready(&arguments.admin, arguments.ca_file.as_deref());
    runtime.map_err(|error| error.to_string())?.block_on(asked)
}

fn top(arguments: &Top) -> Result<(), String> {
    let Top { admin, ca_file, token, once, json } = arguments;
    let client =
        HttpClient::new(admin, ca_file.as_deref()).map_err(|why| format!("--admin {admin}: {why}"))?;
    let options = TopOptions { admin: admin.clone(), client, token: token.clone(), once: *once, json: *json };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(monitor::top::run(&options))
}

fn ledger(arguments: &Ledger) -> Result<(), String> {
    let config = arguments.load().map_err(|error| error.to_string())?;
    start_log(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        if let Some(verb) = arguments.verb() {
            return match ledger::act(config, verb, |line| console::say(&line)).await? {
                true => Ok(()),
                false => Err("Redis and the database differ".to_owned()),
            };
        }
        let stop = process::stop_signal().map_err(|error| error.to_string())?;
        let source =
            ConfigSource { file: arguments.file().map(ToOwned::to_owned), ..ConfigSource::default() };
        match ledger::run(config, source, arguments.once, stop).await? {
            ledger::Ended::Well => Ok(()),
            ledger::Ended::Halted(sales) => Err(format!(
                "{sales} sales are halted, because entries of them are missing; the log names them"
            )),
            ledger::Ended::GaveUp(why) => Err(format!("the database does not have all that there is: {why}")),
        }
    })
}

/// Prints the addresses of the gateway on standard output.
fn announce(started: &Started) {
    for address in &started.listen {
        console::mention(&format!("hotgate: listening on {address}"));
    }
    for address in &started.tls {
        console::mention(&format!("hotgate: listening for TLS on {address}"));
    }
    if let Some(path) = &started.unix {
        console::mention(&format!("hotgate: listening on unix:{}", path.display()));
    }
    if let Some(address) = started.admin {
        let scheme = if started.admin_speaks_tls { "https" } else { "http" };
        console::mention(&format!("hotgate: admin on {scheme}://{address}"));
    }
    console::mention("hotgate: ready");
}

fn start_log(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines =
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // Colours are for people at a terminal: in a file they hide the text from whoever searches it.
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = lines.with_ansi(std::io::stderr().is_terminal() && !unwanted);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

/// Prints every error, one a line, to standard output, since they are what was asked for; and what moves, where that was asked for.
fn check(arguments: &Check) -> ExitCode {
    let file = arguments.file().display();
    let mut told = Vec::new();
    let lines = match Config::load(Some(arguments.file()), &Overrides::default()) {
        Ok(config) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let faults = certificates::faults(&config, i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
            let moved = moved_keys(arguments, &config);
            let (forced, refused): (Vec<_>, Vec<_>) =
                moved.iter().flatten().partition(|moved| moved.is_forced);
            told.extend(forced.iter().map(|moved| format!("{file}: moves: {}", moved.why)));
            let refused = refused.into_iter().map(|moved| format!("route: {}", moved.why));
            let faults = faults.into_iter().chain(refused).chain(moved.as_ref().err().cloned());
            faults.map(|fault| format!("{file}: {fault}")).collect()
        }
        Err(error) => error.lines(),
    };
    told.iter().chain(&lines).for_each(|line| console::say(line));
    if lines.is_empty() {
        console::say(&format!("{file}: ok"));
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// The keys that live elsewhere by `config` than by what runs, where that is given.
///
/// # Errors
/// What runs can't be known: a sentence.
fn moved_keys(arguments: &Check, config: &Config) -> Result<Vec<MovedKeys>, String> {
    if let Some(file) = &arguments.against {
        let running = Config::load(Some(file), &Overrides::default());
        let running =
            running.map_err(|error| format!("--against {}: {}", file.display(), error.lines().join("; ")))?;
        return Ok(running.moved_keys(config));
    }
    if !arguments.running {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Check { admin, ca_file, token, .. } = arguments;
    let asked = monitor::ask_routes::ask_routes(admin, ca_file.as_deref(), token.as_deref());
    Ok(config.moved_from(&runtime.map_err(|error| error.to_string())?.block_on(asked)?))
}
