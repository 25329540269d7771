//! Time is Redis's: gateways whose clocks are wrong, or run too fast or too slowly, open a sale and end its holds at the same moment.

use std::path::Path;

use crate::support::{Client, Gateway, Server, wait_until};

/// What `faketime` preloads; tests/setup installs it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

const CONFIG: &str = "[gateway]\nworkers = 1\n[reserve]\nrecheck = '5ms'\nsweep_interval = '100ms'\n";

/// Hours late, days early, three times too fast, and at a third of the speed.
const CLOCKS: [&str; 4] = ["+3h", "-2d", "+0 x3", "+0 x0.33"];

fn now_ms(server: &mut Client) -> i64 {
    let time = server.list("TIME");
    time[0].parse::<i64>().unwrap() * 1000 + time[1].parse::<i64>().unwrap() / 1000
}

#[test]
fn the_clock_of_a_gateway_does_not_matter() {
    assert!(Path::new(LIBRARY).exists(), "{LIBRARY} is missing; tests/setup installs it");
    let server = Server::start();
    let mut redis = server.client();
    let gateways = CLOCKS.map(|clock| {
        let start = Gateway::before(&server).config(CONFIG);
        start.environment("LD_PRELOAD", LIBRARY).environment("FAKETIME", clock).start()
    });
    let mut clients = gateways.each_ref().map(Gateway::client);
    // They live at different times.
    let theirs: Vec<i64> = clients.iter_mut().map(|client| client.list("TIME")[0].parse().unwrap()).collect();
    let seconds = now_ms(&mut redis) / 1000;
    assert!(theirs[0] > seconds + 10_000 && theirs[1] < seconds - 100_000, "{theirs:?} at {seconds}");

    let opens_ms = now_ms(&mut redis) + 1500;
    clients[0].check(&format!("RESERVE.OPEN sku LIMIT 99 START {opens_ms} HOLD 700"), "+OK");
    let mut waiting: Vec<usize> = (0..CLOCKS.len()).collect();
    wait_until("the sale is open at every gateway", || {
        waiting.retain(|place| {
            let reply = clients[*place].ask(&format!("RESERVE.ADD sku early{place}"));
            let after_ms = now_ms(&mut redis);
            assert!(reply.starts_with("-NOTOPEN") || reply.starts_with("*4 $4 held"), "{reply}");
            let is_given = reply.starts_with('*');
            assert!(!is_given || after_ms >= opens_ms, "{} gave a place too early", CLOCKS[*place]);
            !is_given
        });
        waiting.is_empty()
    });
    for (place, client) in clients.iter_mut().enumerate() {
        let before_ms = now_ms(&mut redis);
        let held = client.list(&format!("RESERVE.ADD sku user{place}"));
        let after_ms = now_ms(&mut redis);
        let expires_ms: i64 = held[3].parse().unwrap();
        assert!(
            (before_ms + 700..=after_ms + 700).contains(&expires_ms),
            "{}: {expires_ms}, asked from {before_ms} to {after_ms}",
            CLOCKS[place]
        );
        // Each is held as long as Redis says, whoever asks.
        wait_until("the hold has ended", || {
            let asked_ms = now_ms(&mut redis);
            let reply = clients_check(&gateways, place);
            let has_ended = reply == "*-1";
            assert!(has_ended || asked_ms <= expires_ms, "{} holds too long: {reply}", CLOCKS[place]);
            assert!(!has_ended || now_ms(&mut redis) >= expires_ms, "{} ended too early", CLOCKS[place]);
            has_ended
        });
    }
    // The sweepers of all of them together give nothing back that is not over, and everything that is.
    clients[1].check("RESERVE.OPEN sku HOLD 600000", "+OK");
    for (place, client) in clients.iter_mut().enumerate() {
        client.check(&format!("RESERVE.ADD sku last{place}"), "*4 $4 held...");
    }
    wait_until("only what is not over is held", || {
        clients[0].ask("RESERVE.INFO sku").contains("$4 held :4 ")
    });
}

/// What another gateway says of the user of this one.
fn clients_check(gateways: &[Gateway], place: usize) -> String {
    gateways[(place + 1) % gateways.len()].client().ask(&format!("RESERVE.CHECK sku user{place}"))
}
