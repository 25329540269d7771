//! What must not show: passwords anywhere, and names of keys where `admin.hash_key_names` says so. A marked password and a marked key are put
//! into everything that takes one, right and wrong, and everything that an operator can read is searched for them.

use crate::support::client::Client;
use crate::support::{Gateway, Server, wait_until};

/// Part of each password.
const PASSWORD: &str = "hunter2";

/// Part of each key.
const KEY: &str = "patient";

/// What operators read over RESP.
const SHOWN: &[&str] = &[
    "ACL LIST",
    "ACL LOG 100",
    "ACL GETUSER anna",
    "HOTGATE AUDIT 1000",
    "HOTGATE EVENTS 1000",
    "HOTGATE STATS",
    "HOTGATE HOTKEYS",
    "HOTGATE BIGKEYS",
    "CONFIG GET *",
    "CLIENT LIST",
    "INFO everything",
    "SLOWLOG GET 100",
];

/// What operators read over HTTP.
const PAGES: &[&str] = &[
    "/metrics",
    "/api/stats",
    "/api/nodes",
    "/api/audit?count=1000",
    "/api/events?count=1000",
    "/api/slowlog?count=1000",
    "/api/slowlog?count=1000&format=csv",
    "/api/history",
    "/api/quotas",
    "/api/clients",
    "/api/clients?sort=errors",
    "/api/commands",
    "/api/commands?by=error",
    "/api/bigkeys",
    "/api/config",
    "/readyz",
    "/",
];

/// Everything that an operator can read, with where it stands.
fn readable(gateway: &Gateway, client: &mut Client, token: &str, shown: &[&str]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> =
        shown.iter().map(|line| ((*line).to_owned(), client.ask(line))).collect();
    found.extend(PAGES.iter().map(|page| ((*page).to_owned(), gateway.get_with_token(page, token).1)));
    found.push(("the log".to_owned(), gateway.log()));
    found
}

fn files_of(directory: &std::path::Path) -> Vec<(String, String)> {
    let files =
        std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    files.map(|file| (file.display().to_string(), std::fs::read_to_string(&file).unwrap())).collect()
}

#[track_caller]
fn check_absent(mark: &str, found: &[(String, String)]) {
    for (place, text) in found {
        let around: Vec<&str> = text.lines().filter(|line| line.contains(mark)).collect();
        assert!(around.is_empty(), "{place} shows {mark}: {around:?}");
    }
}

#[test]
fn no_password_shows_whoever_gave_it_and_however_wrong() {
    let server = Server::with(&["--requirepass", "hunter2-redis"]);
    let directory = tempfile::tempdir().unwrap();
    let (state, users) = (directory.path().join("state"), directory.path().join("users.acl"));
    let written = "user default on >hunter2-root ~* &* +@all\nuser anna on >hunter2-anna ~* &* +@all\n";
    std::fs::write(&users, written).unwrap();
    let toml = |more: &str| {
        format!(
            "log.level = \"debug\"\nauth.acl_file = {users:?}\ngateway.state_dir = {state:?}\nupstream.password = \"hunter2-redis\"\n\
             admin.token = \"hunter2-token\"\n{more}[[admin.bearer]]\nname = \"eve\"\ntoken = \"hunter2-eve\"\n"
        )
    };
    let gateway = Gateway::before(&server).config(&toml("")).start();
    let mut client = gateway.client();
    client.check("AUTH hunter2-root", "+OK");
    for line in [
        "AUTH hunter2-wrong",
        "AUTH anna hunter2-wrong",
        "AUTH anna hunter2-wrong more",
        "AUHT anna hunter2-wrong",
        "HELLO 3 AUTH anna hunter2-wrong",
        "HELLO 3 AUHT anna hunter2-wrong",
        "ACL SETUSER anna >hunter2-other",
        "ACL SETUSER anna <hunter2-none-such",
        "ACL SETUSER anna #hunter2-no-hash",
        "ACL SETUSER anna (>hunter2-inside)",
        "ACL SETUSER anna >hunter2-x +nosuch",
        "ACL SETUSER anna hunter2-forgot-the-sign",
        "ACL STEUSER anna >hunter2-typo",
        "ACL DRYRUN anna AUTH hunter2-dry",
        "CONFIG SET masterauth hunter2-master",
        "CONFIG SET requirepass hunter2-require",
        "CONFIG SET tls-key-file-pass hunter2-file hz nonsense",
        "CONFIG SET hz 10 masterauth",
        "MIGRATE 127.0.0.1 1 k 0 9 AUTH hunter2-migrate",
        "MIGRATE 127.0.0.1 1 k 0 9 AUTH2 anna hunter2-migrate",
        "HOTGATE QUOTA AUTH hunter2-quota",
    ] {
        client.ask(line);
        client.ask("MULTI");
        client.ask(line);
        client.ask("DISCARD");
    }
    let node = server.address();
    for line in [
        "ACL SETUSER bob on >hunter2-bob +get",
        "ACL SETUSER bob <hunter2-none-such",
        "ACL SETUSER bob (>hunter2-inside)",
        "CONFIG SET masteruser anna masterauth hunter2-master",
        "AUTH hunter2-redis",
        "ACL DRYRUN bob AUTH hunter2-dry",
        "MODULE LOAD /nowhere/module.so hunter2-argument",
    ] {
        client.ask(&format!("HOTGATE NODE {node} {line}"));
    }
    // Before it has logged in, and over HTTP.
    let mut stranger = gateway.client();
    for line in
        ["GET k", "AUTH anna hunter2-stranger", "HELLO 3 AUTH anna hunter2-stranger", "SET hunter2 hunter2"]
    {
        stranger.ask(line);
    }
    gateway.get_with_token("/api/audit?token=hunter2-query", "hunter2-wrong-token");
    // A reload with other secrets, and one that is refused, with a line of the file that is wrong.
    gateway.reload(
        &toml("admin.webhook_url = \"http://anna:hunter2-hook@127.0.0.1:1/\"\n")
            .replace("hunter2-eve", "hunter2-new"),
    );
    wait_until("the reload is noted", || client.ask("HOTGATE AUDIT 9").contains("admin.bearer"));
    std::fs::write(&users, format!("{written}user bob on <hunter2-file\nuser eve hunter2-eve\n")).unwrap();
    client.check("ACL LOAD", "-ERR...");
    gateway.reload(&toml("").replace("hunter2-eve", "hunter2-newest"));
    wait_until("the reload is refused", || gateway.log().contains("configuration not reloaded"));
    std::fs::write(&users, written).unwrap();
    client.check("ACL SAVE", "+OK");
    let mut found = readable(&gateway, &mut client, "hunter2-token", SHOWN);
    found.extend(files_of(&state));
    found.extend(files_of(directory.path()).into_iter().filter(|(name, _)| name.ends_with(".acl")));
    found.push(("a refused ACL LOAD".to_owned(), {
        std::fs::write(&users, "user bob on <hunter2-file\n").unwrap();
        client.ask("ACL LOAD")
    }));
    assert!(found.iter().any(|(_, text)| text.contains("acl setuser")), "changes were noted");
    check_absent(PASSWORD, &found);
}

#[test]
fn no_key_shows_in_what_is_kept_where_keys_are_hashed() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let toml = format!(
        "log.level = \"debug\"\ngateway.state_dir = {:?}\nadmin.token = \"sesame\"\nadmin.hash_key_names = true\n\
         detect.enter_rate = 1\ndetect.leave_rate = 1\n[[quota]]\nmatch = \"p*:limited\"\nlimit = 1\n",
        state.path()
    );
    let gateway = Gateway::before(&server).config(&toml).start();
    let mut client = gateway.client();
    client.check("ACL SETUSER root on nopass ~* &* +@all", "+OK");
    client.check("AUTH root x", "+OK");
    client.check("ACL SETUSER app on nopass ~app:* +@all -set", "+OK");
    let mut app = gateway.client();
    app.check("AUTH app x", "+OK");
    let node = server.address();
    for line in [
        "GET patient:1".to_owned(),
        "GET patient:1 patient:2 patient:3".to_owned(),
        "patient:1 GET".to_owned(),
        "SET patient:1 v".to_owned(),
        "LPUSH patient:1 v".to_owned(),
        "INCR patient:limited".to_owned(),
        "INCR patient:limited".to_owned(),
        "BLPOP patient:none 0.01".to_owned(),
        "HOTGATE QUOTA SET patient:limited LIMIT 5 REASON stock".to_owned(),
        "HOTGATE QUOTA PAUSE patient:limited".to_owned(),
        "HOTGATE QUOTA SET patient:limited LIMIT x".to_owned(),
        "HOTGATE QUOTA PAUSE patient:unlimited".to_owned(),
        "RESERVE.OPEN patient:sale LIMIT 5".to_owned(),
        "RESERVE.OPEN patient:sale LIMIT 5".to_owned(),
        "RESERVE.ADD patient:sale u".to_owned(),
        "RESERVE.CLOSE patient:sale".to_owned(),
        "RESERVE.MOVE patient:sale patient:other".to_owned(),
        "RESERVE.DROP patient:sale".to_owned(),
        "DEBUG OBJECT patient:1".to_owned(),
        format!("HOTGATE NODE {node} DEBUG OBJECT patient:1"),
        format!("HOTGATE NODE {node} MEMORY USAGE patient:1"),
        format!("HOTGATE NODE {node} GET patient:1"),
        "SUBSCRIBE __keyspace@0__:patient:1".to_owned(),
        "UNSUBSCRIBE".to_owned(),
        "MIGRATE 127.0.0.1 1 patient:1 0 9".to_owned(),
        "EVAL redis.call('GET',KEYS[1]) 1 patient:1".to_owned(),
    ] {
        for asker in [&mut client, &mut app] {
            asker.ask(&line);
            asker.ask("MULTI");
            asker.ask(&line);
            asker.ask("EXEC");
        }
    }
    for body in ["pause", "resume", "nonsense"] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("http://{}/api/quotas", gateway.admin.unwrap());
        let body = serde_json::json!({ "key": "patient:limited", "action": body });
        let sent = Some(body.to_string().into());
        let asked = hotgate::monitor::http_client::exchange(
            hyper::Method::POST,
            &url,
            Some("sesame"),
            sent,
            std::time::Duration::from_secs(20),
        );
        runtime.block_on(asked).unwrap();
    }
    wait_until("denials are noted", || client.ask("ACL LOG 100").contains("app"));
    let mut found =
        readable(&gateway, &mut client, "sesame", &["ACL LOG 100", "HOTGATE AUDIT 1000", "INFO everything"]);
    found.extend(files_of(state.path()));
    assert!(found.iter().any(|(_, text)| text.contains("quota pause")), "changes were noted");
    check_absent(KEY, &found);
}
