//! The committed YAML is what the types generate, and nothing else lies beside it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn the_committed_yaml_is_what_the_types_generate() {
    // Tests run in the folder of their package.
    let folder = Path::new("yaml");
    let committed: BTreeMap<String, String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()))
        .collect();
    let generated: BTreeMap<String, String> = eddy_crds::all()
        .iter()
        .map(|definition| (format!("{}.yaml", definition.spec.names.plural), eddy_crds::to_yaml(definition).unwrap()))
        .collect();
    assert!(committed == generated, "crds/yaml is not what the types generate: run `just generate` and commit the result");
}

#[test]
fn every_kind_has_the_columns_and_names_that_users_rely_on() {
    for definition in eddy_crds::all() {
        let kind = &definition.spec.names.kind;
        let version = &definition.spec.versions[0];
        let columns: Vec<&str> = version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str()).collect();
        assert!(columns.contains(&"Ready"), "{kind} has no Ready column");
        assert_eq!(columns.last(), Some(&"Age"), "{kind}: Age comes last");
        assert_eq!(definition.spec.names.categories.as_deref(), Some(&["eddy".to_owned()][..]), "{kind} is not in the category");
        assert_eq!(definition.spec.names.short_names.as_ref().map(Vec::len), Some(1), "{kind} has no short name");
        assert!(version.subresources.as_ref().is_some_and(|sub| sub.status.is_some()), "{kind} has no status subresource");
        let schema = serde_json::to_value(&version.schema).unwrap();
        let status = &schema["openAPIV3Schema"]["properties"]["status"]["properties"];
        assert!(status["observedGeneration"].is_object(), "{kind} has no observedGeneration");
        assert_eq!(status["conditions"]["x-kubernetes-list-map-keys"][0], "type", "{kind}: conditions are not a map by type");
    }
}

#[test]
fn short_names_are_distinct() {
    let mut names: Vec<String> =
        eddy_crds::all().into_iter().flat_map(|definition| definition.spec.names.short_names.unwrap_or_default()).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
