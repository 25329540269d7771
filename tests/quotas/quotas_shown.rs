//! What operators are shown of quotas is so: a change, also one made elsewhere or by `FLUSHALL`, shows in the headline, in the list
//! and in `GET` at every gateway, whether or not anybody uses the counter; and the list is whole.

use crate::listed::{api, row};
use crate::support::{Client, Gateway, Server, wait_until};
use serde_json::Value;

const QUOTAS: &str = "[[quota]]\nmatch = 'sku:*'\nlimit = 1000\n[[quota]]\nmatch = 'stock:*'\nfloor = 0\n\
                      [[quota]]\nmatch = 'rate:*'\nlimit = 3\nwindow = '1h'\n";

fn start(server: &Server) -> Gateway {
    let config = format!("[gateway]\nworkers = 2\n{QUOTAS}");
    Gateway::before(&server.address().to_string()).config(&config).start()
}

fn sentences(gateway: &Gateway) -> String {
    api(gateway, "/api/stats")["status"].to_string()
}

/// What `HOTGATE QUOTA GET` says of a field.
fn got(client: &mut Client, key: &str, field: &str) -> String {
    let list = client.list(&format!("HOTGATE QUOTA GET {key}"));
    let place = list.iter().position(|word| word == field).expect("the field");
    list[place + 1].clone()
}

#[test]
fn a_change_shows_at_every_gateway_whether_or_not_anybody_uses_the_counter() {
    let server = Server::start();
    let gateways = [start(&server), start(&server)];
    let [mut here, mut there] = [gateways[0].client(), gateways[1].client()];
    there.check("INCR sku:used", ":1");
    for key in ["sku:used", "sku:unused", "stock:unused"] {
        here.check(&format!("HOTGATE QUOTA PAUSE {key}"), "+paused");
        assert_eq!(row(&gateways[0], key).unwrap()["paused"], true, "at once where it was made: {key}");
        assert_eq!(got(&mut there, key, "paused"), "1", "GET reads Redis: {key}");
        wait_until("the other gateway shows the pause", || {
            row(&gateways[1], key).is_some_and(|row| row["paused"] == true)
        });
        let by = row(&gateways[1], key).unwrap()["paused_by"].clone();
        assert!(by.as_str().unwrap().starts_with("127.0.0.1:"), "{by}");
        wait_until("the headlines tell of it", || {
            gateways
                .iter()
                .all(|gateway| sentences(gateway).contains(&format!("{key} is paused by an operator")))
        });
    }
    there.check("INCR sku:used", "-QUOTA paused by an operator for 'sku:used'");
    for key in ["sku:used", "sku:unused", "stock:unused"] {
        here.check(&format!("HOTGATE QUOTA RESUME {key}"), "+resumed");
        assert_eq!(got(&mut there, key, "paused"), "0");
        wait_until("the other gateway shows that it is over", || {
            row(&gateways[1], key).is_none_or(|row| row["paused"] == false)
                && !sentences(&gateways[1]).contains(key)
        });
    }
    there.check("INCR sku:used", ":2");
    there.check("INCR sku:unused", ":1");

    // A limit for a key that nobody has used.
    here.check("HOTGATE QUOTA SET sku:new LIMIT 4503599627370496", "+limit 4503599627370496");
    wait_until("the other gateway shows the limit", || row(&gateways[1], "sku:new").is_some());
    let new = row(&gateways[1], "sku:new").unwrap();
    assert_eq!((new["limit"].as_i64(), &new["limit_overridden"]), (Some(1 << 52), &Value::Bool(true)));
    assert!(new["limit_by"].as_str().unwrap().starts_with("127.0.0.1:"), "{new}");
    here.check("HOTGATE QUOTA SET sku:used LIMIT 2", "+limit 2");
    wait_until("it is sold out there", || sentences(&gateways[1]).contains("sku:used is sold out"));
    there.check("INCR sku:used", "-QUOTA limit of 2 reached for 'sku:used'");
    here.check("HOTGATE QUOTA RESET sku:used", "+...");
    wait_until("what is configured holds again", || {
        let row = row(&gateways[1], "sku:used").unwrap();
        row["limit"] == 1000
            && row["limit_overridden"] == false
            && !sentences(&gateways[1]).contains("sku:used")
    });
    there.check("INCR sku:used", ":3");
}

#[test]
fn what_flushall_removes_is_gone_everywhere() {
    let server = Server::start();
    let gateways = [start(&server), start(&server)];
    let [mut here, mut there] = [gateways[0].client(), gateways[1].client()];
    here.check("HOTGATE QUOTA PAUSE sku:paused", "+paused");
    here.check("HOTGATE QUOTA SET sku:sold LIMIT 1", "+limit 1");
    there.check("INCR sku:sold", ":1");
    there.check("INCR sku:sold", "-QUOTA limit of 1 reached for 'sku:sold'");
    for gateway in &gateways {
        wait_until("both show", || sentences(gateway).contains("sku:paused is paused"));
    }
    wait_until("it is sold out", || sentences(&gateways[1]).contains("sku:sold is sold out"));
    // Beside the gateways, and nobody uses the counters afterwards.
    server.client().check("FLUSHALL", "+OK");
    for gateway in &gateways {
        wait_until("nothing of it shows", || {
            let sold = row(gateway, "sku:sold");
            !sentences(gateway).contains("sku:")
                && row(gateway, "sku:paused").is_none()
                && sold
                    .is_none_or(|row| row["value"] == 0 && row["limit"] == 1000 && row["exhausted"] == false)
        });
    }
    assert_eq!(got(&mut there, "sku:sold", "value"), "0");
    assert_eq!(got(&mut there, "sku:sold", "limit"), "1000");
    there.check("INCR sku:paused", ":1");
}

#[test]
fn the_list_is_whole_and_can_be_searched_and_paged() {
    let server = Server::start();
    let gateway = start(&server);
    let mut client = gateway.client();
    const COUNTERS: usize = 900;
    for counter in 0..COUNTERS {
        client.check(&format!("INCRBY sku:{counter:03} {}", counter + 1), &format!(":{}", counter + 1));
    }
    wait_until("all are counted", || client.ask("HOTGATE QUOTA COUNT") == format!(":{COUNTERS}"));
    let page = api(&gateway, "/api/quotas?sort=used&count=3");
    assert_eq!((page["total"].as_u64(), page["matched"].as_u64()), (Some(900), Some(900)));
    wait_until("the most used come first", || {
        let page = api(&gateway, "/api/quotas?sort=used&count=3");
        let keys: Vec<_> = page["quotas"].as_array().unwrap().iter().map(|row| row["key"].clone()).collect();
        keys == ["sku:899", "sku:898", "sku:897"]
    });
    let found = api(&gateway, "/api/quotas?search=sku:00&sort=key&offset=8&count=5");
    assert_eq!((found["matched"].as_u64(), found["quotas"].as_array().unwrap().len()), (Some(10), 2));
    assert_eq!(found["quotas"][0]["key"], "sku:008");
    let (code, text) = gateway.get("/api/quotas?sort=sideways");
    assert!(code == 400 && text.contains("sort is one of"), "{text}");

    client.check("INCRBY sku:000 5000", "-QUOTA...");
    wait_until("the most refused come first", || {
        api(&gateway, "/api/quotas?sort=refused&count=1")["quotas"][0]["key"] == "sku:000"
    });
    let list = client.list("HOTGATE QUOTA LIST MATCH sku:89 SORT KEY OFFSET 9 COUNT 5");
    let keys = list.windows(2).filter(|pair| pair[0] == "key").count();
    assert!(keys == 1 && list.contains(&"sku:899".to_owned()), "{list:?}");
    client.check("HOTGATE QUOTA LIST COUNT 0", "-ERR value is not an integer from 1 to 1000");
}

#[test]
fn a_rate_that_refuses_is_not_sold_out_and_limits_have_one_bound() {
    let server = Server::start();
    let gateway = start(&server);
    let mut client = gateway.client();
    client.check("INCRBY rate:1 3", ":3");
    wait_until("the rate refuses and is said to", || {
        for _ in 0..20 {
            client.check("INCR rate:1", "-QUOTA...");
        }
        sentences(&gateway).contains("rate:1 is held to 3 per")
    });
    assert!(!sentences(&gateway).contains("sold out"));
    for (line, expected) in [
        (
            "HOTGATE QUOTA SET sku:1 LIMIT 4503599627370497",
            "-ERR limit is not an integer from 0 to 4503599627370496",
        ),
        ("HOTGATE QUOTA SET sku:1 LIMIT 4503599627370496", "+limit 4503599627370496"),
        ("INCRBY sku:1 4503599627370496", ":4503599627370496"),
        ("INCR sku:1", "-QUOTA..."),
    ] {
        client.check(line, expected);
    }
}
