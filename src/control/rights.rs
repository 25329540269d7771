//! Whether the upstream user has the rights that the configured modes need: quotas, `exactly_once` and write-behind.
//!
//! Checked at the start and at each reload, which fail if a right is missing. Checked again from time to time, because a server may
//! have been away at the start, and an access list may change. `ACL DRYRUN` answers if the user may call it. Otherwise the
//! commands are tried in forms that do nothing: Redis checks rights before it checks arguments.
//!
//! Combining by default needs no such check: it learns from replies, and does without what is refused. Once it was refused, it is asked
//! whether it still would be, so that what is told of it ends in time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::topology::KeeperSettings;
use super::upstream_client::{UpstreamClient, UpstreamError};
use crate::combine::companion_key;
use crate::config::{Config, RuleMode};
use crate::net::Dialer;
use crate::resp::first_error;
use crate::route::table::RouteTable;
use crate::route::{ClusterId, Routes};
use crate::shared::gateway::Gateway;
use crate::shared::rights::Fold;

/// How long the start and a reload wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between questions: what is missing is told within two seconds of the change of an access list, and so is its end.
const PAUSE: Duration = Duration::from_secs(1);
/// It is longer the more there is to ask, so that no server is asked more than a thousand times a second.
const PAUSE_PER_COMMAND: Duration = Duration::from_millis(1);

/// The pattern of the gateway's own keys in an access list.
const OWN_KEYS: &str = "~{???}hotgate:*";

/// A mode of some keys, and what it needs.
struct Need<'a> {
    mode: &'static str,
    /// The pattern of the keys.
    pattern: &'a str,
    quota: bool,
    window: bool,
    replicas: bool,
    token: bool,
    /// Only what this fold takes, which no mode concerns.
    only_fold: Option<Fold>,
}

/// The target of a command that is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Key,
    Own,
}

fn needs<'a>(config: &'a Config, folds: &[Fold]) -> Vec<Need<'a>> {
    let plain = Need {
        mode: "",
        pattern: "*",
        quota: false,
        window: false,
        replicas: false,
        token: true,
        only_fold: None,
    };
    let mut needs = Vec::new();
    needs.extend(folds.iter().map(|fold| Need { only_fold: Some(*fold), ..plain }));
    if config.combine.exactly_once {
        needs.push(Need { mode: "combine.exactly_once", ..plain });
    }
    for rule in &config.rules {
        let mode = match rule.mode {
            RuleMode::WriteBehind => "write-behind",
            RuleMode::Off => continue,
            RuleMode::Auto | RuleMode::Combine if rule.exactly_once => "exactly_once",
            RuleMode::Auto | RuleMode::Combine => continue,
        };
        needs.push(Need { mode, pattern: &rule.pattern, ..plain });
    }
    needs.extend(config.quotas.iter().map(|quota| Need {
        mode: "quota",
        pattern: &quota.pattern,
        quota: true,
        window: quota.window.is_some(),
        replicas: quota.wait_replicas > 0,
        token: quota.exactly_once,
        ..plain
    }));
    needs
}

impl Need<'_> {
    /// Whether keys of the pattern live in a cluster: those of a wide one may live in any.
    fn concerns(&self, cluster: ClusterId, routes: &Routes) -> bool {
        let may_hold = |table: &RouteTable| {
            table.all().any(|routed_as| table.may_hold(routed_as, self.pattern.as_bytes(), cluster))
        };
        self.is_wide() || routes.several().is_none_or(may_hold)
    }

    fn is_wide(&self) -> bool {
        self.pattern == "*" || self.pattern.contains('[')
    }

    /// The commands, each in a form that has no effect, but for the key behind the word at `place`.
    fn commands(&self) -> Vec<(On, &'static [&'static str])> {
        if self.only_fold == Some(Fold::Increments) {
            return vec![(On::Own, &["INCRBY", "", "x"])];
        }
        // Where the pattern is wider than a prefix, which of its keys the user may touch is between clients and Redis.
        let key = if self.is_wide() { On::Own } else { On::Key };
        let mut commands: Vec<(On, &[&str])> = vec![
            (key, &["EVALSHA", "0000000000000000000000000000000000000000", "1", ""]),
            (key, &["EVAL", "return 1", "1", ""]),
            (key, &["GET", ""]),
            (key, &["INCRBY", "", "x"]),
        ];
        if self.only_fold == Some(Fold::Scripts) {
            commands.extend([(On::Own, &["PTTL", ""][..]), (On::Own, &["SET", "", "", "PX", "x"])]);
            return commands;
        }
        if self.token {
            commands.extend([(On::Own, &["GET", ""][..]), (On::Own, &["SET", "", "", "PX", "x"])]);
        }
        if self.quota {
            commands.extend([
                (On::Own, &["HMGET", "", "limit"][..]),
                // What operators change is followed by a set. Of the two that change it the first takes back what the second may do.
                (On::Own, &["SMEMBERS", ""]),
                (On::Own, &["SREM", "", "x"]),
                (On::Own, &["SADD", "", "x"]),
                (On::Own, &["SREM", "", "x"]),
            ]);
        }
        if self.replicas {
            commands.push((On::Own, &["WAIT", "0", "1"]));
        }
        if self.window {
            commands.extend([
                (On::Own, &["GET", ""][..]),
                (On::Own, &["PTTL", ""]),
                (On::Own, &["INCRBY", "", "x"]),
                (On::Own, &["PEXPIRE", "", "x"]),
                (On::Own, &["DEL", ""]),
            ]);
        }
        commands
    }
}

/// The rights that the modes of the configuration lack, as sentences without a full stop. A cluster of which no server answers
/// lacks none that is known.
pub async fn missing_rights(config: &Config, routes: &Routes, dialers: &[Dialer]) -> Vec<String> {
    let mut missing = Vec::new();
    for (cluster, dialer) in config.clusters().zip(dialers) {
        let found =
            missing_rights_in(cluster, (&needs(config, &[])[..], config, routes), dialer, &mut None).await;
        missing.extend(found.unwrap_or_default());
    }
    missing
}

/// The same of these needs for the keys of one cluster over `kept`, a connection to it that was made under this configuration, or else
/// over a new one, which is kept there. `None` if no server of the cluster answered.
async fn missing_rights_in(
    cluster: ClusterId,
    (needs, config, routes): (&[Need<'_>], &Config, &Routes),
    dialer: &Dialer,
    kept: &mut Option<UpstreamClient>,
) -> Option<Vec<String>> {
    let needs: Vec<&Need<'_>> = needs.iter().filter(|need| need.concerns(cluster, routes)).collect();
    if needs.is_empty() {
        return Some(Vec::new());
    }
    let settings = KeeperSettings::new(config.upstream_of(cluster), dialer);
    let user = settings.credentials.user.as_deref().unwrap_or("default");
    if let Some(mut client) = kept.take()
        && let Ok(Ok(missing)) = timeout(PATIENCE, ask_all(&mut client, user, &needs)).await
    {
        *kept = Some(client);
        return Some(missing);
    }
    for address in &settings.data_servers().await {
        let asked = async {
            let mut client =
                UpstreamClient::connect(address, &settings.credentials, settings.timeouts).await?;
            let missing = ask_all(&mut client, user, &needs).await?;
            Ok::<_, UpstreamError>((client, missing))
        };
        match timeout(PATIENCE, asked).await.unwrap_or(Err(UpstreamError::ReplyTimeout)) {
            Ok((client, missing)) => {
                *kept = Some(client);
                return Some(missing);
            }
            Err(error) => tracing::debug!(%address, "can't be asked for rights: {error}"),
        }
    }
    None
}

async fn ask_all(
    client: &mut UpstreamClient,
    user: &str,
    needs: &[&Need<'_>],
) -> Result<Vec<String>, UpstreamError> {
    let mut missing = Vec::new();
    for need in needs {
        let rights = ask(client, user, need).await?;
        if let Some(fold) = need.only_fold {
            // Which keys it may touch is between clients and Redis.
            let lacks = rights.iter().any(|right| right.starts_with('+'));
            missing.extend(lacks.then(|| fold.refused().to_owned()));
        } else if !rights.is_empty() {
            missing.push(sentence(user, need, &rights));
        }
    }
    Ok(missing)
}

fn sentence(user: &str, need: &Need<'_>, rights: &BTreeSet<String>) -> String {
    let rights = rights.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let Need { mode, pattern, .. } = need;
    format!("The upstream user lacks rights for {mode} of {pattern}: ACL SETUSER {user} {rights}")
}

/// The missing part of a need, as words of an access list.
async fn ask(
    client: &mut UpstreamClient,
    user: &str,
    need: &Need<'_>,
) -> Result<BTreeSet<String>, UpstreamError> {
    let sample = sample_of(need.pattern);
    let own = companion_key(&sample, b"rights");
    let mut missing = BTreeSet::new();
    for (on, words) in need.commands() {
        let (key, pattern) = match on {
            On::Key => (&sample, format!("~{}", need.pattern)),
            On::Own => (&own, OWN_KEYS.to_owned()),
        };
        try_command(client, user, words, key, &pattern, &mut missing).await?;
    }
    Ok(missing)
}

async fn try_command(
    client: &mut UpstreamClient,
    user: &str,
    words: &[&str],
    key: &[u8],
    pattern: &str,
    missing: &mut BTreeSet<String>,
) -> Result<(), UpstreamError> {
    let command: Vec<&[u8]> =
        words.iter().map(|word| if word.is_empty() { key } else { word.as_bytes() }).collect();
    let dry = [&[b"ACL".as_slice(), b"DRYRUN", user.as_bytes()], &command[..]].concat();
    let mut reply = client.command_raw(&dry).await?;
    if first_error(&reply).is_some() {
        // What could not be taken back is not tried.
        if words[0] == "SADD" && missing.contains("+srem") {
            return Ok(());
        }
        reply = client.command_raw(&command).await?;
    }
    if let Some(right) = right_of(&reply, words, pattern) {
        missing.insert(right);
    }
    Ok(())
}

/// The right that a reply wants, to a command or to the question about it.
fn right_of(reply: &Bytes, words: &[&str], pattern: &str) -> Option<String> {
    let text = String::from_utf8_lossy(reply).to_lowercase();
    let name = words.first()?.to_lowercase();
    if text.starts_with("-err unknown command") {
        return Some(format!("+{name} (the server knows no such command; undo its renaming)"));
    }
    let is_dry_refusal = text.starts_with('$') && text.contains("permissions");
    if !is_dry_refusal && !text.starts_with("-noperm") {
        return None;
    }
    Some(if text.contains("key") && !text.contains("to run") {
        pattern.to_owned()
    } else {
        format!("+{name}")
    })
}

/// A key that the pattern matches.
fn sample_of(pattern: &str) -> Vec<u8> {
    let mut sample = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' => sample.push(b'0'),
            b'\\' => sample.extend(bytes.next()),
            b'[' => {
                let class: Vec<u8> = bytes.by_ref().take_while(|byte| *byte != b']').collect();
                sample.push(class.first().copied().filter(|byte| *byte != b'^').unwrap_or(b'0'));
            }
            other => sample.push(other),
        }
    }
    sample
}

/// Asks as long as the process lives, says what is new and publishes it.
pub async fn follow_rights(gateway: Arc<Gateway>) {
    let (mut config, mut names) = (gateway.config.load_full(), gateway.names.load());
    // By cluster.
    let mut connections: Vec<Option<UpstreamClient>> = config.clusters().map(|_| None).collect();
    let mut answers: Vec<Vec<String>> = vec![Vec::new(); connections.len()];
    loop {
        let (latest, latest_names) = (gateway.config.load_full(), gateway.names.load());
        if !Arc::ptr_eq(&latest, &config) || !Arc::ptr_eq(&latest_names, &names) {
            (config, names) = (latest, latest_names);
            connections.fill_with(|| None);
        }
        let known = answers.concat();
        let folds: Vec<Fold> =
            Fold::ALL.into_iter().filter(|fold| gateway.rights.is_refused(*fold)).collect();
        let (needs, routes) = (needs(&config, &folds), config.routing());
        let (mut refused, mut all_answer) = (Vec::<Fold>::new(), true);
        for (cluster, (answer, kept)) in config.clusters().zip(answers.iter_mut().zip(&mut connections)) {
            let asked = (&needs[..], &*config, &routes);
            let dialer = gateway.dialer_of(cluster);
            // What no server answers is as it was.
            let Some(mut missing) = missing_rights_in(cluster, asked, dialer, kept).await else {
                all_answer = false;
                continue;
            };
            refused.extend(folds.iter().filter(|fold| missing.iter().any(|told| told == fold.refused())));
            missing.retain(|told| folds.iter().all(|fold| told != fold.refused()));
            *answer = missing;
        }
        for fold in &folds {
            let is_refused = refused.contains(fold);
            if is_refused || all_answer {
                gateway.rights.would_be_refused(*fold, is_refused);
            }
        }
        let missing = answers.concat();
        for sentence in missing.iter().filter(|sentence| !known.contains(sentence)) {
            tracing::error!("{sentence}");
        }
        if missing.is_empty() && !known.is_empty() {
            tracing::info!("the upstream user has all rights that the configuration needs");
        }
        gateway.rights.set_modes(missing);
        let commands = needs.iter().map(|need| need.commands().len()).sum::<usize>();
        sleep(PAUSE.max(PAUSE_PER_COMMAND * commands as u32)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::glob;

    #[test]
    fn a_sample_matches_its_pattern() {
        for pattern in ["stock:*", "a?c", "[ab]x", "[^1]x", "plain", "a\\*b", "{tag}:*", "*"] {
            assert!(glob::matches(pattern.as_bytes(), &sample_of(pattern)), "{pattern}");
        }
    }

    #[test]
    fn a_refusal_names_its_right() {
        let check = |reply: &'static str, right: Option<&str>| {
            let found = right_of(&Bytes::from_static(reply.as_bytes()), &["INCRBY", "", "x"], "~app:*");
            assert_eq!(found.as_deref(), right, "{reply}");
        };
        check("-NOPERM this user has no permissions to run the 'incrby' command\r\n", Some("+incrby"));
        check(
            "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n",
            Some("~app:*"),
        );
        check("$63\r\nThis user has no permissions to run the 'incrby' command\r\n", Some("+incrby"));
        check("$70\r\nThis user has no permissions to access the 'app:0' key\r\n", Some("~app:*"));
        check("-ERR value is not an integer or out of range\r\n", None);
        check("+OK\r\n", None);
    }
}
