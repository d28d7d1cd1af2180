//! Every validation rule refuses what it is there to refuse, with the sentence that users read.
//!
//! The schema's rules are evaluated here without a cluster. A rule that no case refutes fails the tests, so
//! a rule that was silently dropped, or can never fail, is noticed.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use kube::core::cel::{ValidationErrors, Validator, compile_schema};
use serde_json::{Value, json};

/// The sum over all kinds; it changes when a rule is added, and only then.
const RULES: usize = 124;

struct Case {
    kind: &'static str,
    /// Where the refused value is, list positions as `[]`.
    path: &'static str,
    message: &'static str,
    old: Option<Value>,
    new: Value,
}

/// Puts `value` at `/`-separated `pointer`, making what is missing on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/') {
        at = match part.parse::<usize>() {
            Ok(index) => {
                if at.is_null() {
                    *at = json!([]);
                }
                let list = at.as_array_mut().unwrap();
                while list.len() <= index {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            Err(_) => {
                if at.is_null() {
                    *at = json!({});
                }
                at.as_object_mut().unwrap().entry(part).or_insert(Value::Null)
            }
        };
    }
    *at = value;
}

fn valid(kind: &str) -> Value {
    let spec = match kind {
        "User" => json!({
            "displayName": "Ada", "email": "ada@example.com",
            "oidcSubjects": [{"issuer": "https://id.example.com/realm", "subject": "1"}],
            "sshKeys": [{"name": "laptop", "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMq ada@laptop"}],
            "quota": {"cpu": "500m", "memory": "1Gi", "storage": "10Gi"},
        }),
        "Namespace" => json!({
            "quota": {"bytes": "10Gi"}, "lifecycle": [{"name": "tmp", "prefix": "tmp/", "expireAfterDays": 1}],
        }),
        "Container" => json!({
            "image": "registry.example.com:5000/team/app:v1@sha256:".to_owned() + &"a".repeat(64),
            "workingDir": "/srv", "replicas": 2,
            "env": [{"name": "A", "value": "1"}, {"name": "B", "secret": {"name": "s", "key": "k"}}],
            "resources": {"cpu": "100m", "cpuLimit": "1", "memory": "64Mi"},
            "ports": [{"name": "http", "port": 80}, {"port": 9090}, {"port": 9090, "protocol": "UDP", "name": "quic"}],
            "probes": {"startup": {"tcp": {}}, "readiness": {"http": {"path": "/ready"}}, "liveness": {"exec": {"command": ["true"]}}},
            "access": {"ssh": ["user/bob"], "logs": ["serviceaccount/bob/ci"]},
            "ssh": {"enabled": true, "shell": "/bin/bash"},
        }),
        "VM" => json!({
            "cpu": 1, "memory": "1Gi", "image": "debian:12", "ports": [{"name": "ssh", "port": 22}],
            "cloudInit": {"userData": "#cloud-config\n"}, "access": {"manage": ["user/bob"]},
            "sshKeys": [{"name": "laptop", "publicKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMq"}],
        }),
        "Volume" => json!({"size": "10Gi", "class": "fast", "snapshots": {"everyHours": 24, "keep": 7}}),
        "Network" => json!({"egress": ["192.168.1.0/24", "2001:db8::/32"]}),
        "Route" => json!({
            "hosts": ["app.example.com", "*.example.org", "localhost"], "paths": [{"path": "/api"}, {"path": "/", "type": "Exact"}, {"path": "/v[0-9]+", "type": "Regex"}],
            "methods": ["GET"], "headers": [{"name": "X-Version", "value": "2"}], "queries": [{"name": "a b", "value": ""}],
            "requestHeaders": {"set": [{"name": "X-A", "value": "1\t2"}], "add": [{"name": "X-B", "value": "2"}], "remove": ["X-C"]},
            "rewrite": {"host": "backend.example.com", "path": {"prefix": "/"}},
            "cors": {"allowOrigins": ["https://*.example.com", "http://localhost:8080"], "allowMethods": ["*"], "allowHeaders": ["X-A"]},
            "backends": [{"container": "app", "port": 80}, {"vm": "legacy", "port": 8080, "weight": 0}],
            "ipFilter": {"allow": ["10.0.0.0/8", "203.0.113.7"], "deny": ["2001:db8::1"]},
            "requiredScopes": [{"scope": "storage.ada.files", "actions": ["read"]}],
        }),
        "Domain" => json!({"host": "www.example.com"}),
        "ServiceAccount" => json!({"scopes": [{"scope": "compute.ada.containers.web", "actions": ["read", "create"]}]}),
        "Token" => json!({"serviceAccount": "ci", "secretName": "ci-token", "rotation": {"everyDays": 30, "overlapHours": 24}}),
        other => panic!("no valid {other}"),
    };
    json!({"metadata": {"name": "example"}, "spec": spec})
}

const NAME: &str =
    "metadata.name must be at most 40 lower-case letters, digits and dashes, and start with a letter, as in my-app";
const QUANTITY: &str = "must be a quantity above zero, as in 500m or 2 for CPU, 256Mi or 1Gi for bytes";
const IMAGE: &str = "must be an image reference, as in nginx:1.27 or registry.example.com/team/app:v1";
const PORT: &str = "a port is a number from 1 to 65535";
const ABSOLUTE: &str = "must be an absolute path without .., as in /var/lib/data";
const PRINCIPAL: &str = "each entry must be user/<name> or serviceaccount/<user>/<name>";
const CIDR: &str = "each entry must be an address or a network, as in 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32";
const SSH_KEY: &str = "must be one line of an OpenSSH public key, as in the file ~/.ssh/id_ed25519.pub";
const HEADER_NAMES: &str = "each name has letters, digits and -, as in X-Request-Id";
const PORT_NAME: &str = "must be at most 15 lower-case letters, digits and dashes with at least one letter, as in http";
const PORT_NAMES: &str = "each port needs a name of its own";
const PORT_NUMBERS: &str = "each port number may be there once for TCP and once for UDP";
const PROBE: &str = "a probe needs exactly one of http, tcp and exec";
const PROBE_PATH: &str = "must start with /, as in /healthz";
const SCOPE: &str = "must be <service>.<user>.<resource>[.<id>], as in storage.ada.files, with service one of compute, storage, networking, registry, queue, datastore, observability, identity";
const ACTION: &str = "each action is one lower-case word, as in read";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut refuse = |kind: &'static str, pointer: &str, value: Value, path: &'static str, message: &'static str| {
        let mut new = valid(kind);
        set(&mut new, pointer, value);
        cases.push(Case { kind, path, message, old: None, new });
    };

    for kind in ["User", "Container", "VM", "Volume", "Network", "Route", "Domain", "ServiceAccount", "Token"] {
        refuse(kind, "metadata/name", json!("a".repeat(41)), "", NAME);
        refuse(kind, "metadata/name", json!("1st"), "", NAME);
        refuse(kind, "metadata/name", json!("a.b"), "", NAME);
        refuse(kind, "metadata/name", json!("a-"), "", NAME);
    }

    refuse("User", "spec/email", json!("ada"), "spec.email", "must be one e-mail address");
    refuse(
        "User",
        "spec/oidcSubjects/0/issuer",
        json!("http://id.example.com"),
        "spec.oidcSubjects[].issuer",
        "must be the provider's https:// URL",
    );
    refuse(
        "User",
        "spec/oidcSubjects/0/issuer",
        json!("id.example.com"),
        "spec.oidcSubjects[].issuer",
        "must be the provider's https:// URL",
    );
    refuse("User", "spec/sshKeys/0/publicKey", json!("-----BEGIN OPENSSH PRIVATE KEY-----"), "spec.sshKeys[].publicKey", SSH_KEY);
    refuse("User", "spec/quota/cpu", json!("four"), "spec.quota.cpu", QUANTITY);
    refuse("User", "spec/quota/memory", json!("0"), "spec.quota.memory", QUANTITY);
    refuse("User", "spec/quota/storage", json!("-1Gi"), "spec.quota.storage", QUANTITY);

    refuse(
        "Namespace",
        "metadata/name",
        json!("ab"),
        "",
        "metadata.name must be 3 to 63 lower-case letters, digits and dashes, as S3 asks of a bucket",
    );
    refuse("Namespace", "spec/quota/bytes", json!("ten"), "spec.quota.bytes", QUANTITY);
    refuse(
        "Namespace",
        "spec/lifecycle/0",
        json!({"name": "x"}),
        "spec.lifecycle[]",
        "a lifecycle rule needs expireAfterDays, expireVersionsAfterDays, abortUploadsAfterDays or several of them",
    );

    for image in ["Nginx:1", "nginx:", "a b", "nginx:tag:tag", "/nginx", "nginx@sha256:short", "https://example.com/nginx"] {
        refuse("Container", "spec/image", json!(image), "spec.image", IMAGE);
    }
    refuse("Container", "spec/workingDir", json!("srv"), "spec.workingDir", ABSOLUTE);
    refuse(
        "Container",
        "spec/env/0",
        json!({"name": "A"}),
        "spec.env[]",
        "an environment variable needs exactly one of value and secret",
    );
    refuse(
        "Container",
        "spec/env/0",
        json!({"name": "A", "value": "", "secret": {"name": "s", "key": "k"}}),
        "spec.env[]",
        "an environment variable needs exactly one of value and secret",
    );
    refuse(
        "Container",
        "spec/env/0/name",
        json!("1A"),
        "spec.env[].name",
        "must be letters, digits, _, . and -, not starting with a digit, as in LOG_LEVEL",
    );
    refuse("Container", "spec/resources/cpu", json!("x"), "spec.resources.cpu", QUANTITY);
    refuse("Container", "spec/resources/cpuLimit", json!("x"), "spec.resources.cpuLimit", QUANTITY);
    refuse("Container", "spec/resources/memory", json!("1 GB"), "spec.resources.memory", QUANTITY);
    refuse("Container", "spec/resources/cpuLimit", json!("50m"), "spec.resources", "cpuLimit must not be below cpu");
    refuse("Container", "spec/ports/0/port", json!(0), "spec.ports[].port", PORT);
    refuse("Container", "spec/ports/0/port", json!(65536), "spec.ports[].port", PORT);
    refuse("Container", "spec/ports/0/name", json!("80"), "spec.ports[].name", PORT_NAME);
    refuse("Container", "spec/ports/1/name", json!("http"), "spec.ports", PORT_NAMES);
    refuse("Container", "spec/ports/1/port", json!(80), "spec.ports", PORT_NUMBERS);
    refuse(
        "Container",
        "spec/ports",
        json!([]),
        "spec",
        "a probe without a port uses the first of spec.ports: name the probe's port, or list the container's ports",
    );
    refuse(
        "Container",
        "spec/volumes",
        json!([{"volume": "v", "path": "/data"}]),
        "spec",
        "a Container with volumes runs in one replica: set spec.replicas to 1, or use no volumes",
    );
    refuse("Container", "spec/probes/startup", json!({}), "spec.probes.startup", PROBE);
    refuse("Container", "spec/probes/readiness", json!({"tcp": {}, "http": {"path": "/"}}), "spec.probes.readiness", PROBE);
    refuse("Container", "spec/probes/liveness", json!({}), "spec.probes.liveness", PROBE);
    for probe in ["startup", "readiness", "liveness"] {
        let at = |field: &str| -> &'static str { Box::leak(format!("spec.probes.{probe}.{field}").into_boxed_str()) };
        refuse("Container", &format!("spec/probes/{probe}"), json!({"http": {"path": "x"}}), at("http.path"), PROBE_PATH);
        refuse("Container", &format!("spec/probes/{probe}"), json!({"http": {"path": "/", "port": 0}}), at("http.port"), PORT);
        refuse("Container", &format!("spec/probes/{probe}"), json!({"tcp": {"port": 70000}}), at("tcp.port"), PORT);
    }
    refuse("Container", "spec/ssh/shell", json!("bash"), "spec.ssh.shell", ABSOLUTE);
    let mut mounted = valid("Container");
    set(&mut mounted, "spec/replicas", json!(1));
    set(&mut mounted, "spec/volumes", json!([{"volume": "v", "path": "/data/../etc"}]));
    cases.push(Case { kind: "Container", path: "spec.volumes[].path", message: ABSOLUTE, old: None, new: mounted });

    let mut refuse = |kind: &'static str, pointer: &str, value: Value, path: &'static str, message: &'static str| {
        let mut new = valid(kind);
        set(&mut new, pointer, value);
        cases.push(Case { kind, path, message, old: None, new });
    };
    for kind in ["Container", "VM"] {
        refuse(kind, "spec/access/ssh", json!(["bob"]), "spec.access.ssh", PRINCIPAL);
        refuse(kind, "spec/access/logs", json!(["user/"]), "spec.access.logs", PRINCIPAL);
        refuse(kind, "spec/access/exec", json!(["group/bob"]), "spec.access.exec", PRINCIPAL);
        refuse(kind, "spec/access/manage", json!(["serviceaccount/ci"]), "spec.access.manage", PRINCIPAL);
    }

    refuse("VM", "spec/memory", json!("lots"), "spec.memory", QUANTITY);
    refuse("VM", "spec/image", json!("Debian"), "spec.image", IMAGE);
    refuse("VM", "spec/cloudInit", json!({}), "spec.cloudInit", "cloudInit needs exactly one of userData and secret");
    refuse(
        "VM",
        "spec/cloudInit/userData",
        json!("runcmd: []"),
        "spec.cloudInit.userData",
        "must start with #cloud-config or #!",
    );
    refuse("VM", "spec/sshKeys/0/publicKey", json!("x"), "spec.sshKeys[].publicKey", SSH_KEY);
    refuse("VM", "spec/ports/0/port", json!(0), "spec.ports[].port", PORT);
    refuse("VM", "spec/ports/0/name", json!("SSH"), "spec.ports[].name", PORT_NAME);
    refuse("VM", "spec/ports/1", json!({"name": "ssh", "port": 2222}), "spec.ports", PORT_NAMES);
    refuse("VM", "spec/ports/1", json!({"port": 22, "protocol": "TCP"}), "spec.ports", PORT_NUMBERS);

    refuse("Volume", "spec/size", json!("big"), "spec.size", QUANTITY);
    refuse("Network", "spec/egress", json!(["10.0.0.0/33"]), "spec.egress", CIDR);

    for host in
        ["App.example.com", "app.*.com", "app_1.example.com", "-a.example.com", "a..b", "example.com:80", "http://example.com"]
    {
        refuse(
            "Route",
            "spec/hosts",
            json!([host]),
            "spec.hosts",
            "each host must be lower-case, as in app.example.com, or start with one wildcard label, as in *.example.com",
        );
    }
    refuse("Route", "spec/hosts", json!([]), "spec", "spec.hosts needs at least one host, as in app.example.com");
    refuse(
        "Route",
        "spec",
        json!({"protocol": "TCP", "backends": [{"container": "a", "port": 1}]}),
        "spec",
        "a TCP or UDP Route needs spec.port, the port that the gateway listens on",
    );
    refuse(
        "Route",
        "spec/protocol",
        json!("TLS"),
        "spec",
        "only HTTP, gRPC and WebSocket Routes have paths: remove spec.paths or change spec.protocol",
    );
    refuse("Route", "spec/port", json!(0), "spec.port", PORT);
    refuse(
        "Route",
        "spec",
        json!({"protocol": "TCP", "port": 5432, "hosts": ["h"], "backends": [{"container": "a", "port": 1}]}),
        "spec",
        "a TCP or UDP Route has no hosts: whoever comes to a port names none",
    );
    for name in ["My Secret", "../tls", "a,type=b", "-a"] {
        refuse(
            "Route",
            "spec/tls",
            json!({"secret": name}),
            "spec.tls.secret",
            "must be a name of lower-case letters, digits, dashes and dots, as in shop-tls",
        );
    }
    for path in ["api", "/a//b", "/a/../b", "/a/.", "/a?b", "/a#b"] {
        refuse(
            "Route",
            "spec/paths/0/path",
            json!(path),
            "spec.paths[]",
            "must be an absolute path in normal form, as in /api/v1, without //, . or .. elements, ? or #",
        );
    }
    let elsewhere = "a Route needs backends, or sends clients elsewhere with spec.redirect, not both";
    refuse("Route", "spec/backends", json!([]), "spec", elsewhere);
    refuse("Route", "spec/redirect", json!({"host": "b.example.com"}), "spec", elsewhere);
    let certified =
        json!({"hosts": ["a.example.com"], "backends": [{"container": "c", "port": 80}], "domain": "d", "tls": {"secret": "s"}});
    refuse("Route", "spec", certified, "spec", "spec.domain and spec.tls.secret both name a certificate: remove one");
    let twice = "spec.stripPrefix and spec.rewrite.path both say what becomes of the path: remove one";
    refuse("Route", "spec/stripPrefix", json!(true), "spec", twice);
    let named = |name: &str, value: &str| json!([{"name": name, "value": value}]);
    refuse("Route", "spec/headers", named("X A", "1"), "spec.headers", HEADER_NAMES);
    for edits in ["requestHeaders", "responseHeaders"] {
        for list in ["set", "add"] {
            let path: &'static str = format!("spec.{edits}.{list}").leak();
            refuse("Route", &format!("spec/{edits}/{list}"), named("X:", "1"), path, HEADER_NAMES);
            let path: &'static str = format!("spec.{edits}.{list}[].value").leak();
            let value = named("X-A", "1\r\nX-B: 2");
            refuse("Route", &format!("spec/{edits}/{list}"), value, path, "a header's value is one line");
        }
        let path: &'static str = format!("spec.{edits}.remove").leak();
        refuse("Route", &format!("spec/{edits}/remove"), json!(["a b"]), path, HEADER_NAMES);
    }
    let host = "must be a lower-case host name, as in app.example.com";
    let request_path = "must be an absolute path, as in /api/v1, without . or .. elements, ? or #";
    let one = "a path becomes exactly one of full and prefix";
    refuse("Route", "spec/rewrite/host", json!("A/"), "spec.rewrite.host", host);
    refuse("Route", "spec/rewrite/path", json!({}), "spec.rewrite.path", one);
    refuse("Route", "spec/rewrite/path", json!({"full": "a"}), "spec.rewrite.path.full", request_path);
    refuse("Route", "spec/rewrite/path", json!({"prefix": "/../a"}), "spec.rewrite.path.prefix", request_path);
    refuse("Route", "spec/redirect/host", json!("*.a"), "spec.redirect.host", host);
    refuse("Route", "spec/redirect/port", json!(0), "spec.redirect.port", PORT);
    refuse("Route", "spec/redirect/path", json!({"full": "/", "prefix": "/"}), "spec.redirect.path", one);
    refuse("Route", "spec/redirect/path", json!({"full": "/a?b"}), "spec.redirect.path.full", request_path);
    refuse("Route", "spec/redirect/path", json!({"prefix": "/a b"}), "spec.redirect.path.prefix", request_path);
    let endless = "a redirect to where the client is already has no end: name a scheme, a host, a port or a path";
    refuse("Route", "spec/redirect", json!({"status": 301}), "spec.redirect", endless);
    let status = "a redirect has the status 301, 302, 303, 307 or 308";
    refuse("Route", "spec/redirect/status", json!(200), "spec.redirect.status", status);
    let any = "any origin, and credentials with it, would let every page act as its visitor: name the origins";
    refuse("Route", "spec/cors", json!({"allowOrigins": ["*"], "allowCredentials": true}), "spec.cors", any);
    let origin = "each origin is a scheme and a host, as in https://app.example.com or https://*.example.com, or *";
    for wrong in ["app.example.com", "https://a/b", "https://a.*.b"] {
        refuse("Route", "spec/cors/allowOrigins", json!([wrong]), "spec.cors.allowOrigins", origin);
    }
    refuse("Route", "spec/cors/allowMethods", json!(["GET, PUT"]), "spec.cors.allowMethods", HEADER_NAMES);
    refuse("Route", "spec/cors/allowHeaders", json!(["a:"]), "spec.cors.allowHeaders", HEADER_NAMES);
    refuse("Route", "spec/cors/exposeHeaders", json!(["a\n"]), "spec.cors.exposeHeaders", HEADER_NAMES);
    refuse("Route", "spec/backends/0", json!({"port": 80}), "spec.backends[]", "a backend needs exactly one of container and vm");
    refuse("Route", "spec/backends/0/port", json!(0), "spec.backends[].port", PORT);
    refuse("Route", "spec/mirrors/0", json!({"container": "a", "port": 0}), "spec.mirrors[].port", PORT);
    refuse("Route", "spec/ipFilter/allow", json!(["ten"]), "spec.ipFilter.allow", CIDR);
    refuse("Route", "spec/ipFilter/deny", json!(["1.2.3"]), "spec.ipFilter.deny", CIDR);
    refuse("Route", "spec/requiredScopes/0/scope", json!("files"), "spec.requiredScopes[].scope", SCOPE);
    refuse("Route", "spec/requiredScopes/0/actions", json!(["Read"]), "spec.requiredScopes[].actions", ACTION);

    refuse(
        "Domain",
        "spec/host",
        json!("localhost"),
        "spec.host",
        "must be a lower-case host with at least one dot, as in www.example.com or *.example.com",
    );
    refuse(
        "Domain",
        "spec/host",
        json!("*.example.com"),
        "spec",
        "a wildcard host can only be proven by DNS: set spec.challenge to DNS01, or to None if the Routes name a certificate",
    );
    refuse("ServiceAccount", "spec/scopes/0/scope", json!("kitchen.ada.sink"), "spec.scopes[].scope", SCOPE);
    refuse("ServiceAccount", "spec/scopes/0/actions", json!(["*"]), "spec.scopes[].actions", ACTION);
    refuse("Token", "spec/scopes/0", json!({"scope": "x", "actions": ["read"]}), "spec.scopes[].scope", SCOPE);
    refuse("Token", "spec/scopes/0", json!({"scope": "storage.ada.files", "actions": ["a b"]}), "spec.scopes[].actions", ACTION);
    refuse(
        "Token",
        "spec/rotation",
        json!({"everyDays": 1, "overlapHours": 24}),
        "spec.rotation",
        "overlapHours must be shorter than everyDays",
    );

    let mut refuse_change = |kind: &'static str, pointer: &str, value: Value, path: &'static str, message: &'static str| {
        let mut new = valid(kind);
        set(&mut new, pointer, value);
        cases.push(Case { kind, path, message, old: Some(valid(kind)), new });
    };
    refuse_change(
        "Volume",
        "spec/size",
        json!("5Gi"),
        "spec.size",
        "a Volume cannot shrink: make a smaller one and copy the data",
    );
    refuse_change(
        "Volume",
        "spec/class",
        json!("slow"),
        "spec",
        "spec.class cannot be changed: make a new Volume and copy the data",
    );
    refuse_change(
        "Volume",
        "spec/access",
        json!("ReadWriteMany"),
        "spec.access",
        "spec.access cannot be changed: make a new Volume and copy the data",
    );
    refuse_change(
        "Domain",
        "spec/host",
        json!("api.example.com"),
        "spec.host",
        "spec.host cannot be changed: make another Domain",
    );
    let kept = "a Route keeps its port: make another Route, which has the port once no older one does";
    refuse_change(
        "Route",
        "spec",
        json!({"protocol": "TCP", "port": 5432, "backends": [{"container": "a", "port": 1}]}),
        "spec",
        kept,
    );
    refuse_change(
        "Token",
        "spec/serviceAccount",
        json!("other"),
        "spec",
        "spec.serviceAccount cannot be changed: make another Token",
    );
    refuse_change("Token", "spec/secretName", json!("other"), "spec", "spec.secretName cannot be changed: make another Token");
    cases
}

fn schemas() -> BTreeMap<String, Value> {
    eddy_crds::all()
        .into_iter()
        .map(|definition| {
            let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            (definition.spec.names.kind.clone(), serde_json::to_value(schema).unwrap())
        })
        .collect()
}

/// Every rule of a schema as (path, message).
fn rules(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push((path.to_owned(), rule["message"].as_str().unwrap_or_default().to_owned()));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        rules(property, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
    }
    if schema["items"].is_object() {
        rules(&schema["items"], &format!("{path}[]"), found);
    }
}

/// `spec.ports[0].port` as `spec.ports[].port`.
fn without_positions(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|&c| {
            let keep = !inside || c == ']';
            inside = (inside || c == '[') && c != ']';
            keep
        })
        .collect()
}

fn validate(schema: &Value, new: &Value, old: Option<&Value>) -> Result<(), ValidationErrors> {
    Validator::new().validate(schema, new, old)
}

#[test]
fn what_is_valid_is_accepted() {
    let schemas = schemas();
    for (kind, schema) in &schemas {
        let object = valid(kind);
        validate(schema, &object, None).unwrap_or_else(|errors| panic!("{kind}: {errors}"));
        validate(schema, &object, Some(&object)).unwrap_or_else(|errors| panic!("{kind}, unchanged: {errors}"));
    }
}

#[test]
fn every_case_is_refused_with_its_sentence() {
    let schemas = schemas();
    for case in cases() {
        let errors = validate(&schemas[case.kind], &case.new, case.old.as_ref())
            .expect_err(&format!("{} {}: accepted, should say: {}", case.kind, case.path, case.message));
        let found: Vec<(String, &str)> =
            errors.as_slice().iter().map(|error| (without_positions(&error.field_path), error.message.as_str())).collect();
        assert!(
            found.iter().any(|(path, message)| path == case.path && *message == case.message),
            "{} {}: should say {:?}, says {found:?}",
            case.kind,
            case.path,
            case.message
        );
    }
}

#[test]
fn every_rule_is_refuted_by_some_case() {
    let covered: BTreeSet<(String, String, String)> =
        cases().into_iter().map(|case| (case.kind.to_owned(), case.path.to_owned(), case.message.to_owned())).collect();
    let mut missing = Vec::new();
    for (kind, schema) in schemas() {
        let mut found = Vec::new();
        rules(&schema, "", &mut found);
        missing.extend(
            found.into_iter().map(|(path, message)| (kind.clone(), path, message)).filter(|rule| !covered.contains(rule)),
        );
    }
    assert!(missing.is_empty(), "rules without a case: {missing:#?}");
}

#[test]
fn no_rule_was_dropped_from_the_committed_yaml() {
    // Tests run in the folder of their package.
    let folder = "yaml";
    let committed: usize = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .map(|yaml| yaml.lines().filter(|line| line.trim_start().trim_start_matches("- ").starts_with("rule:")).count())
        .sum();
    assert_eq!(committed, RULES);
}

#[test]
fn every_rule_compiles_and_has_a_sentence() {
    for (kind, schema) in schemas() {
        let compiled = compile_schema(&schema);
        assert!(compiled.compilation_errors().is_empty(), "{kind}: {:?}", compiled.compilation_errors());
        let mut found = Vec::new();
        rules(&schema, "", &mut found);
        assert!(found.iter().all(|(_, message)| !message.is_empty()), "{kind}: a rule without a message: {found:?}");
    }
}
