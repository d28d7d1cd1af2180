//! The record of what the Kubernetes API says that somebody did.

use eddy_audit::{Actor, Origin, Outcome, Record};
use eddy_crds::{GROUP, tenant_of};
use percent_encoding::percent_decode_str;

use crate::kubernetes_audit::event::{Event, ObjectReference, User};
use crate::token_review::{SESSION, TOKEN, USER_PREFIX};

/// What changes something, as Kubernetes has it and as Eddy's own records do.
const CHANGES: [(&str, &str); 5] =
    [("create", "create"), ("update", "update"), ("patch", "update"), ("delete", "delete"), ("deletecollection", "delete")];
/// What leads into a pod, by whatever method.
const CONNECTS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];
/// What Kubernetes' own parts are called, which do what somebody else wanted.
const OF_KUBERNETES: [&str; 5] =
    ["system:serviceaccount:kube-system:", "system:node:", "system:kube-", "system:apiserver", "system:volume-scheduler"];
const ACCOUNTS: &str = "system:serviceaccount:";

/// The record of an event; none if it is no change that somebody made to what Eddy is asked for, or that Eddy made itself.
///
/// `core` is the namespace that Eddy's own processes are in; their changes, the API's among them, are in its own records.
pub(crate) fn record(event: &Event, core: &str, is_user: impl Fn(&str) -> bool) -> Option<Record> {
    let object = event.object_ref.as_ref()?;
    let status = event.response_status.as_ref()?;
    let connects = CONNECTS.contains(&object.subresource.as_str());
    let (_, change) =
        CHANGES.iter().find(|(verb, _)| *verb == event.verb || connects && event.verb == "get" && *verb == "create")?;
    // What goes on for hours is told of when it begins.
    let stage = if connects { "ResponseStarted" } else { "ResponseComplete" };
    if event.stage != stage || is_machinery(&event.user.username, core) || (!connects && is_trial(event)) {
        return None;
    }
    let tenant = tenant(object)?;
    // There is no end of names that nobody has.
    let tenant = if is_user(tenant) { tenant } else { "" };
    let change = if event.verb == "patch" && status.code == 201 { "create" } else { change };
    let outcome = match status.code {
        401 | 403 => Outcome::Denied,
        400.. => Outcome::Failed,
        _ => Outcome::Done,
    };
    let reason = if outcome == Outcome::Done { "" } else { &status.reason };
    let record = Record::now(actor(&event.user), format!("{}.{change}", what(object)), tenant, &object.name, outcome);
    let record = record.because(reason).came(&origin(event));
    Some(match event.request_received_timestamp {
        Some(time) => Record { time, ..record },
        None => record,
    })
}

/// Whether it is nobody's doing.
fn is_machinery(user: &str, core: &str) -> bool {
    let is_ours = user.strip_prefix(ACCOUNTS).and_then(|account| account.split_once(':')).is_some_and(|found| found.0 == core);
    is_ours || OF_KUBERNETES.iter().any(|name| user.starts_with(name))
}

/// Whether it was only asked what would be. Of deletions Kubernetes looks into the body for that, which it does not tell of: they count.
fn is_trial(event: &Event) -> bool {
    let query = event.request_uri.split_once('?').map_or("", |(_, query)| query);
    let asks = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
        decoded(name) == b"dryRun" && !decoded(value).is_empty()
    };
    ["create", "update", "patch"].contains(&event.verb.as_str()) && query.split('&').any(asks)
}

/// Whose place it was done in; nobody's where it is Eddy's but no tenant's, and none where it is neither.
fn tenant(object: &ObjectReference) -> Option<&str> {
    match tenant_of(&object.namespace) {
        Some(tenant) => Some(tenant),
        None if object.api_group != GROUP => None,
        // What is done to a user is done in their place.
        None if object.resource == "users" => Some(&object.name),
        None => Some(""),
    }
}

/// What it was, as in `containers`, or `core/pods/exec` of what is not Eddy's.
fn what(object: &ObjectReference) -> String {
    let group = match object.api_group.as_str() {
        GROUP => "",
        "" => "core/",
        group => &format!("{}/", named(group)),
    };
    let part = if object.subresource.is_empty() { "" } else { &format!("/{}", named(&object.subresource)) };
    format!("{group}{}{part}", named(&object.resource))
}

/// A path says what it likes, also where there is no such kind.
fn named(word: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if word.len() <= 63 && word.bytes().all(is_plain) { word } else { "unknown" }
}

fn actor(user: &User) -> Actor {
    let says = |key: &str| user.extra.get(key).and_then(|values| values.as_ref()?.first());
    match user.username.strip_prefix(USER_PREFIX) {
        Some(name) => {
            Actor { user: name.to_owned(), token: says(TOKEN).cloned(), session: says(SESSION).is_some(), ..Actor::default() }
        }
        None => Actor { kubernetes_user: Some(user.username.clone()), ..Actor::default() },
    }
}

fn origin(event: &Event) -> Origin {
    let (said, connected) = match event.source_ips.split_last() {
        Some((last, said)) => (said, last.parse().ok()),
        None => (&[][..], None),
    };
    Origin::new(connected, said.join(", "), event.audit_id.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(changes: &Value) -> Event {
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "ResponseComplete",
            "auditID": "11f0", "requestURI": "/apis/eddy.cloud/v1alpha1/namespaces/u-ada/containers?fieldManager=kubectl", "verb": "create",
            "user": {"username": "eddy:ada", "groups": ["eddy:users"], "extra": {"eddy.cloud/token": ["ci"]}},
            "sourceIPs": ["192.0.2.7", "10.0.0.1"], "userAgent": "kubectl/v1.34",
            "objectRef": {"resource": "containers", "namespace": "u-ada", "name": "web", "apiGroup": "eddy.cloud", "apiVersion": "v1alpha1"},
            "responseStatus": {"metadata": {}, "code": 201},
            "requestReceivedTimestamp": "2026-11-30T15:00:00.123456Z", "stageTimestamp": "2026-11-30T15:00:00.2Z",
        });
        merge(&mut event, changes);
        serde_json::from_value(event).unwrap()
    }

    fn merge(into: &mut Value, changes: &Value) {
        match (into, changes) {
            (Value::Object(into), Value::Object(changes)) => {
                for (key, value) in changes {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, changes) => *into = changes.clone(),
        }
    }

    fn of(changes: &Value) -> Option<Record> {
        record(&event(changes), "eddy-system", |user| ["ada", "root"].contains(&user))
    }

    #[test]
    fn what_somebody_did_by_kubectl_is_recorded_as_what_they_do_by_the_api() {
        let done = of(&json!({})).unwrap();
        let who = Actor { user: "ada".into(), token: Some("ci".into()), ..Actor::default() };
        assert_eq!((&done.actor, done.time.to_string().as_str()), (&who, "2026-11-30T15:00:00.123456Z"));
        assert_eq!((done.action.as_str(), done.object.as_str(), done.tenant.as_str()), ("containers.create", "web", "ada"));
        assert_eq!((done.address.unwrap().to_string().as_str(), done.forwarded_for.as_str()), ("10.0.0.1", "192.0.2.7"));
        assert_eq!((done.request.as_str(), done.outcome, done.reason.as_str()), ("11f0", Outcome::Done, ""));
    }

    #[test]
    fn each_change_has_its_name_and_outcome() {
        let said = |changes: &Value| of(changes).map(|record| (record.action, record.outcome, record.reason)).unwrap();
        let done = |action: &str| (action.to_owned(), Outcome::Done, String::new());
        let ok = json!({"code": 200});
        assert_eq!(said(&json!({"verb": "patch"})), done("containers.create"), "an apply of what was not there");
        assert_eq!(said(&json!({"verb": "patch", "responseStatus": ok})), done("containers.update"));
        assert_eq!(said(&json!({"verb": "deletecollection", "responseStatus": ok})), done("containers.delete"));
        let scale = json!({"verb": "update", "responseStatus": ok, "objectRef": {"subresource": "scale"}});
        assert_eq!(said(&scale), done("containers/scale.update"));
        let secret = json!({"verb": "delete", "responseStatus": ok, "objectRef": {"resource": "secrets", "apiGroup": ""}});
        assert_eq!(said(&secret), done("core/secrets.delete"));
        let exec = json!({"subresource": "exec", "resource": "pods", "apiGroup": "", "name": "web-0"});
        let shell = json!({"verb": "get", "stage": "ResponseStarted", "responseStatus": {"code": 101}, "objectRef": exec,
            "requestURI": "/api/v1/namespaces/u-ada/pods/web-0/exec?dryRun=All"});
        assert_eq!(said(&shell), done("core/pods/exec.create"));
        let odd = json!({"objectRef": {"resource": "x".repeat(5000), "subresource": "A b"}});
        assert_eq!(said(&odd), done("unknown/unknown.create"));
        let deleted = json!({"verb": "delete", "requestURI": "/x?dryRun=All", "responseStatus": ok});
        assert_eq!(said(&deleted), done("containers.delete"), "its body may say otherwise");
        let denied = json!({"responseStatus": {"code": 403, "reason": "Forbidden"}});
        assert_eq!(said(&denied), ("containers.create".into(), Outcome::Denied, "Forbidden".into()));
        let invalid = json!({"responseStatus": {"code": 422, "reason": "Invalid"}});
        assert_eq!(said(&invalid), ("containers.create".into(), Outcome::Failed, "Invalid".into()));
    }

    #[test]
    fn whoever_is_no_user_of_eddys_is_called_as_kubernetes_calls_them() {
        let by = |user: &str| {
            of(&json!({"user": {"username": user, "extra": {"eddy.cloud/token": ["forged"]}}})).map(|found| found.actor)
        };
        let other = |name: &str| Some(Actor { kubernetes_user: Some(name.into()), ..Actor::default() });
        for name in
            ["kubernetes-admin", "system:admin", "system:serviceaccount:flux-system:kustomize-controller", "system:anonymous"]
        {
            assert_eq!(by(name), other(name));
        }
        let session = of(&json!({"user": {"extra": {"eddy.cloud/session": ["true"], "odd": null}}})).unwrap();
        assert!(session.actor.session);
    }

    #[test]
    fn what_is_nobodys_change_is_no_record() {
        let by = |user: &str| of(&json!({"user": {"username": user}}));
        for user in [
            "system:serviceaccount:eddy-system:eddy-api",
            "system:serviceaccount:kube-system:generic-garbage-collector",
            "system:node:node1",
            "system:kube-scheduler",
            "system:apiserver",
        ] {
            assert_eq!(by(user), None, "{user}");
        }
        for changes in [
            json!({"verb": "get"}),
            json!({"verb": "watch"}),
            json!({"stage": "RequestReceived"}),
            json!({"requestURI": "/apis/eddy.cloud/v1alpha1/namespaces/u-ada/containers?a=b&dryRun=All"}),
            json!({"requestURI": "/apis/eddy.cloud/v1alpha1/namespaces/u-ada/containers?%64ryRun=All"}),
            json!({"verb": "get", "objectRef": {"resource": "pods", "subresource": "exec", "apiGroup": ""}}),
            json!({"objectRef": null}),
            json!({"responseStatus": null}),
            json!({"objectRef": {"namespace": "default", "apiGroup": "apps"}}),
        ] {
            assert_eq!(of(&changes), None, "{changes}");
        }
    }

    #[test]
    fn it_is_in_the_place_of_who_it_is_done_to() {
        let tenant = |object: Value| of(&json!({ "objectRef": object })).map(|record| record.tenant);
        let user = |name: &str| tenant(json!({"resource": "users", "namespace": "", "name": name}));
        assert_eq!((user("root").as_deref(), user("nobody").as_deref()), (Some("root"), Some("")));
        assert_eq!(tenant(json!({"namespace": "u-nobody"})).as_deref(), Some(""));
        assert_eq!(tenant(json!({"namespace": "default"})).as_deref(), Some(""), "there it does nothing, but somebody wanted it");
    }
}
