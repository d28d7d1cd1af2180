//! Objects: shown, applied, removed.

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::arguments::{Apply, Delete, Get, One, Output};
use crate::client::{Client, escaped_part};
use crate::error::CliError;
use crate::kinds::{Kind, find, named, tenant_of};
use crate::manifests::{self, Manifest};
use crate::output::{age, ready, say, table, yaml};
use crate::watch;

pub(crate) async fn whoami(client: &Client, output: Output) -> Result<(), CliError> {
    let who = client.json(client.ask(Method::GET, "/api/v1/whoami")).await?;
    if output == Output::Json {
        say!("{who}");
        return Ok(());
    }
    let text = |field: &str| who[field].as_str().map(str::to_owned);
    let mut said = vec![text("user").ok_or_else(|| client.strange())?];
    said.extend((who["admin"] == true).then(|| "an administrator".to_owned()));
    said.extend(text("serviceAccount").map(|account| format!("ServiceAccount {account}")));
    said.extend(text("token").map(|token| format!("by Token {token}")));
    said.extend((who["session"] == true).then(|| "signed in".to_owned()));
    said.extend((who["limited"] == true).then(|| "with limits".to_owned()));
    say!("{} at {}", said.join(", "), client.signed_in().url);
    Ok(())
}

pub(crate) async fn get(client: &Client, get: Get, output: Output) -> Result<(), CliError> {
    let kind = find(&get.kind)?;
    let tenant = if get.all_tenants { None } else { Some(tenant(client, get.tenant.clone()).await?) };
    if let (Some(name), Some(tenant)) = (&get.name, &tenant) {
        let object = client.json(client.ask(Method::GET, &kind.path_of(tenant, named(name)?))).await?;
        return show(output, &object, std::slice::from_ref(&object), false);
    }
    let path = kind.path(tenant.as_deref());
    let selector = escaped_part(get.selector.as_deref().unwrap_or_default());
    if get.watch {
        return watch::run(client, &format!("{path}?labelSelector={selector}"), output).await;
    }
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let page = client
            .json(client.ask(Method::GET, &format!("{path}?labelSelector={selector}&continue={}", escaped_part(&next))))
            .await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            break;
        }
    }
    show(output, &json!({"items": items}), &items, get.all_tenants)
}

async fn tenant(client: &Client, said: Option<String>) -> Result<String, CliError> {
    match said {
        Some(tenant) => named(&tenant).map(str::to_owned),
        None => client.user().await,
    }
}

pub(crate) fn show(output: Output, all: &Value, items: &[Value], with_tenants: bool) -> Result<(), CliError> {
    if output == Output::Json {
        say!("{all}");
        return Ok(());
    }
    if items.is_empty() {
        eprintln!("there is none");
        return Ok(());
    }
    let now = Timestamp::now();
    let row = |item: &Value| {
        let [status, reason, _] = ready(item);
        let metadata = |field: &str| item["metadata"][field].as_str().unwrap_or_default().to_owned();
        let mut row = vec![metadata("name"), status, reason, age(&metadata("creationTimestamp"), now)];
        if with_tenants {
            row.insert(0, tenant_of(&metadata("namespace")).unwrap_or_default().to_owned());
        }
        row
    };
    let mut head = vec!["NAME", "READY", "REASON", "AGE"];
    if with_tenants {
        head.insert(0, "TENANT");
    }
    say!("{}", table(&head, &items.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

pub(crate) async fn describe(client: &Client, one: One, output: Output) -> Result<(), CliError> {
    let kind = find(&one.kind)?;
    let tenant = tenant(client, one.tenant).await?;
    let object = client.json(client.ask(Method::GET, &kind.path_of(&tenant, named(&one.name)?))).await?;
    match output {
        Output::Json => say!("{object}"),
        Output::Text => say!("{}", yaml(&object).trim_end()),
    }
    Ok(())
}

/// The kind, the tenant and the name that an object says.
async fn target(client: &Client, manifest: &Manifest) -> Result<(Kind, String, String), CliError> {
    let object = &manifest.object;
    // Others have kinds of these names, too.
    if let Some(version) = object["apiVersion"].as_str().filter(|version| version.split('/').next() != Some(eddy_crds::GROUP)) {
        return Err(CliError::Wrong(format!("{}: {version} is nothing of Eddy: it is for kubectl", manifest.origin)));
    }
    let kind = find(object["kind"].as_str().unwrap_or_default())
        .map_err(|error| CliError::Wrong(format!("{}: {error}", manifest.origin)))?;
    let name = named(object["metadata"]["name"].as_str().unwrap_or_default())?.to_owned();
    let tenant = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => tenant_of(namespace).map(str::to_owned).ok_or_else(|| {
            CliError::Wrong(format!("{}: {namespace:?} is no tenant's: metadata.namespace is u-<tenant>", manifest.origin))
        })?,
        None => client.user().await?,
    };
    Ok((kind, tenant, name))
}

pub(crate) async fn apply(client: &Client, apply: Apply, output: Output) -> Result<(), CliError> {
    let all = manifests::read(&apply.filenames)?;
    let mut failures = Vec::new();
    for manifest in &all {
        match applied(client, &apply, manifest).await {
            Ok(object) if output == Output::Json => say!("{object}"),
            Ok(object) => {
                let (kind, name) =
                    (object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default());
                say!("{kind} {name} {}", if apply.dry_run { "would be applied" } else { "applied" });
            }
            Err(error) => {
                eprintln!("{}: {}: {error}", manifest.origin, manifest.object["metadata"]["name"].as_str().unwrap_or_default());
                failures.push(error);
            }
        }
    }
    done(failures, all.len())
}

async fn applied(client: &Client, apply: &Apply, manifest: &Manifest) -> Result<Value, CliError> {
    let (kind, tenant, name) = target(client, manifest).await?;
    let mut object = manifest.object.clone();
    object["metadata"]["namespace"] = if kind.is_tenanted { json!(format!("u-{tenant}")) } else { Value::Null };
    if !kind.is_tenanted
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.remove("namespace");
    }
    let (dry_run, force) = (apply.dry_run, apply.force_conflicts);
    let path = format!("{}?fieldManager=eddy-cli&force={force}&dryRun={dry_run}", kind.path_of(&tenant, &name));
    let request = client.ask(Method::PATCH, &path).header(CONTENT_TYPE, "application/apply-patch+yaml").body(object.to_string());
    client.json(request).await
}

pub(crate) async fn delete(client: &Client, delete: Delete, output: Output) -> Result<(), CliError> {
    let mut targets = Vec::new();
    match (&delete.kind, &delete.name) {
        (Some(kind), Some(name)) => targets.push((find(kind)?, tenant(client, delete.tenant).await?, named(name)?.to_owned())),
        _ => {
            // The other way round than they are made.
            for manifest in manifests::read(&delete.filenames)?.iter().rev() {
                targets.push(target(client, manifest).await?);
            }
        }
    }
    let (mut failures, all) = (Vec::new(), targets.len());
    for (kind, tenant, name) in targets {
        match client.send(client.ask(Method::DELETE, &kind.path_of(&tenant, &name))).await {
            Ok(response) => {
                let is_gone = response.status() != 202;
                match output {
                    Output::Json => say!("{}", json!({"kind": kind.name, "tenant": tenant, "name": name, "gone": is_gone})),
                    Output::Text => say!("{} {name} {}", kind.name, if is_gone { "is gone" } else { "is going" }),
                }
            }
            Err(error) => {
                if all > 1 {
                    eprintln!("{} {name}: {error}", kind.name);
                }
                failures.push(error);
            }
        }
    }
    done(failures, all)
}

/// The error of one of one; of many, each was said already.
pub(crate) fn done(mut failures: Vec<CliError>, all: usize) -> Result<(), CliError> {
    match (failures.len(), all) {
        (0, _) => Ok(()),
        (1, 1) => Err(failures.remove(0)),
        (failed, all) => Err(CliError::Some { failed, all }),
    }
}
