//! `eddy`: sign in, objects, tokens and files from a shell.

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
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::config::Config;
use crate::error::CliError;
use crate::output::say;

fn main() -> ExitCode {
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
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "eddy", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
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
                Command::Describe(one) => objects::describe(&client, one, output).await,
                Command::Delete(delete) => objects::delete(&client, delete, output).await,
                Command::Apply(apply) => objects::apply(&client, apply, output).await,
                Command::Token(token) => tokens::run(&client, token, output).await,
                Command::Files(files) => files::run(&client, files, output).await,
                Command::Open => login::open(&client),
                Command::Completion { .. } | Command::Login(_) | Command::Logout | Command::Context(_) => Ok(()),
            }
        }
    }
}
