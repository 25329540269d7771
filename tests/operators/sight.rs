//! What an operator sees of a gateway at first sight, and clients that keep it busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{Gateway, text, wait_for};
use serde_json::Value;

/// What an operator sees at first sight.
#[derive(Clone, Debug)]
pub struct Sight {
    pub level: String,
    pub sentence: String,
    /// `/readyz` answers 200.
    pub ready: bool,
    /// What else it says.
    pub readiness: String,
}

/// Looks, after a moment: thirty times a second is less often than the admin side answers.
pub fn sight(gateway: &Gateway) -> Sight {
    thread::park_timeout(Duration::from_millis(30));
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

/// Looks until `found` is content, and prints each first line.
fn watch<T>(gateway: &Gateway, what: &str, mut found: impl FnMut(&Sight) -> Option<T>) -> T {
    let (began, mut last) = (Instant::now(), String::new());
    wait_for(what, || {
        let seen = sight(gateway);
        if seen.sentence != last {
            let row = what.split(':').next().unwrap_or_default();
            eprintln!("{row} {:>6} ms: [{}] {}", began.elapsed().as_millis(), seen.level, seen.sentence);
            last.clone_from(&seen.sentence);
        }
        found(&seen)
    })
}

/// Waits until the first line holds all of `words`, and prints how long after the fault of this `row` that was.
pub fn told(gateway: &Gateway, row: &str, words: &[&str]) -> Sight {
    let began = Instant::now();
    let seen = watch(gateway, &format!("{row}: a first line with {words:?}"), |seen| {
        words.iter().all(|word| seen.sentence.contains(word)).then(|| seen.clone())
    });
    eprintln!("ROW {row}: told after {} ms: {}", began.elapsed().as_millis(), seen.sentence);
    seen
}

/// Waits until nothing critical and no warning is told any more, and prints how long after the end of the fault of this `row` that was.
pub fn quiet_again(gateway: &Gateway, row: &str) {
    let began = Instant::now();
    watch(gateway, &format!("{row}: nothing is wrong any more"), |seen| {
        (seen.ready && (seen.level == "ok" || seen.level == "notice")).then_some(())
    });
    eprintln!("ROW {row}: gone after {} ms", began.elapsed().as_millis());
}

/// Waits until the first line does not hold `word` any more, and prints how long after the end of the fault of this `row` that was.
pub fn gone(gateway: &Gateway, row: &str, word: &str) {
    let began = Instant::now();
    watch(gateway, &format!("{row}: no first line with {word:?}"), |seen| {
        (!seen.sentence.contains(word)).then_some(())
    });
    eprintln!("ROW {row}: gone after {} ms", began.elapsed().as_millis());
}

/// Threads that do something again and again until this is dropped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Clients that send these commands in turn, each waiting for its reply.
    pub fn start(gateway: &Gateway, clients: usize, commands: &'static [&'static str]) -> Traffic {
        Self::of(clients, || {
            let (mut client, mut commands) = (gateway.client(), commands.iter().cycle());
            move || drop(commands.next().map(|command| client.ask(command)))
        })
    }

    /// Clients that send this command a hundred times at once.
    pub fn pipelined(gateway: &Gateway, clients: usize, command: &str) -> Traffic {
        let burst = text::request(command).repeat(100);
        Self::of(clients, || {
            let (mut client, burst) = (gateway.client(), burst.clone());
            move || {
                client.send(&burst);
                (0..100).for_each(|_| drop(client.reply()));
            }
        })
    }

    /// So many threads, each of which does what `step` makes.
    pub fn of<F: FnMut() + Send + 'static>(threads: usize, mut step: impl FnMut() -> F) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..threads)
            .map(|_| {
                let (stop, mut step) = (Arc::clone(&stop), step());
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        step();
                    }
                })
            })
            .collect();
        Traffic { stop, threads }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("a client of the traffic failed"));
    }
}
