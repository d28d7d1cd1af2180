//! The description of this API (OpenAPI 3.1), of the definitions of all kinds.

use eddy_crds::GROUP;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};

/// The document.
pub(crate) fn document() -> Value {
    let definitions = eddy_crds::all();
    let (mut paths, mut schemas) = (Map::new(), common_schemas());
    paths.insert(
        "/api/v1/whoami".into(),
        json!({"get": {
            "operationId": "whoami", "summary": "Who the token stands for", "tags": ["identity"],
            "responses": {"200": answer("Who it is", json!({"$ref": "#/components/schemas/Who"})), "default": problem()},
        }}),
    );
    paths.insert(
        "/api/v1/tenants/{tenant}/tokens/{name}/secret".into(),
        json!({
            "parameters": [parameter("tenant", "path", "Whose"), parameter("name", "path", "Its name")],
            "get": operation("TokenSecret", "tokens", "get", "What a Token was written to, for its user, by all of what is theirs", json!({
                "responses": {"200": answer("It", json!({"$ref": "#/components/schemas/TokenSecret"})), "default": problem()},
            })),
        }),
    );
    for definition in &definitions {
        describe(definition, &mut paths, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Eddy", "version": env!("CARGO_PKG_VERSION"),
            "description": "Every kind's objects, as custom resources of eddy.cloud/v1alpha1. Reads may be a moment behind; a write has been seen by whoever reads next from the same replica, and by all with minResourceVersion.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "A token, eddy_<id>_<secret>"}},
        },
    })
}

fn describe(definition: &CustomResourceDefinition, paths: &mut Map<String, Value>, schemas: &mut Map<String, Value>) {
    let names = &definition.spec.names;
    let (plural, kind) = (&names.plural, &names.kind);
    let Some(version) = definition.spec.versions.first() else { return };
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut schema = serde_json::to_value(schema).unwrap_or_default();
    plain(&mut schema);
    schema["properties"]["apiVersion"] = json!({"const": format!("{GROUP}/{}", version.name)});
    schema["properties"]["kind"] = json!({"const": kind});
    schema["properties"]["metadata"] = json!({"$ref": "#/components/schemas/ObjectMeta"});
    schemas.insert(kind.clone(), schema);
    schemas.insert(
        format!("{kind}List"),
        json!({"type": "object", "properties": {
            "apiVersion": {"type": "string"}, "kind": {"const": format!("{kind}List")},
            "metadata": {"$ref": "#/components/schemas/ListMeta"},
            "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{kind}")}},
        }}),
    );
    let object = json!({"$ref": format!("#/components/schemas/{kind}")});
    let (list, tenant) = match &*definition.spec.scope {
        "Namespaced" => {
            let everyone = format!("/api/v1/{plural}");
            paths.insert(everyone, json!({"get": listing(kind, plural, "All tenants', for administrators", "listAll")}));
            (format!("/api/v1/tenants/{{tenant}}/{plural}"), vec![parameter("tenant", "path", "Whose")])
        }
        _ => (format!("/api/v1/{plural}"), Vec::new()),
    };
    let mut one = tenant.clone();
    one.push(parameter("name", "path", "Its name"));
    let body = json!({"required": true, "content": {"application/json": {"schema": object}}});
    paths.insert(list.clone(), json!({
        "parameters": tenant,
        "get": listing(kind, plural, "Those of a tenant", "list"),
        "post": operation(kind, plural, "create", "Make one. With Idempotency-Key, once, however often it is asked for", json!({
            "parameters": [dry_run(), manager(), parameter("Idempotency-Key", "header", "Names the request")],
            "requestBody": body, "responses": {"201": answer("It was made", object.clone()), "default": problem()},
        })),
    }));
    let condition = || parameter("If-Match", "header", "The ETag of the version that is to be changed");
    let changed = |what: &str| json!({"200": answer(what, object.clone()), "default": problem()});
    paths.insert(format!("{list}/{{name}}"), json!({
        "parameters": one,
        "get": operation(kind, plural, "get", "See it", json!({
            "parameters": [minimum(), parameter("If-None-Match", "header", "304 where it is of this version still")],
            "responses": changed("It"),
        })),
        "put": operation(kind, plural, "replace", "Put another in its place", json!({
            "parameters": [dry_run(), manager(), condition()], "requestBody": body, "responses": changed("As it is now"),
        })),
        "patch": operation(kind, plural, "patch", "Change it, or apply (which makes it where it is not there)", json!({
            "parameters": [dry_run(), manager(), condition(), {"name": "force", "in": "query", "schema": {"type": "boolean"}, "description": "An apply takes what others own"}],
            "requestBody": {"required": true, "content": {
                "application/merge-patch+json": {"schema": {"type": "object"}},
                "application/json-patch+json": {"schema": {"type": "array"}},
                "application/apply-patch+yaml": {"schema": object},
            }},
            "responses": changed("As it is now"),
        })),
        "delete": operation(kind, plural, "delete", "Remove it. 202: it goes once what holds it up is done", json!({
            "parameters": [dry_run(), condition()], "responses": changed("It is gone"),
        })),
    }));
}

fn listing(kind: &str, plural: &str, what: &str, verb: &str) -> Value {
    let list = json!({"$ref": format!("#/components/schemas/{kind}List")});
    let mut listed =
        answer("A page of them, or with Accept: text/event-stream the changes as they are made: snapshot, put and delete", list);
    listed["content"]["text/event-stream"] = json!({"schema": {"type": "string"}});
    operation(
        kind,
        plural,
        verb,
        what,
        json!({
            "parameters": [
                {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 5000}},
                parameter("continue", "query", "metadata.continue of the page before"),
                parameter("labelSelector", "query", "As kubectl -l takes it"),
                minimum(),
                parameter("Last-Event-ID", "header", "Of a stream: what changed since"),
            ],
            "responses": {"200": listed, "default": problem()},
        }),
    )
}

fn operation(kind: &str, plural: &str, verb: &str, summary: &str, more: Value) -> Value {
    let mut operation = more;
    operation["operationId"] = json!(format!("{verb}{kind}"));
    operation["summary"] = json!(summary);
    operation["tags"] = json!([plural]);
    operation
}

fn parameter(name: &str, place: &str, about: &str) -> Value {
    let mut parameter = json!({"name": name, "in": place, "description": about, "schema": {"type": "string"}});
    if place == "path" {
        parameter["required"] = json!(true);
    }
    parameter
}

fn dry_run() -> Value {
    json!({"name": "dryRun", "in": "query", "schema": {"type": "boolean"}, "description": "Only whether it would be done"})
}

fn manager() -> Value {
    parameter("fieldManager", "query", "Who owns what is said; eddy-api if nobody is named")
}

fn minimum() -> Value {
    json!({"name": "minResourceVersion", "in": "query", "schema": {"type": "integer"}, "description": "Nothing older than this"})
}

fn answer(about: &str, schema: Value) -> Value {
    json!({"description": about, "content": {"application/json": {"schema": schema}}})
}

fn problem() -> Value {
    json!({"description": "It did not work (RFC 9457)", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}})
}

fn common_schemas() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    [
        ("Who", json!({"type": "object", "properties": {
            "user": text(), "admin": {"type": "boolean"}, "serviceAccount": text(), "token": text(), "limited": {"type": "boolean"}, "session": {"type": "boolean"},
        }})),
        ("TokenSecret", json!({"type": "object", "properties": {
            "token": text(), "AWS_ACCESS_KEY_ID": text(), "AWS_SECRET_ACCESS_KEY": text(),
        }})),
        ("Problem", json!({"type": "object", "required": ["status", "code", "detail"], "properties": {
            "type": text(), "title": text(), "status": {"type": "integer"}, "code": text(), "detail": text(),
            "errors": {"type": "array", "items": {"type": "object", "properties": {"field": text(), "message": text()}}},
        }})),
        ("ListMeta", json!({"type": "object", "properties": {"resourceVersion": text(), "continue": text()}})),
        ("ObjectMeta", json!({"type": "object", "properties": {
            "name": text(), "generateName": text(), "namespace": text(), "uid": text(), "resourceVersion": text(),
            "generation": {"type": "integer"}, "creationTimestamp": text(), "deletionTimestamp": text(),
            "labels": texts(), "annotations": texts(),
            "finalizers": {"type": "array", "items": {"type": "string"}}, "ownerReferences": {"type": "array", "items": {"type": "object"}},
        }})),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), schema))
    .collect()
}

/// A schema without what only Kubernetes reads, and `nullable` as OpenAPI 3.1 has it.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.starts_with("x-kubernetes-"));
            if fields.remove("nullable") == Some(Value::Bool(true))
                && let Some(kind) = fields.get_mut("type")
            {
                *kind = json!([kind.take(), "null"]);
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(all) => all.iter_mut().for_each(plain),
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_described_and_every_reference_leads_somewhere() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        for definition in eddy_crds::all() {
            let plural = &definition.spec.names.plural;
            assert!(paths.keys().any(|path| path.ends_with(&format!("/{plural}/{{name}}"))), "{plural}");
        }
        let text = document.to_string();
        assert!(!text.contains("x-kubernetes-") && !text.contains("\"nullable\""));
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        let all = paths.values().flat_map(|path| path.as_object().unwrap().values());
        let ids: Vec<_> = all.filter_map(|operation| operation["operationId"].as_str()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each operation has a name of its own");
    }
}
