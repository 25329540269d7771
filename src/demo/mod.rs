//! `hotgate demo`: a private Redis Cluster with the gateway in front of it, for someone who just cloned this.
//!
//! The cluster is real: three masters from the server program on PATH, in a temporary directory, on free ports of
//! 127.0.0.1. The gateway is the one that `hotgate serve` runs, in this process.
//!
//! All of it goes when the demo ends: on Ctrl-C and SIGTERM the gateway drains and then the servers are killed; a start
//! that fails half way kills what it had started; and after a `kill -9` of the demo a watchdog process does the same
//! within a moment (see `private_redis`). What remains in no case: data, processes, files.

pub mod private_redis;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::config::{Address, Config, UpstreamKindChoice};
use crate::control::upstream_client::{Credentials, Timeouts, UpstreamClient};
use private_redis::{PrivateCluster, PrivateRedisError};

/// Masters of the private cluster: as few as Redis recommends at least.
const MASTERS: usize = 3;

/// Between two looks whether the gateway answers.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(1), reply: Duration::from_secs(1) };

/// Completes when the gateway is to drain and end.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no demo.
#[derive(Debug)]
pub enum DemoError {
    /// The private cluster did not start.
    Redis(PrivateRedisError),
    /// The gateway did not start, or failed. Its words.
    Gateway(String),
    /// No runtime, no signal handler, or no free port.
    Io(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => error.fmt(f),
            Self::Gateway(why) => f.write_str(why),
            Self::Io(error) => write!(f, "cannot start the demo: {error}"),
        }
    }
}

impl std::error::Error for DemoError {}

impl From<PrivateRedisError> for DemoError {
    fn from(error: PrivateRedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs the demo until a signal ends it. `start_gateway` serves with the configuration it is given until the shutdown
/// completes; it runs on a current-thread runtime that this makes.
///
/// # Errors
/// Every [`DemoError`]; everything that had been started is gone by then.
pub fn run<Gateway, Failure>(start_gateway: impl FnOnce(Config, Shutdown) -> Gateway) -> Result<(), DemoError>
where
    Gateway: Future<Output = Result<(), Failure>>,
    Failure: fmt::Display,
{
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = Box::pin(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        run_until(shutdown, start_gateway, &mut io::stdout()).await
    })
}

async fn run_until<Gateway, Failure>(
    mut shutdown: Shutdown,
    start_gateway: impl FnOnce(Config, Shutdown) -> Gateway,
    out: &mut impl Write,
) -> Result<(), DemoError>
where
    Gateway: Future<Output = Result<(), Failure>>,
    Failure: fmt::Display,
{
    let cluster = tokio::select! {
        cluster = PrivateCluster::start(MASTERS, 0, &[]) => cluster?,
        () = &mut shutdown => return Ok(()),
    };
    let mut config = Config::default();
    config.upstream.servers = cluster.addresses();
    config.upstream.kind = UpstreamKindChoice::Cluster;
    let listen = free_address(6380)?;
    let admin = free_address(9380)?;
    config.gateway.listen = vec![listen];
    config.admin.listen = Some(admin);
    let gateway = start_gateway(config, shutdown);
    tokio::pin!(gateway);
    let served = tokio::select! {
        served = &mut gateway => served,
        () = until_it_answers(listen) => {
            // A closed standard output is no reason to end the demo.
            let _ = out.write_all(guide(&cluster, listen, admin).as_bytes()).and_then(|()| out.flush());
            gateway.await
        }
    };
    served.map_err(|failure| DemoError::Gateway(failure.to_string()))
}

/// The usual port of 127.0.0.1, or any other when that is taken.
fn free_address(usual_port: u16) -> io::Result<SocketAddr> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, usual_port));
    TcpListener::bind(usual)
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .and_then(|listener| listener.local_addr())
}

async fn until_it_answers(listen: SocketAddr) {
    let address = Address::new(listen.ip().to_string(), listen.port());
    loop {
        if let Ok(mut client) = UpstreamClient::connect(&address, &Credentials::default(), TIMEOUTS).await
            && client.command(&[b"GET", b"hotgate:demo"]).await.is_ok()
        {
            return;
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn guide(cluster: &PrivateCluster, listen: SocketAddr, admin: SocketAddr) -> String {
    let nodes: Vec<String> = cluster.addresses().iter().map(ToString::to_string).collect();
    let program = std::env::args().next().unwrap_or_else(|| "hotgate".to_owned());
    let port = listen.port();
    format!(
        "\n\
         A private Redis Cluster runs at {nodes}.\n\
         hotgate stands before it at {listen}. Try, in another terminal:\n\
         \n\
         \x20 redis-cli -p {port} INCR 'sku:{{8421}}:reserved'\n\
         \x20 redis-benchmark -p {port} -c 50 -n 1000000 INCR 'sku:{{8421}}:reserved'    # a hot counter\n\
         \x20 redis-benchmark -p {port} -c 50 -n 1000000 -r 100000 -t get,incr         # no hot key\n\
         \x20 redis-cli -p {port} HOTKEYS GET\n\
         \x20 {program} top --admin http://{admin}\n\
         \n\
         Dashboard: http://{admin}/\n\
         Ctrl-C ends all of it; nothing is kept.\n",
        nodes = nodes.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers anything with a null, as the gateway would answer `GET` of a key that is not there.
    async fn stand_in(config: Config, shutdown: Shutdown) -> Result<(), String> {
        let listener =
            tokio::net::TcpListener::bind(config.gateway.listen[0]).await.map_err(|e| e.to_string())?;
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 256];
                if stream.read(&mut request).await.is_ok() {
                    let _ = stream.write_all(b"$-1\r\n").await;
                }
            }
        };
        tokio::select! {
            () = serve => Ok(()),
            () = shutdown => Ok(()),
        }
    }

    async fn is_gone(address: &Address) -> bool {
        UpstreamClient::connect(address, &Credentials::default(), TIMEOUTS).await.is_err()
    }

    /// Tells when the guide has been written.
    struct Announced(Option<tokio::sync::oneshot::Sender<()>>, Vec<u8>);

    impl Write for Announced {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.take().map(|sender| sender.send(()));
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_demo_serves_until_it_is_told_to_end_and_leaves_nothing() {
        let (sender, announced) = tokio::sync::oneshot::channel();
        let mut out = Announced(Some(sender), Vec::new());
        let shutdown = Box::pin(async { announced.await.unwrap_or(()) });
        let given = RefCell::new(None);
        let start = |config: Config, shutdown| {
            *given.borrow_mut() = Some(config.clone());
            stand_in(config, shutdown)
        };
        run_until(shutdown, start, &mut out).await.unwrap();
        let config = given.into_inner().unwrap();
        assert_eq!(config.upstream.servers.len(), MASTERS);
        let guide = String::from_utf8(out.1).unwrap();
        assert!(
            guide.contains(&format!("-p {} INCR 'sku:{{8421}}:reserved'", config.gateway.listen[0].port()))
        );
        for server in &config.upstream.servers {
            assert!(is_gone(server).await);
        }
    }

    #[tokio::test]
    async fn a_gateway_that_fails_takes_the_cluster_with_it() {
        let servers = RefCell::new(Vec::new());
        let fail = async |config: Config, _shutdown: Shutdown| {
            *servers.borrow_mut() = config.upstream.servers;
            Err("no".to_owned())
        };
        let outcome = run_until(Box::pin(std::future::pending()), fail, &mut io::sink()).await;
        assert!(matches!(outcome, Err(DemoError::Gateway(why)) if why == "no"));
        for server in servers.take() {
            assert!(is_gone(&server).await);
        }
    }

    #[tokio::test]
    async fn ending_the_demo_while_it_starts_starts_no_gateway() {
        let never = async |_: Config, _: Shutdown| -> Result<(), String> { panic!("started") };
        run_until(Box::pin(std::future::ready(())), never, &mut io::sink()).await.unwrap();
    }
}
