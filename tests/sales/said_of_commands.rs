//! `RESERVE` commands are in the command table as others are: with arity, flags, categories, keys and documentation. Where they can't stand they
//! are refused with a word why.

use crate::support::{Gateway, Server};

#[test]
fn the_table_tells_of_each() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    let names = client.list("COMMAND LIST FILTERBY PATTERN reserve.*");
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        let info = client.ask(&format!("COMMAND INFO {name}"));
        assert!(info.contains("no_multi") && info.contains("noscript"), "{info}");
        assert!(client.ask(&format!("COMMAND DOCS {name}")).contains("summary"), "{name}");
    }
    for (line, keys) in [
        ("RESERVE.ADD sku user COUNT 2", "*1 $3 sku"),
        ("RESERVE.MCHECK sku a b c", "*1 $3 sku"),
        ("RESERVE.OPEN sku LIMIT 1 HOLDERSOF other", "*2 $3 sku $5 other"),
        ("RESERVE.OPEN sku LIMIT 1", "*1 $3 sku"),
        ("RESERVE.SKUS AFTER sku", "-ERR The command has no key arguments"),
    ] {
        client.check(&format!("COMMAND GETKEYS {line}"), keys);
    }
    let info = client.ask("COMMAND INFO reserve.open");
    assert!(info.contains("@admin") && info.contains("@write") && info.contains("@dangerous"), "{info}");
    let info = client.ask("COMMAND INFO reserve.check");
    assert!(info.contains("@read") && info.contains("@fast") && !info.contains("@write"), "{info}");
    assert!(client.ask("HOTGATE HELP").contains("RESERVE.OPEN"));
}

#[test]
fn what_is_wrong_with_a_command_is_said_in_its_place() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "");
    let mut client = gateway.client();
    client.check("RESERVE.ADD sku", "-ERR wrong number of arguments for 'reserve.add' command");
    client.check("RESERVE.OPEN sku LIMIT many", "-ERR LIMIT takes an integer...");
    client.check("RESERVE.OPEN sku LIMIT 5", "+OK");
    client.send_line("RESERVE.ADD sku a");
    client.send_line("RESERVE.ADD sku a NONSENSE");
    client.send_line("RESERVE.ADD sku b");
    client.send_line("PING");
    client.expect("ADD", "*4 $9 confirmed :1 :4 :0");
    client.expect("ADD", "-ERR RESERVE.ADD has no word 'NONSENSE'");
    client.expect("ADD", "*4 $9 confirmed :2 :3 :0");
    client.expect("PING", "+PONG");
    client.check("SELECT 1", "+OK");
    client.check("RESERVE.CHECK sku a", "-ERR hotgate: sales are in database 0...");
}

#[test]
fn a_transaction_refuses_them_and_aborts() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 5", "+OK");
    client.check("MULTI", "+OK");
    client.check("RESERVE.ADD sku a", "-ERR hotgate: RESERVE commands can't stand in a transaction...");
    client.check("EXEC", "-EXECABORT...");
    client.check("RESERVE.CHECK sku a", "*-1");
    client.check("EVAL \"return redis.call('RESERVE.ADD', 'sku', 'a')\" 1 sku", "-ERR...");
}

#[test]
fn the_keys_of_a_sale_are_hidden_from_clients() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 5", "+OK");
    client.check("RESERVE.ADD sku a", "*4 $9 confirmed :1 :4 :0");
    let keys = server.client().list("KEYS *hotgate:sale*");
    assert!(keys.len() >= 4, "{keys:?}");
    client.check(&format!("DEL {}", keys[0]), "-ERR hotgate: keys named...");
    // A plain key of the same name is another one.
    client.check("INCR sku", ":1");
    client.check("RESERVE.CHECK sku a", "*4 $9 confirmed :1 :1 :0");
}
