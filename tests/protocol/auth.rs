//! Who may connect, and how the gateway logs in at Redis.

use crate::support::{BOTH_VERSIONS, Cluster, Gateway, Server, Version, shared};

const NOAUTH: &str = "-NOAUTH Authentication required.";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn with_a_password_nothing_is_done_before_it_is_given() {
    let gateway = shared::gateway(module_path!(), "[auth]\npassword = \"secret\"\n");
    let mut client = gateway.client();
    for line in [
        "GET k",
        "PING",
        "SET k v",
        "CLUSTER SLOTS",
        "INFO",
        "CONFIG GET save",
        "COMMAND",
        "CLIENT ID",
        "MULTI",
    ] {
        client.check(line, NOAUTH);
    }
    client.check("HELLO 3", "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time");
    client.check("AUTH wrong", WRONGPASS);
    client.check("AUTH nobody secret", WRONGPASS);
    client.check("AUTH a b c", "-ERR syntax error...");
    client.check("GET k", NOAUTH);
    client.check("EXEC", "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.");
    client.check("AUTH secret", "+OK");
    client.check("SET auth:k v", "+OK");
    client.check("AUTH wrong", WRONGPASS);
    client.check("GET auth:k", "$1 v");
    client.check("RESET", "+RESET");
    client.check("GET auth:k", NOAUTH);
    client.check("AUTH default secret", "+OK");
    client.check("GET auth:k", "$1 v");
    let mut client = gateway.client();
    client.check("QUIT", "+OK");
}

#[test]
fn users_have_names_and_passwords_of_their_own() {
    let gateway = shared::gateway(
        module_path!(),
        "[auth]\npassword = \"secret\"\n[[auth.user]]\nname = \"app\"\npassword = \"apple\"\n",
    );
    for version in BOTH_VERSIONS {
        let mut client = gateway.client();
        if version == Version::Resp3 {
            client.check("HELLO 3 AUTH app wrong", WRONGPASS);
            client.hello3("HELLO 3 AUTH app apple SETNAME named");
            client.check("CLIENT GETNAME", "$5 named");
        } else {
            client.check("AUTH app secret", WRONGPASS);
            client.check("AUTH app apple", "+OK");
        }
        client.check("SET auth:u v", "+OK");
        let info = client.text("CLIENT INFO");
        assert!(info.contains("user=app"), "{info}");
    }
}

#[test]
fn without_a_password_auth_says_so() {
    let (_, gateway) = shared::single(module_path!());
    let mut client = gateway.client();
    client.check(
        "AUTH secret",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
    );
    client.check("PING", "+PONG");
}

#[test]
fn the_gateway_logs_in_at_redis_with_a_password() {
    let server = Server::with(&["--requirepass", "upstream"]);
    let gateway = Gateway::before(&server).config("[upstream]\npassword = \"upstream\"\n").start();
    let mut client = gateway.client();
    client.check("SET k v", "+OK");
    client.check("BLPOP none 0.01", "*-1");
    client.check("MULTI", "+OK");
    client.check("GET k", "+QUEUED");
    client.check("EXEC", "*1 $1 v");
}

#[test]
fn the_gateway_logs_in_at_redis_as_a_user_with_a_password_file() {
    let server = Server::start();
    server.client().check("ACL SETUSER gate on >way ~* &* +@all", "+OK");
    server.client().check("ACL SETUSER default off", "+OK");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "way\n").unwrap();
    let gateway = Gateway::before(&server)
        .config(&format!("[upstream]\nuser = \"gate\"\npassword_file = \"{}\"\n", file.display()))
        .start();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        client.check("SET k v", "+OK");
        client.check("GET k", "$1 v");
    }
}

#[test]
fn the_gateway_logs_in_at_every_node_of_a_cluster() {
    let cluster = Cluster::start();
    for node in 0..cluster.len() {
        let mut client = cluster.client(node);
        client.check("ACL SETUSER gate on >way ~* &* +@all", "+OK");
        client.check("ACL SETUSER default off", "+OK");
    }
    let gateway =
        Gateway::before(&cluster).config("[upstream]\nuser = \"gate\"\npassword = \"way\"\n").start();
    let mut client = gateway.client();
    for number in 0..30 {
        client.check(&format!("SET auth:{number} v"), "+OK");
    }
    client.check("DBSIZE", ":30");
}
