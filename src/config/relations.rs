//! What must hold between directives, beyond the range of each.
//!
//! A relation is checked only between keys that were themselves read without an error, so one mistake is
//! reported once. Each is reported at the key that the reader of the file would change.

use std::collections::HashSet;
use std::time::Duration;

use super::findings::{at_most, exclusive, references, relation, repeated, stars, together};
use super::policies::Quota;
use super::reader::Reader;
use super::sections::{Bearer, Config, Upstream, User};
use super::types::{ClientAuth, ReadFrom, ReadPolicy, RuleMode, UpstreamKindChoice, UserFrom};
use super::units::render_duration;
use crate::access::Users;
use crate::command::CommandTable;
use crate::limits::SLICE;

/// Reports every relation that does not hold.
pub fn check(config: &Config, reader: &mut Reader<'_>) {
    super::route_relations::check(config, reader);
    super::password_relations::of_users(config, reader);
    super::tenant_relations::check(config, reader);
    super::zone_relations::check(config, reader);
    addresses(config, reader);
    credentials(config, reader);
    protection(config, reader);
    for (path, settings) in upstreams(config) {
        upstream(settings, &path, reader);
    }
    certificates(config, reader);
    bounds(config, reader);
    detection(config, reader);
    if config.ledger.required && config.ledger.url.is_none() {
        let message = "expected a database in ledger.url, found none: no sale would give places".to_owned();
        relation(reader, &["ledger.required", "ledger.url"], message);
    }
    rules(config, reader);
    counter_scripts(config, reader);
    for (index, quota) in config.quotas.iter().enumerate() {
        check_quota(quota, &format!("quota[{index}]"), reader);
    }
    repeated_quotas(config, reader);
}

fn addresses(config: &Config, reader: &mut Reader<'_>) {
    let fixed = |listen: &&std::net::SocketAddr| listen.port() != 0;
    let listen = &config.gateway.listen;
    repeated(listen.iter().filter(fixed), reader, |_| "gateway.listen".to_owned(), "is listed twice");
    repeated(config.tls.listen.iter().filter(fixed), reader, |_| "tls.listen".to_owned(), "is listed twice");
    if let Some(twice) = config.tls.listen.iter().filter(fixed).find(|address| listen.contains(address)) {
        let message = format!("{twice} is in gateway.listen already; give one of them another port");
        relation(reader, &["tls.listen", "gateway.listen"], message);
    }
    if listen.is_empty() && config.tls.listen.is_empty() && config.gateway.unix_socket.is_none() {
        let message =
            "expected an address here, in tls.listen or in gateway.unix_socket, found none; give one"
                .to_owned();
        relation(reader, &["gateway.listen", "tls.listen", "gateway.unix_socket"], message);
    }
    if config.gateway.announce.as_ref().is_some_and(|address| address.unix_path().is_some()) {
        let message = "expected host:port, found a Unix socket, which other hosts can't reach".to_owned();
        relation(reader, &["gateway.announce"], message);
    }
    servers(config, reader);
    if let Some(admin) = config.admin.listen.filter(|admin| fixed(&admin)) {
        for (key, others) in [("gateway.listen", listen), ("tls.listen", &config.tls.listen)] {
            if others.contains(&admin) {
                let message = format!("{admin} is in {key} already; give one of them another port");
                relation(reader, &["admin.listen", key], message);
            }
        }
    }
}

/// The settings of each cluster, with where they stand in the file.
fn upstreams(config: &Config) -> impl Iterator<Item = (String, &Upstream)> {
    let further = config.further_clusters.iter().enumerate();
    let further = further.map(|(index, settings)| (format!("cluster[{index}]"), settings));
    [("upstream".to_owned(), &config.upstream)].into_iter().chain(further)
}

/// A server belongs to one cluster, and is named once.
fn servers(config: &Config, reader: &mut Reader<'_>) {
    let mut seen = HashSet::new();
    for (path, settings) in upstreams(config) {
        unix_servers(settings, &path, reader);
        for (index, server) in settings.servers.iter().enumerate() {
            // Sentinels look after many masters.
            if !seen.insert((server, &settings.master)) {
                let message = format!("{server} is listed twice");
                relation(reader, &[&format!("{path}.servers[{index}]"), &format!("{path}.servers")], message);
            }
        }
    }
}

/// The nodes of a cluster are at addresses that it names itself, and TLS is spoken over TCP.
fn unix_servers(settings: &Upstream, path: &str, reader: &mut Reader<'_>) {
    let Some(server) = settings.servers.iter().find(|server| server.unix_path().is_some()) else { return };
    let [servers, tls] = ["servers", "tls"].map(|key| format!("{path}.{key}"));
    if settings.servers.len() > 1 {
        let message = format!("{server} is one server: name it alone, or only servers by host:port");
        relation(reader, &[&servers], message);
    }
    if settings.tls {
        let message = format!(
            "{server} is a Unix socket, which has no TLS; name the server by host:port, or leave TLS out"
        );
        relation(reader, &[&tls, &servers], message);
    }
}

fn credentials(config: &Config, reader: &mut Reader<'_>) {
    exclusive(
        reader,
        "auth.password",
        &config.auth.password,
        "auth.password_file",
        &config.auth.password_file,
    );
    exclusive(reader, "admin.token", &config.admin.token, "admin.token_file", &config.admin.token_file);
    for (index, bearer) in config.admin.bearers.iter().enumerate() {
        check_bearer(bearer, &format!("admin.bearer[{index}]"), reader);
    }
    let names = config.admin.bearers.iter().map(|bearer| &bearer.name);
    repeated(
        names,
        reader,
        |index| format!("admin.bearer[{index}].name"),
        "is the name of an earlier bearer",
    );
    if config.auth.acl_file.is_some() {
        let auth = &config.auth;
        exclusive(reader, "auth.acl_file", &auth.acl_file, "auth.password", &auth.password);
        exclusive(reader, "auth.acl_file", &auth.acl_file, "auth.password_file", &auth.password_file);
        let user = auth.users.first();
        exclusive(reader, "auth.acl_file", &auth.acl_file, "auth.user", &user);
    }
    for (index, user) in config.auth.users.iter().enumerate() {
        check_user(user, config, &format!("auth.user[{index}]"), reader);
    }
    let names = config.auth.users.iter().map(|user| &user.name);
    repeated(names, reader, |index| format!("auth.user[{index}].name"), "is the name of an earlier user");
}

/// Beyond loopback nobody comes in without a word, unless that is meant.
fn protection(config: &Config, reader: &mut Reader<'_>) {
    if !config.gateway.protected_mode {
        return;
    }
    let open = |address: &&std::net::SocketAddr| !address.ip().to_canonical().is_loopback();
    let (auth, tls) = (&config.auth, &config.tls);
    let has_user = auth.password.is_some()
        || auth.password_file.is_some()
        || auth.acl_file.is_some()
        || !auth.users.is_empty();
    if let Some(address) = config.gateway.listen.iter().find(open).filter(|_| !has_user) {
        let message = format!(
            "{address} can be reached from other hosts, and clients need no password; add auth.password, or \
             gateway.protected_mode = false if everybody may come in"
        );
        relation(
            reader,
            &["gateway.listen", "gateway.protected_mode", "auth.password", "auth.password_file"],
            message,
        );
    }
    let must_show = tls.client_auth == ClientAuth::Required;
    if let Some(address) = tls.listen.iter().find(open).filter(|_| !has_user && !must_show) {
        let message = format!(
            "{address} can be reached from other hosts, and clients need neither password nor certificate; add auth.password or \
             tls.client_auth = \"required\", or gateway.protected_mode = false if everybody may come in"
        );
        relation(
            reader,
            &[
                "tls.listen",
                "gateway.protected_mode",
                "auth.password",
                "auth.password_file",
                "tls.client_auth",
            ],
            message,
        );
    }
    let admin = &config.admin;
    let has_token = admin.token.is_some() || admin.token_file.is_some() || !admin.bearers.is_empty();
    if let Some(address) = admin.listen.as_ref().filter(open).filter(|_| !has_token) {
        let message = format!(
            "{address} can be reached from other hosts, and shows keys and clients without a token; add admin.token, or \
             gateway.protected_mode = false if everybody may look"
        );
        relation(
            reader,
            &["admin.listen", "gateway.protected_mode", "admin.token", "admin.token_file"],
            message,
        );
    }
}

fn check_bearer(bearer: &Bearer, path: &str, reader: &mut Reader<'_>) {
    let [token, file, hash] = ["token", "token_file", "token_hash"].map(|key| format!("{path}.{key}"));
    exclusive(reader, &token, &bearer.token, &file, &bearer.token_file);
    exclusive(reader, &token, &bearer.token, &hash, &bearer.token_hash);
    exclusive(reader, &file, &bearer.token_file, &hash, &bearer.token_hash);
    if bearer.token.is_none() && bearer.token_file.is_none() && bearer.token_hash.is_none() {
        let message = "expected a token, a token_file or a token_hash, found none; give one".to_owned();
        relation(reader, &[&token, &file, &hash], message);
    }
    let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|letter| letter.is_ascii_hexdigit());
    if bearer.token_hash.as_ref().is_some_and(|text| !is_hash(text)) {
        relation(reader, &[&hash], "expected the 64 hexadecimal digits of a SHA-256".to_owned());
    }
}

fn check_user(user: &User, config: &Config, path: &str, reader: &mut Reader<'_>) {
    let [name, password, file] = ["name", "password", "password_file"].map(|key| format!("{path}.{key}"));
    exclusive(reader, &password, &user.password, &file, &user.password_file);
    if let Some(rules) = &user.rules {
        let words: Vec<&str> = rules.reveal().split_ascii_whitespace().collect();
        if let Err(why) = Users::default().with_rules(user.name.as_bytes(), &words, &CommandTable::builtin())
        {
            reader.error(
                &format!("{path}.rules"),
                format!("expected rules as for ACL SETUSER: {}", why.without_rule()),
            );
        }
    }
    if user.password.is_none() && user.password_file.is_none() && user.rules.is_none() {
        let message = "expected a password, a password_file or rules, found none; give one".to_owned();
        relation(reader, &[&password, &file], message);
    }
    let has_default = config.auth.password.is_some() || config.auth.password_file.is_some();
    if user.name == "default" && has_default {
        let message =
            "auth.password is the password of the user default already; drop one of them".to_owned();
        relation(reader, &[&name, "auth.password", "auth.password_file"], message);
    }
}

/// A certificate needs its key, and whoever speaks TLS with clients needs both.
fn certificates(config: &Config, reader: &mut Reader<'_>) {
    let tls = &config.tls;
    together(reader, ("tls.cert_file", &tls.cert_file), ("tls.key_file", &tls.key_file));
    let admin = &config.admin;
    together(reader, ("admin.cert_file", &admin.cert_file), ("admin.key_file", &admin.key_file));
    if !tls.listen.is_empty() && tls.cert_file.is_none() && tls.key_file.is_none() {
        let message =
            "expected tls.cert_file and tls.key_file beside it, found neither; give both".to_owned();
        relation(reader, &["tls.listen", "tls.cert_file", "tls.key_file"], message);
    }
    if tls.client_auth != ClientAuth::No && tls.client_ca_file.is_none() {
        let message =
            "expected tls.client_ca_file beside it, which says whose certificates hold; give it".to_owned();
        relation(reader, &["tls.client_auth", "tls.client_ca_file"], message);
    }
    if tls.user_from != UserFrom::LogIn && tls.client_auth == ClientAuth::No {
        let message = "expected tls.client_auth = \"optional\" or \"required\" beside it, since nobody is asked for a certificate; \
                       give it";
        relation(reader, &["tls.user_from", "tls.client_auth"], message.to_owned());
    }
}

fn upstream(settings: &Upstream, path: &str, reader: &mut Reader<'_>) {
    let at = |key: &str| format!("{path}.{key}");
    super::password_relations::of_upstream(settings, path, reader);
    together(reader, (&at("cert_file"), &settings.cert_file), (&at("key_file"), &settings.key_file));
    let [kind, servers] = ["kind", "servers"].map(at);
    let single = settings.kind == UpstreamKindChoice::Single;
    if single && settings.servers.len() > 1 {
        let found = settings.servers.len();
        let message = format!("expected one server, since kind is \"single\", found {found}; list one");
        relation(reader, &[&servers, &kind], message);
    }
    sentinels(settings, path, reader);
    if single && settings.read_from != ReadFrom::Master {
        let message = "a single server has no replicas that the gateway knows; use \"master\"".to_owned();
        relation(reader, &[&at("read_from"), &kind], message);
    }
    let (least, most) = (at("backoff_min"), at("backoff_max"));
    at_most(reader, (&least, settings.backoff_min), (&most, settings.backoff_max));
}

/// Who is to be asked, and for what, go together.
fn sentinels(settings: &Upstream, path: &str, reader: &mut Reader<'_>) {
    let at = |key: &str| format!("{path}.{key}");
    let [kind, master, servers] = ["kind", "master", "servers"].map(at);
    let [user, password, file] = ["sentinel_user", "sentinel_password", "sentinel_password_file"].map(at);
    exclusive(reader, &password, &settings.sentinel_password, &file, &settings.sentinel_password_file);
    if settings.kind == UpstreamKindChoice::Sentinel {
        if settings.master.is_none() {
            let message =
                format!("expected {master} beside it, the name of the master at the Sentinels; give it");
            relation(reader, &[&kind, &master], message);
        }
        if let Some(path) = settings.servers.iter().find(|server| server.unix_path().is_some()) {
            let message = format!("{path} is a Unix socket; name the Sentinels by host:port");
            relation(reader, &[&servers, &kind], message);
        }
    } else if settings.master.is_some() {
        let message = format!(
            "only Sentinels are asked for a master by its name; add {kind} = \"sentinel\", with the Sentinels in {servers}, or take it out"
        );
        relation(reader, &[&master, &kind], message);
    }
    let has_password = settings.sentinel_password.is_some() || settings.sentinel_password_file.is_some();
    if settings.sentinel_user.is_some() && !has_password {
        let message = format!("a user needs {password} or {file} beside it");
        relation(reader, &[&user, &password], message);
    }
}

fn bounds(config: &Config, reader: &mut Reader<'_>) {
    let limits = &config.limits;
    at_most(
        reader,
        ("limits.bulk_bytes_max", limits.bulk_bytes_max),
        ("limits.request_bytes_max", limits.request_bytes_max),
    );
    let combine = &config.combine;
    at_most(
        reader,
        ("combine.early_flush_min", combine.early_flush_min),
        ("combine.pending_max", combine.pending_max),
    );
    let write_behind = &config.write_behind;
    at_most(
        reader,
        ("write_behind.flush_max", write_behind.flush_max),
        ("write_behind.pending_max", write_behind.pending_max),
    );
    let cache = &config.read_cache;
    at_most(
        reader,
        ("read_cache.value_bytes_max", cache.value_bytes_max),
        ("read_cache.bytes_max", cache.bytes_max),
    );
}

fn detection(config: &Config, reader: &mut Reader<'_>) {
    let detect = &config.detect;
    at_most(reader, ("detect.leave_rate", detect.leave_rate), ("detect.enter_rate", detect.enter_rate));
    at_most(reader, ("detect.leave_share", detect.leave_share), ("detect.enter_share", detect.enter_share));
    if !detect.window.as_nanos().is_multiple_of(SLICE.as_nanos()) {
        let found = render_duration(detect.window);
        let message = format!(
            "expected a multiple of {} (the step in which it moves), found {found}",
            render_duration(SLICE)
        );
        relation(reader, &["detect.window"], message);
    }
}

fn rules(config: &Config, reader: &mut Reader<'_>) {
    let patterns = config.rules.iter().map(|rule| &rule.pattern);
    repeated(
        patterns,
        reader,
        |index| format!("rule[{index}].match"),
        "is matched by an earlier rule, so this one never holds",
    );
    for (index, rule) in config.rules.iter().enumerate() {
        let has_quota = config.quotas.iter().any(|quota| quota.pattern == rule.pattern);
        if rule.mode == RuleMode::WriteBehind && has_quota {
            let message = "a quota holds these keys, and write-behind answers before Redis can refuse; \
                           use another mode or drop the quota";
            relation(reader, &[&format!("rule[{index}].mode")], message.to_owned());
        }
        if rule.mode == RuleMode::WriteBehind && rule.read != ReadPolicy::Collapse {
            let message = "write-behind answers reads with the deltas that are pending, which no copy has; \
                           use another mode or drop read";
            let keys = ["mode", "read"].map(|key| format!("rule[{index}].{key}"));
            relation(reader, &[&keys[0], &keys[1]], message.to_owned());
        }
    }
}

fn counter_scripts(config: &Config, reader: &mut Reader<'_>) {
    let names: Vec<String> =
        config.counter_scripts.iter().map(|script| script.sha1.to_ascii_lowercase()).collect();
    repeated(
        names.iter(),
        reader,
        |index| format!("counter_script[{index}].sha1"),
        "is declared by an earlier counter_script, so this one never holds",
    );
    for (index, script) in config.counter_scripts.iter().enumerate() {
        let at = |key: &str| format!("counter_script[{index}].{key}");
        if script.sha1.len() != 40 || !script.sha1.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message =
                format!("expected 40 hexadecimal digits, as SCRIPT LOAD gives them, found {:?}", script.sha1);
            relation(reader, &[&at("sha1")], message);
        }
        exclusive(reader, &at("expire"), &script.expire, &at("expire_argument"), &script.expire_argument);
        if script.by_argument.is_some() && script.by_argument == script.expire_argument {
            let message = "one argument can't be both what is added and the time to live".to_owned();
            relation(reader, &[&at("expire_argument"), &at("by_argument")], message);
        }
    }
}

fn check_quota(quota: &Quota, path: &str, reader: &mut Reader<'_>) {
    let at = |key: &str| format!("{path}.{key}");
    let given = [quota.limit.is_some(), quota.limit_key.is_some(), quota.floor.is_some()];
    let keys = [at("limit"), at("limit_key"), at("floor")];
    let count = given.iter().filter(|given| **given).count();
    if count != 1 && !keys.iter().any(|key| reader.has_error(key)) {
        let found = if count == 0 { "none" } else { "several" };
        let message = format!("expected exactly one of limit, limit_key and floor, found {found}");
        reader.error(path, message);
    }
    if quota.floor.is_some() && quota.window.is_some() {
        let message = "a window needs a limit: a floor holds for ever; drop one of them".to_owned();
        relation(reader, &[&at("window"), &at("floor")], message);
    }
    if let Some(template) = &quota.limit_key {
        check_template(template, &quota.pattern, path, reader);
    }
}

/// A template may name no star that the pattern does not have, and must not name the counter itself.
fn check_template(template: &str, pattern: &str, path: &str, reader: &mut Reader<'_>) {
    let [limit_key, matched] = ["limit_key", "match"].map(|key| format!("{path}.{key}"));
    let stars = stars(pattern);
    let highest = references(template).max().unwrap_or(0);
    if highest > stars {
        let message = format!("expected at most ${stars}, since match has {stars} stars, found ${highest}");
        relation(reader, &[&limit_key, &matched], message);
    }
    if template == pattern {
        let message = "the limit's key is the counter itself; name another key".to_owned();
        relation(reader, &[&limit_key, &matched], message);
    }
}

/// Several quotas may hold one key, in total and per window, but two alike are a mistake.
fn repeated_quotas(config: &Config, reader: &mut Reader<'_>) {
    let likeness = |quota: &Quota| (quota.pattern.clone(), quota.window, quota.floor.is_some());
    let mut seen: HashSet<(String, Option<Duration>, bool)> = HashSet::new();
    for (index, quota) in config.quotas.iter().enumerate() {
        if !seen.insert(likeness(quota)) {
            let message =
                format!("{:?} has an earlier quota of the same kind and window; drop one", quota.pattern);
            relation(reader, &[&format!("quota[{index}].match")], message);
        }
    }
}
