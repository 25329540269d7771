//! No two modules of one directory use each other, directly or around others.
//!
//! Who uses whom is read from the `use` lines and from paths in the code that begin with `crate`, `super` or `self`. A name that
//! a parent re-exports counts as the module that defines it. Methods are no imports, so they are not seen here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{files, is_test_file};

/// Directories that are not held to it.
const EXEMPT: &[&str] = &["worker"];

type Module = Vec<String>;
/// Of the modules of one directory: who uses whom, each with one line that says where.
type Uses = BTreeMap<(String, String), String>;

/// What the modules of the crate name, by module.
#[derive(Default)]
struct Crate {
    /// Every path in the module, made absolute as far as it begins in this crate.
    paths: BTreeMap<Module, Vec<Module>>,
    /// The names that `use` lines bring into the module.
    imports: BTreeMap<Module, BTreeMap<String, Module>>,
}

/// The text without comments, tests and their modules.
fn code_of(text: &str) -> String {
    let without_comments: Vec<&str> =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let mut kept = String::new();
    let mut lines = without_comments.into_iter().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let next = lines.by_ref().find(|line| !line.trim_start().starts_with("#[")).unwrap_or_default();
        if next.ends_with('{') {
            break;
        }
    }
    kept
}

/// The paths of a tree such as `a::{b, c::{self, d as e}}` at the front of the text, each with the name that it binds.
fn tree(text: &str, prefix: &[String]) -> Vec<(Module, String)> {
    let text = text.trim_start();
    let word: String = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    let rest = text[word.len()..].trim_start();
    let mut path = prefix.to_vec();
    if !word.is_empty() {
        path.push(word);
    }
    if let Some(below) = rest.strip_prefix("::") {
        return tree(below, &path);
    }
    if let Some(list) = rest.strip_prefix('{') {
        let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    if !list[from..at].trim().is_empty() {
                        found.extend(tree(&list[from..at], &path));
                    }
                    from = at + 1;
                    if letter == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return found;
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let alias =
        rest.strip_prefix("as ").map(|alias| alias.split([',', '}', ';', '\n']).next().unwrap_or_default());
    let name = alias.map(|alias| alias.trim().to_owned()).or(path.last().cloned()).unwrap_or_default();
    vec![(path, name)]
}

impl Crate {
    fn read() -> Self {
        let sources: Vec<(Module, String)> = files("")
            .into_iter()
            .filter(|(path, _)| !is_test_file(path) && !path.ends_with("src/main.rs"))
            .map(|(path, text)| (module_of(&path), code_of(&text)))
            .collect();
        let mut this = Self::default();
        this.paths.extend(sources.iter().map(|(module, _)| (module.clone(), Vec::new())));
        for (module, code) in &sources {
            let statements = code.split_inclusive('\n').scan(0, |at, line| {
                *at += line.len();
                let begins =
                    line.trim_start().trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
                let begins = begins.trim_start_matches("pub ").starts_with("use ");
                Some(begins.then(|| *at - line.len()))
            });
            for at in statements.flatten() {
                let statement = code[at..].split_once("use ").map_or("", |(_, statement)| statement);
                for (path, name) in tree(statement, &[]) {
                    let Some(path) = this.absolute(module, &path) else { continue };
                    this.imports.entry(module.clone()).or_default().insert(name, path);
                }
            }
            for start in ["crate::", "super::", "self::"] {
                for (at, _) in code.match_indices(start) {
                    let is_inside = code[..at]
                        .ends_with(|letter: char| letter.is_alphanumeric() || ":_".contains(letter));
                    let found = if is_inside { Vec::new() } else { tree(&code[at..], &[]) };
                    let found =
                        found.iter().filter_map(|(path, _)| this.absolute(module, path)).collect::<Vec<_>>();
                    this.paths.entry(module.clone()).or_default().extend(found);
                }
            }
        }
        this
    }

    /// The path from the root of the crate; `None` if it begins outside.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let supers = path.iter().take_while(|step| *step == "super").count();
        let (base, rest) = match path.first()?.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (&module[..], &path[1..]),
            "super" => (&module[..module.len().checked_sub(supers)?], &path[supers..]),
            child => {
                let below = [module.as_slice(), &[child.to_owned()]].concat();
                (self.paths.contains_key(&below).then_some(&module[..])?, path)
            }
        };
        Some([base, rest].concat())
    }

    /// The module that defines what a path names.
    fn defined_in(&self, path: &Module, steps: usize) -> Module {
        let length = (0..=path.len()).rev().find(|length| self.paths.contains_key(&path[..*length]));
        let (module, rest) = path.split_at(length.unwrap_or(0));
        let imported = rest.first().and_then(|name| self.imports.get(module)?.get(name));
        match imported.filter(|_| steps > 0) {
            Some(imported) => self.defined_in(&[imported.as_slice(), &rest[1..]].concat(), steps - 1),
            None => module.to_vec(),
        }
    }

    /// Who uses whom, by the directory that both are in.
    fn uses(&self) -> BTreeMap<Module, Uses> {
        let mut uses: BTreeMap<Module, Uses> = BTreeMap::new();
        for (module, paths) in &self.paths {
            for path in paths {
                let used = self.defined_in(path, 8);
                let common = module.iter().zip(&used).take_while(|(one, other)| one == other).count();
                if let (Some(user), Some(used)) = (module.get(common), used.get(common)) {
                    let line = format!("{} names {}", module.join("/"), path.join("::"));
                    let directory = uses.entry(module[..common].to_vec()).or_default();
                    directory.insert((user.clone(), used.clone()), line);
                }
            }
        }
        uses
    }
}

fn module_of(path: &Path) -> Module {
    let below =
        path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().with_extension("");
    let mut steps: Module = below.iter().map(|step| step.to_string_lossy().into_owned()).collect();
    if steps.last().is_some_and(|last| last == "mod" || last == "lib") {
        steps.pop();
    }
    steps
}

/// All that is used from here, directly or around others.
fn reached(uses: &Uses, from: &str) -> BTreeSet<String> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = waiting.pop() {
        let next = uses.keys().filter(|(user, _)| *user == module).map(|(_, used)| used.clone());
        waiting.extend(next.filter(|used| found.insert(used.clone())).collect::<Vec<_>>());
    }
    found
}

/// The uses that are part of a cycle.
fn cyclic(uses: &Uses) -> Vec<&String> {
    let in_cycle = |(user, used): &(String, String)| reached(uses, used).contains(user);
    uses.iter().filter(|(pair, _)| in_cycle(pair)).map(|(_, line)| line).collect()
}

#[test]
fn modules_of_one_directory_do_not_use_each_other_in_a_cycle() {
    let all = Crate::read().uses();
    assert!(all.values().map(BTreeMap::len).sum::<usize>() > 100, "the uses were not read");
    let held = all
        .iter()
        .filter(|(directory, _)| !directory.first().is_some_and(|top| EXEMPT.contains(&top.as_str())));
    let found: Vec<String> = held
        .filter_map(|(directory, uses)| {
            let lines: Vec<String> = cyclic(uses).into_iter().map(|line| format!("    {line}")).collect();
            (!lines.is_empty()).then(|| format!("  in src/{}:\n{}", directory.join("/"), lines.join("\n")))
        })
        .collect();
    assert!(
        found.is_empty(),
        "modules use each other: move what both need into one below\n{}",
        found.join("\n")
    );
}

#[test]
fn cycles_are_found() {
    let uses = |pairs: &[(&str, &str)]| -> Uses {
        pairs
            .iter()
            .map(|(user, used)| (((*user).to_owned(), (*used).to_owned()), format!("{user} {used}")))
            .collect()
    };
    assert!(cyclic(&uses(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    assert_eq!(cyclic(&uses(&[("a", "b"), ("b", "c"), ("c", "b")])), ["b c", "c b"]);
    let names = |text: &str| {
        tree(text, &[])
            .into_iter()
            .map(|(path, name)| format!("{} as {name}", path.join("::")))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("a::{b, c::{self, d as e}};"), ["a::b as b", "a::c as c", "a::c::d as e"]);
    assert_eq!(names("super::b::f(x, y)"), ["super::b::f as f"]);
}
