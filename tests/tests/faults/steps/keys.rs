//! `init` and `keygen`: key files, genesis, grants, trust file, configuration.

use std::fs;
use std::process::{Command, Output};

use evidence::SigningKey;
use testbed::{Process, streamseal};

use super::Step;
use crate::place::{Place, SOON};
use crate::report::Tally;
use crate::site::Start;
use crate::strace::{Injection, Trace, Traced};

const KEY: &str = "keys/more.key";
const LEDGER: &str = "another";

pub(super) const KEYGEN: Step = Step {
    name: "keygen",
    start: Start::New,
    run: |place, trace| run(place, trace, &keygen(place)),
    check: check_keygen,
    // After a failed sync of the folder, the key stayed and blocked the next attempt.
    kept: &[("fsync", "keys", 1, Injection::Io)],
    may_outlive: |_| false,
};

pub(super) const INIT: Step = Step {
    name: "init",
    start: Start::New,
    run: |place, trace| run(place, trace, &init(place)),
    check: check_init,
    kept: &[],
    may_outlive: |_| false,
};

fn keygen(place: &Place<'_>) -> Vec<String> {
    let file = place.join(KEY).to_str().unwrap().to_owned();
    ["keygen", &file, "--name", "more", "--role", "ingest"].map(str::to_owned).to_vec()
}

fn init(place: &Place<'_>) -> Vec<String> {
    let folder = place.join(LEDGER).to_str().unwrap().to_owned();
    ["init", &folder, "--origin", "example.com/another"].map(str::to_owned).to_vec()
}

fn run(place: &Place<'_>, trace: &Trace, arguments: &[String]) -> Traced {
    let mut command = trace.command(streamseal());
    command.args(arguments);
    let process = Process::start("keys", place.site.folder().with_extension("keys.log"), command);
    let pid = process.pid();
    trace.ended(pid, process.wait(SOON))
}

fn again(arguments: &[String]) -> Output {
    Command::new(streamseal()).args(arguments).output().unwrap()
}

/// A key file holds a complete key, or no program accepts it. Only a killed program leaves a partial one.
fn check_keygen(place: &mut Place<'_>, traced: &Traced, injection: Option<Injection>) -> Tally {
    let failed = injection.is_some();
    assert_eq!(traced.status.success(), !failed, "{}", traced.status);
    let left = place.read(KEY);
    match (&left, injection) {
        (Some(key), None) => assert!(is_key(key)),
        (None, None) => panic!("no key was written"),
        (left, Some(Injection::Io | Injection::Full)) => {
            assert!(left.is_none(), "the remains block the next attempt")
        }
        (_, Some(Injection::Kill)) => {}
    }
    let Output { status, stderr, .. } = again(&keygen(place));
    assert_eq!(status.success(), left.is_none(), "{}", String::from_utf8_lossy(&stderr));
    if left.is_some() {
        assert_eq!(place.read(KEY), left, "the old key was overwritten");
        fs::remove_file(place.join(KEY)).unwrap();
        assert!(again(&keygen(place)).status.success());
    }
    assert!(is_key(&place.read(KEY).unwrap()));
    Tally::default()
}

/// `init` writes the configuration last: if it exists, everything else does.
fn check_init(place: &mut Place<'_>, traced: &Traced, injection: Option<Injection>) -> Tally {
    let failed = injection.is_some();
    assert_eq!(traced.status.success(), !failed, "{}", traced.status);
    let folder = place.join(LEDGER);
    if folder.join("streamseal.toml").exists() {
        is_complete(place);
    } else {
        assert!(failed);
    }
    let begun = folder.exists() && folder.read_dir().unwrap().next().is_some();
    let Output { status, stderr, .. } = again(&init(place));
    assert_eq!(status.success(), !begun, "{}", String::from_utf8_lossy(&stderr));
    if begun {
        fs::remove_dir_all(&folder).unwrap();
        assert!(again(&init(place)).status.success());
    }
    is_complete(place);
    Tally::default()
}

fn is_complete(place: &Place<'_>) {
    for key in ["operator", "log", "ingest", "anchor"] {
        assert!(is_key(&place.read(&format!("{LEDGER}/keys/{key}.key")).unwrap()), "{key}");
    }
    for statement in ["genesis.note", "grants/0001-ingest.note", "grants/0002-anchor.note"] {
        let bytes = place.read(&format!("{LEDGER}/{statement}")).unwrap();
        evidence::SignedStatement::parse(&bytes).unwrap();
    }
    evidence::TrustFile::parse(&place.read(&format!("{LEDGER}/trust")).unwrap()).unwrap();
}

fn is_key(bytes: &[u8]) -> bool {
    let key = str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    key.is_some_and(|text| text.parse::<SigningKey>().is_ok())
}
