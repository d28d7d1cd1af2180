//! `eddy`: sign in, objects, tokens and files from a shell.

// A command-line tool: its standard output is its user interface.
#![allow(clippy::print_stdout)]

mod arguments;
mod client;
mod config;
mod error;
mod files;
mod kinds;
mod login;
mod manifests;
mod objects;
mod output;
mod tokens;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::config::Config;
use crate::error::CliError;

fn main() -> ExitCode {
    // Whoever reads what is written may have read enough, as head has.
    // SAFETY: no other thread runs yet, and no handler of ours is replaced.
    let _ = unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) };
    let arguments = Arguments::parse();
    // One provider for the process, before anything asks for TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::Runtime(error).tell(),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.tell(),
    }
}

async fn run(arguments: Arguments) -> Result<(), CliError> {
    let output = arguments.output;
    match arguments.command {
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "eddy", &mut std::io::stdout());
            Ok(())
        }
        Command::Login(login) => login::login(login, arguments.context.as_deref(), output).await,
        Command::Logout => login::logout(arguments.context.as_deref()).await,
        Command::Context(context) => config::command(context, output),
        command => {
            let client = Client::of(&Config::read()?, arguments.context.as_deref())?;
            match command {
                Command::Whoami => objects::whoami(&client, output).await,
                Command::Get(get) => objects::get(&client, get, output).await,
                Command::Describe(one) => objects::describe(&client, one).await,
                Command::Delete(delete) => objects::delete(&client, delete).await,
                Command::Apply(apply) => objects::apply(&client, apply, output).await,
                Command::Token(token) => tokens::run(&client, token, output).await,
                Command::Files(files) => files::run(&client, files, output).await,
                Command::Open => login::open(&client),
                Command::Completion { .. } | Command::Login(_) | Command::Logout | Command::Context(_) => Ok(()),
            }
        }
    }
}
