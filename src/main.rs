//! The command line: `serve` (the default), `check`, `demo`, `top`.
//!
//! It turns flags into a configuration and hands over. If something cannot start, one line says what happened, what was
//! expected, and what to do.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use hotgate::config::{Address, Config, LoadError, Log, LogFormat, LogLevel, Overrides};
use hotgate::control::reload::ConfigSource;
use hotgate::monitor::top::TopOptions;
use hotgate::process::{self, Started};
use hotgate::{demo, monitor};
use tracing_subscriber::filter::LevelFilter;

/// The part of the help about signals.
const SIGNALS: &str = "Signals to a running gateway:
  HUP        Read the configuration file again; the log names what was taken, and what only a restart takes
  TERM, INT  Take no new clients, finish what is in flight, end (gateway.drain_timeout)";

/// What `hotgate top` does with keys and writes as JSON.
const TOP_HELP: &str = "Keys:
  q        Quit (so does Esc, which first drops a filter)
  Tab      The next table: hot keys, nodes, quotas
  s, r     Sort by the next column; the other way round
  /        Show only rows whose name holds what is typed; Enter keeps it, Esc drops it
  Up, Down, PageUp, PageDown, Home  Scroll

With --json every line is an object: {\"stats\": /api/stats, \"hotkeys\": [...], \"nodes\": [...], \"quotas\": [...]}, the rows as
/api/hotkeys, /api/nodes and /api/quotas have them; {\"error\": \"...\"} while the gateway does not answer. Without a terminal and
without --json one frame is printed as text.

The exit code is 1 if the gateway can't be reached at first, or asks for another token.";

#[derive(Parser)]
#[command(name = "hotgate", version, about, args_conflicts_with_subcommands = true, after_help = SIGNALS)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Stand between clients and Redis (the default).
    #[command(after_help = SIGNALS)]
    Serve(Serve),
    /// Start a private Redis Cluster with a gateway before it, to try things out.
    Demo,
    /// Report every error of a configuration file.
    Check(Check),
    /// Show the hot keys of a running gateway in the terminal.
    #[command(after_help = TOP_HELP)]
    Top(Top),
}

#[derive(Args)]
struct Serve {
    /// Configuration file; conf/hotgate.toml is the manual.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for clients; may be given several times [file: gateway.listen].
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,
    /// Address of dashboard, API and metrics [file: admin.listen].
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// The Redis server, or some nodes of the cluster [file: upstream.servers].
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = address)]
    upstream: Vec<Address>,
    /// Number of worker threads; 0 is one for each core [file: gateway.workers].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    workers: Option<u16>,
    /// List every metric with its kind and meaning, and exit.
    #[arg(long)]
    describe_metrics: bool,
}

#[derive(Args)]
struct Check {
    /// The file to check.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args)]
struct Top {
    /// Where the gateway's dashboard is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9380")]
    admin: String,
    /// The token, where the gateway asks for one [file: admin.token].
    #[arg(long, env = "HOTGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print one frame and exit.
    #[arg(long)]
    once: bool,
    /// Print JSON instead: one object a line and second.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    hotgate::panics::end_process_on_panic();
    let command_line = CommandLine::parse();
    let outcome = match command_line.command.unwrap_or(Command::Serve(command_line.serve)) {
        Command::Serve(arguments) => serve(&arguments),
        Command::Check(arguments) => return check(&arguments),
        Command::Demo => demo(),
        Command::Top(arguments) => top(&arguments),
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
        print!("{}", monitor::metrics::describe());
        return Ok(());
    }
    let config = arguments.load().map_err(|error| error.to_string())?;
    start_log(&config.log);
    let source = ConfigSource { file: arguments.config.clone(), overrides: arguments.overrides() };
    process::run(config, source, announce).map_err(|error| error.to_string())
}

fn demo() -> Result<(), String> {
    start_log(&Log { level: LogLevel::Warn, ..Log::default() });
    let gateway = |config, shutdown| process::serve(config, ConfigSource::default(), shutdown, |_| {});
    demo::run(gateway).map_err(|error| error.to_string())
}

fn top(arguments: &Top) -> Result<(), String> {
    let Top { admin, token, once, json } = arguments;
    let options = TopOptions { admin: admin.clone(), token: token.clone(), once: *once, json: *json };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(monitor::top::run(&options))
}

/// Prints the addresses of the gateway on standard output.
fn announce(started: &Started) {
    for address in &started.listen {
        println!("hotgate: listening on {address}");
    }
    if let Some(address) = started.admin {
        println!("hotgate: admin on http://{address}");
    }
    println!("hotgate: ready");
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

/// Prints every error, one a line, to standard output, since they are what was asked for.
fn check(arguments: &Check) -> ExitCode {
    match Config::load(Some(&arguments.config), &Overrides::default()) {
        Ok(_) => {
            println!("{}: ok", arguments.config.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            for line in error.lines() {
                println!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

impl Serve {
    fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            admin: self.admin,
            upstream: self.upstream.clone(),
            workers: self.workers.map(usize::from),
        }
    }

    fn load(&self) -> Result<Config, LoadError> {
        Config::load(self.config.as_deref(), &self.overrides())
    }
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map_err(|()| "expected host:port, such as 127.0.0.1:6379".to_owned())
}
