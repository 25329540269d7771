//! The webhook: JSON messages posted one after another, in order, from a bounded queue.
//!
//! A message that finds the queue full is dropped and counted: news of hot keys is worth most when fresh, and
//! nothing may wait for it. A message is tried a bounded number of times with exponential backoff and jitter,
//! then given up and counted. Any 2xx answer is delivery; 4xx other than 408 and 429 is not tried again,
//! since it would be refused again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rand::Rng;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

use super::NoticeFigures;
use crate::monitor::http_client::HttpClient;

/// The pause before the second attempt; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Where and how to post.
#[derive(Clone)]
pub struct WebhookSettings {
    /// `http://...` or `https://...`; may hold a secret and is never logged.
    pub url: String,
    /// How it is reached, or why it can't be.
    pub client: Result<HttpClient, String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts for each message; at least 1.
    pub attempts_max: usize,
    /// Messages that may wait.
    pub queue_max: usize,
}

/// The sending end. Dropping it lets the task finish what is queued and end.
pub struct WebhookQueue {
    messages: mpsc::Sender<Bytes>,
    figures: Arc<NoticeFigures>,
}

impl WebhookQueue {
    /// Starts the task that posts, on the current runtime.
    pub fn start(settings: WebhookSettings, figures: Arc<NoticeFigures>) -> Self {
        let (messages, mut queue) = mpsc::channel::<Bytes>(settings.queue_max.max(1));
        let counts = Arc::clone(&figures);
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                let count = match deliver(&settings, message).await {
                    Ok(()) => &counts.webhook_delivered,
                    Err(why) => {
                        warn!(target: "hotgate::webhook", why, "a notice was given up");
                        &counts.webhook_failed
                    }
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { messages, figures }
    }

    /// Queues a message, or drops it when the queue is full. Never waits.
    pub fn offer(&self, message: Bytes) {
        if self.messages.try_send(message).is_err() {
            self.figures.webhook_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn deliver(settings: &WebhookSettings, message: Bytes) -> Result<(), String> {
    let mut pause = BACKOFF_MIN;
    let mut attempt = 1;
    loop {
        let client = settings.client.as_ref().map_err(Clone::clone)?;
        let json = Some(message.clone());
        let answer = client.exchange(Method::POST, &settings.url, None, json, settings.timeout).await;
        let why = match answer {
            Ok(response) if (200..300).contains(&response.status) => return Ok(()),
            Ok(response) if is_final(response.status) => {
                return Err(format!("refused with {}", response.status));
            }
            Ok(response) => format!("answered with {}", response.status),
            Err(why) => why,
        };
        if attempt >= settings.attempts_max {
            return Err(format!("{why}, after {attempt} attempts"));
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(BACKOFF_MAX);
        attempt += 1;
    }
}

fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && status != 408 && status != 429
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::StatusCode, routing::post};
    use std::sync::Mutex;
    use tokio::net::TcpListener;

    /// A receiver that answers with `statuses` in turn, then with 200, and keeps the bodies that it accepted.
    async fn receiver(statuses: Vec<u16>) -> (String, Arc<Mutex<Vec<String>>>) {
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let (bodies, statuses) = (accepted.clone(), Arc::new(Mutex::new(statuses)));
        let handler = move |body: String| async move {
            let mut statuses = statuses.lock().unwrap();
            let status = if statuses.is_empty() { 200 } else { statuses.remove(0) };
            if status == 200 {
                bodies.lock().unwrap().push(body);
            }
            StatusCode::from_u16(status).unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(handler))).await });
        (url, accepted)
    }

    fn settings(url: String) -> WebhookSettings {
        let client = HttpClient::new(&url, None);
        WebhookSettings { url, client, timeout: Duration::from_secs(5), attempts_max: 3, queue_max: 4 }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_failing_receiver_is_tried_again_and_order_holds() {
        let (url, accepted) = receiver(vec![500, 429]).await;
        let figures = Arc::new(NoticeFigures::default());
        let queue = WebhookQueue::start(settings(url), figures.clone());
        queue.offer(Bytes::from_static(b"1"));
        queue.offer(Bytes::from_static(b"2"));
        until(|| figures.view().webhook_delivered == 2).await;
        assert_eq!(*accepted.lock().unwrap(), ["1", "2"]);
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let (url, accepted) = receiver(vec![403]).await;
        let figures = Arc::new(NoticeFigures::default());
        let queue = WebhookQueue::start(settings(url), figures.clone());
        queue.offer(Bytes::from_static(b"1"));
        until(|| figures.view().webhook_failed == 1).await;
        assert!(accepted.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let figures = Arc::new(NoticeFigures::default());
        let queue = WebhookQueue::start(settings("http://127.0.0.1:1/".into()), figures.clone());
        // The task has not run yet, so that the queue holds four and the others are dropped.
        for _ in 0..10 {
            queue.offer(Bytes::from_static(b"x"));
        }
        assert_eq!(figures.view().webhook_dropped, 6);
    }
}
