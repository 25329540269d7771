//! What an operator sees of a gateway at first sight, and clients that keep it busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::support::{Gateway, wait_for, wait_until};
use serde_json::Value;

/// What an operator sees at first sight.
#[derive(Debug)]
pub struct Sight {
    pub level: String,
    pub sentence: String,
    /// `/readyz` answers 200.
    pub ready: bool,
    /// What else it says.
    pub readiness: String,
}

pub fn sight(gateway: &Gateway) -> Sight {
    let stats = stats(gateway);
    let (code, readiness) = answered(gateway, "/readyz");
    Sight {
        level: stats["status"]["level"].as_str().unwrap().to_owned(),
        sentence: stats["status"]["sentence"].as_str().unwrap().to_owned(),
        ready: code == 200,
        readiness,
    }
}

/// Asked too often, the admin side says so: then it is asked again.
pub fn answered(gateway: &Gateway, path: &str) -> (u16, String) {
    wait_for("an answer", || Some(gateway.get(path)).filter(|(code, _)| *code != 429))
}

pub fn stats(gateway: &Gateway) -> Value {
    serde_json::from_str(&answered(gateway, "/api/stats").1).unwrap()
}

/// Waits until the sentence holds all of `words`, and prints how long that took.
pub fn wait_for_words(gateway: &Gateway, words: &[&str]) -> Sight {
    let began = Instant::now();
    let mut last = String::new();
    let found = wait_for(&format!("a sentence with {words:?}"), || {
        let seen = sight(gateway);
        if seen.sentence != last {
            eprintln!("{:>6} ms: {}", began.elapsed().as_millis(), seen.sentence);
            last.clone_from(&seen.sentence);
        }
        words.iter().all(|word| seen.sentence.contains(word)).then_some(seen)
    });
    eprintln!("told after {} ms", began.elapsed().as_millis());
    found
}

pub fn wait_until_quiet(gateway: &Gateway) {
    wait_until("nothing is wrong any more", || {
        let seen = sight(gateway);
        seen.ready && (seen.level == "ok" || seen.level == "notice")
    });
}

/// Clients that send one command again and again until they are dropped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(gateway: &Gateway, clients: usize, commands: &'static [&'static str]) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients)
            .map(|_| {
                let (mut client, stop) = (gateway.client(), Arc::clone(&stop));
                thread::spawn(move || {
                    for command in commands.iter().cycle() {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        client.ask(command);
                    }
                })
            })
            .collect();
        Traffic { stop, clients }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().expect("a client of the traffic failed"));
    }
}
