//! The Prometheus text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>): one writer, fed with declared metrics
//! only.
//!
//! It writes what it is given and holds no values. `promtool check metrics` is the oracle in
//! `tests/operators/metrics.rs`.

use std::fmt::Write;

/// What Prometheus may assume about a metric's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, apart from restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

impl Kind {
    /// The word after `# TYPE name`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The declaration of a metric. The only instances are those of `monitor::metrics`.
#[derive(Debug)]
pub struct Metric {
    /// The full name, with unit and suffix.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels, in the order of the values of a sample.
    pub labels: &'static [&'static str],
    /// Its meaning, in a sentence.
    pub help: &'static str,
}

/// The media type of what [`Exposition`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text under construction.
#[derive(Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Opens a metric; every sample of it goes through the returned handle. To be called once for each
    /// metric.
    pub fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let Metric { name, kind, help, .. } = metric;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.word()));
        Family { out: self, metric }
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.text
    }

    fn put(&mut self, args: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(args);
    }
}

/// The samples of one metric.
pub struct Family<'a> {
    out: &'a mut Exposition,
    metric: &'static Metric,
}

impl Family<'_> {
    /// Writes one sample, with a value for every declared label.
    pub fn sample(&mut self, labels: &[&str], value: f64) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// Writes one histogram: `(upper bound, values at most that)` ascending and finite, then the count and
    /// the sum.
    pub fn histogram(
        &mut self,
        labels: &[&str],
        cumulative: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) -> &mut Self {
        for (bound, running) in cumulative {
            self.line("_bucket", labels, Some(bound), running as f64);
        }
        self.line("_bucket", labels, Some(f64::INFINITY), count as f64);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count as f64);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<f64>, value: f64) {
        debug_assert_eq!(
            labels.len(),
            self.metric.labels.len(),
            "{}: a value for every label",
            self.metric.name
        );
        self.out.put(format_args!("{}{suffix}", self.metric.name));
        let mut separator = '{';
        for (name, value) in self.metric.labels.iter().zip(labels) {
            self.out.put(format_args!("{separator}{name}=\""));
            push_label_value(&mut self.out.text, value);
            self.out.text.push('"');
            separator = ',';
        }
        if let Some(bound) = bound {
            self.out.put(format_args!("{separator}le=\"{}\"", Number(bound)));
            separator = ',';
        }
        if separator == ',' {
            self.out.text.push('}');
        }
        self.out.put(format_args!(" {}\n", Number(value)));
    }
}

/// Backslash, quote and line feed are the three characters that the format escapes in a label value.
fn push_label_value(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// A number as Go's `ParseFloat` reads it, without an exponent for whole numbers.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == f64::INFINITY {
            f.write_str("+Inf")
        } else if self.0 == f64::NEG_INFINITY {
            f.write_str("-Inf")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PLAIN: Metric = Metric { name: "plain", kind: Kind::Gauge, labels: &[], help: "Plain." };
    static KEYED: Metric =
        Metric { name: "keyed_total", kind: Kind::Counter, labels: &["key", "way"], help: "Keyed." };
    static TIMED: Metric =
        Metric { name: "t_seconds", kind: Kind::Histogram, labels: &["n"], help: "Timed." };

    #[test]
    fn text_format() {
        let mut out = Exposition::default();
        out.family(&PLAIN).sample(&[], 0.25);
        out.family(&KEYED).sample(&["a\"\\\n}", "in"], 12_345_678_901.0);
        out.family(&TIMED).histogram(&["1"], [(0.001, 1), (0.01, 3)], 4, 0.5);
        assert_eq!(
            out.finish(),
            concat!(
                "# HELP plain Plain.\n# TYPE plain gauge\nplain 0.25\n",
                "# HELP keyed_total Keyed.\n# TYPE keyed_total counter\n",
                "keyed_total{key=\"a\\\"\\\\\\n}\",way=\"in\"} 12345678901\n",
                "# HELP t_seconds Timed.\n# TYPE t_seconds histogram\n",
                "t_seconds_bucket{n=\"1\",le=\"0.001\"} 1\nt_seconds_bucket{n=\"1\",le=\"0.01\"} 3\n",
                "t_seconds_bucket{n=\"1\",le=\"+Inf\"} 4\nt_seconds_sum{n=\"1\"} 0.5\nt_seconds_count{n=\"1\"} 4\n",
            )
        );
    }
}
