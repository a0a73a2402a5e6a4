//! Links in pages, and headings named by messages, must exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testbed::run;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned()
}

/// The files that git knows of with this ending.
fn files(ending: &str) -> Vec<String> {
    let listed = run(Command::new("git").arg("-C").arg(root()).args(["ls-files", &format!("*{ending}")]));
    listed.lines().map(str::to_owned).collect()
}

/// The lines of a page outside of its code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        is_code ^= line.starts_with("```");
        !is_code
    })
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn headings(page: &str) -> impl Iterator<Item = &str> {
    prose(page).filter_map(|line| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()))
}

/// The targets of all links, `](...)`.
fn links(page: &str) -> Vec<String> {
    let text: String = prose(page).collect::<Vec<_>>().join("\n");
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')')).map(|(link, _)| link.to_owned()).collect()
}

#[test]
fn every_link_has_a_target() {
    let pages: BTreeMap<String, String> = files(".md")
        .into_iter()
        .map(|name| (name.clone(), fs::read_to_string(root().join(name)).expect("it is there")))
        .collect();
    let mut checked = 0;
    for (name, page) in &pages {
        for link in links(page) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => root().join(name),
                path => root().join(name).parent().expect("in a folder").join(path),
            };
            assert!(target.exists(), "{name}: {link}: no such file");
            if !heading.is_empty() {
                let target = fs::read_to_string(&target).expect("a page");
                assert!(headings(&target).any(|found| anchor(found) == heading), "{name}: {link}: no such heading");
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} links were found");
}

/// Messages say `docs/operations.md, Recovery` or `docs/auditing.md (Refusals)`.
#[test]
fn every_heading_that_a_message_names_exists() {
    let mut checked = 0;
    for name in files(".rs").into_iter().filter(|name| !name.starts_with("tests/")) {
        let source = fs::read_to_string(root().join(&name)).expect("it is there");
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let source = code.collect::<Vec<_>>().join("\n");
        // A string that goes over several lines is one.
        let source = source.split("\\\n").map(str::trim_start).collect::<String>();
        for rest in source.split("docs/").skip(1) {
            let Some((page, rest)) = rest.split_once(".md") else { continue };
            let Some(rest) = rest.strip_prefix(", ").or_else(|| rest.strip_prefix(" (")) else { continue };
            let page = fs::read_to_string(root().join(format!("docs/{page}.md"))).expect("the page that is named");
            assert!(headings(&page).any(|found| rest.starts_with(found)), "{name}: no such heading: {rest:.60}");
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} messages name a heading");
}

/// Every word of a text that names a metric of ours, without what a histogram adds.
fn metric_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| ["streamseal_", "process_"].iter().any(|prefix| word.starts_with(prefix)));
    names.map(|name| {
        ["_bucket", "_sum", "_count"].iter().fold(name, |name, part| name.strip_suffix(part).unwrap_or(name))
    })
}

#[test]
fn alerts_name_metrics_that_exist() {
    let page = |name: &str| fs::read_to_string(root().join(name)).expect("it is there");
    let reference = page("docs/metrics.md");
    let mut checked = 0;
    for name in ["docs/operations.md", "README.md", "PERFORMANCE.md", "docker/README.md", "bench/README.md"] {
        for metric in metric_names(&page(name)) {
            assert!(reference.contains(&format!("| `{metric}` |")), "{name}: no such metric: {metric}");
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} metrics are named");
}

/// Only `service` can make a handle, and only of a declared metric. So this leaves one place for each declaration.
#[test]
fn metrics_are_declared_in_one_file() {
    let read = |name: &String| fs::read_to_string(root().join(name)).expect("it is there");
    let declaring = files(".rs").into_iter().filter(|name| read(name).contains("catalogue! {"));
    let declaring = declaring.filter(|name| !name.starts_with("tests/") && !name.ends_with("/src/metrics.rs"));
    let (macro_itself, its_test) = ("service/src/metrics/family.rs", "service/src/admin.rs");
    assert_eq!(declaring.filter(|name| name != macro_itself && name != its_test).collect::<Vec<_>>(), [""; 0]);
    let recording = files("Cargo.toml").into_iter().filter(|name| read(name).contains("\nmetrics.workspace"));
    assert_eq!(recording.collect::<Vec<_>>(), ["service/Cargo.toml"]);
}
