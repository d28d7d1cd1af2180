//! Writes every definition to the folder given: `crdgen crds/yaml`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: crdgen FOLDER");
        return ExitCode::from(64);
    };
    for definition in eddy_crds::all() {
        let path = folder.join(format!("{}.yaml", definition.spec.names.plural));
        let written = eddy_crds::to_yaml(&definition)
            .map_err(|error| error.to_string())
            .and_then(|yaml| std::fs::write(&path, yaml).map_err(|error| error.to_string()));
        if let Err(error) = written {
            eprintln!("failed to write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
