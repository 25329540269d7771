//! Lays the screen out: what is wrong, the figures, the tables below each other, and what the keys do.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table as Grid, Widget, Wrap};

use super::looks::{Looks, Table};
use super::tables::{Column, fit, text};
use crate::monitor::status::{duration_s, duration_us, rate, whole};

/// The rows that a table which has not the focus is given, if it has as many.
const ROWS_BESIDE: u16 = 4;

/// The whole screen.
pub struct Screen<'a>(pub &'a Looks);

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        render(self.0, true, area, buffer);
    }
}

/// Draws into a buffer; `keys` has the help of the keyboard drawn as well.
pub fn render(looks: &Looks, keys: bool, area: Rect, buffer: &mut Buffer) {
    let (head, help) = (head(looks, area.width), u16::from(keys));
    let lines = (head.len() as u16).min(area.height);
    Paragraph::new(head).render(Rect { height: lines, ..area }, buffer);
    let below = Rect { y: area.y + lines, height: area.height.saturating_sub(lines + help), ..area };
    let shown: Vec<Table> = Table::ALL.into_iter().filter(|table| is_shown(looks, *table)).collect();
    let heights = heights(looks, &shown, below.height);
    let mut y = below.y;
    for (table, height) in shown.into_iter().zip(heights) {
        draw_table(looks, table, keys, Rect { y, height, ..below }, buffer);
        y += height;
    }
    if keys && area.height > lines {
        help_line(looks).render(Rect { y: area.bottom() - 1, height: 1, ..area }, buffer);
    }
}

/// Not everybody has quotas, sales and a ledger: without one there is no table.
fn is_shown(looks: &Looks, table: Table) -> bool {
    match table {
        Table::HotKeys | Table::Nodes => true,
        Table::Quotas | Table::Sales | Table::Ledger => !looks.all_rows(table).is_empty(),
    }
}

/// Lines for each table, its head and the free line above it included: the one with the focus takes what the others leave.
fn heights(looks: &Looks, shown: &[Table], height: u16) -> Vec<u16> {
    let whole = |table: &Table| looks.rows(*table).len().clamp(1, usize::from(u16::MAX) - 2) as u16 + 2;
    if shown.iter().map(|table| u32::from(whole(table))).sum::<u32>() <= u32::from(height) {
        return shown.iter().map(whole).collect();
    }
    let beside = |table: &&Table| **table != looks.focus;
    let taken: u16 = shown.iter().filter(beside).map(|table| whole(table).min(ROWS_BESIDE + 2)).sum();
    let own = height.saturating_sub(taken).max(3).min(height);
    let mut left = height - own;
    let mut lines = |table: &Table| {
        if *table == looks.focus {
            return own;
        }
        let given = whole(table).min(ROWS_BESIDE + 2).min(left);
        left -= given;
        given
    };
    shown.iter().map(&mut lines).collect()
}

fn head(looks: &Looks, columns: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(fault) = &looks.fault {
        lines.extend(wrapped(
            &format!("{fault}. Trying again; q ends."),
            columns,
            Style::new().fg(Color::Red).bold(),
        ));
    }
    if looks.frame.is_null() {
        return lines;
    }
    let (version, kind) =
        (looks.text(&["stats", "gateway", "version"]), looks.text(&["stats", "upstream_kind"]));
    let (up_s, clients) =
        (looks.number(&["stats", "uptime_s"]), looks.number(&["stats", "totals", "clients"]));
    let who =
        format!("hotgate {version}  up {}  {} clients  {kind}", duration_s(up_s), whole(clients as i64));
    lines.push(Line::from(fit(&who, columns.into())).dim());
    let status = &looks.frame["stats"]["status"];
    let first = format!("[{}] {}", text(&status["level"]), text(&status["sentence"]));
    lines.extend(wrapped(&first, columns, style_of(&text(&status["level"])).bold()));
    for other in status["others"].as_array().into_iter().flatten() {
        let sentence = format!("  [{}] {}", text(&other["level"]), text(&other["sentence"]));
        lines.extend(wrapped(&sentence, columns, style_of(&text(&other["level"]))));
    }
    // What is lost stays lost: it is told of when its cause has ended too. While all of it is recent, the status line says it.
    let losses = looks.frame["stats"]["losses"].as_array().into_iter().flatten();
    for loss in losses.filter(|loss| loss["count"] != loss["recent"]) {
        lines.extend(wrapped(&format!("  {}", text(&loss["sentence"])), columns, style_of("warning")));
    }
    lines.extend(figures(looks, columns));
    lines
}

/// The figures of the last second, as many on a line as fit.
fn figures(looks: &Looks, columns: u16) -> Vec<Line<'static>> {
    let now = |at: &[&str]| looks.number(&[&["stats", "now"], at].concat());
    let time = |part: &str, quantile: &str| duration_us(now(&[part, quantile]));
    let parts = [
        format!("{}/s", rate(now(&["requests_per_s"]))),
        format!("p50 {}", time("request_time", "p50_us")),
        format!("p99 {}", time("request_time", "p99_us")),
        format!("Redis p99 {}", time("upstream_time", "p99_us")),
        format!("hotgate adds p99 {}", time("gateway_time", "p99_us")),
        format!("errors {}/s", rate(now(&["errors_per_s"]))),
        format!("refused {}/s", rate(now(&["refused_per_s"]))),
        format!("combined {} -> {}/s", rate(now(&["offered_per_s"])), rate(now(&["flushed_per_s"]))),
    ];
    let mut lines = vec![String::new()];
    for part in parts {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 2 + part.chars().count() > usize::from(columns) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let gap = if line.is_empty() { "" } else { "  " };
            *line += &format!("{gap}{part}");
        }
    }
    lines.into_iter().map(Line::from).collect()
}

/// A sentence over as many lines as it takes, broken between words.
fn wrapped(sentence: &str, columns: u16, style: Style) -> Vec<Line<'static>> {
    let lines = sentence.chars().count() as u16 / columns.max(1) * 2 + 2;
    let area = Rect::new(0, 0, columns, lines);
    let mut buffer = Buffer::empty(area);
    Paragraph::new(sentence.to_owned()).wrap(Wrap { trim: false }).render(area, &mut buffer);
    let lines = (0..lines).map(|line| super::line_of(&buffer, line));
    lines.filter(|line| !line.is_empty()).map(|line| Line::styled(line, style)).collect()
}

fn style_of(level: &str) -> Style {
    match level {
        "critical" => Style::new().fg(Color::Red),
        "warning" => Style::new().fg(Color::Yellow),
        "ok" => Style::new().fg(Color::Green),
        _ => Style::new(),
    }
}

fn draw_table(looks: &Looks, table: Table, keys: bool, area: Rect, buffer: &mut Buffer) {
    // A free line, then the head.
    let area = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    if area.height == 0 {
        return;
    }
    let columns: Vec<(usize, &Column)> =
        table.columns().iter().enumerate().filter(|(_, column)| column.from <= area.width).collect();
    let others: u16 = columns.iter().map(|(_, column)| column.width + u16::from(column.width > 0)).sum();
    let name_width = area.width.saturating_sub(others);
    let width = |column: &Column| if column.width == 0 { name_width } else { column.width };
    let look = looks.look(table);
    let rows = looks.rows(table);
    let hidden = hidden(rows.len(), look.scrolled, usize::from(area.height.saturating_sub(1)));
    let title = |(place, column): &(usize, &Column)| {
        let mark = match (look.sorted == Some(*place), look.reversed) {
            (true, false) => "▼",
            (true, true) => "▲",
            _ => "",
        };
        let (chosen, hidden) = match *place {
            0 => (if keys && table == looks.focus { "> " } else { "" }, hidden.as_str()),
            _ => ("", ""),
        };
        cell(fit(&format!("{chosen}{}{mark}{hidden}", column.title), width(column).into()), column.right)
    };
    let head =
        Row::new(columns.iter().map(title)).style(Style::new().add_modifier(Modifier::BOLD | Modifier::DIM));
    let shown = rows.iter().skip(look.scrolled.min(rows.len().saturating_sub(1)));
    let lines = shown.map(|row| {
        Row::new(columns.iter().map(|(_, column)| {
            let wide = usize::from(width(column));
            let shown = fit(&(column.text)(row, wide), wide);
            cell(shown, column.right).style((column.style)(row))
        }))
    });
    let widths: Vec<Constraint> =
        columns.iter().map(|(_, column)| Constraint::Length(width(column))).collect();
    Widget::render(Grid::new(lines, widths).header(head).column_spacing(1), area, buffer);
    if rows.is_empty() && area.height > 1 {
        let nothing = match (looks.filter.is_empty(), table) {
            (false, _) => "(none by this filter)",
            (_, Table::HotKeys) => "(no key is hot)",
            _ => "(none)",
        };
        Line::from(nothing).dim().render(Rect { y: area.y + 1, height: 1, ..area }, buffer);
    }
}

/// Which rows of how many are seen; nothing where all are.
fn hidden(rows: usize, scrolled: usize, lines: usize) -> String {
    let first = scrolled.min(rows.saturating_sub(1));
    let last = (first + lines).min(rows);
    if first == 0 && last == rows || lines == 0 {
        String::new()
    } else {
        format!(" {}-{last} of {rows}", first + 1)
    }
}

fn cell(content: String, right: bool) -> Cell<'static> {
    let line = Text::from(content);
    Cell::from(if right { line.right_aligned() } else { line })
}

fn help_line(looks: &Looks) -> Line<'static> {
    if looks.typing {
        return Line::from(vec![
            Span::raw("filter: ").bold(),
            Span::raw(format!("{}_", looks.filter)),
            Span::raw("  Enter keeps it, Esc drops it").dim(),
        ]);
    }
    let filter = if looks.filter.is_empty() { String::new() } else { format!("  filter: {}", looks.filter) };
    Line::from(vec![
        Span::raw("q quit  Tab table  s sort  r reverse  / filter  ↑↓ scroll").dim(),
        Span::raw(filter).bold(),
    ])
}
