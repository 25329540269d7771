//! `RESERVE` commands are in the command table as others are: with arity, flags, categories, keys and documentation. Where they can't stand they
//! are refused with a word why.

use hotgate::command::{Argument, ArgumentType, CommandTable, Group};
use hotgate::reserve::ReserveCommand;

use crate::support::{Gateway, Server, Version};

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
    let help = client.ask("HOTGATE HELP");
    for name in &names {
        let verb = name.trim_start_matches("reserve.").to_uppercase();
        assert!(
            help.contains(&format!("RESERVE.{verb}")) || help.contains(&format!("|{verb}")),
            "{name}: {help}"
        );
    }
}

/// What a shell shows of the arguments is what the command takes: a request of all of them is understood.
#[test]
fn the_documentation_names_each_argument() {
    let table = CommandTable::builtin();
    let own = table.top_level().filter(|command| command.group == Group::Reservations);
    for command in own {
        assert!(!command.arguments.is_empty(), "{}", command.name);
        let mut words = vec![command.name.to_string()];
        command.arguments.iter().for_each(|argument| write(argument, &mut words));
        let request: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert!(ReserveCommand::parse(&request).is_ok(), "{words:?}: {:?}", ReserveCommand::parse(&request));
    }
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    for (name, told) in [
        ("add", "$4 name $2 id $4 type $6 string $5 token $4 IDMP $5 flags *1 +optional"),
        ("mcheck", "$4 name $4 user $4 type $6 string $5 flags *1 +multiple"),
        (
            "list",
            "$5 token $5 STATE $9 arguments *3 *6 $4 name $4 held $4 type $10 pure-token $5 token $4 HELD",
        ),
    ] {
        let docs = client.ask(&format!("COMMAND DOCS reserve.{name}"));
        assert!(docs.contains("$7 summary ") && docs.contains(told), "{docs}");
    }
    let docs = gateway.speaking(Version::Resp3).ask("COMMAND DOCS reserve.check");
    assert!(
        docs.contains("$9 arguments *2 %3 $4 name $3 sku $4 type $3 key $14 key_spec_index :0"),
        "{docs}"
    );
}

/// Appends what an argument looks like in a request.
fn write(argument: &Argument, words: &mut Vec<String>) {
    words.extend(argument.token.map(str::to_owned));
    match argument.kind {
        // Two sales are two names, in one slot.
        ArgumentType::Key(_) => words.push(format!("{{8}}{}", words.len())),
        ArgumentType::String => words.push("text".to_owned()),
        ArgumentType::Integer | ArgumentType::UnixTime => words.push(words.len().to_string()),
        ArgumentType::PureToken => {}
        ArgumentType::OneOf(choices) => choices.iter().take(1).for_each(|choice| write(choice, words)),
    }
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
