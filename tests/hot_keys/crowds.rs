//! A key that detection does not call hot folds all the same where 64 of its operations are outstanding at a node where a queue
//! stands. What keeps a key out of the hot set keeps it from that as well.

use std::time::Duration;

use crate::support::figures::{calls, figure};
use crate::support::gateway::Upstream;
use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, Server, wait_until};

/// No key gets hot.
const COLD: &str = "enter_rate = 1000000000\nenter_share = 1.0\nenter_bytes_rate = 0\n";

/// Clients that come one after the other, whether or not the earlier have been answered, while somebody keeps the server busy.
struct Leap {
    clients: Vec<Client>,
    sent: i64,
}

impl Leap {
    fn of(gateway: &Gateway) -> Self {
        Self { clients: (0..40).map(|_| gateway.client()).collect(), sent: 0 }
    }

    fn burst(&mut self, mut busy: Client) {
        std::thread::scope(|scope| {
            scope.spawn(move || busy.check("DEBUG SLEEP 0.1", "+OK"));
            for client in &mut self.clients {
                client.send(&request("INCR counter").repeat(8));
                std::thread::park_timeout(Duration::from_millis(4));
            }
            let replies =
                self.clients.iter_mut().flat_map(|client| (0..8).map(|_| one_line(&client.reply())));
            let number = |reply: String| -> i64 {
                reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).parse().unwrap()
            };
            let mut values: Vec<i64> = replies.map(number).collect();
            values.sort_unstable();
            let expected = self.sent + 1..=self.sent + values.len() as i64;
            assert!(values.iter().copied().eq(expected), "unique and without gaps");
            self.sent += values.len() as i64;
        });
    }
}

fn folds(upstream: &(impl Upstream + ?Sized), direct: impl Fn() -> Client) {
    for workers in ["1", "2"] {
        let before = calls(&mut direct(), "incrby");
        direct().integer("DEL counter");
        let gateway =
            Gateway::before(upstream).config(&format!("[detect]\n{COLD}")).flag("--workers", workers).start();
        let mut leap = Leap::of(&gateway);
        wait_until("what comes is folded", || {
            leap.burst(direct());
            calls(&mut direct(), "incrby") > before
        });
        let mut watcher = gateway.client();
        wait_until("it is counted", || figure(&mut watcher, "combine_crowds") > 0);
        assert_eq!(watcher.list("HOTGATE HOTKEYS"), Vec::<String>::new(), "it was never hot");
    }
}

#[test]
fn a_key_with_a_crowd_folds_before_it_is_hot() {
    let server = Server::with(&["--enable-debug-command", "yes"]);
    folds(&server, || server.client());
}

#[test]
fn a_key_with_a_crowd_folds_at_its_node_of_a_cluster() {
    let cluster = Cluster::with(&["--enable-debug-command", "yes"]);
    let node = cluster.master_of("counter");
    folds(&cluster, || cluster.client(node));
}

#[test]
fn what_is_never_hot_has_no_crowd() {
    let server = Server::with(&["--enable-debug-command", "yes"]);
    for config in [
        format!("[detect]\n{COLD}never_track = ['count*']\n"),
        "[detect]\nenabled = false\n".to_owned(),
        format!("[detect]\n{COLD}[combine]\nenabled = false\n"),
        format!("[detect]\n{COLD}[[rule]]\nmatch = 'counter'\nmode = 'off'\n"),
    ] {
        server.client().integer("DEL counter");
        let gateway = Gateway::before(&server).config(&config).start();
        let mut leap = Leap::of(&gateway);
        (0..3).for_each(|_| leap.burst(server.client()));
        assert_eq!(calls(&mut server.client(), "incrby"), 0, "{config}");
        assert_eq!(figure(&mut gateway.client(), "combine_crowds"), 0, "{config}");
    }
}

/// It is given up when the configuration keeps it out, and nothing that waits is lost.
#[test]
fn a_reload_ends_it() {
    let server = Server::with(&["--enable-debug-command", "yes"]);
    let rest = format!("[detect]\n{COLD}");
    let gateway = Gateway::before(&server).config(&rest).start();
    let mut leap = Leap::of(&gateway);
    wait_until("what comes is folded", || {
        leap.burst(server.client());
        calls(&mut server.client(), "incrby") > 0
    });
    gateway.reload(&format!("{rest}[combine]\nenabled = false\n"));
    wait_until("nothing folds any more", || {
        let before = calls(&mut server.client(), "incrby");
        leap.burst(server.client());
        calls(&mut server.client(), "incrby") == before
    });
}
