//! One cell of the comparison: what each of the three contenders gave in each round, what that says, and which cells fall short.

/// Cells whose interval lies wholly below this are named.
const RATIO_MIN: f64 = 0.95;
const MEAN_MIN: f64 = 0.98;
/// The p99 of the key, and of those beside it, against that with combining off.
const TAIL_MAX: f64 = 1.2;

/// The 97.5th percentile of Student's distribution with 1, 2, ... degrees of freedom; beyond the last it is near 2.
const STUDENT: [f64; 12] =
    [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179];

/// What one contender gave in one round.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Of requests on another key beside it, if there were any.
    pub bystander_p99_us: Option<f64>,
}

/// Off, its twin, and the defaults, by round.
pub struct Cell {
    pub name: String,
    pub seen: [Vec<Seen>; 3],
    /// Commands at Redis for each request, with the defaults.
    pub commands: f64,
}

/// A mean, and where it lies with a certainty of 95 %.
#[derive(Clone, Copy)]
pub struct Interval {
    pub low: f64,
    pub mean: f64,
    pub high: f64,
}

impl Cell {
    /// A figure of a contender against that of combining off, round by round.
    fn ratios(&self, contender: usize, figure: impl Fn(&Seen) -> f64) -> Vec<f64> {
        self.seen[contender]
            .iter()
            .zip(&self.seen[0])
            .map(|(their, off)| figure(their) / figure(off))
            .collect()
    }

    fn rates(&self, contender: usize) -> Vec<f64> {
        self.ratios(contender, |seen| seen.per_second)
    }

    fn falls_short(&self) -> bool {
        interval(&self.rates(2)).high < RATIO_MIN
    }

    /// Which tails are surely longer than allowed.
    fn long_tails(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut look = |whose: &str, ratios: &[f64]| {
            let Interval { low, mean, .. } = interval(ratios);
            if low > TAIL_MAX {
                found.push(format!("{}: p99 of {whose} {mean:.2}", self.name));
            }
        };
        look("the key", &self.ratios(2, |seen| seen.p99_us));
        if self.seen[0].iter().all(|seen| seen.bystander_p99_us.is_some()) {
            look("bystanders", &self.ratios(2, |seen| seen.bystander_p99_us.unwrap_or(f64::NAN)));
        }
        found
    }

    pub fn print_heading() {
        println!(
            "{:<30}{:>12}{:>8}{:>10}{:>16}{:>8}{:>8}{:>11}{:>9}",
            "", "off, req/s", "twin", "defaults", "95 %", "p50", "p99", "bystanders", "cmd/req"
        );
    }

    pub fn print(&self) {
        let Interval { low, mean, high } = interval(&self.rates(2));
        let tail = |figure: &dyn Fn(&Seen) -> f64| interval(&self.ratios(2, figure)).mean;
        let bystanders = tail(&|seen| seen.bystander_p99_us.unwrap_or(f64::NAN));
        let off: Vec<f64> = self.seen[0].iter().map(|seen| seen.per_second).collect();
        println!(
            "{:<30}{:>12.0}{:>8.2}{mean:>10.2}{:>16}{:>8.2}{:>8.2}{:>11}{:>9.3}",
            self.name,
            middle(&off),
            interval(&self.rates(1)).mean,
            format!("{low:.2} to {high:.2}"),
            tail(&|seen| seen.p50_us),
            tail(&|seen| seen.p99_us),
            if bystanders.is_nan() { "-".to_owned() } else { format!("{bystanders:.2}") },
            self.commands,
        );
    }
}

/// The verdicts over all cells, with the names of those that fall short.
pub fn conclude(cells: &[Cell]) {
    let mean = |contender: usize| {
        let logarithms: Vec<f64> = cells.iter().flat_map(|cell| cell.rates(contender)).map(f64::ln).collect();
        (logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64).exp()
    };
    let verdict = |met| if met { "met" } else { "NOT MET" };
    println!(
        "requests per second against off, geometric mean: twin {:.3}, defaults {:.3}: at least {MEAN_MIN} {}",
        mean(1),
        mean(2),
        verdict(mean(2) >= MEAN_MIN)
    );
    let short: Vec<String> =
        cells.iter().filter(|cell| cell.falls_short()).map(|cell| cell.name.clone()).collect();
    let tails: Vec<String> = cells.iter().flat_map(Cell::long_tails).collect();
    for (what, found) in [
        (format!("no cell whose interval lies wholly below {RATIO_MIN}"), short),
        (format!("no p99 whose interval lies wholly above {TAIL_MAX} times that of off"), tails),
    ] {
        println!("{what} {}", verdict(found.is_empty()));
        found.iter().for_each(|name| println!("  falls short: {name}"));
    }
}

/// Of ratios: their geometric mean and its interval. With one round nothing is certain.
fn interval(ratios: &[f64]) -> Interval {
    let count = ratios.len() as f64;
    let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logarithms.iter().sum::<f64>() / count;
    let Some(degrees) = ratios.len().checked_sub(2) else {
        return Interval { low: 0.0, mean: mean.exp(), high: f64::INFINITY };
    };
    let square = |value: f64| value * value;
    let variance = logarithms.iter().map(|value| square(value - mean)).sum::<f64>() / (count - 1.0);
    let reach = STUDENT.get(degrees).copied().unwrap_or(2.0) * (variance / count).sqrt();
    Interval { low: (mean - reach).exp(), mean: mean.exp(), high: (mean + reach).exp() }
}

fn middle(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
