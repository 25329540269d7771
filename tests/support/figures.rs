//! What servers and gateways count, as they say it over RESP.

use std::collections::BTreeMap;

use super::Client;

/// The number that `INFO <section>` gives for `name`.
#[track_caller]
pub fn info(client: &mut Client, section: &str, name: &str) -> u64 {
    let info = client.text(&format!("INFO {section}"));
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("{name} is not in {info}")).trim().parse().unwrap()
}

/// A figure of `INFO hotgate`.
#[track_caller]
pub fn figure(client: &mut Client, name: &str) -> u64 {
    info(client, "hotgate", name)
}

/// How often a server has run each command, those inside of scripts included.
pub fn all_calls(direct: &mut Client) -> BTreeMap<String, u64> {
    let stats = direct.text("INFO commandstats");
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    calls.collect()
}

/// How often a server has run one command.
pub fn calls(direct: &mut Client, command: &str) -> u64 {
    all_calls(direct).get(command).copied().unwrap_or(0)
}

/// A figure of `HOTGATE QUOTA LIST`, over all quotas and keys.
pub fn quota_figure(client: &mut Client, name: &str) -> u64 {
    let list = client.list("HOTGATE QUOTA LIST");
    let named = list.iter().zip(list.iter().skip(1)).filter(|(word, _)| *word == name);
    named.map(|(_, number)| number.parse::<u64>().unwrap()).sum()
}
