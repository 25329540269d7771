//! Names of servers whose addresses change while connections to the former ones live, and answer as well as ever.
//!
//! The resolver is the test's: a small library that is loaded before the system's (`LD_PRELOAD`) and reads names from a file.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::relay::Relay;
use crate::support::{Client, Gateway, Server, wait_until};

/// Lines of `NAME ADDRESS`, of which one name may have several. Other names are the system's.
const RESOLVER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *system = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("NAMES_OF_THE_TEST");
    FILE *names = node && path ? fopen(path, "r") : NULL;
    struct addrinfo *all = NULL, **end = &all;
    char name[256], address[64];
    while (names && fscanf(names, "%255s %63s", name, address) == 2) {
        if (strcmp(name, node) == 0 && system(address, service, hints, end) == 0) {
            while (*end) end = &(*end)->ai_next;
        }
    }
    if (names) fclose(names);
    if (!all) return system(node, service, hints, found);
    *found = all;
    return 0;
}
"#;

/// The library, made once by the compiler that links Rust programs.
fn resolver() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let (source, library) = (directory.path().join("names.c"), directory.path().join("names.so"));
        std::fs::write(&source, RESOLVER).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        assert!(compiler.status().unwrap().success());
        (directory, library)
    });
    library
}

/// Gives names other addresses, all at once.
fn write(names: &Path, text: &str) {
    let fresh = names.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, names).unwrap();
}

/// Connections of gateways, by the command that each sent last.
fn connections(direct: &mut Client) -> Vec<String> {
    let list = direct.text("CLIENT LIST");
    let of_gateway = list.lines().filter(|line| line.contains(" name=hotgate "));
    of_gateway.filter_map(|line| Some(line.split_once(" cmd=")?.1.split(' ').next()?.to_owned())).collect()
}

#[test]
fn when_a_name_has_another_address_requests_go_there_and_none_is_lost() {
    let servers = [Server::start(), Server::start()];
    let first = Relay::before(servers[0].address());
    let port = first.address().port();
    let _second = Relay::at((Ipv4Addr::new(127, 0, 0, 2), port).into(), servers[1].address());
    let directory = tempfile::tempdir().unwrap();
    let names = directory.path().join("names");
    write(&names, "db.of-the-test 127.0.0.1\n");
    let gateway = Gateway::before(&format!("db.of-the-test:{port}"))
        .flag("--workers", "2")
        .environment("LD_PRELOAD", &resolver().display().to_string())
        .environment("NAMES_OF_THE_TEST", &names.display().to_string())
        .start();
    let [mut former, mut present] = [servers[0].client(), servers[1].client()];
    let mut blocked = gateway.client();
    blocked.send_line("BLPOP list 0");
    wait_until("it waits", || former.text("INFO clients").contains("blocked_clients:1"));
    let mut subscriber = gateway.client();
    subscriber.check("SUBSCRIBE news", "*3 ...");

    let is_over = AtomicBool::new(false);
    let acknowledged: u64 = std::thread::scope(|threads| {
        let loads: Vec<_> = (0..4)
            .map(|number| {
                let (gateway, is_over) = (&gateway, &is_over);
                threads.spawn(move || {
                    let mut client = gateway.client();
                    let mut done = 0_u64;
                    while !is_over.load(Ordering::Relaxed) {
                        // Pipelined, so that there is hardly ever a moment without requests under way.
                        (0..20).for_each(|_| client.send_line(&format!("INCR count:{number}")));
                        for _ in 0..20 {
                            let reply = client.reply();
                            assert_eq!(reply.first(), Some(&b':'), "{}", String::from_utf8_lossy(&reply));
                            done += 1;
                        }
                    }
                    done
                })
            })
            .collect();
        wait_until("the first server works", || former.ask("EXISTS count:0 count:1 count:2 count:3") == ":4");
        write(&names, "db.of-the-test 127.0.0.2\n");
        wait_until("the second server works", || {
            present.ask("EXISTS count:0 count:1 count:2 count:3") == ":4"
        });
        wait_until("nothing but the client that waits is left at the first", || {
            connections(&mut former) == ["blpop"]
        });
        is_over.store(true, Ordering::Relaxed);
        loads.into_iter().map(|load| load.join().unwrap()).sum()
    });
    let mut counted = |key: &str| {
        [&mut former, &mut present].map(|direct| direct.text(&format!("GET {key}")).parse::<u64>().unwrap())
    };
    let counts: u64 = (0..4).flat_map(|number| counted(&format!("count:{number}"))).sum();
    assert_eq!(counts, acknowledged);
    assert!(gateway.log().contains("its name has other addresses now"));

    // A subscriber of the former server would hear of nothing any more; whoever waits for a key there is served by it.
    assert!(subscriber.rest().is_empty(), "its connection is closed");
    former.check("RPUSH list x", ":1");
    assert!(blocked.reply().ends_with(b"x\r\n"));
    let mut again = gateway.client();
    again.check("SUBSCRIBE news", "*3 ...");
    present.check("PUBLISH news x", ":1");
}
