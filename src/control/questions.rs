//! Commands of clients that need the figures of all workers: `INFO`, `CLIENT LIST|KILL|UNBLOCK`, `HOTKEYS`, `HOTGATE`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::client_command;
use crate::command::Local;
use crate::resp::encode;
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::ControlRequest;

/// Answers questions until the process stops. Each is answered in a task of its own, so that a slow one delays no other.
pub async fn answer_questions(gateway: Arc<Gateway>, mut questions: mpsc::Receiver<ControlRequest>) {
    while let Some(question) = questions.recv().await {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let answer = answer(&gateway, &question).await;
            // The client may have gone.
            let _ = question.reply.send(answer);
        });
    }
}

async fn answer(gateway: &Gateway, question: &ControlRequest) -> Bytes {
    let mut out = Vec::new();
    match question.command {
        Local::Client => client_command::answer(gateway, question, &mut out).await,
        Local::Info => encode::bulk(
            &mut out,
            b"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nloading:0\r\n",
        ),
        _ => encode::error(&mut out, "ERR hotgate: not known"),
    }
    out.into()
}
