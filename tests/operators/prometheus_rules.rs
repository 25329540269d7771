//! What is handed to Prometheus and Grafana is valid, does what it says, and names only metrics that exist.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotgate::monitor::exposition::Kind;
use hotgate::monitor::metrics::ALL;

fn conf(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(file)
}

/// Runs promtool where the files are, since `rule_files` are relative.
fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(conf("prometheus"))
        .output()
        .expect("promtool is installed (package prometheus)");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}:\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["check", "rules", "alerts.yml"]);
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn every_alert_is_tested() {
    let alerts = std::fs::read_to_string(conf("prometheus/alerts.yml")).unwrap();
    let tests = std::fs::read_to_string(conf("prometheus/alerts_test.yml")).unwrap();
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
}

/// The words of `text` that look like metrics of hotgate.
fn metrics_named(text: &str) -> HashSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("hotgate_") || word.starts_with("process_")).collect()
}

#[test]
fn every_metric_named_exists() {
    let mut series = HashSet::new();
    for metric in ALL {
        series.insert(metric.name.to_owned());
        if metric.kind == Kind::Histogram {
            series.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.name)));
        }
    }
    for file in ["prometheus/alerts.yml", "prometheus/alerts_test.yml", "grafana/hotgate.json"] {
        let text = std::fs::read_to_string(conf(file)).unwrap();
        let named = metrics_named(&text);
        assert!(named.len() >= 10, "{file} names hardly any metric");
        for name in named {
            assert!(series.contains(name), "{file} names {name}, which does not exist");
        }
    }
}

#[test]
fn grafanas_dashboard_is_whole() {
    let text = std::fs::read_to_string(conf("grafana/hotgate.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: HashSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels share an id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(
            !targets.is_empty() && targets.iter().all(|t| t["expr"].as_str().is_some()),
            "{}",
            panel["title"]
        );
    }
}
