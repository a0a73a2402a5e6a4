//! The tables of codes in SPEC.md and docs/auditing.md are those of the source.
//!
//! `UPDATE_TABLES=1 cargo test -p verifier --test verify tables` writes them again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use evidence::chain::RefusalKind;
use verifier::{Code, Verdict};

/// The verdicts that findings have, in the order of the tables.
const VERDICTS: [Verdict; 4] = [Verdict::Unusable, Verdict::Tampered, Verdict::Incomplete, Verdict::NotAnchored];

/// The codes whose usual verdict this is.
fn codes(verdict: Verdict) -> impl Iterator<Item = &'static Code> {
    Code::ALL.iter().filter(move |code| code.verdict() == verdict)
}

fn verdicts(code: Code) -> String {
    code.verdicts().iter().map(Verdict::to_string).collect::<Vec<_>>().join(" or ")
}

/// The table of SPEC.md, section 13.1.
fn findings() -> String {
    let row = |code: &Code| format!("| `{code}` | {} | {} |\n", verdicts(*code), code.meaning());
    let rows: String = VERDICTS.into_iter().flat_map(codes).map(row).collect();
    format!("| code | verdict | meaning |\n|---|---|---|\n{rows}")
}

/// A table of docs/auditing.md: the findings with this usual verdict.
fn advice(verdict: Verdict) -> String {
    let row = |code: &Code| format!("| `{code}` | {} | {} |\n", code.meaning(), code.advice());
    format!("| code | meaning | what to do |\n|---|---|---|\n{}", codes(verdict).map(row).collect::<String>())
}

fn refusals() -> String {
    let row = |kind: &RefusalKind| format!("| `{}` | {} |\n", kind.code(), kind.meaning());
    format!("| code | meaning |\n|---|---|\n{}", RefusalKind::ALL.iter().map(row).collect::<String>())
}

/// The page with the first table of codes after a heading replaced.
fn with_table(page: &str, heading: &str, table: &str) -> String {
    let section = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let start = section + page[section..].find("\n| code |").expect("a table of codes") + 1;
    let end = start + page[start..].find("\n\n").expect("text after the table") + 1;
    [&page[..start], table, &page[end..]].concat()
}

#[test]
fn tables_match_the_source() {
    let audit = VERDICTS.map(|verdict| {
        let name = verdict.to_string();
        (format!("### {}{}", name[..1].to_uppercase(), &name[1..]), advice(verdict))
    });
    let pages = [
        ("SPEC.md", vec![("### 8.6 Refusals".to_owned(), refusals()), ("### 13.1 Verdicts".to_owned(), findings())]),
        ("docs/auditing.md", audit.into_iter().chain([("### Refusals".to_owned(), refusals())]).collect()),
    ];
    for (name, tables) in pages {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let page = fs::read_to_string(&path).expect("a page");
        let generated = tables.iter().fold(page.clone(), |page, (heading, table)| with_table(&page, heading, table));
        if std::env::var_os("UPDATE_TABLES").is_some() {
            fs::write(&path, generated).expect("written");
        } else {
            assert!(page == generated, "{name}: a table of codes is not that of the source; UPDATE_TABLES=1 writes it");
        }
    }
}

#[test]
fn codes_are_unique() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes.len(), Code::ALL.len());
    let refusals: BTreeSet<&str> = RefusalKind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(refusals.len(), RefusalKind::ALL.len());
}
