//! Quotas for tests, with a directive that a configuration file is refused for the present.

use crate::config::{Config, Quota};

/// The quotas of a text in the form of the configuration file, in which `wait_replicas=n` may stand as well, on a line of
/// its own.
pub fn quotas_of(text: &str) -> Vec<Quota> {
    let wait = |line: &str| line.strip_prefix("wait_replicas=").map(|count| count.parse().unwrap());
    let waits: Vec<_> = text
        .split("[[quota]]")
        .skip(1)
        .map(|quota| quota.lines().find_map(wait).unwrap_or_default())
        .collect();
    let kept: Vec<&str> = text.lines().filter(|line| wait(line).is_none()).collect();
    let mut quotas = Config::parse(&kept.join("\n")).unwrap().quotas;
    quotas.iter_mut().zip(waits).for_each(|(quota, wait)| quota.wait_replicas = wait);
    quotas
}
