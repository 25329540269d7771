//! What the made-up gateway shows, served over HTTP on a thread that stands for the control thread.

use std::sync::{Arc, mpsc as std_mpsc};

use hotgate::monitor::board::{Board, Frame};
use hotgate::monitor::http::{AdminToken, HttpOptions, serve};
use hotgate::monitor::sampler::{Clock, Sampler, TICK_MS};
use hotgate::net::BoundListener;
use tokio::sync::{mpsc, oneshot};

use super::{START_MS, Stage};

/// A board that shows the story's last frame, served on a free port of loopback.
pub struct Served {
    pub url: String,
    pub stage: Arc<Stage>,
    pub board: Arc<Board>,
    pub sampler: Sampler,
    pub clock: Clock,
    stop: oneshot::Sender<()>,
    /// Takes what its control thread is to wait for.
    held_up: mpsc::UnboundedSender<HeldUp>,
}

/// Says that the thread waits, and what it waits for.
type HeldUp = (oneshot::Sender<()>, std_mpsc::Receiver<()>);

impl Served {
    /// Serves `stage` as it is now.
    pub async fn start(stage: Arc<Stage>, token: Option<&'static str>) -> Self {
        let sources = Arc::new(stage.sources());
        let mut sampler = Sampler::new(sources.clone(), START_MS);
        let clock = Clock { monotonic_ms: 0, unix_ms: START_MS };
        let view = sampler.tick(clock);
        let board = Arc::new(Board::new(Frame::new(view, sampler.history())));
        let listener = BoundListener::alone(([127, 0, 0, 1], 0).into()).unwrap();
        let url = format!("http://{}", listener.address().unwrap());
        let tokens: Arc<[AdminToken]> =
            token.map(|token| AdminToken::new("admin.token", token, true)).into_iter().collect();
        let options = HttpOptions { tokens: Box::new(move || tokens.clone()), connections_max: 64 };
        let (stop, stopped) = oneshot::channel();
        let (held_up, mut to_be_held_up) = mpsc::unbounded_channel::<HeldUp>();
        let shown = board.clone();
        // A runtime of its own, whose end closes every connection at once, as the end of the process would.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(async move {
                    while let Some((waits, end)) = to_be_held_up.recv().await {
                        let _ = waits.send(());
                        // Until the other end is dropped.
                        let _ = end.recv();
                    }
                });
                tokio::select! {
                    served = serve(listener, shown, sources, options, std::future::pending()) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { url, stage, board, sampler, clock, stop, held_up }
    }

    /// The thread on which figures are answered does nothing until the result is dropped.
    pub async fn hold_up(&self) -> std_mpsc::Sender<()> {
        let (resume, end) = std_mpsc::channel();
        let (waits, waiting) = oneshot::channel();
        self.held_up.send((waits, end)).unwrap();
        waiting.await.unwrap();
        resume
    }

    /// Ends the server and cuts its connections.
    pub fn stop(self) {
        let _ = self.stop.send(());
    }

    /// Samples once more, a tick later.
    pub fn tick(&mut self) {
        self.clock.monotonic_ms += TICK_MS;
        self.clock.unix_ms += TICK_MS;
        // A worker publishes whatever it does.
        self.stage.cell.publish(&self.stage.cell.load());
        let view = self.sampler.tick(self.clock);
        self.board.publish(Frame::new(view, self.sampler.history()));
    }
}
