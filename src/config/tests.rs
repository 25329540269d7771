//! What a file may say and what is refused, as data.

use std::path::Path;
use std::time::Duration;

use super::{
    Address, Change, Config, LoadError, Overrides, QuotaReply, ReadFrom, ReadPolicy, RuleMode, Secret,
};

/// Expects one error at this place, whose message holds this.
#[track_caller]
fn refused(text: &str, key: &str, (line, column): (usize, usize), message: &str) {
    let errors = Config::parse(text).expect_err(text);
    assert_eq!(errors.len(), 1, "{text:?}: {errors:?}");
    let error = &errors[0];
    assert_eq!((error.key.as_str(), error.line, error.column), (key, line, column), "{text:?}: {error}");
    assert!(error.message.contains(message), "{text:?}: {error}");
}

#[test]
fn every_shape_of_value_is_read() {
    let config = Config::parse(
        r#"
        upstream.servers = ["a:1", "[::1]:2"]
        upstream.read_from = "prefer-replica"
        [gateway]
        workers = 4
        announce = "gate.example:16380"
        drain_timeout = "2m"
        [limits]
        request_bytes_max = "2gb"
        bulk_bytes_max = 1_048_576
        idle_timeout = "1h"
        [detect]
        enter_share = 1
        enter_bytes_rate = 0
        never_track = ["session:*"]
        [[auth.user]]
        name = "app"
        password = "x"
        [[rule]]
        match = "a*"
        mode = "combine"
        read = "collapse"
        [[quota]]
        match = "sku:*"
        limit = 0x10_0000_0000_0000
        window = "1s"
        reply = { integer = -2 }
        enforce = false
        "#,
    )
    .unwrap();
    let address = |host: &str, port| Address { host: host.to_owned(), port };
    assert_eq!(config.upstream.servers, [address("a", 1), address("::1", 2)]);
    assert_eq!(config.upstream.read_from, ReadFrom::PreferReplica);
    assert_eq!(config.gateway.workers, Some(4));
    assert_eq!(config.gateway.announce, Some(address("gate.example", 16380)));
    assert_eq!(config.gateway.drain_timeout, Duration::from_secs(120));
    assert_eq!((config.limits.request_bytes_max, config.limits.bulk_bytes_max), (2 << 30, 1 << 20));
    assert_eq!(config.limits.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!((config.detect.enter_share, config.detect.enter_bytes_rate), (1.0, None));
    assert_eq!(config.detect.never_track, ["session:*"]);
    assert_eq!(config.auth.users[0].password, Some(Secret::new("x")));
    let rule = &config.rules[0];
    assert_eq!((rule.mode, rule.read), (RuleMode::Combine, ReadPolicy::Collapse));
    let quota = &config.quotas[0];
    assert_eq!((quota.limit, quota.window), (Some(1 << 52), Some(Duration::from_secs(1))));
    assert_eq!((quota.reply, quota.enforce), (QuotaReply::Integer(-2), false));
}

#[test]
fn values_out_of_type_or_range() {
    refused("limits = 3", "limits", (1, 10), "expected a table, found the integer 3");
    refused("gateway.workers = 257", "gateway.workers", (1, 19), "found the integer 257");
    refused("gateway.workers = 1.5", "gateway.workers", (1, 19), "found the number 1.5");
    refused("gateway.listen = []", "gateway.listen", (1, 18), "or in gateway.unix_socket, found none");
    refused("gateway.listen = [\"localhost\"]", "gateway.listen[0]", (1, 19), "ip:port");
    refused("upstream.connect_timeout = \"0s\"", "upstream.connect_timeout", (1, 28), "found \"0s\"");
    refused("upstream.connect_timeout = \"1 week\"", "upstream.connect_timeout", (1, 28), "units are us, ms");
    refused("limits.request_bytes_max = \"1tb\"", "limits.request_bytes_max", (1, 28), "units are b, kb");
    refused("detect.enter_share = 1.01", "detect.enter_share", (1, 22), "from 0.0 to 1.0");
    refused("detect.enter_share = nan", "detect.enter_share", (1, 22), "from 0.0 to 1.0");
    refused("combine.enabled = \"yes\"", "combine.enabled", (1, 19), "leave the quotes out");
    refused("rule = { match = \"a\" }", "rule", (1, 8), "write [[rule]] for each");
    refused("[[rule]]\nmatch=\"a\"\nread={tll=\"1s\"}", "rule[0].read", (3, 6), "found a table");
    refused("[[rule]]\nmatch=\"a\"\nread={ttl=1}", "rule[0].read.ttl", (3, 11), "such as \"1ms\"");
    refused(
        "[[quota]]\nmatch=\"a\"\nlimit=9223372036854775808",
        "quota[0].limit",
        (3, 7),
        "found the integer",
    );
    refused("[[quota]]\nmatch=\"a\"\nlimit=1\nwindow=\"0s\"", "quota[0].window", (4, 8), "found \"0s\"");
    refused("[[quota]]\nmatch=\"a\"\nlimit=1\nrecheck=\"-1s\"", "quota[0].recheck", (4, 9), "found \"-1s\"");
}

#[test]
fn unknown_keys_name_what_was_meant() {
    refused("[gatway]", "gatway", (1, 2), "unknown table; did you mean `gateway`?");
    refused("[log]\nlvel = \"info\"", "log.lvel", (2, 1), "did you mean `level`?");
    refused("clients_max = 1", "clients_max", (1, 1), "did you mean `gateway.clients_max`?");
    refused("[log]\ncolour = true", "log.colour", (2, 1), "[log] takes level, format");
    refused(
        "[[quota]]\nmatch=\"a\"\nlimit=1\nmode=1",
        "quota[0].mode",
        (4, 1),
        "did you mean `rule[].mode`?",
    );
}

#[test]
fn relations_between_keys() {
    let quota = |rest: &str| format!("[[quota]]\nmatch = \"sku:*:n\"\n{rest}");
    refused(&quota(""), "quota[0]", (1, 1), "exactly one of limit, limit_key and floor, found none");
    refused(&quota("limit=1\nfloor=0"), "quota[0]", (1, 1), "found several");
    refused(&quota("floor=0\nwindow=\"1s\""), "quota[0].window", (4, 8), "a window needs a limit");
    refused(&quota("limit_key=\"l:$2\""), "quota[0].limit_key", (3, 11), "at most $1");
    refused(&quota("limit_key=\"sku:*:n\""), "quota[0].limit_key", (3, 11), "the counter itself");
    refused(
        &format!("{}{}", quota("limit=1\n"), quota("limit=2")),
        "quota[1].match",
        (5, 9),
        "earlier quota",
    );
    refused(
        &format!("[[rule]]\nmatch=\"sku:*:n\"\nmode=\"write-behind\"\n{}", quota("limit=1")),
        "rule[0].mode",
        (3, 6),
        "before Redis can refuse",
    );
    refused(
        "[[rule]]\nmatch=\"a\"\nmode=\"write-behind\"\nread=\"tracked\"",
        "rule[0].mode",
        (3, 6),
        "which no copy has",
    );
    let script = |more: &str| format!("[[counter_script]]\nsha1=\"{}\"\n{more}", "a".repeat(40));
    refused("[[counter_script]]\nsha1=\"a\"", "counter_script[0].sha1", (2, 6), "40 hexadecimal digits");
    refused(
        &script("expire=\"1s\"\nexpire_argument=1"),
        "counter_script[0].expire_argument",
        (4, 17),
        "drop one of them",
    );
    refused(
        &script("by_argument=1\nexpire_argument=1"),
        "counter_script[0].expire_argument",
        (4, 17),
        "can't be both",
    );
    refused(&script(&script("")), "counter_script[1].sha1", (4, 6), "earlier counter_script");
    refused("[[rule]]\nmatch=\"a\"\n[[rule]]\nmatch=\"a\"", "rule[1].match", (4, 7), "earlier rule");
    refused("detect.leave_rate = 2000", "detect.leave_rate", (1, 21), "at most detect.enter_rate (1000)");
    refused("detect.leave_share = 0.5", "detect.leave_share", (1, 22), "at most detect.enter_share (0.01)");
    refused("detect.window = \"250ms\"", "detect.window", (1, 17), "a multiple of 100ms");
    refused("upstream.backoff_min = \"3s\"", "upstream.backoff_min", (1, 24), "upstream.backoff_max (2s)");
    refused("upstream.servers=[\"a:1\",\"a:1\"]", "upstream.servers[1]", (1, 25), "listed twice");
    refused("[upstream]\nkind=\"single\"\nservers=[\"a:1\",\"b:1\"]", "upstream.servers", (3, 9), "found 2");
    refused(
        "[upstream]\nkind=\"single\"\nread_from=\"replica\"",
        "upstream.read_from",
        (3, 11),
        "no replicas",
    );
    refused("upstream.user = \"hotgate\"", "upstream.user", (1, 17), "needs upstream.password");
    refused(
        "[upstream]\npassword=\"a\"\npassword_command=[\"b\"]",
        "upstream.password_command",
        (3, 18),
        "upstream.password is given too",
    );
    refused("auth.password_next = \"b\"", "auth.password_next", (1, 22), "needs auth.password");
    refused("upstream.password_next = \"b\"", "upstream.password_next", (1, 26), "needs upstream.password");
    refused(
        "[admin]\ntoken=\"a\"\ntoken_file=\"b\"",
        "admin.token_file",
        (3, 12),
        "admin.token is given too",
    );
    refused("[[auth.user]]\nname=\"a\"", "auth.user[0].password", (1, 1), "found none");
    refused(
        "[[auth.user]]\nname=\"a\"\npassword=\"1\"\n[[auth.user]]\nname=\"a\"\npassword=\"2\"",
        "auth.user[1].name",
        (5, 6),
        "earlier user",
    );
    refused(
        "[auth]\npassword=\"1\"\n[[auth.user]]\nname=\"default\"\npassword=\"2\"",
        "auth.user[0].name",
        (4, 6),
        "user default already",
    );
    refused("gateway.listen = [\"0.0.0.0:6380\"]", "gateway.listen", (1, 18), "add auth.password");
    refused(
        "gateway.listen = [\"127.0.0.1:1\", \"[::]:1\"]",
        "gateway.listen",
        (1, 18),
        "[::]:1 can be reached",
    );
    refused("admin.listen = \"10.0.0.1:9380\"", "admin.listen", (1, 16), "add admin.token");
    refused("admin.listen = \"127.0.0.1:6380\"", "admin.listen", (1, 16), "gateway.listen already");
    refused("limits.request_bytes_max = \"1mb\"", "limits.bulk_bytes_max", (1, 1), "lower it or raise that");
}

#[test]
fn an_open_door_is_meant_or_has_a_password() {
    for text in [
        "gateway.listen = [\"0.0.0.0:6380\"]\nauth.password = \"a\"",
        "gateway.listen = [\"0.0.0.0:6380\"]\n[[auth.user]]\nname = \"a\"\npassword = \"b\"",
        "admin.listen = \"[::]:9380\"\nadmin.token = \"a\"",
        "gateway.listen = [\"[::ffff:127.0.0.1]:1\", \"[::1]:1\", \"127.9.9.9:1\"]",
        "gateway.listen = [\"0.0.0.0:6380\"]\nadmin.listen = \"0.0.0.0:9380\"\ngateway.protected_mode = false",
    ] {
        assert!(Config::parse(text).is_ok(), "{text}: {:?}", Config::parse(text));
    }
}

#[test]
fn quotas_in_total_and_per_window_may_hold_one_key() {
    let text = "[[quota]]\nmatch=\"a\"\nlimit=9\n[[quota]]\nmatch=\"a\"\nlimit=1\nwindow=\"1s\"\n\
                [[quota]]\nmatch=\"a\"\nfloor=0\n";
    assert_eq!(Config::parse(text).map(|config| config.quotas.len()), Ok(3));
    let escaped = "[[quota]]\nmatch='a\\*[*]*'\nlimit_key=\"l:$1\"\n";
    assert!(Config::parse(escaped).is_ok());
}

#[test]
fn no_secret_is_shown() {
    let secret = "hunter2";
    let config = Config::parse(&format!(
        "[auth]\npassword={secret:?}\n[upstream]\npassword={secret:?}\n\
         [admin]\ntoken={secret:?}\nwebhook_url=\"http://h/{secret}\"\n"
    ));
    let shown = format!("{:?}", config.unwrap());
    assert!(!shown.contains(secret), "{shown}");
    for wrong in [
        "auth.password = [\"hunter2\"]",
        "auth.password = hunter2",
        "auth.password = \"hunter2",
        "auth.password = 'hunter2' 'hunter2'",
        "auth.password = \"\\hunter2\"",
        "upstream.servers = [\"redis://user:hunter2@host:6379\"]",
        "admin.webhook_url = \"ftp://hunter2\"",
    ] {
        let errors = Config::parse(wrong).expect_err(wrong);
        assert!(!format!("{errors:?}").contains(secret), "{errors:?}");
    }
}

#[test]
fn a_reload_knows_what_it_may_take() {
    let changes = |text: &str| Config::default().changes(&Config::parse(text).unwrap());
    let change = |path: &str, reloadable, before: &str, after: &str| Change {
        path: path.to_owned(),
        reloadable,
        before: before.to_owned(),
        after: after.to_owned(),
    };
    assert_eq!(changes(""), []);
    assert_eq!(
        changes("gateway.workers = 2\ngateway.clients_max = 5\nlog.level = \"info\"\nauth.password = \"x\""),
        [
            change("gateway.workers", false, "0", "2"),
            change("gateway.clients_max", true, "10000", "5"),
            change("auth.password", true, "\"\"", "\"(hidden)\""),
        ]
    );
    assert_eq!(
        changes("[[quota]]\nmatch = \"a\"\nlimit = 1"),
        [change("quota", true, "", "{ match = \"a\", limit = 1 }")]
    );
    let one = |text: &str| Config::parse(text).unwrap();
    let user = "[[auth.user]]\nname = \"a\"\npassword = \"hunter2\"\n";
    let other = "[[auth.user]]\nname = \"b\"\nrules = \">hunter2 +get\"\n";
    assert_eq!(
        one(&format!("{user}{other}")).changes(&one(&format!("{user}{}", other.replace('b', "c")))),
        [change(
            "auth.user",
            true,
            "{ name = \"b\", rules = \"(hidden)\" }",
            "{ name = \"c\", rules = \"(hidden)\" }"
        )]
    );
}

#[test]
fn flags_override_the_file_and_are_held_against_it() {
    let overrides = Overrides {
        listen: vec!["127.0.0.1:7".parse().unwrap()],
        admin: Some("127.0.0.1:8".parse().unwrap()),
        upstream: vec!["a:1".parse().unwrap()],
        workers: Some(3),
        drain_delay: Some(Duration::from_secs(4)),
    };
    let config = Config::load(None, &overrides).unwrap();
    assert_eq!((config.gateway.listen, config.admin.listen), (overrides.listen.clone(), overrides.admin));
    assert_eq!((config.upstream.servers, config.gateway.workers), (overrides.upstream, Some(3)));
    assert_eq!(config.gateway.drain_delay, Duration::from_secs(4));

    let clash =
        Overrides { admin: Some(overrides.listen[0]), listen: overrides.listen, ..Overrides::default() };
    let error = Config::load(None, &clash).unwrap_err();
    assert!(error.to_string().starts_with("command line: admin.listen: 127.0.0.1:7 is in"), "{error}");
    assert!(matches!(Config::load(Some(Path::new("/nonexistent")), &clash), Err(LoadError::Read { .. })));
}

#[test]
fn every_default_is_within_its_own_range() {
    Config::visit_directives(|path, directive| {
        if let Some(literal) = directive.default_literal().filter(|_| !path.contains("[]")) {
            let read = Config::parse(&format!("{path} = {literal}"));
            assert_eq!(read, Ok(Config::default()), "{path} = {literal}");
        }
    });
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_parser_down(text in "([a-z_]{1,12}|[\\[\\]{}=.\"#,\n ]|[0-9]{1,3}|\\PC){0,60}") {
        if let Err(errors) = Config::parse(&text) {
            let lines = text.matches('\n').count() + 1;
            proptest::prop_assert!(!errors.is_empty());
            proptest::prop_assert!(errors.iter().all(|error| error.line >= 1 && error.line <= lines));
        }
    }
}

#[test]
fn clusters_and_routes_that_can_not_work_are_refused() {
    let cluster = "[[cluster]]\nname = \"a\"\nservers = [\"a:1\"]\n";
    let route = |lines: &str| format!("{cluster}[[route]]\nmatch = \"t:*\"\n{lines}");
    let check =
        |text: &str, key: &str, place: (usize, usize), message: &str| refused(text, key, place, message);
    check("upstream.name = \"x\"", "upstream.name", (1, 17), "expected \"default\"");
    check("[[cluster]]\nservers = [\"a:1\"]", "cluster[0].name", (1, 1), "expected a name of its own");
    check("[[cluster]]\nname = \"a\"", "cluster[0].servers", (1, 1), "it must be given");
    check(
        "[[cluster]]\nname = \"a b\"\nservers = [\"a:1\"]",
        "cluster[0].name",
        (2, 8),
        "expected at most 64 letters",
    );
    check(
        &format!("{cluster}[[cluster]]\nname = \"a\"\nservers = [\"b:1\"]"),
        "cluster[1].name",
        (5, 8),
        "is the name of an earlier cluster",
    );
    check(
        &format!("{cluster}[[cluster]]\nname = \"b\"\nservers = [\"a:1\"]"),
        "cluster[1].servers[0]",
        (6, 12),
        "a:1 is listed twice",
    );
    check(&format!("{cluster}user = \"u\""), "cluster[0].user", (4, 8), "a user needs cluster[0].password");
    check(
        &route("clusters = [\"b\"]"),
        "route[0].clusters[0]",
        (6, 13),
        "\"b\" is no cluster; known are default, a",
    );
    check(
        &route("clusters = [\"a\", \"a\"]\nby = \"$1\""),
        "route[0].clusters[1]",
        (6, 18),
        "a is listed twice",
    );
    check(&route("clusters = [\"a\", \"default\"]"), "route[0].by", (4, 1), "expected what of the key picks");
    check(
        &route("clusters = [\"a\", \"default\"]\nby = \"x\""),
        "route[0].by",
        (7, 6),
        "expected $1 to $9 in it",
    );
    check(&route("clusters = [\"a\"]\nby = \"$2\""), "route[0].by", (7, 6), "match has 1 stars, found $2");
    check(&route(""), "route[0].clusters", (4, 1), "must be given");
    let neither = format!("{cluster}[[route]]\nclusters = [\"a\"]");
    check(&neither, "route[0]", (4, 1), "expected match or user, which say whose keys it is about");
    let users = format!(
        "{cluster}{}{}",
        "[[route]]\nuser = \"eve\"\nclusters = [\"a\"]\n".repeat(2),
        "[[route]]\nuser = \"bob\"\nclusters = [\"a\"]\n"
    );
    check(&users, "route[1].user", (8, 8), "of the user \"eve\" is matched by an earlier route");
    let twice = format!("{}[[route]]\nmatch = \"t:*\"\nclusters = [\"a\"]", route("clusters = [\"a\"]\n"));
    check(&twice, "route[1].match", (8, 9), "is matched by an earlier route");
}

#[test]
fn zones_and_tenants_that_can_not_work_are_refused() {
    let check =
        |text: &str, key: &str, place: (usize, usize), message: &str| refused(text, key, place, message);
    check("gateway.zone = \"a\"", "gateway.zone", (1, 16), "\"a\" is no zone");
    check("upstream.read_from = \"nearest\"", "upstream.read_from", (1, 22), "expected gateway.zone beside");
    check("[[zone]]\nname = \"a\"", "zone[0].networks", (1, 1), "must be given");
    let tenant = |lines: &str| format!("[[tenant]]\n{lines}\n");
    check(&tenant("rate = 1"), "tenant[0]", (1, 1), "expected match or user");
    check(&tenant("match = \"a\"\nuser = \"b\""), "tenant[0].user", (3, 8), "is given too; drop one");
    check(
        &tenant("match = \"a\"\nclients_max = 3"),
        "tenant[0].clients_max",
        (3, 15),
        "expected user beside it",
    );
    let twice = tenant("match = \"a\"") + &tenant("match = \"b\"\nname = \"a\"");
    check(&twice, "tenant[1]", (3, 1), "is what an earlier tenant is called");
    let twice = tenant("match = \"a\"") + &tenant("match = \"a\"\nname = \"b\"");
    check(&twice, "tenant[1]", (3, 1), "is that of an earlier tenant");
}

#[test]
fn a_reload_keeps_the_clusters_and_takes_what_it_may_of_their_settings() {
    let text = |name: &str, server: &str, wait: &str| {
        let cluster = format!(
            "[[cluster]]\nname = \"{name}\"\nservers = [\"{server}\"]\nunavailable_wait = \"{wait}\"\n"
        );
        Config::parse(&cluster).unwrap()
    };
    let running = text("a", "a:1", "1s");
    let reloaded = running.reloaded(text("a", "b:1", "2s")).unwrap();
    assert_eq!(reloaded.further_clusters[0].servers, running.further_clusters[0].servers);
    assert_eq!(reloaded.further_clusters[0].unavailable_wait, Duration::from_secs(2));
    assert_eq!(running.reloaded(text("b", "a:1", "2s")).unwrap(), running);
    let taken =
        |other: &Config| running.changes(other).iter().map(|change| change.reloadable).collect::<Vec<_>>();
    assert_eq!(taken(&text("a", "a:1", "2s")), [true]);
    assert_eq!(taken(&text("a", "b:1", "2s")), [false]);
    assert_eq!(taken(&text("b", "a:1", "1s")), [false]);
    assert_eq!(taken(&Config::default()), [false]);
}
