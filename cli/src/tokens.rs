//! Tokens, made and shown.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::arguments::{Output, Token, TokenCommand};
use crate::client::Client;
use crate::error::{CliError, Problem};
use crate::kinds::{find, named};
use crate::output::{ready, say, seconds};

/// A Token is drawn within this, or something is wrong with it.
const DRAWN_WITHIN: Duration = Duration::from_secs(30);
/// Every replica has heard of it within this.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

pub(crate) async fn run(client: &Client, token: Token, output: Output) -> Result<(), CliError> {
    let (kind, user) = (find("tokens")?, client.user().await?);
    let name = match token.command {
        TokenCommand::Show { name } => name,
        TokenCommand::Create { name, scopes, service_account, expires_in } => {
            let scopes = scopes.iter().map(|text| scope(text)).collect::<Result<Vec<_>, _>>()?;
            let mut spec = json!({});
            if !scopes.is_empty() {
                spec["scopes"] = json!(scopes);
            }
            if let Some(account) = service_account {
                spec["serviceAccount"] = json!(account);
            }
            if let Some(text) = expires_in {
                let lasts = seconds(&text).ok_or_else(|| CliError::Wrong(format!("{text:?} is no time, as 30d and 12h are")))?;
                let end = Timestamp::now().checked_add(SignedDuration::from_secs(lasts));
                let end = end.map_err(|_| CliError::Wrong(format!("{text} is longer than time lasts")))?;
                spec["expiresAt"] = json!(Timestamp::from_second(end.as_second()).unwrap_or(end).to_string());
            }
            let object = json!({"metadata": {"name": name}, "spec": spec});
            client.send_json(Method::POST, &kind.path(Some(&user)), &object).await?;
            drawn(client, &kind.path_of(&user, named(&name)?)).await?;
            name
        }
    };
    let path = format!("{}/secret", kind.path_of(&user, named(&name)?));
    let until = Instant::now() + HEARD_WITHIN;
    let secret = loop {
        match client.json(client.ask(Method::GET, &path)).await {
            Err(CliError::Refused(problem)) if problem.status == 404 && Instant::now() < until => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(CliError::Refused(problem)) if problem.status == 404 => {
                let detail = "there is no such Token, or it is not yours to see: whoever shows a Token with limits or an end sees no secrets";
                return Err(CliError::Refused(Problem { detail: detail.into(), ..problem }));
            }
            secret => break secret?,
        }
    };
    match output {
        Output::Json => say!("{secret}"),
        Output::Text => say!("{}", secret["token"].as_str().ok_or_else(|| client.strange())?),
    }
    Ok(())
}

/// Waits until a Token has its secret, or says why it has none.
async fn drawn(client: &Client, path: &str) -> Result<(), CliError> {
    let until = Instant::now() + DRAWN_WITHIN;
    loop {
        let object = match client.json(client.ask(Method::GET, path)).await {
            // Another replica may answer, which has not heard of it yet.
            Err(CliError::Refused(problem)) if problem.status == 404 && Instant::now() < until => Value::Null,
            object => object?,
        };
        let [status, reason, message] = ready(&object);
        match &*status {
            "True" => return Ok(()),
            "False" => return Err(CliError::NotDone(format!("the Token was made, and has no secret: {message} ({reason})"))),
            _ if Instant::now() > until => {
                return Err(CliError::NotDone(format!(
                    "the Token was made, and has no secret yet: see eddy token show ({reason})"
                )));
            }
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A scope and its actions, as in storage.ada.files:read,list.
fn scope(text: &str) -> Result<Value, CliError> {
    match text.rsplit_once(':') {
        Some((scope, actions)) if !scope.is_empty() && !actions.is_empty() => {
            Ok(json!({"scope": scope, "actions": actions.split(',').map(str::trim).collect::<Vec<_>>()}))
        }
        _ => Err(CliError::Wrong(format!("{text:?} is no scope with actions, as storage.ada.files:read,list is"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_written_with_its_actions() {
        assert_eq!(
            scope("storage.ada.files:read,list").unwrap(),
            json!({"scope": "storage.ada.files", "actions": ["read", "list"]})
        );
        for wrong in ["", "storage.ada.files", "storage.ada.files:", ":read"] {
            assert!(scope(wrong).is_err(), "{wrong}");
        }
    }
}
