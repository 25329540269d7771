//! The command line's definition: commands, flags and their help. Manual page and completions are made from it too.
//!
//! It reads nothing but its arguments. What a command does is in `main.rs`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use hotgate::config::{self, Address, Config, LoadError, Overrides};
use hotgate::console;
use hotgate::demo::{DemoOptions, Show};
use hotgate::ledger::Verb;

/// The part of the help about signals.
const SIGNALS: &str = "Signals to a running gateway:
  HUP        Read the configuration file again; the log names what was taken, and what only a restart takes
  USR2       Start the program anew from where it lies and hand over to it, as `hotgate upgrade` does
  TERM, INT  Say no at /readyz (for gateway.drain_delay), take no new clients, finish what is in flight, end (gateway.drain_timeout)";

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

/// The part of the help of `hotgate ledger` about signals.
const LEDGER_HELP: &str = "Signals to a ledger that follows:
  HUP        Read the configuration file again; the log names what was taken, or what is wrong with it
  TERM, INT  End; the next start goes on behind what was committed";

/// What `hotgate demo` needs and leaves.
const DEMO_HELP: &str = "It starts redis-server or valkey-server from PATH, in a temporary directory, on free ports of 127.0.0.1, loads them for up to
a minute, and prints what it measures. Each load asks for up to three times what that Redis takes, on this machine only.
After the story all of it stays, to be played with, until Ctrl-C; the tables end by themselves. Nothing is kept in either case.";

/// What an upgrade is.
const UPGRADE_HELP: &str = "Replace the program's file first. The gateway starts it with its own arguments and hands its listening sockets over: nobody
is refused meanwhile. The new process reads the configuration and looks at Redis before it takes over; if it fails, the old one goes
on as before, and the last line says why. Clients that are connected stay with the old process until they leave
(gateway.handover_timeout). The exit code is 0 if the new process serves.";

/// What was asked for.
#[derive(Parser)]
#[command(name = "hotgate", version, about, args_conflicts_with_subcommands = true, after_help = SIGNALS)]
#[command(long_version = env!("HOTGATE_VERSION"))]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Stand between clients and Redis (the default).
    #[command(after_help = SIGNALS)]
    Serve(Serve),
    /// Show what the gateway does, on private Redis servers: a sale that overloads Redis, straight and through the gateway.
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    /// Report every error of a configuration file, or whether a running gateway is ready.
    Check(Check),
    /// Show the hot keys of a running gateway in the terminal.
    #[command(after_help = TOP_HELP)]
    Top(Top),
    /// Bring what happens in sales of reservations into an SQL database, as a process of its own.
    #[command(after_help = LEDGER_HELP)]
    Ledger(Ledger),
    /// Have a running gateway relieved by the program that lies where it was started from, and wait for how that ends.
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(Upgrade),
    /// Print the manual page, or that of one command: hotgate man | man -l -
    Man(Man),
    /// Print completions for a shell: source <(hotgate completions bash)
    Completions(Completions),
}

/// The flags of `serve`.
#[derive(Args)]
pub struct Serve {
    /// Configuration file; conf/hotgate.toml is the manual.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for clients; a port alone is on loopback; may be given several times [file: gateway.listen].
    #[arg(long, value_name = "IP:PORT", value_parser = config::listen_address)]
    listen: Vec<SocketAddr>,
    /// Address of dashboard, API and metrics; a port alone is on loopback [file: admin.listen].
    #[arg(long, value_name = "IP:PORT", value_parser = config::listen_address)]
    admin: Option<SocketAddr>,
    /// The Redis server, or some nodes of the cluster; redis://HOST:PORT is the same [file: upstream.servers].
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = address)]
    upstream: Vec<Address>,
    /// Number of worker threads; 0 is one for each core [file: gateway.workers].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256), allow_negative_numbers = true)]
    workers: Option<u16>,
    /// How long SIGTERM leaves clients coming while /readyz already says no [file: gateway.drain_delay].
    #[arg(long, value_name = "DURATION", value_parser = config::drain_delay)]
    drain_delay: Option<Duration>,
    /// List every metric with its kind and meaning, and exit.
    #[arg(long)]
    pub describe_metrics: bool,
}

/// The flags of `demo`.
#[derive(Args)]
pub struct Demo {
    /// Print a table instead: one key straight, with combining off, with the defaults, and an overload of each.
    #[arg(long)]
    compare: bool,
    /// Sell a quota out instead, through two gateways.
    #[arg(long, conflicts_with = "compare")]
    quotas: bool,
    /// Bring a sale of reservations into an SQLite file instead, and give its holders back to an empty Redis.
    #[arg(long, conflicts_with_all = ["compare", "quotas"])]
    ledger: bool,
    /// How long each load lasts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: Option<u64>,
}

/// The arguments of `check`.
#[derive(Args)]
pub struct Check {
    /// The file to check.
    #[arg(value_name = "FILE", required_unless_present_any = ["config", "ready"])]
    file: Option<PathBuf>,
    /// The same, as it is given to serve.
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Tell which keys would live elsewhere by the file than by this one, which runs.
    #[arg(long, value_name = "FILE", conflicts_with = "running")]
    pub against: Option<PathBuf>,
    /// The same against what a running gateway says of its routes.
    #[arg(long)]
    pub running: bool,
    /// Ask a running gateway instead: exit code 0 if clients may come, 1 otherwise.
    #[arg(long, conflicts_with_all = ["file", "config"])]
    pub ready: bool,
    /// Where that gateway's HTTP side is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9380")]
    pub admin: String,
    /// The authorities that may have signed its certificate, where the URL is https; without it those that the system trusts.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The token, where the gateway asks for one [file: admin.token].
    #[arg(long, env = "HOTGATE_TOKEN", hide_env_values = true, requires = "running")]
    pub token: Option<String>,
}

/// The flags of `top`.
#[derive(Args)]
pub struct Top {
    /// Where the gateway's dashboard is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9380")]
    pub admin: String,
    /// The authorities that may have signed its certificate, where the URL is https; without it those that the system trusts.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The token, where the gateway asks for one [file: admin.token].
    #[arg(long, env = "HOTGATE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print one frame and exit.
    #[arg(long)]
    pub once: bool,
    /// Print JSON instead: one object a line and second.
    #[arg(long)]
    pub json: bool,
}

/// The flags of `ledger`.
#[derive(Args)]
pub struct Ledger {
    /// Configuration file, the gateway's: [upstream] says where Redis is, [ledger] where the database is.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// End when the database has what there is. Exit code 1 if a sale is halted, or if the database can't be used: it is tried ten times.
    #[arg(long)]
    pub once: bool,
    #[command(subcommand)]
    verb: Option<LedgerVerb>,
}

/// What is done with the ledger instead of following.
#[derive(Subcommand)]
enum LedgerVerb {
    /// Compare Redis and the database, holder by holder. The exit code is 1 if they differ.
    Verify {
        /// The sale; without it all of them.
        sku: Option<OsString>,
    },
    /// Give the holders of a sale back to a Redis that does not have it.
    Restore {
        /// The sale.
        sku: OsString,
    },
    /// Take Redis's word for a sale that is halted, so that it can be followed again.
    Resync {
        /// The sale.
        sku: OsString,
    },
}

/// The flags of `upgrade`.
#[derive(Args)]
pub struct Upgrade {
    /// The gateway's process; not needed if only one runs on this machine.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub pid: Option<i32>,
    /// The configuration file that it was started with, to find it by.
    #[arg(short, long, value_name = "FILE", conflicts_with = "pid")]
    pub config: Option<PathBuf>,
}

/// The argument of `man`.
#[derive(Args)]
pub struct Man {
    /// The command; without it the page of hotgate itself.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// The argument of `completions`.
#[derive(Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CommandLine {
    /// All commands, as clap knows them.
    fn command_tree() -> clap::Command {
        let mut tree = <Self as CommandFactory>::command();
        tree.build();
        tree
    }

    /// The command that was given: without any it is `serve`.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl Serve {
    /// What the flags say in place of the file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            admin: self.admin,
            upstream: self.upstream.clone(),
            workers: self.workers.map(usize::from),
            drain_delay: self.drain_delay,
        }
    }

    /// The file, if one was named.
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The configuration that file and flags make.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn load(&self) -> Result<Config, LoadError> {
        Config::load(self.file(), &self.overrides())
    }
}

impl Demo {
    /// What to show, and how long.
    pub fn options(&self) -> DemoOptions {
        let show = match (self.compare, self.quotas, self.ledger) {
            (true, ..) => Show::Compare,
            (_, true, _) => Show::Quotas,
            (_, _, true) => Show::Ledger,
            _ => Show::Story,
        };
        DemoOptions { show, load_time: self.seconds.map(Duration::from_secs) }
    }
}

impl Ledger {
    /// The configuration of the file.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn load(&self) -> Result<Config, LoadError> {
        Config::load(self.config.as_deref(), &Overrides::default())
    }

    /// The file that was named.
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// What is done instead of following.
    pub fn verb(&self) -> Option<Verb> {
        let bytes = |sku: &OsString| sku.as_encoded_bytes().to_vec();
        Some(match self.verb.as_ref()? {
            LedgerVerb::Verify { sku } => Verb::Verify(sku.as_ref().map(bytes)),
            LedgerVerb::Restore { sku } => Verb::Restore(bytes(sku)),
            LedgerVerb::Resync { sku } => Verb::Resync(bytes(sku)),
        })
    }
}

impl Check {
    /// The file to check.
    pub fn file(&self) -> &Path {
        self.file.as_deref().or(self.config.as_deref()).unwrap_or(Path::new(""))
    }
}

impl Man {
    /// The page, in the language of `man`.
    ///
    /// # Errors
    /// There is no such command; or standard output takes no more.
    pub fn print(&self) -> Result<(), String> {
        let mut whole = CommandLine::command_tree();
        let page = match &self.command {
            None => whole,
            Some(name) => match whole.find_subcommand_mut(name) {
                Some(command) => command
                    .clone()
                    .bin_name(format!("hotgate {name}"))
                    .display_name(format!("hotgate-{name}")),
                None => {
                    return Err(format!("'{name}' is no command of hotgate; `hotgate --help` lists them"));
                }
            },
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(page).render(&mut text).map_err(|error| error.to_string())?;
        console::print(&String::from_utf8_lossy(&text));
        Ok(())
    }
}

impl Completions {
    /// Prints them on standard output.
    pub fn print(&self) {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command_tree(), "hotgate", &mut text);
        console::print(&String::from_utf8_lossy(&text));
    }
}

fn address(text: &str) -> Result<Address, &'static str> {
    text.parse()
}
