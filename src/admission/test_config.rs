//! Quotas for tests, with directives that a configuration file is refused for the present.

use crate::config::{Config, OnUnavailable, Quota};

/// The quotas of a text in the form of the configuration file, in which `wait_replicas=n` and `on_unavailable='allow'` may
/// stand as well, each on a line of its own.
pub fn quotas_of(text: &str) -> Vec<Quota> {
    let wait = |line: &str| line.strip_prefix("wait_replicas=").map(|count| count.parse().unwrap());
    let waits: Vec<_> = text
        .split("[[quota]]")
        .skip(1)
        .map(|quota| quota.lines().find_map(wait).unwrap_or_default())
        .collect();
    let allows = |line: &str| line.starts_with("on_unavailable='allow'");
    let lenient: Vec<bool> = text.split("[[quota]]").skip(1).map(|quota| quota.lines().any(allows)).collect();
    let kept: Vec<&str> = text.lines().filter(|line| wait(line).is_none() && !allows(line)).collect();
    let mut quotas = Config::parse(&kept.join("\n")).unwrap().quotas;
    quotas.iter_mut().zip(waits).for_each(|(quota, wait)| quota.wait_replicas = wait);
    for (quota, _) in quotas.iter_mut().zip(lenient).filter(|(_, lenient)| *lenient) {
        quota.on_unavailable = OnUnavailable::Allow;
    }
    quotas
}
