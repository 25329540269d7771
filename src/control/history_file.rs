//! The gateway's history on disk: `history.csv` in `gateway.state_dir`, a line for each point (`second,1790000000000,52000,...`).
//!
//! Owns the thread that writes, off every other thread. The file is written anew every ten seconds and at the end, beside the former one
//! and then in its place, so that a crash leaves one that is whole and at most that old. It holds no more points than are shown, some
//! 200 KiB. A line that can't be read is passed over.
//!
//! One process writes at a time: another one in the same directory waits for the lock, as in [`super::kept_file`], and writes when the former
//! has ended.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::shared::history::{FIGURES, KeptHistory, Point, Step, Writer};

/// Between two writings.
const PERIOD: Duration = Duration::from_secs(10);

/// Points that may wait for the thread: four minutes of them.
const WAITING_MAX: usize = 256;

/// More is not read of a file: some twenty times what is written.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads what former processes left in the directory, and starts the thread that writes there. Without a directory nothing is kept.
///
/// # Errors
/// The directory can't be made, or the file in it can't be read.
pub fn start(directory: Option<&Path>) -> io::Result<KeptHistory> {
    let Some(directory) = directory else { return Ok(KeptHistory::default()) };
    fs::create_dir_all(directory)?;
    let files = Files::of(directory);
    let former = files.read()?;
    let kept = Kept::from(&former);
    let (sender, points) = sync_channel(WAITING_MAX);
    let thread =
        thread::Builder::new().name("history".to_owned()).spawn(move || write_all(files, kept, &points))?;
    Ok(KeptHistory::new(former, Some(Writer { points: sender, thread })))
}

struct Files {
    current: PathBuf,
    new: PathBuf,
    lock: PathBuf,
}

impl Files {
    fn of(directory: &Path) -> Self {
        let named = |end| directory.join(format!("history.{end}"));
        Self { current: named("csv"), new: named("csv.new"), lock: named("lock") }
    }

    fn read(&self) -> io::Result<Vec<Point>> {
        let mut text = Vec::new();
        match File::open(&self.current) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // What stands behind the last line's end was cut off.
        let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = text[..whole].split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| point_of(std::str::from_utf8(line).ok()?)).collect())
    }

    /// The lock, if no other process has it.
    fn lock(&self) -> io::Result<Option<File>> {
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.lock)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.new);
        let mut file = options?;
        file.write_all(kept.text().as_bytes())?;
        file.sync_data()?;
        fs::rename(&self.new, &self.current)
    }
}

/// The points that are written.
#[derive(Default)]
struct Kept {
    points: [VecDeque<Point>; Step::ALL.len()],
}

impl Kept {
    fn from(points: &[Point]) -> Self {
        let mut kept = Self::default();
        points.iter().for_each(|point| kept.add(*point));
        kept
    }

    fn add(&mut self, point: Point) {
        let points = &mut self.points[point.step as usize];
        if points.len() == point.step.points_max() {
            points.pop_front();
        }
        points.push_back(point);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for point in self.points.iter().flatten() {
            text.push_str(point.step.word());
            text.push_str(&format!(",{}", point.at_ms));
            point.figures.iter().for_each(|figure| text.push_str(&format!(",{figure}")));
            text.push('\n');
        }
        text
    }
}

/// The point that a line tells of, if it tells of one.
fn point_of(line: &str) -> Option<Point> {
    let mut words = line.split(',');
    let step = Step::parse(words.next()?)?;
    let at_ms = words.next()?.parse().ok()?;
    let mut figures = [0.0; FIGURES.len()];
    for figure in &mut figures {
        *figure = words.next()?.parse().ok().filter(|value: &f32| value.is_finite() && *value >= 0.0)?;
    }
    words.next().is_none().then_some(Point { step, at_ms, figures })
}

/// Writes what comes until nothing more can come.
fn write_all(files: Files, mut kept: Kept, points: &Receiver<Point>) {
    let (mut lock, mut complained, mut written) = (None, false, Instant::now());
    loop {
        let ended = match points.recv_timeout(PERIOD) {
            Ok(point) => {
                kept.add(point);
                false
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if !ended && written.elapsed() < PERIOD {
            continue;
        }
        written = Instant::now();
        match write_once(&files, &mut lock, &kept) {
            Ok(()) => complained = false,
            Err(error) if !complained => {
                let file = files.current.display();
                tracing::error!(%file, "the history can't be written, and is kept in memory: {error}");
                complained = true;
            }
            Err(_) => {}
        }
        if ended {
            return;
        }
    }
}

fn write_once(files: &Files, lock: &mut Option<File>, kept: &Kept) -> io::Result<()> {
    if lock.is_none() {
        *lock = files.lock()?;
    }
    // Another process writes still.
    if lock.is_none() {
        return Ok(());
    }
    files.write(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: Step, number: u64) -> Point {
        let figures = [number as f32, 0.5, 0.0, 210.25, 1e7, 0.0, 3.0];
        Point { step, at_ms: number * step.ms(), figures }
    }

    #[test]
    fn points_survive_a_restart_and_the_file_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let first = start(Some(directory.path())).unwrap();
        assert_eq!(first.take_former(), []);
        // Fewer than may wait at a time.
        for number in 1..=60 {
            first.keep(point(Step::Second, number));
            first.keep(point(Step::Minute, number));
        }
        first.close();
        first.keep(point(Step::Second, 99));
        let second = start(Some(directory.path())).unwrap();
        let former = second.take_former();
        let expected: Vec<Point> =
            Step::ALL.iter().flat_map(|step| (1..=60).map(|number| point(*step, number))).collect();
        assert_eq!(former, expected);
        assert_eq!(second.take_former(), [], "they are handed over once");
        second.close();

        let mut kept = Kept::default();
        (0..9_000).for_each(|number| kept.add(point(Step::Minute, number)));
        Files::of(directory.path()).write(&kept).unwrap();
        let read = Files::of(directory.path()).read().unwrap();
        assert_eq!((read.len(), read[0].at_ms), (1440, (9_000 - 1440) * 60_000));
    }

    #[test]
    fn what_is_torn_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::of(directory.path());
        let mut text = Kept::from(&[point(Step::Second, 1), point(Step::Second, 2)]).text().into_bytes();
        text.extend(b"second,3000,1,2\n\xff\xfe\0\nhour,1,1,1,1,1,1,1,1\nsecond,4000,1,1,1,1,1,NaN,1\nsecond,5000,1,1,1,1,1,1,-1\n");
        text.extend(Kept::from(&[point(Step::Minute, 7)]).text().into_bytes());
        // Without its end the last figure may be another one.
        text.extend(b"second,6000,1,1,1,1,1,1,12");
        fs::write(&files.current, text).unwrap();
        let read = files.read().unwrap();
        assert_eq!(read, [point(Step::Second, 1), point(Step::Second, 2), point(Step::Minute, 7)]);
        fs::write(&files.current, "\0\0\0").unwrap();
        assert_eq!(files.read().unwrap(), []);
    }

    #[test]
    fn a_second_process_writes_once_the_first_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| start(Some(directory.path())).unwrap());
        let files = Files::of(directory.path());
        let held = files.lock().unwrap().unwrap();
        second.keep(point(Step::Second, 2));
        second.close();
        assert_eq!(files.read().unwrap(), [], "another process has the lock");
        drop(held);
        first.keep(point(Step::Second, 1));
        first.close();
        assert_eq!(files.read().unwrap(), [point(Step::Second, 1)]);
    }
}
