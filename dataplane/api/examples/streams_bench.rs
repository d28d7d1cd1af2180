//! What it costs to tell many clients of each change.
//!
//! Usage: `streams_bench host:port tenant token [clients [changes]]`. The tenant has a ServiceAccount `bench`, which is changed so often;
//! each client follows the tenant's ServiceAccounts. `e2e/bench/api` runs it.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: streams_bench host:port tenant token [clients [changes]]";
const PUT: &[u8] = b"event: put";
/// Longer than a change takes to reach everyone.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Server {
    address: String,
    tenant: String,
    token: String,
}

#[derive(Default)]
struct Heard {
    bytes: AtomicU64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, tenant, token, numbers @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let server = Server { address: address.clone(), tenant: tenant.clone(), token: token.clone() };
    let number = |at: usize, otherwise| numbers.get(at).map_or(Ok(otherwise), |text| text.parse()).map_err(|_| USAGE);
    measure(&server, number(0, 1000)?, number(1, 100)?).await
}

async fn measure(server: &Server, clients: usize, changes: usize) -> Result<()> {
    let heard = Arc::new(Heard::default());
    let (puts, mut seen) = watch::channel(vec![0u64; clients]);
    let puts = Arc::new(puts);
    let (ready, mut open) = watch::channel(0usize);
    let ready = Arc::new(ready);
    for client in 0..clients {
        let stream = server.follow().await?;
        tokio::spawn(listen(stream, client, heard.clone(), puts.clone(), ready.clone()));
    }
    timeout(WITHIN, open.wait_for(|open| *open == clients)).await??;
    let (before, began) = (heard.bytes.load(Ordering::Relaxed), Instant::now());
    let mut latencies = Vec::new();
    for change in 1..=changes as u64 {
        let start = Instant::now();
        server.change(change).await?;
        timeout(WITHIN, seen.wait_for(|puts| puts.iter().all(|count| *count >= change))).await??;
        latencies.push(start.elapsed());
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    let bytes = heard.bytes.load(Ordering::Relaxed) - before;
    println!("{clients} clients, {changes} changes one after the other in {seconds:.1} s");
    println!("from the request that changes to the last client that heard: p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99));
    println!("{} bytes a change and client", bytes / (clients as u64 * changes as u64));
    Ok(())
}

async fn listen(
    mut stream: TcpStream,
    client: usize,
    heard: Arc<Heard>,
    puts: Arc<watch::Sender<Vec<u64>>>,
    ready: Arc<watch::Sender<usize>>,
) {
    let (mut buffer, mut text, mut is_open) = (vec![0; 64 * 1024], Vec::new(), false);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        heard.bytes.fetch_add(length as u64, Ordering::Relaxed);
        text.extend_from_slice(&buffer[..length]);
        let count = text.windows(PUT.len()).filter(|window| *window == PUT).count() as u64;
        // What may be the beginning of another stays.
        text.drain(..text.len().saturating_sub(PUT.len() - 1));
        if !is_open {
            is_open = true;
            ready.send_modify(|open| *open += 1);
        }
        if count > 0 {
            puts.send_modify(|puts| puts[client] += count);
        }
    }
}

impl Server {
    async fn request(&self, line: &str, headers: &str, body: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (address, token, length) = (&self.address, &self.token, body.len());
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }

    async fn follow(&self) -> Result<TcpStream> {
        let path = format!("GET /api/v1/tenants/{}/serviceaccounts", self.tenant);
        self.request(&path, "Accept: text/event-stream\r\n", "").await
    }

    async fn change(&self, number: u64) -> Result<()> {
        let path = format!("PATCH /api/v1/tenants/{}/serviceaccounts/bench", self.tenant);
        let body = format!(r#"{{"metadata": {{"labels": {{"number": "{number}"}}}}}}"#);
        let headers = "Content-Type: application/merge-patch+json\r\nConnection: close\r\n";
        let mut answer = String::new();
        self.request(&path, headers, &body).await?.read_to_string(&mut answer).await?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into()) }
    }
}
