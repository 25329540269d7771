//! The files that install hotgate hang together: container, composition and Debian package name files that exist, commands that the program
//! has, and configurations that it takes. `.ci/release packages` builds the package itself; images need a daemon and are not built here.

use std::path::{Path, PathBuf};
use std::process::Command;

const CONTAINER: &str = include_str!("../../conf/container/Containerfile");
const COMPOSITION: &str = include_str!("../../conf/compose/compose.yaml");
const MANIFEST: &str = include_str!("../../Cargo.toml");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the program says to arguments: its exit code and its standard error.
fn hotgate(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hotgate")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// The words of an instruction in exec form: no shell is in the image.
fn exec_form(instruction: &str) -> Vec<String> {
    let line = CONTAINER.lines().find(|line| line.starts_with(instruction)).unwrap();
    let array = &line[line.find('[').unwrap_or_else(|| panic!("{line} is not in exec form"))..];
    serde_json::from_str(array).unwrap()
}

#[test]
fn the_container_runs_the_program_without_a_shell_and_without_rights() {
    let program = exec_form("ENTRYPOINT");
    assert_eq!(program, ["/usr/bin/hotgate"]);
    let last = CONTAINER.lines().rfind(|line| line.starts_with("FROM ")).unwrap();
    assert!(last.ends_with(":nonroot") && !CONTAINER.contains("USER root"), "{last}");
    for line in CONTAINER.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let source = line.split(' ').find(|word| !word.starts_with("--")).unwrap();
        assert!(source.starts_with("/source/") || root().join(source).exists(), "{source} is not there");
    }
    let serve = exec_form("CMD");
    let words: Vec<&str> = serve.iter().map(String::as_str).chain(["--describe-metrics"]).collect();
    assert_eq!(hotgate(&words).0, Some(0));
    // Nobody may be at the usual port, or somebody may: it is a question that the program knows.
    let health = exec_form("HEALTHCHECK");
    let words: Vec<&str> = health[1..].iter().map(String::as_str).collect();
    let (code, said) = hotgate(&words);
    assert!(health[0] == program[0] && (code == Some(0) || code == Some(1)), "{said}");
}

#[test]
fn the_composition_names_files_that_exist_and_take_effect() {
    let directory = root().join("conf/compose");
    let mounts = COMPOSITION.lines().filter_map(|line| line.trim().strip_prefix("- .")?.split(':').next());
    let mounted: Vec<PathBuf> = mounts.map(|path| directory.join(format!(".{path}"))).collect();
    assert!(mounted.len() >= 6, "{mounted:?}");
    mounted.iter().for_each(|path| assert!(path.exists(), "{} is not there", path.display()));
    let (code, said) = hotgate(&["check", directory.join("hotgate.toml").to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    // As they lie beside each other in the container.
    let together = tempfile::tempdir().unwrap();
    for file in ["compose/prometheus.yml", "prometheus/alerts.yml"] {
        let from = root().join("conf").join(file);
        std::fs::copy(&from, together.path().join(from.file_name().unwrap())).unwrap();
    }
    let checked = Command::new("promtool")
        .args(["check", "config"])
        .arg(together.path().join("prometheus.yml"))
        .output()
        .expect("promtool is installed (package prometheus)");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_package_is_made_of_files_that_exist() {
    let assets = MANIFEST.split("\nassets = [\n").nth(1).unwrap().split("\n]").next().unwrap();
    let sources = assets.lines().map(|line| line.split('"').nth(1).unwrap());
    // What the program makes of itself, and the pages.
    for source in sources.filter(|source| !source.starts_with("target/") && !source.contains('*')) {
        assert!(root().join(source).exists(), "{source} is not there");
    }
    let scripts = MANIFEST.split("maintainer-scripts = \"").nth(1).unwrap().split('"').next().unwrap();
    for script in ["postinst", "postrm"] {
        let path = root().join(scripts).join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(checked.success() && text.contains("#DEBHELPER#"), "{script}");
    }
}
