//! `eddy-dataplane <component>`: every component of the data plane in one program.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use eddy_api::ApiOptions;
use eddy_gateway::GatewayOptions;
use eddy_identity::{IdentityOptions, InviteOptions};
use eddy_kv::component::KvOptions;
use eddy_storage::{ChunkserverOptions, StorageDoorOptions, StorageMasterOptions, StorageNamespaceOptions, StorageServerOptions};
use eddy_telemetry::{Shutdown, Telemetry, TelemetryOptions, error_chain};
use tokio::runtime::{Builder, Runtime};

// Requests allocate and free small pieces all the time, on several threads: the system's allocator takes a
// third more processor time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    component: Component,
    #[command(flatten)]
    telemetry: TelemetryOptions,
}

#[derive(Subcommand)]
enum Component {
    /// HTTP from clients to tenants' Containers.
    Gateway(GatewayOptions),
    /// The REST API.
    Api(ApiOptions),
    /// Who there is and what they may, published to all others.
    Identity(IdentityOptions),
    /// An invitation to sign in, by hand: for the first administrator.
    Invite(InviteOptions),
    /// The platform's transactional key-value store.
    Kv(KvOptions),
    /// One disk of storage.
    Chunkserver(ChunkserverOptions),
    /// Keeps stored objects whole: repair, and the collection of what nobody needs.
    StorageMaster(StorageMasterOptions),
    /// Stored objects over HTTP, for whoever has an access key.
    StorageDoor(StorageDoorOptions),
    /// Namespaces of storage, by hand.
    StorageNamespace(StorageNamespaceOptions),
    /// Servers of storage, by hand: how they are, what is to move, and which are to go.
    StorageServer(StorageServerOptions),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One provider for the process, before anything asks for TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.component.runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error, "ended");
            eprintln!("error: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::install(arguments.component.name(), &arguments.telemetry)?;
    let shutdown = Shutdown::on_signal()?;
    let ended = match arguments.component {
        Component::Gateway(options) => {
            eddy_gateway::run(options, telemetry.tracer("eddy-gateway"), shutdown).await.map_err(Into::into)
        }
        Component::Api(options) => eddy_api::run(options, shutdown).await.map_err(Into::into),
        Component::Identity(options) => Box::pin(eddy_identity::run(options, shutdown)).await.map_err(Into::into),
        Component::Invite(options) => invite(options).await.map_err(Into::into),
        Component::Kv(options) => eddy_kv::component::run(options, shutdown).await.map_err(Into::into),
        Component::Chunkserver(options) => eddy_storage::run_chunkserver(options, shutdown).await.map_err(Into::into),
        Component::StorageDoor(options) => eddy_storage::run_door(options, shutdown).await.map_err(Into::into),
        Component::StorageServer(options) => eddy_storage::run_server(options).await.map_err(Into::into),
        Component::StorageNamespace(options) => eddy_storage::run_namespace(options).await.map_err(Into::into),
        Component::StorageMaster(options) => eddy_storage::run_master(options, shutdown).await.map_err(Into::into),
    };
    telemetry.end().await;
    ended
}

#[allow(clippy::print_stdout, reason = "it is what was asked for")]
async fn invite(options: InviteOptions) -> Result<(), eddy_identity::IdentityError> {
    println!("{}", eddy_identity::invite(options).await?);
    Ok(())
}

impl Component {
    fn name(&self) -> &'static str {
        match self {
            Self::Gateway(_) => "eddy-gateway",
            Self::Api(_) => "eddy-api",
            Self::Identity(_) => "eddy-identity",
            Self::Invite(_) => "eddy-invite",
            Self::Kv(_) => "eddy-kv",
            Self::Chunkserver(_) => "eddy-chunkserver",
            Self::StorageMaster(_) => "eddy-storage-master",
            Self::StorageDoor(_) => "eddy-storage-door",
            Self::StorageNamespace(_) => "eddy-storage-namespace",
            Self::StorageServer(_) => "eddy-storage-server",
        }
    }

    fn runtime(&self) -> std::io::Result<Runtime> {
        let mut builder = match self {
            // It has threads of its own.
            Self::Gateway(_) => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        builder.enable_all().build()
    }
}
