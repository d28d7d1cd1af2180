//! How long it takes until what identity says is known: at a start, and when a token is taken back.
//!
//! Usage: `permissions_bench nats://… folder [tokens [revocations]]`; it starts its followers itself, as `permissions_bench follow nats://… file`.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eddy_authz::feed::{Ages, Feed, HEARTBEAT_EVERY, NatsOptions};
use eddy_authz::{AccountEntry, Entry, Refused, Scope, Scopes, Token, TokenEntry, UserEntry, account_key, token_key, user_key};
use eddy_identity::Publisher;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

/// Any failure ends the run with its sentence: a figure of a run that failed is none.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: permissions_bench nats://… folder [tokens [revocations]]";
/// Processes that follow.
const FOLLOWERS: usize = 10;
const SCOPES: usize = 20;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["follow", url, file] => follow(url, file).await,
        [url, folder, ref numbers @ ..] => {
            let number = |at: usize, otherwise| numbers.get(at).map_or(Ok(otherwise), |text| text.parse()).map_err(|_| USAGE);
            measure(url, Path::new(folder), number(0, 100_000)?, number(1, 200)?).await
        }
        _ => Err(USAGE.into()),
    }
}

async fn client(url: &str) -> Result<async_nats::Client> {
    let options = NatsOptions {
        nats_servers: vec![url.to_owned()],
        nats_user: String::new(),
        nats_password_file: None,
        nats_ca_file: None,
    };
    Ok(options.connect("bench").await?)
}

fn now_ns() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())
}

/// Says when each token that it is told of is known, and then when it is not.
async fn follow(url: &str, file: &str) -> Result<()> {
    let feed = Feed::open(client(url).await?, PathBuf::from(file), Ages::default());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let token = Token::parse(&line).ok_or("a line that is no token")?;
        wait(|| feed.authenticate(&token).is_ok()).await;
        println!("known");
        wait(|| feed.authenticate(&token) == Err(Refused::Unknown)).await;
        println!("{}", now_ns()?);
    }
    Ok(())
}

async fn wait(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

struct Follower {
    _process: Child,
    says: ChildStdin,
    hears: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(url: &str, file: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["follow", url]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (says, hears) = pipes.ok_or("a follower without pipes")?;
        Ok(Self { _process: process, says, hears: BufReader::new(hears).lines() })
    }

    async fn heard(&mut self) -> Result<String> {
        Ok(self.hears.next_line().await?.ok_or("a follower ended: its own words say why")?)
    }
}

/// So many tokens, each of a ServiceAccount with scopes, ten to a user.
fn world(tokens: usize) -> Result<(BTreeMap<String, Entry>, Vec<Token>)> {
    let mut entries = BTreeMap::new();
    let mut drawn = Vec::with_capacity(tokens);
    for number in 0..tokens {
        let (user, account) = (format!("user-{}", number / 10), format!("account-{}", number / 10));
        if number % 10 == 0 {
            let scope = |at| Scope::parse(&format!("storage.{user}.files.space-{at}"), ["read", "write"]);
            let scopes = (0..SCOPES).map(scope).collect::<std::result::Result<Scopes, _>>()?;
            entries.insert(user_key(&user), Entry::User(UserEntry::default()));
            entries.insert(account_key(&user, &account), Entry::Account(AccountEntry { suspended: false, scopes }));
        }
        let token = Token::draw()?;
        let entry = TokenEntry {
            user: user.as_str().into(),
            name: format!("token-{number}").into(),
            account: Some(account.as_str().into()),
            scopes: None,
            hash: token.hash(),
            expires_s: None,
        };
        entries.insert(token_key(token.id()), Entry::Token(entry));
        drawn.push(token);
    }
    Ok((entries, drawn))
}

fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    Ok(line.and_then(|line| line.split_whitespace().nth(1)).ok_or("no VmRSS in /proc/self/status")?.parse()?)
}

async fn measure(url: &str, folder: &Path, tokens: usize, revocations: usize) -> Result<()> {
    let (entries, drawn) = world(tokens)?;
    let client = client(url).await?;
    let mut publisher = Publisher::open(&client, 1).await?;
    let start = Instant::now();
    publisher.publish_all(&entries).await?;
    println!("published {} entries in {:.1} s", entries.len(), start.elapsed().as_secs_f64());
    let publisher = Arc::new(Mutex::new(publisher));
    let beating = publisher.clone();
    tokio::spawn(async move {
        while beating.lock().await.beat().await.is_ok() {
            tokio::time::sleep(HEARTBEAT_EVERY).await;
        }
    });

    let (before_kib, start) = (resident_kib()?, Instant::now());
    let file = folder.join("known");
    let feed = Feed::open(client.clone(), file.clone(), Ages::default());
    feed.filled().await;
    println!("all of them known after {:.2} s, by the bucket", start.elapsed().as_secs_f64());
    println!(
        "memory: {} bytes an entry, with those of the file to come",
        (resident_kib()? - before_kib) * 1024 / entries.len() as u64
    );
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let start = Instant::now();
    let again = Feed::open(client.clone(), file.clone(), Ages::default());
    again.filled().await;
    assert!(again.authenticate(&drawn[0]).is_ok());
    println!(
        "all of them known after {:.2} s, by the file of {} MB",
        start.elapsed().as_secs_f64(),
        file.metadata()?.len() / 1_000_000
    );
    drop((feed, again));

    let start = |number| Follower::start(url, &folder.join(format!("known-{number}")));
    let mut followers = (0..FOLLOWERS).map(start).collect::<Result<Vec<_>>>()?;
    let mut latencies_ns = Vec::new();
    for token in drawn.iter().take(revocations) {
        for follower in &mut followers {
            follower.says.write_all(format!("{}\n", token.expose()).as_bytes()).await?;
        }
        for follower in &mut followers {
            assert_eq!(follower.heard().await?, "known");
        }
        let began_ns = now_ns()?;
        publisher.lock().await.publish(&[(token_key(token.id()), None)]).await?;
        for follower in &mut followers {
            latencies_ns.push(follower.heard().await?.parse::<u128>()?.saturating_sub(began_ns));
        }
    }
    latencies_ns.sort_unstable();
    let at = |part: f64| latencies_ns[((latencies_ns.len() - 1) as f64 * part) as usize] as f64 / 1e6;
    println!(
        "revoked to refused, {FOLLOWERS} processes, {revocations} times: p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
