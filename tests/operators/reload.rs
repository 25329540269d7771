//! A reload takes what the manual says that it takes, and nothing else: each directive of the schema is changed in turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::text::one_line;
use crate::support::{self, Gateway, Server, wait_until};
use hotgate::config::Config;
use hotgate::config::schema::{Directive, Kind};

/// A file in which this directive, and what it can't be without, differs from its default.
struct Changed {
    path: String,
    reload: bool,
    toml: String,
}

/// One for each directive that holds a value, with a value that is made from its kind.
fn changes_of_all_directives() -> Vec<Changed> {
    let mut changes = Vec::new();
    Config::visit_directives(|path, directive| {
        if matches!(directive.kind, Kind::Table { .. }) || path.contains("[]") {
            return;
        }
        // It may say one name only.
        if path == "upstream.name" {
            return;
        }
        let fits = |toml: &String| Config::parse(toml).is_ok_and(|config| config != Config::default());
        let toml = candidates(path, directive).into_iter().map(|value| file(path, &value)).find(fits);
        let toml = toml.unwrap_or_else(|| panic!("{path}: no other value is known to this test"));
        changes.push(Changed { path: path.to_owned(), reload: directive.reload, toml });
    });
    assert!(changes.len() > 70, "the schema was not visited: {} directives", changes.len());
    changes
}

/// A file that is there.
const FILE: &str = "/etc/hostname";
/// Another, for what has to stand beside a directive: each file differs from the one before in the directive itself.
const OTHER_FILE: &str = "/etc/passwd";

fn file(path: &str, value: &str) -> String {
    match path {
        "cluster" => "[[cluster]]\nname = \"x\"\nservers = [\"127.0.0.1:1\"]\n".to_owned(),
        "route" => "[[route]]\nmatch = \"x\"\nclusters = [\"default\"]\n".to_owned(),
        "counter_script" => {
            "[[counter_script]]\nsha1 = \"8a7f1d788aeedbc24f7ac89c3ede25a3e3348ae9\"\nby = 1\n".to_owned()
        }
        "zone" => "[[zone]]\nname = \"x\"\nnetworks = [\"10.0.0.0/8\"]\n".to_owned(),
        "gateway.zone" => format!("{path} = {value}\n[[zone]]\nname = \"x\"\nnetworks = [\"10.0.0.0/8\"]\n"),
        "tenant" => "[[tenant]]\nmatch = \"x\"\n".to_owned(),
        "rule" => "[[rule]]\nmatch = \"x\"\n".to_owned(),
        "quota" => "[[quota]]\nmatch = \"x\"\nlimit = 1\n".to_owned(),
        "auth.user" => "[[auth.user]]\nname = \"x\"\npassword = \"y\"\n".to_owned(),
        "admin.bearer" => "[[admin.bearer]]\nname = \"x\"\ntoken = \"y\"\n".to_owned(),
        // It is read as rules at once, and none are right.
        "auth.acl_file" => format!("{path} = \"/dev/null\"\n"),
        "tls.certificate" => {
            format!("[[tls.certificate]]\nnames = [\"x\"]\ncert_file = {FILE:?}\nkey_file = {FILE:?}\n")
        }
        "tls.listen" => {
            format!("{path} = {value}\ntls.cert_file = {OTHER_FILE:?}\ntls.key_file = {OTHER_FILE:?}\n")
        }
        "tls.user_from" if value != "\"\"" => {
            format!("{path} = {value}\ntls.client_auth = \"optional\"\ntls.client_ca_file = {OTHER_FILE:?}\n")
        }
        "tls.client_auth" if value != "\"no\"" => {
            format!("{path} = {value}\ntls.client_ca_file = {OTHER_FILE:?}\n")
        }
        "tls.cert_file" | "upstream.cert_file" | "admin.cert_file" => {
            format!("{path} = {value}\n{} = {OTHER_FILE:?}\n", path.replace("cert_file", "key_file"))
        }
        "tls.key_file" | "upstream.key_file" | "admin.key_file" => {
            format!("{path} = {value}\n{} = {OTHER_FILE:?}\n", path.replace("key_file", "cert_file"))
        }
        "ledger.required" => format!("{path} = {value}\nledger.url = \"sqlite:elsewhere.db\"\n"),
        "upstream.kind" if value == "\"sentinel\"" => format!("{path} = {value}\nupstream.master = \"x\"\n"),
        "upstream.master" => format!("{path} = {value}\nupstream.kind = \"sentinel\"\n"),
        "upstream.sentinel_user" => format!("{path} = {value}\nupstream.sentinel_password = \"z\"\n"),
        "upstream.user" => format!("{path} = {value}\nupstream.password = \"of the user\"\n"),
        "auth.password_next" | "auth.password_next_file" => {
            format!("{path} = {value}\nauth.password = \"the first\"\n")
        }
        "upstream.password_next" | "upstream.password_next_file" => {
            format!("{path} = {value}\nupstream.password = \"the first\"\n")
        }
        _ => format!("{path} = {value}\n"),
    }
}

/// Values of a kind, one of which differs from any default and goes with all others' defaults.
fn candidates(path: &str, directive: &Directive) -> Vec<String> {
    let default = directive.default_literal().unwrap_or_default();
    match &directive.kind {
        Kind::Flag => vec![(default != "true").to_string()],
        Kind::Count { min, max, .. } => {
            let near = default.parse::<u64>().map_or(*min, |default| default + 1);
            [near, *min, *max].map(|number| number.to_string()).to_vec()
        }
        Kind::Bytes { min, max, .. } => {
            [*min, *max, 1 << 20, 1 << 21].map(|bytes| format!("\"{bytes}b\"")).to_vec()
        }
        Kind::Integer { min, .. } => vec![min.to_string()],
        Kind::Share => ["0.001", "0.5"].map(str::to_owned).to_vec(),
        Kind::Duration { min, max, .. } => {
            let short_and_long = [min, max].map(|time| format!("\"{}us\"", time.as_micros()));
            short_and_long.to_vec()
        }
        Kind::Text | Kind::Secret | Kind::Template | Kind::Glob => vec!["\"x\"".to_owned()],
        // What is read at each reload has to be there.
        Kind::Path if path.ends_with("_file") => vec![format!("{FILE:?}")],
        Kind::Path => vec!["\"elsewhere\"".to_owned()],
        Kind::Url => vec!["\"http://127.0.0.1:1/\"".to_owned()],
        Kind::Address | Kind::Server => vec!["\"127.0.0.1:1\"".to_owned()],
        Kind::Network => vec!["\"10.0.0.0/8\"".to_owned()],
        Kind::Listen => vec!["\"127.0.0.1:1\"".to_owned()],
        Kind::Choice { names } | Kind::ChoiceOr { names, .. } => {
            names.iter().map(|name| format!("\"{name}\"")).collect()
        }
        Kind::List { of: Kind::Table { .. }, .. } => vec![String::new()],
        Kind::List { of: Kind::Server | Kind::Listen, .. } => vec!["[\"127.0.0.1:1\"]".to_owned()],
        Kind::List { of: Kind::Network, .. } => vec!["[\"10.0.0.0/8\"]".to_owned()],
        // It is run at once.
        Kind::List { .. } if path == "upstream.password_command" => vec!["[\"echo\", \"x\"]".to_owned()],
        Kind::List { .. } => vec!["[\"x\"]".to_owned()],
        Kind::Table { .. } => Vec::new(),
    }
}

fn paths(from: &Config, to: &Config) -> Vec<String> {
    from.changes(to).into_iter().map(|change| change.path).collect()
}

#[test]
fn of_each_directive_the_value_in_force_after_a_reload_is_the_one_that_the_manual_names() {
    let running = Config::default();
    for Changed { path, reload, toml } in changes_of_all_directives() {
        let new = Config::parse(&toml).expect("it was tried");
        let in_force = running.reloaded(new.clone()).expect("it goes with all others");
        assert_eq!(paths(&running, &in_force).contains(&path), reload, "taken: {path}");
        assert_eq!(paths(&in_force, &new).contains(&path), !reload, "left for the restart: {path}");
        let change = running.changes(&new).into_iter().find(|change| change.path == path);
        assert_eq!(change.map(|change| change.reloadable), Some(reload), "told: {path}");
    }
}

/// Among them are all that a worker takes over, so the program goes on and names each as what it is.
#[test]
fn each_directive_is_reloaded_in_the_running_program_and_the_log_says_what_became_of_it() {
    let server = Server::start();
    let base = format!(
        "upstream.servers = [\"{}\"]\ngateway.listen = [\"127.0.0.1:0\"]\nadmin.listen = \"127.0.0.1:0\"\n",
        server.address()
    );
    let gateway = Gateway::by_file(&base).start();
    gateway.client().check("SET reload kept", "+OK");
    let mut reloads = 0;
    let mut reload = |toml: &str, what: &str| {
        let seen = gateway.log().len();
        gateway.reload(toml);
        reloads += 1;
        wait_until(what, || gateway.log().matches("configuration reloaded").count() == reloads);
        gateway.log().split_off(seen)
    };
    for Changed { path, reload: taken, toml } in changes_of_all_directives() {
        let table_of_base =
            |line: &&str| !toml.lines().any(|changed| changed.split(' ').next() == line.split(' ').next());
        let rest: Vec<&str> = base.lines().filter(table_of_base).collect();
        let said = reload(&format!("{}\n{toml}", rest.join("\n")), &path);
        let named = said.lines().find(|line| line.contains(&format!("directive={path}")));
        let named = named.unwrap_or_else(|| panic!("{path} is not named: {said}"));
        assert_eq!(named.contains("only a restart takes it"), !taken, "{named}");
    }
    let said = reload(&base, "the first file again");
    assert!(!said.contains("only a restart"), "{said}");
    gateway.client().check("GET reload", "$4 kept");
}

#[test]
fn the_gateway_stays_with_its_upstream_whatever_the_file_says() {
    let [mut server, other] = [(); 2].map(|()| Server::start());
    let file = |address, more: &str| {
        format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream]\nservers = [\"{address}\"]\ntopology_refresh = \"100ms\"\n{more}"
        )
    };
    let gateway = Gateway::by_file(&file(server.address(), "")).start();
    server.client().check("SET who former", "+OK");
    other.client().check("SET who latter", "+OK");
    gateway.client().check("GET who", "$6 former");
    gateway.reload(&file(other.address(), "kind = \"cluster\"\n"));
    wait_until("both are named", || {
        let log = gateway.log();
        ["upstream.servers", "upstream.kind"].iter().all(|path| {
            log.lines().any(|line| line.contains(path) && line.contains("only a restart takes it"))
        })
    });
    // Nor when it looks at the topology, or has to connect anew.
    server.kill();
    server.restart();
    server.client().check("SET who former", "+OK");
    wait_until("the server that came back is served", || gateway.client().ask("GET who") == "$6 former");
    let commands = other.client().text("INFO commandstats");
    assert!(!commands.contains("cmdstat_get:"), "the other server was asked: {commands}");
}

#[test]
fn a_file_that_needs_what_waits_for_the_restart_is_refused() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[upstream]\nkind = \"single\"\n").start();
    gateway.reload("[upstream]\nkind = \"auto\"\nread_from = \"prefer-replica\"\n");
    wait_until("the refusal is logged", || {
        gateway.log().contains("configuration not reloaded: upstream.read_from")
    });
    gateway.client().check("PING", "+PONG");
}

/// Each slice of 100 ms sees several reloads, and would be nearly empty if one of them dropped what was counted.
#[test]
fn what_was_counted_survives_reloads_that_change_nothing_about_detection() {
    const INCREMENTS: usize = 5_000;
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("HOTKEYS START METRICS 2 CPU NET", "+OK");
    let counting = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..INCREMENTS).for_each(|_| drop(client.call_line("INCR counted")));
            counting.store(false, Ordering::Relaxed);
        });
        for top_k in (10..100).cycle().take_while(|_| counting.load(Ordering::Relaxed)) {
            gateway.reload(&format!("[detect]\ntop_k = {top_k}\n"));
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    let least = INCREMENTS * support::text::request("INCR counted").len() / 2;
    wait_until("most of the increments have been counted", || {
        let shown = client.list("HOTKEYS GET");
        let bytes = shown
            .iter()
            .skip_while(|word| *word != "by-net-bytes")
            .skip_while(|word| *word != "counted")
            .nth(1);
        bytes.is_some_and(|bytes| bytes.parse::<usize>().is_ok_and(|bytes| bytes >= least))
    });
}

#[test]
fn clients_that_are_connected_are_held_to_new_limits() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("SET limited 0123456789", "+OK");
    let large = "x".repeat(2000);
    gateway.reload("[limits]\nbulk_bytes_max = \"1kb\"\n");
    wait_until("the bound holds for a client of before", || {
        let reply = client.call(&["ECHO", &large]);
        assert!(!reply.starts_with(b"-") || one_line(&reply) == "-ERR Protocol error: invalid bulk length");
        reply.starts_with(b"-")
    });
    assert_eq!(client.rest(), b"");
}
