//! The latency curves as one SVG: percentiles to the right, each step ten times rarer, latency upwards on a log axis.

use std::fmt::Write;

use hotgate::demo::load::{Class, HOT, SAME_NODE};

use crate::Run;

const PANEL_WIDTH: f64 = 460.0;
const PANEL_HEIGHT: f64 = 400.0;
const MARGIN: f64 = 70.0;

/// Powers of ten of a latency in ms.
const LATENCY_EXPONENTS: (i32, i32) = (-1, 5);

/// Powers of ten of one request in so many: 50 % is near the left edge, 99.99 % at the right.
const RARITY_MAX: f64 = 4.0;
const POINTS: u32 = 120;

pub fn svg(without: &[Run], with: &[Run]) -> String {
    let width = 2.0 * (PANEL_WIDTH + MARGIN) + MARGIN;
    let height = PANEL_HEIGHT + 3.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (place, (title, class)) in
        [("INCR of the SKU", HOT), ("GET and SET of other keys on its node", SAME_NODE)]
            .into_iter()
            .enumerate()
    {
        let left = MARGIN + place as f64 * (PANEL_WIDTH + MARGIN);
        let _ = writeln!(svg, "<g transform=\"translate({left} {MARGIN})\">");
        axes(&mut svg, title);
        for (runs, colour) in [(without, "#c0392b"), (with, "#1f6fb2")] {
            for run in runs {
                curve(&mut svg, &run.outcome.classes[class], colour, dashes(run.factor));
            }
        }
        svg.push_str("</g>\n");
    }
    legend(&mut svg, without);
    svg.push_str("</svg>\n");
    svg
}

fn x(rarity: f64) -> f64 {
    rarity / RARITY_MAX * PANEL_WIDTH
}

fn y(latency_ms: f64) -> f64 {
    let (low, high) = (f64::from(LATENCY_EXPONENTS.0), f64::from(LATENCY_EXPONENTS.1));
    PANEL_HEIGHT * (1.0 - ((latency_ms.log10() - low) / (high - low)).clamp(0.0, 1.0))
}

fn axes(svg: &mut String, title: &str) {
    let _ = writeln!(svg, "<text x=\"0\" y=\"-20\" font-size=\"16\">{title}</text>");
    for exponent in LATENCY_EXPONENTS.0..=LATENCY_EXPONENTS.1 {
        let latency_ms = 10f64.powi(exponent);
        let at = y(latency_ms);
        let label = if latency_ms < 1000.0 {
            format!("{latency_ms} ms")
        } else {
            format!("{} s", latency_ms / 1000.0)
        };
        let _ = writeln!(svg, "<path d=\"M0 {at}H{PANEL_WIDTH}\" stroke=\"#ddd\"/>");
        let _ = writeln!(svg, "<text x=\"-6\" y=\"{}\" text-anchor=\"end\">{label}</text>", at + 4.0);
    }
    for (rarity, label) in [(0.301, "p50"), (1.0, "p90"), (2.0, "p99"), (3.0, "p99.9"), (4.0, "p99.99")] {
        let at = x(rarity);
        let _ = writeln!(svg, "<path d=\"M{at} 0V{PANEL_HEIGHT}\" stroke=\"#ddd\"/>");
        let _ = writeln!(
            svg,
            "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            PANEL_HEIGHT + 20.0
        );
    }
}

fn curve(svg: &mut String, class: &Class, colour: &str, dashes: &str) {
    if class.offered == 0 {
        return;
    }
    let points: Vec<String> = (0..=POINTS)
        .map(|point| {
            let rarity = f64::from(point) / f64::from(POINTS) * RARITY_MAX;
            let latency_ms = class.percentile_ms(100.0 - 100.0 / 10f64.powf(rarity));
            format!("{:.1},{:.1}", x(rarity), y(latency_ms))
        })
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"/>",
        points.join(" ")
    );
}

fn dashes(factor: f64) -> &'static str {
    if factor == 0.0 {
        "1 4"
    } else if factor < 1.0 {
        "3 3"
    } else if factor < 2.0 {
        "9 4"
    } else {
        "none"
    }
}

fn legend(svg: &mut String, runs: &[Run]) {
    let top = PANEL_HEIGHT + 2.0 * MARGIN;
    for (place, (label, colour)) in
        [("straight to Redis", "#c0392b"), ("through hotgate", "#1f6fb2")].iter().enumerate()
    {
        let at = top + 24.0 * place as f64;
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\" fill=\"{colour}\">{label}</text>", at + 4.0);
        for (column, run) in runs.iter().enumerate() {
            let left = MARGIN + 150.0 + 220.0 * column as f64;
            let label = if run.factor == 0.0 {
                "background alone".to_owned()
            } else {
                format!("{} × what Redis takes", run.factor)
            };
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {at}h40\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>\
                 <text x=\"{}\" y=\"{}\">{label}</text>",
                dashes(run.factor),
                left + 48.0,
                at + 4.0,
            );
        }
    }
}
