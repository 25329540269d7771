//! `hotgate top`: what the dashboard shows, in a terminal.
//!
//! It asks the HTTP side once a second and draws with ratatui, or writes what it was answered: `--json` one object a second,
//! `--once` one frame as text, without any escape sequence. `fetch` asks, `looks` keeps what the person at the keyboard chose,
//! `tables` says what is in which column, `draw` lays it out. Nothing but this file touches the terminal.

mod draw;
mod fetch;
mod looks;
mod tables;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::Rect;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::console;
use crate::monitor::http_client::HttpClient;
use draw::Screen;
use fetch::{Fault, fetch};
use looks::{Looks, Next};

/// Between two frames.
const PERIOD: Duration = Duration::from_secs(1);
/// Between two looks at the keyboard: soon enough for a typing hand.
const KEYS_PERIOD: Duration = Duration::from_millis(30);
/// Columns of what is printed when the terminal does not tell (`COLUMNS` is not exported by most shells).
const COLUMNS_DEFAULT: u16 = 120;
/// Narrower and wider than this, columns would be of no use.
const COLUMNS: std::ops::RangeInclusive<u16> = 60..=400;
/// Lines of what is printed at the most.
const LINES_MAX: u16 = 200;
/// Events of the keyboard that may wait. At the bound further ones wait in the terminal.
const EVENTS_MAX: usize = 64;

/// What the command line said.
pub struct TopOptions {
    /// Where the gateway's HTTP side is.
    pub admin: String,
    /// How it is reached.
    pub client: HttpClient,
    /// Its token, where one is configured.
    pub token: Option<String>,
    /// Print one frame and end.
    pub once: bool,
    /// Print frames as JSON, one object a line.
    pub json: bool,
}

/// Runs until it is ended, or for one frame. The error is a sentence for the person at the terminal.
pub async fn run(options: &TopOptions) -> Result<(), String> {
    if options.json {
        return print_json(options).await;
    }
    if options.once || !std::io::stdout().is_terminal() {
        return print_text(options).await;
    }
    // A token that is refused is said before the screen is taken.
    if let Err(Fault::Refused(why)) = fetch(options, &Looks::default()).await {
        return Err(why);
    }
    let mut terminal = ratatui::try_init().map_err(|error| format!("can't use the terminal: {error}"))?;
    let outcome = show(options, &mut terminal).await;
    ratatui::restore();
    outcome
}

/// Follows keyboard and clock until the person has enough.
async fn show(options: &TopOptions, terminal: &mut DefaultTerminal) -> Result<(), String> {
    let events = read_events();
    let mut looks = Looks::default();
    let mut due = Instant::now();
    loop {
        draw(terminal, &looks)?;
        tokio::select! {
            fetched = async {
                sleep_until(due).await;
                fetch(options, &looks).await
            } => {
                looks.take(fetched.map_err(Fault::into_sentence));
                due = Instant::now() + PERIOD;
            }
            next = pressed(&events, looks.clone()) => {
                let (next, changed) = next?;
                looks = changed;
                match next {
                    Next::Quit => return Ok(()),
                    Next::AskAgain => due = Instant::now(),
                    Next::Stay => {}
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Waits for the next event, and says what it changes.
async fn pressed(events: &Receiver<Event>, mut looks: Looks) -> Result<(Next, Looks), String> {
    loop {
        match events.try_recv() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                let next = looks.press(key);
                return Ok((next, looks));
            }
            Ok(Event::Resize(..)) => return Ok((Next::Stay, looks)),
            Ok(_) => {}
            Err(std::sync::mpsc::TryRecvError::Empty) => sleep(KEYS_PERIOD).await,
            Err(_) => return Err("the keyboard can't be read".to_owned()),
        }
    }
}

/// A thread that waits for the keyboard, since reading it blocks. It ends with the process.
fn read_events() -> Receiver<Event> {
    let (sender, events) = sync_channel(EVENTS_MAX);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    events
}

fn draw(terminal: &mut DefaultTerminal, looks: &Looks) -> Result<(), String> {
    let drawn = terminal.draw(|frame| frame.render_widget(Screen(looks), frame.area()));
    drawn.map(drop).map_err(|error| format!("can't draw: {error}"))
}

async fn print_text(options: &TopOptions) -> Result<(), String> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let mut looks = Looks::default();
    looks.take(Ok(fetch(options, &looks).await.map_err(Fault::into_sentence)?));
    console::print(&text(&looks, columns.unwrap_or(COLUMNS_DEFAULT)));
    Ok(())
}

async fn print_json(options: &TopOptions) -> Result<(), String> {
    let looks = Looks::default();
    let mut frame = fetch(options, &looks).await.map_err(Fault::into_sentence)?;
    loop {
        console::say(&frame.to_string());
        if options.once {
            return Ok(());
        }
        tokio::select! {
            () = sleep(PERIOD) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let fetched = fetch(options, &looks).await;
        frame = fetched.unwrap_or_else(|fault| json!({ "error": fault.into_sentence() }));
    }
}

/// The frame as lines of text, without the keyboard's help.
pub fn text(looks: &Looks, columns: u16) -> String {
    let area = Rect::new(0, 0, columns.clamp(*COLUMNS.start(), *COLUMNS.end()), LINES_MAX);
    let mut buffer = Buffer::empty(area);
    draw::render(looks, false, area, &mut buffer);
    let mut lines: Vec<String> = (0..area.height).map(|line| line_of(&buffer, line)).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n") + "\n"
}

/// The same as lines, of one frame in the shape of an event of `/api/stream`.
pub fn lines(frame: serde_json::Value, columns: u16) -> Vec<String> {
    let mut looks = Looks::default();
    looks.take(Ok(frame));
    text(&looks, columns).lines().map(str::to_owned).collect()
}

/// What stands in one line. A wide character takes two cells, of which the second holds nothing of its own.
fn line_of(buffer: &Buffer, line: u16) -> String {
    let mut text = String::new();
    let mut covered = 0;
    for column in 0..buffer.area.width {
        if covered > 0 {
            covered -= 1;
            continue;
        }
        let symbol = buffer[(column, line)].symbol();
        covered = ratatui::text::Span::raw(symbol).width().saturating_sub(1);
        text.push_str(symbol);
    }
    text.trim_end().to_owned()
}
