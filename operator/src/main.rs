//! `eddy-operator`: turns eddy.cloud objects into Kubernetes objects, and says in their status how that went.

mod apply;
mod backoff;
mod certificates;
mod children;
mod conditions;
mod container;
mod context;
mod domain;
mod error;
mod finalizing;
mod gateway_api;
mod hosts;
mod metrics;
mod namespace;
mod options;
mod pending;
mod quantity;
mod reason;
mod reconcile;
mod route;
mod runtime;
mod scopes;
mod service_account;
mod status;
mod tenancy;
mod token;
mod user;
mod watching;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use eddy_telemetry::{Shutdown, Telemetry, error_chain};

use crate::options::Options;

// Reflectors keep many small objects: mimalloc holds them in a third less memory than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    // One provider for the process, before anything asks for TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error, "ended");
            eprintln!("error: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::install("eddy-operator", &options.telemetry)?;
    let shutdown = Shutdown::on_signal()?;
    // Every controller is part of this one future: too much for a stack.
    let ended = Box::pin(runtime::run(options, shutdown)).await;
    telemetry.end().await;
    Ok(ended?)
}
