//! Signing in and out.

use std::io::Read;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::arguments::{Login, Output};
use crate::client::Client;
use crate::config::{Config, SignedIn};
use crate::error::{CliError, Problem};
use crate::output::say;

const FORM: &str = "application/x-www-form-urlencoded";
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";

/// Signs in, and notes it under a name: that of the context, or of the cloud's host.
pub(crate) async fn login(login: Login, context: Option<&str>, output: Output) -> Result<(), CliError> {
    let mut signed_in = SignedIn { url: login.url, connect: login.connect, token: String::new(), user: String::new() };
    let stranger = Client::new(signed_in.clone())?;
    signed_in.url = stranger.signed_in().url.clone();
    if signed_in.url.starts_with("http://") {
        eprintln!("warning: {} is not https: whoever is on the way can read what signs you in", signed_in.url);
    }
    signed_in.token = if login.token_stdin {
        let mut token = String::new();
        std::io::stdin().read_to_string(&mut token).map_err(CliError::Input)?;
        token.trim().to_owned()
    } else {
        asked(&stranger).await?
    };
    let user = Client::new(signed_in.clone())?.user().await?;
    signed_in.user.clone_from(&user);
    let host = signed_in.url.split("://").nth(1).unwrap_or_default();
    let name = context.unwrap_or(host).to_owned();
    let mut config = Config::read()?;
    config.contexts.insert(name.clone(), signed_in);
    config.current.clone_from(&name);
    config.write()?;
    match output {
        Output::Json => say!("{}", json!({"context": name, "user": user})),
        Output::Text => say!("signed in as {user}, context {name}"),
    }
    Ok(())
}

/// Asks to be let in (RFC 8628), and waits until somebody has decided.
async fn asked(client: &Client) -> Result<String, CliError> {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = format!("client_id=eddy+on+{}", crate::client::escaped(name.trim()));
    let begun = client.json(client.ask(Method::POST, "/auth/v1/device").header(CONTENT_TYPE, FORM).body(name)).await?;
    let text = |field: &str| begun[field].as_str().map(str::to_owned).ok_or_else(|| client.strange());
    let (secret, code, page) = (text("device_code")?, text("user_code")?, text("verification_uri_complete")?);
    eprintln!("Open {page}\nand let this program in, if it shows the code {code}");
    browse(&page);
    let every = Duration::from_secs(begun["interval"].as_u64().unwrap_or(5).clamp(1, 60));
    let until = Instant::now() + Duration::from_secs(begun["expires_in"].as_u64().unwrap_or(600).min(3600));
    while Instant::now() < until {
        sleep(every).await;
        let ask = format!("grant_type={GRANT}&device_code={}", crate::client::escaped(&secret));
        let request = client.ask(Method::POST, "/auth/v1/device/token").header(CONTENT_TYPE, FORM).body(ask);
        let response = request.send().await.map_err(|source| client.unreachable(source))?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|source| client.unreachable(source))?;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (said["access_token"].as_str(), said["error"].as_str()) {
            (Some(token), _) => return Ok(token.to_owned()),
            (None, Some("authorization_pending" | "slow_down")) => {}
            // It may be otherwise soon.
            (None, None) if status >= 500 || matches!(status, 408 | 409 | 429) => {}
            (None, Some("access_denied")) => return Err(refused("it was said there that this program is not wanted")),
            (None, error) => {
                let detail = said["detail"].as_str().or(error).unwrap_or("the cloud lets nobody in");
                return Err(CliError::Refused(Problem {
                    status,
                    code: "NotLetIn".into(),
                    detail: detail.into(),
                    errors: Vec::new(),
                }));
            }
        }
    }
    Err(refused("nobody let this program in: run eddy login again"))
}

fn refused(detail: &str) -> CliError {
    CliError::Refused(Problem { status: 401, code: "NotLetIn".into(), detail: detail.into(), errors: Vec::new() })
}

/// Opens a page, where there is something that does.
fn browse(page: &str) {
    let quiet = || std::process::Stdio::null();
    if std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some() {
        let _ = std::process::Command::new("xdg-open").arg(page).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    }
}

/// Signs out of a context, and forgets it. What was a Token stays: it is for other programs, too.
pub(crate) async fn logout(context: Option<&str>) -> Result<(), CliError> {
    let mut config = Config::read()?;
    let name = context.unwrap_or(&config.current).to_owned();
    let client = Client::of(&config, Some(&name).filter(|name| !name.is_empty()).map(String::as_str))?;
    match client.send(client.ask(Method::DELETE, "/auth/v1/session")).await {
        Ok(_) => {}
        // It is over already, or was a Token.
        Err(CliError::Refused(problem)) if problem.status == 401 => {}
        Err(error) => return Err(error),
    }
    config.forget(&name);
    config.write()?;
    say!("signed out of {name}");
    Ok(())
}

/// Shows where the cloud is.
pub(crate) fn open(client: &Client) -> Result<(), CliError> {
    let url = &client.signed_in().url;
    say!("{url}");
    browse(url);
    Ok(())
}
