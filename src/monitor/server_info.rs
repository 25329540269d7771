//! Reads the servers' INFO, and merges that of several masters.
//!
//! With one server a field is what that server says. With several masters a number is the sum. What cannot be summed is the
//! greatest (times, ratios, flags), the oldest (the last save), or every text that occurs. `rule_of` has the exceptions.
//! Percentiles cannot be summed: the greatest of the masters is given, and the true one is not above it.
//!
//! Deliberately does not ask, and does not decide which of these fields the gateway's INFO shows.

/// One line: the field and its value.
pub type Field = (String, String);

/// The INFO of everything behind the gateway.
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    sections: Vec<(String, Vec<Field>)>,
    /// Masters whose share is missing, because they did not answer.
    pub missing: usize,
}

impl ServerInfo {
    /// Reads the text of each master that answered.
    pub fn of(texts: &[String], missing: usize) -> Self {
        let parsed: Vec<_> = texts.iter().map(|text| sections_of(text)).collect();
        let mut sections: Vec<(String, Vec<Field>)> = Vec::new();
        for (name, _) in parsed.iter().flatten() {
            if !sections.iter().any(|(known, _)| known == name) {
                let of_each: Vec<&[Field]> = parsed.iter().filter_map(|text| fields_in(text, name)).collect();
                sections.push((name.clone(), merged(&of_each)));
            }
        }
        Self { sections, missing }
    }

    /// The names of the sections, in the servers' order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(name, _)| name.as_str())
    }

    /// The fields of a section; none when no server has it.
    pub fn section(&self, name: &str) -> &[Field] {
        fields_in(&self.sections, name).unwrap_or_default()
    }

    /// The value of a field.
    pub fn field(&self, section: &str, name: &str) -> Option<&str> {
        self.section(section).iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

fn fields_in<'a>(sections: &'a [(String, Vec<Field>)], name: &str) -> Option<&'a [Field]> {
    let section = sections.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    section.map(|(_, fields)| fields.as_slice())
}

fn sections_of(text: &str) -> Vec<(String, Vec<Field>)> {
    let mut sections: Vec<(String, Vec<Field>)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            sections.push((name.trim_end().to_owned(), Vec::new()));
        } else if let (Some((_, fields)), Some((field, value))) = (sections.last_mut(), line.split_once(':'))
        {
            fields.push((field.to_owned(), value.to_owned()));
        }
    }
    sections
}

/// One section of several masters.
fn merged(of_each: &[&[Field]]) -> Vec<Field> {
    if let [only] = of_each {
        return only.to_vec();
    }
    let mut names: Vec<&str> = Vec::new();
    let mut by_name: std::collections::HashMap<&str, Vec<&str>> = Default::default();
    for (name, value) in of_each.iter().flat_map(|fields| fields.iter()) {
        let values = by_name.entry(name).or_default();
        if values.is_empty() {
            names.push(name);
        }
        values.push(value);
    }
    let mut fields = Vec::with_capacity(names.len());
    for name in names {
        let values = &by_name[name];
        match name {
            // Its lines differ by what they say, not by their field.
            "module" => fields.extend(distinct(values).into_iter().map(|value| (name.into(), value.into()))),
            _ => fields.push((name.to_owned(), value_of(name, values))),
        }
    }
    for at in 0..fields.len() {
        let base = fields[at].0.strip_suffix("_human").map(str::to_owned);
        let sum = base.and_then(|base| fields.iter().find(|(name, _)| *name == base)?.1.parse::<u64>().ok());
        if let Some(bytes) = sum {
            fields[at].1 = human(bytes);
        }
    }
    fields
}

/// How the values of several masters become one.
enum Rule {
    Sum,
    Greatest,
    Least,
    /// The first that is not `ok`.
    Worst,
    /// The sum of the bounds; none where one master has none.
    Bound,
}

fn rule_of(field: &str) -> Rule {
    let ends = |endings: &[&str]| endings.iter().any(|ending| field.ends_with(ending));
    match field {
        "maxmemory" => Rule::Bound,
        "rdb_last_save_time" => Rule::Least,
        "loading" | "async_loading" | "aof_enabled" | "hz" | "configured_hz" | "lru_clock" => Rule::Greatest,
        "second_repl_offset" | "repl_backlog_active" | "latest_fork_usec" => Rule::Greatest,
        _ if ends(&["_status"]) => Rule::Worst,
        _ if ends(&["_in_progress", "_scheduled", "_running", "_time_sec", "_age"]) => Rule::Greatest,
        _ if ends(&["_ratio", "_perc"]) => Rule::Greatest,
        _ => Rule::Sum,
    }
}

fn value_of(field: &str, values: &[&str]) -> String {
    if values.iter().all(|value| value.contains('=')) {
        return list_of(field, values);
    }
    let rule = rule_of(field);
    if let Rule::Worst = rule {
        return values.iter().find(|value| **value != "ok").unwrap_or(&values[0]).to_string();
    }
    let Some(numbers) = numbers(values) else { return distinct(values).join(",") };
    combined(&rule, &numbers)
}

/// A number as INFO writes it, and how many decimals it has. The texts of equal numbers may differ (`0`, `0.00`).
struct Number {
    value: f64,
    integer: Option<i64>,
    unit: &'static str,
    decimals: usize,
}

fn numbers(values: &[&str]) -> Option<Vec<Number>> {
    let read = |text: &&str| {
        let (digits, unit) = text.strip_suffix('%').map_or((*text, ""), |digits| (digits, "%"));
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
        let value = digits.parse::<f64>().ok().filter(|_| plain)?;
        let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        Some(Number { value, integer: digits.parse().ok(), unit, decimals })
    };
    values.iter().map(read).collect()
}

fn combined(rule: &Rule, numbers: &[Number]) -> String {
    let integers: Option<Vec<i64>> = numbers.iter().map(|number| number.integer).collect();
    if let Some(integers) = integers {
        let sum = || integers.iter().fold(0i64, |sum, integer| sum.saturating_add(*integer));
        let value = match rule {
            Rule::Bound if integers.contains(&0) => 0,
            Rule::Sum | Rule::Bound | Rule::Worst => sum(),
            Rule::Greatest => integers.iter().copied().max().unwrap_or(0),
            Rule::Least => integers.iter().copied().min().unwrap_or(0),
        };
        return value.to_string();
    }
    let values = numbers.iter().map(|number| number.value);
    let value = match rule {
        Rule::Sum | Rule::Bound | Rule::Worst => values.sum(),
        Rule::Greatest => values.fold(f64::MIN, f64::max),
        Rule::Least => values.fold(f64::MAX, f64::min),
    };
    let decimals = numbers.iter().map(|number| number.decimals).max().unwrap_or(0);
    let unit = numbers.first().map_or("", |number| number.unit);
    format!("{value:.decimals$}{unit}")
}

/// `calls=1,usec=3,usec_per_call=3.00`: part by part. What is a mean is made again of the sums that it is the mean of.
fn list_of(field: &str, values: &[&str]) -> String {
    let rule = if field.starts_with("latency_percentiles") { Rule::Greatest } else { Rule::Sum };
    let lists: Vec<Vec<(&str, &str)>> = values
        .iter()
        .map(|value| value.split(',').filter_map(|part| part.split_once('=')).collect())
        .collect();
    let of = |list: &[(&str, &str)], name: &str| {
        list.iter().find(|(part, _)| *part == name).and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let total = |name: &str| lists.iter().filter_map(|list| of(list, name)).sum::<f64>();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in lists.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let part = |name: &&str| {
        let of_each: Vec<&str> =
            lists.iter().flatten().filter(|(part, _)| part == name).map(|(_, value)| *value).collect();
        let value = match *name {
            "usec_per_call" => format!("{:.2}", total("usec") / total("calls").max(1.0)),
            "avg_ttl" => {
                let weighed = |list: &Vec<(&str, &str)>| {
                    of(list, "avg_ttl").unwrap_or(0.0) * of(list, "expires").unwrap_or(0.0)
                };
                format!("{:.0}", lists.iter().map(weighed).sum::<f64>() / total("expires").max(1.0))
            }
            _ => match numbers(&of_each) {
                Some(numbers) => combined(&rule, &numbers),
                None => distinct(&of_each).join("|"),
            },
        };
        format!("{name}={value}")
    };
    names.iter().map(part).collect::<Vec<_>>().join(",")
}

fn distinct<'a>(values: &[&'a str]) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for value in values {
        if !found.contains(value) {
            found.push(value);
        }
    }
    found
}

/// Bytes as Redis writes them for people.
fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes}B") } else { format!("{value:.2}{}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> ServerInfo {
        ServerInfo::of(&texts.iter().map(|text| text.replace('\n', "\r\n")).collect::<Vec<_>>(), 0)
    }

    #[test]
    fn one_server_is_told_as_it_says() {
        let info = of(&[
            "# Memory\nused_memory:5\nused_memory_human:5.00B\n\n# Modules\nmodule:name=a,ver=1\nmodule:name=b,ver=2\n",
        ]);
        assert_eq!(info.sections().collect::<Vec<_>>(), ["Memory", "Modules"]);
        assert_eq!(info.field("memory", "used_memory_human"), Some("5.00B"));
        assert_eq!(info.section("Modules").len(), 2);
        assert!(info.section("nonsense").is_empty());
    }

    #[test]
    fn several_masters_are_one() {
        for (field, values, expect) in [
            ("used_memory", ["1", "2"], "3"),
            ("maxmemory", ["100", "50"], "150"),
            ("maxmemory", ["100", "0"], "0"),
            ("maxmemory_policy", ["noeviction", "noeviction"], "noeviction"),
            ("maxmemory_policy", ["noeviction", "allkeys-lru"], "noeviction,allkeys-lru"),
            ("loading", ["0", "1"], "1"),
            ("rdb_last_save_time", ["20", "10"], "10"),
            ("rdb_last_bgsave_status", ["ok", "err"], "err"),
            ("rdb_last_bgsave_time_sec", ["-1", "3"], "3"),
            ("second_repl_offset", ["-1", "-1"], "-1"),
            ("mem_fragmentation_ratio", ["1.50", "2.25"], "2.25"),
            ("used_memory_peak_perc", ["99.10%", "100.00%"], "100.00%"),
            ("instantaneous_input_kbps", ["0.25", "1.50"], "1.75"),
            (
                "db0",
                ["keys=1,expires=1,avg_ttl=100", "keys=4,expires=3,avg_ttl=500"],
                "keys=5,expires=4,avg_ttl=400",
            ),
            (
                "db0",
                ["keys=1,expires=0,avg_ttl=0", "keys=4,expires=0,avg_ttl=0"],
                "keys=5,expires=0,avg_ttl=0",
            ),
            (
                "cmdstat_get",
                [
                    "calls=1,usec=10,usec_per_call=10.00,rejected_calls=0,failed_calls=1",
                    "calls=3,usec=2,usec_per_call=0.67,rejected_calls=2,failed_calls=0",
                ],
                "calls=4,usec=12,usec_per_call=3.00,rejected_calls=2,failed_calls=1",
            ),
            ("errorstat_ERR", ["count=1", "count=2"], "count=3"),
            (
                "latency_percentiles_usec_get",
                ["p50=1.003,p99=9.000", "p50=2.007,p99=3.007"],
                "p50=2.007,p99=9.000",
            ),
        ] {
            let texts = values.map(|value| format!("# S\n{field}:{value}\n"));
            let info = of(&[&texts[0], &texts[1]]);
            assert_eq!(info.field("S", field), Some(expect), "{field}");
        }
    }

    #[test]
    fn what_only_one_master_has_is_there_and_people_read_the_sum() {
        let info = of(&[
            "# Memory\nused_memory:1048576\nused_memory_human:1.00M\n# Keyspace\n",
            "# Memory\nused_memory:524288\nused_memory_human:512.00K\n# Keyspace\ndb0:keys=1,expires=0,avg_ttl=0\n",
        ]);
        assert_eq!(info.field("Memory", "used_memory_human"), Some("1.50M"));
        assert_eq!(info.field("Keyspace", "db0"), Some("keys=1,expires=0,avg_ttl=0"));
    }
}
