//! Two causes at a time in the first line: the graver is told first, the other goes on being told behind it, and what has ended is told no
//! more. As in `headlines`, each is a real fault.

use crate::sight::{Traffic, gone, sight, stats, told};
use crate::support::{Client, Gateway, Server};

const CONFIG: &str = "[gateway]\nworkers = 1\n[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\n[[quota]]\nmatch = 'lost:*'\nlimit_key = 'max:$1'\n";

/// A fault, from notices to what is critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Paused,
    ReloadRefused,
    NodeFull,
    LimitGone,
    OutOfMemory,
    MissingRight,
    Hung,
}

/// What the faults are made with.
struct Stage<'a> {
    server: &'a Server,
    gateway: &'a Gateway,
    direct: Client,
    client: Client,
    traffic: Vec<(Fault, Traffic)>,
}

impl Fault {
    /// How the server is told to have it, and to have it no more.
    fn commands(self, clients: usize) -> [String; 2] {
        let both = |begin: String, end: &str| [begin, end.to_owned()];
        match self {
            Self::NodeFull => both(format!("CONFIG SET maxclients {clients}"), "CONFIG SET maxclients 10000"),
            Self::OutOfMemory => both("CONFIG SET maxmemory 1".into(), "CONFIG SET maxmemory 0"),
            Self::MissingRight => both("ACL SETUSER default -set".into(), "ACL SETUSER default +set"),
            Self::LimitGone => both("DEL max:1".into(), "SET max:1 1000000"),
            _ => panic!("{self:?} is no fault of the server's own"),
        }
    }

    /// What of it is told.
    fn words(self, name: &str) -> String {
        let of_node = |what: &str| format!("{name} {what}");
        match self {
            Self::Paused => "sku:1 is paused".into(),
            Self::ReloadRefused => "configuration file was not taken over".into(),
            Self::NodeFull => "maxclients".into(),
            Self::LimitGone => "max:1".into(),
            Self::OutOfMemory => of_node("is out of memory"),
            Self::MissingRight => of_node("refuses commands because the gateway's user lacks a right"),
            Self::Hung => of_node("has not answered for"),
        }
    }
}

impl Stage<'_> {
    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::Paused => self.client.check("HOTGATE QUOTA PAUSE sku:1", "+paused"),
            Fault::ReloadRefused => self.gateway.reload(&format!("{CONFIG}[no_such_table]\n")),
            Fault::Hung => self.server.pause(),
            _ => {
                let clients = self.direct.text("CLIENT LIST").lines().count();
                drop(self.direct.ask(&fault.commands(clients)[0]));
            }
        }
        match fault {
            Fault::LimitGone => self.go_on(fault, &["INCR lost:1"]),
            Fault::OutOfMemory | Fault::MissingRight => self.go_on(fault, &["SET other v"]),
            _ => {}
        }
    }

    fn go_on(&mut self, fault: Fault, commands: &'static [&'static str]) {
        self.traffic.push((fault, Traffic::start(self.gateway, 1, commands)));
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Paused => self.client.check("HOTGATE QUOTA RESUME sku:1", "+resumed"),
            Fault::ReloadRefused => self.gateway.reload(CONFIG),
            Fault::Hung => self.server.resume(),
            _ => drop(self.direct.ask(&fault.commands(0)[1])),
        }
        self.traffic.retain(|(of, _)| *of != fault);
    }
}

#[test]
fn the_graver_of_two_comes_first_and_the_other_behind_it() {
    for (lesser, graver) in [
        (Fault::Paused, Fault::ReloadRefused),
        (Fault::Paused, Fault::NodeFull),
        (Fault::Paused, Fault::OutOfMemory),
        (Fault::ReloadRefused, Fault::MissingRight),
        (Fault::ReloadRefused, Fault::Hung),
        (Fault::NodeFull, Fault::OutOfMemory),
        (Fault::LimitGone, Fault::OutOfMemory),
    ] {
        let server = Server::start();
        let gateway = Gateway::before(&server).config(CONFIG).start();
        let name = server.address().to_string();
        let (direct, client) = (server.client(), gateway.client());
        let mut stage = Stage { server: &server, gateway: &gateway, direct, client, traffic: Vec::new() };
        stage.client.check("SET k v", "+OK");
        stage.direct.check("SET max:1 1000000", "+OK");
        let row = format!("{lesser:?} and {graver:?}");
        let (little, much) = (lesser.words(&name), graver.words(&name));
        stage.begin(lesser);
        told(&gateway, &row, &[&little]);
        stage.begin(graver);
        told(&gateway, &row, &[&much]);
        // A quota whose script is refused for want of memory can't look for its limit.
        if (lesser, graver) != (Fault::LimitGone, Fault::OutOfMemory) {
            let others = stats(&gateway)["status"]["others"].to_string();
            assert!(others.contains(&little), "{row}: {little:?} is not in {others}");
        }
        stage.end(graver);
        gone(&gateway, &row, &much);
        told(&gateway, &row, &[&little]);
        stage.end(lesser);
        gone(&gateway, &row, &little);
        assert!(sight(&gateway).ready);
    }
}
