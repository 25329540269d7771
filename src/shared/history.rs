//! How the gateway fared over time: a point for each second of the last ten minutes, and one for each minute of the last day.
//!
//! The sampler makes the points and shows them. With `gateway.state_dir` they survive a restart: what former processes left is handed over
//! once, and each new point goes to the thread that writes ([`crate::control::history_file`]) over a bounded channel. At its bound a
//! point is kept in memory only: a disk that stands still holds nobody up.
//!
//! Owns no file and computes no figure.

use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What a point tells, in its order. The names are those of `/api/history`.
pub const FIGURES: [&str; 7] =
    ["requests_per_s", "errors_per_s", "refused_per_s", "p50_us", "p99_us", "offered_per_s", "flushed_per_s"];

/// How far apart points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The last ten minutes.
    Second,
    /// The last day.
    Minute,
}

impl Step {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Second, Self::Minute];

    /// Between two points, in milliseconds.
    pub fn ms(self) -> u64 {
        match self {
            Self::Second => 1_000,
            Self::Minute => 60_000,
        }
    }

    /// Points that are kept: 600 and 1,440 of 36 bytes, 72 KiB together.
    pub fn points_max(self) -> usize {
        match self {
            Self::Second => 600,
            Self::Minute => 24 * 60,
        }
    }

    /// Its word in the file and in questions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
        }
    }

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.word() == word)
    }
}

/// The figures of a second or of a minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// How long it lasted.
    pub step: Step,
    /// When it ended, in milliseconds of the Unix clock.
    pub at_ms: u64,
    /// In the order of [`FIGURES`].
    pub figures: [f32; FIGURES.len()],
}

/// The thread that writes.
pub struct Writer {
    /// Where it takes points; it ends when nothing more can come.
    pub points: SyncSender<Point>,
    /// The thread itself.
    pub thread: JoinHandle<()>,
}

/// What former processes left, and where new points go. Only cold threads take its locks.
#[derive(Default)]
pub struct KeptHistory {
    former: Mutex<Vec<Point>>,
    writer: Mutex<Option<Writer>>,
}

impl KeptHistory {
    /// With these points of former processes, the oldest of each step first.
    pub fn new(former: Vec<Point>, writer: Option<Writer>) -> Self {
        Self { former: Mutex::new(former), writer: Mutex::new(writer) }
    }

    /// The points of former processes, for who asks first.
    pub fn take_former(&self) -> Vec<Point> {
        std::mem::take(&mut *locked(&self.former))
    }

    /// Has a point written, if there is where to.
    pub fn keep(&self, point: Point) {
        if let Some(writer) = &*locked(&self.writer) {
            // One that finds no room is missing after a restart, as a gap; the writer says that it is behind.
            let _ = writer.points.try_send(point);
        }
    }

    /// Has all written that was kept, and lets the writer end.
    pub fn close(&self) {
        let writer = locked(&self.writer).take();
        if let Some(Writer { points, thread }) = writer {
            drop(points);
            // A panic has been printed by the thread itself.
            let _ = thread.join();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves a list that is still a list.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
