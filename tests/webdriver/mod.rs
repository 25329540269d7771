//! A browser under test: headless Chromium driven through ChromeDriver's WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2/>), spoken with the gateway's own HTTP client.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hotgate::monitor::http_client::exchange;
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long one WebDriver command may take; starting Chromium is the longest.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. Dropping it ends the driver, and the driver's Chromium with it.
pub struct Browser {
    session: String,
    _profile: tempfile::TempDir,
    _driver: Child,
}

/// ChromeDriver and its port. It ends by itself where another has got the same port for the other version of the protocol meanwhile.
async fn driver() -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver is installed (package chromium-driver)");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some((_, port)) = line.rsplit_once("successfully on port ") {
            return Some((driver, port.trim_end_matches('.').to_owned()));
        }
    }
    None
}

impl Browser {
    /// Starts ChromeDriver on a free port and Chromium with an empty profile.
    pub async fn start() -> Self {
        let mut attempts = 0;
        let (driver, port) = loop {
            if let Some(started) = driver().await {
                break started;
            }
            attempts += 1;
            assert!(attempts < 5, "chromedriver says its port");
        };
        let profile = tempfile::tempdir().unwrap();
        let base = format!("http://127.0.0.1:{port}");
        let session = command(Method::POST, &format!("{base}/session"), Some(capabilities(&profile))).await;
        let session = format!("{base}/session/{}", session["sessionId"].as_str().unwrap());
        Self { session, _profile: profile, _driver: driver }
    }

    /// Opens a page and waits for it to load.
    pub async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    /// The size of the window, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        let body = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.post("goog/cdp/execute", body).await;
    }

    /// Runs a script in the page; its value is what the script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Runs a script that calls its last argument with the value.
    pub async fn run_async(&self, script: &str) -> Value {
        self.post("execute/async", json!({ "script": script, "args": [] })).await
    }

    /// The theme that the reader prefers, `light` or `dark`.
    pub async fn theme(&self, theme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        let body = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": feature } });
        self.post("goog/cdp/execute", body).await;
    }

    /// Writes what the window shows to a PNG file.
    pub async fn screenshot(&self, path: &Path) {
        let answer = command(Method::GET, &format!("{}/screenshot", self.session), None).await;
        std::fs::write(path, decoded(answer.as_str().unwrap())).unwrap();
    }

    /// Presses a key, as WebDriver numbers those that are no letters.
    pub async fn press(&self, key: &str) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.post("actions", body).await;
    }

    /// Polls until the script returns true.
    pub async fn until(&self, script: &str, patience: Duration) {
        let started = Instant::now();
        while self.run(script).await != true {
            assert!(started.elapsed() < patience, "not within {patience:?}: {script}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the page logged as errors, violations of its content security policy among them.
    pub async fn errors(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        entries.filter(|entry| entry["level"] == "SEVERE").map(Value::to_string).collect()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        command(Method::POST, &format!("{}/{path}", self.session), Some(body)).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes its Chromium on the way out of the session; a blocking request is the way to wait
        // for it here.
        let session = self.session.clone();
        let closing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(exchange(Method::DELETE, &session, None, None, COMMAND_PATIENCE))
        });
        let _ = closing.join();
    }
}

/// The bytes behind base64.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let bytes = text.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, byte| bits << 6 | digit(*byte)) << (6 * (4 - four.len()));
        bits.to_be_bytes().into_iter().skip(1).take(four.len() - 1)
    });
    bytes.collect()
}

async fn command(method: Method, url: &str, body: Option<Value>) -> Value {
    let body = body.map(|body| body.to_string().into());
    let response = exchange(method, url, None, body, COMMAND_PATIENCE).await.unwrap();
    let mut answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(response.status, 200, "{url}: {answer}");
    answer["value"].take()
}

fn capabilities(profile: &tempfile::TempDir) -> Value {
    // Without the flags about background networking, Chromium looks up its maker's hosts at every start.
    let profile = format!("--user-data-dir={}", profile.path().display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &profile,
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}
