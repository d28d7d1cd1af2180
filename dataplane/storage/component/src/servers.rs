//! `eddy-dataplane storage-server`: chunkservers by hand.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use eddy_chunkserver::{ChunkClient, Load};
use eddy_kv::component::KvStoreOptions;
use eddy_object::placement::Candidate;
use eddy_object::schema::{AwayRow, ServerRow};
use eddy_object::{Metadata, Servers, now_ms};
use eddy_storage_master::{Fresh, Moves, Survey, count_later, plan_moves};

use crate::error::StorageError;
use crate::kv::cluster_of;

/// Options of the tool.
#[derive(Args, Clone, Debug)]
pub struct StorageServerOptions {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    kv: KvStoreOptions,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// All servers: number, address, failure domain, class, state, chunks, what is taken of their disks, and how busy their machines are
    List,
    /// Empties a server: it gets nothing new, and what it has goes to others. `list` shows how far that is
    Drain(Which),
    /// Uses a server again that is being emptied
    Use(Which),
    /// Forgets a server that was emptied. Stop it first: one that still runs is known again when it is restarted
    Remove(Which),
    /// Which chunks the master would move now, and moves none: tab-separated chunk, from, to, bytes
    Plan {
        /// Percent by which the shares of servers' disks that are taken may differ: as the master's
        #[arg(long, env = "EDDY_BALANCE_ABOVE_PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
        above_percent: u8,
        /// Seconds after which a chunk that nobody wrote to is written to no more: as the master's
        #[arg(long, env = "EDDY_GRACE_SECONDS", default_value_t = 3600)]
        grace_seconds: u64,
        /// Moves to show at most
        #[arg(long, default_value_t = 10_000)]
        most: usize,
    },
}

#[derive(Args, Clone, Debug)]
struct Which {
    /// Its number, its address, or the first of the names in its address
    server: String,
}

/// Does what is asked, and writes what is to be seen to standard output.
///
/// # Errors
/// See [`StorageError`].
#[allow(clippy::print_stdout, reason = "it is a tool")]
pub async fn run_server(options: StorageServerOptions) -> Result<(), StorageError> {
    let transport = options.kv.transport()?;
    let metadata = Metadata::new(options.kv.open(&transport).await?);
    let client = ChunkClient::new(transport, cluster_of(&metadata).await);
    let known = metadata.servers().await?;
    match options.command {
        Command::Drain(which) => Ok(metadata.drain_server(find(&known, &which.server)?).await?),
        Command::Use(which) => Ok(metadata.use_server(find(&known, &which.server)?).await?),
        Command::Remove(which) => remove(&metadata, &client, find(&known, &which.server)?).await,
        Command::List => list(&metadata, &client, &known).await,
        Command::Plan { above_percent, grace_seconds, most } => {
            // Who is about to empty a server wants to know what that moves, before all doors know of it.
            let written_ms = now_ms().saturating_sub(grace_seconds.saturating_mul(1000));
            let survey = Survey::take(&metadata, &client, &Servers::new(), Fresh { written_ms, ..Fresh::NEVER }).await?;
            let Moves { moves, stuck } = plan_moves(&survey.disks, &survey.chunks, above_percent, most);
            let later = count_later(&survey.disks, &survey.chunks, above_percent, most);
            let address = |server: u64| known.get(&server).map_or_else(|| server.to_string(), |row| row.address.clone());
            for one in moves {
                println!("{:016x}\t{}\t{}\t{}", one.chunk, address(one.from), address(one.to), one.bytes);
            }
            if stuck > 0 {
                eprintln!("{stuck} chunks of servers that are being emptied have nowhere to go: add a server, or free some room");
            }
            if later > 0 {
                eprintln!("{later} more once nobody has written to their chunks for {grace_seconds} s");
            }
            Ok(())
        }
    }
}

/// The server that is meant.
fn find(known: &BTreeMap<u64, ServerRow>, said: &str) -> Result<u64, StorageError> {
    let is = |(number, row): &(&u64, &ServerRow)| {
        let rest = row.address.strip_prefix(said);
        number.to_string() == said || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
    };
    let found: Vec<u64> = known.iter().filter(is).map(|(number, _)| *number).collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(StorageError::NoServer(said.to_owned())),
        _ => Err(StorageError::ManyServers(said.to_owned())),
    }
}

async fn remove(metadata: &Metadata, client: &ChunkClient, server: u64) -> Result<(), StorageError> {
    if !metadata.drains().await?.contains_key(&server) {
        return Err(StorageError::InUse(server));
    }
    let survey = Survey::take(metadata, client, &Servers::new(), Fresh::NEVER).await?;
    match survey.counts.get(&server) {
        Some(chunks) => Err(StorageError::StillHolds { server, chunks: *chunks }),
        None => Ok(metadata.forget_server(server).await?),
    }
}

#[allow(clippy::print_stdout, reason = "it is a tool")]
async fn list(metadata: &Metadata, client: &ChunkClient, known: &BTreeMap<u64, ServerRow>) -> Result<(), StorageError> {
    let (servers, aways, drains) = (Servers::new(), metadata.aways().await?, metadata.drains().await?);
    let survey = Survey::take(metadata, client, &servers, Fresh::NEVER).await?;
    let candidates: BTreeMap<u64, Candidate> = servers.candidates().into_iter().map(|one| (one.server, one)).collect();
    println!("SERVER\tADDRESS\tDOMAIN\tCLASS\tSTATE\tCHUNKS\tUSED\tROOM\tDISK BUSY\tPROCESSORS BUSY\tMEMORY TAKEN");
    for (server, row) in known {
        let chunks = survey.counts.get(server).copied().unwrap_or_default();
        let candidate = candidates.get(server);
        let state = state(candidate, drains.contains_key(server), aways.get(server), chunks);
        let figures = candidate.map_or_else(|| "-\t-\t-\t-\t-".to_owned(), figures);
        println!("{server}\t{}\t{}\t{:?}\t{state}\t{chunks}\t{figures}", row.address, row.failure_domain, row.class);
    }
    Ok(())
}

fn state(candidate: Option<&Candidate>, drains: bool, away: Option<&AwayRow>, chunks: usize) -> String {
    let going = match (drains, chunks) {
        (true, 0) => Some("empty"),
        (true, _) => Some("draining"),
        (false, _) => None,
    };
    match (candidate, going) {
        (None, going) => {
            let since = away.map(|away| format!(" for {} s", now_ms().saturating_sub(away.since_ms) / 1000));
            format!("{}away{}", going.map(|going| format!("{going}, ")).unwrap_or_default(), since.unwrap_or_default())
        }
        (Some(_), Some(going)) => going.to_owned(),
        (Some(candidate), None) if candidate.accepts() => "serving".to_owned(),
        (Some(_), None) => "full".to_owned(),
    }
}

fn figures(candidate: &Candidate) -> String {
    let used = candidate.total_bytes.saturating_sub(candidate.available_bytes);
    let Load { disk, processors, memory } = candidate.load;
    let percent = |thousandths: u16| format!("{} %", thousandths / 10);
    let busy = [percent(disk), percent(processors), percent(memory)].join("\t");
    format!("{}\t{}\t{busy}", gibibytes(used), gibibytes(candidate.total_bytes))
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1 << 30) as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use eddy_object::schema::Class;

    use super::*;

    #[test]
    fn a_server_is_meant_by_its_number_its_address_or_its_first_name_and_by_nothing_less() {
        let row = |address: &str| ServerRow { address: address.into(), failure_domain: "m".into(), class: Class::Fast };
        let known = BTreeMap::from([
            (1, row("chunks-1.set.ns:7500")),
            (10, row("chunks-10.set.ns:7500")),
            (3, row("h:1")),
            (4, row("h:2")),
        ]);
        for (said, number) in
            [("1", 1), ("10", 10), ("chunks-1", 1), ("chunks-1.set", 1), ("chunks-10.set.ns:7500", 10), ("h:2", 4)]
        {
            assert_eq!(find(&known, said).unwrap(), number, "{said}");
        }
        for said in ["", "chunks", "chunks-", "chunks-1.s", "2", "h:", "s"] {
            assert!(matches!(find(&known, said), Err(StorageError::NoServer(_))), "{said}");
        }
        assert!(matches!(find(&known, "h"), Err(StorageError::ManyServers(_))));
    }

    #[test]
    fn a_state_says_what_an_administrator_waits_for() {
        let candidate = Candidate {
            server: 1,
            failure_domain: "m".into(),
            class: Class::Fast,
            total_bytes: 100,
            available_bytes: 50,
            load: Load::default(),
            draining: false,
        };
        assert_eq!(state(Some(&candidate), false, None, 3), "serving");
        assert_eq!(state(Some(&candidate), true, None, 3), "draining");
        assert_eq!(state(Some(&candidate), true, None, 0), "empty");
        assert_eq!(state(Some(&Candidate { available_bytes: 4, ..candidate }), false, None, 3), "full");
        let away = AwayRow { since_ms: now_ms() - 65_500 };
        assert_eq!(state(None, false, Some(&away), 3), "away for 65 s");
        assert_eq!(state(None, true, None, 0), "empty, away");
    }
}
