//! A shell that runs the commands of a page as they are written, in a folder of its own.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command as Child;

use testbed::{Kafka, Process, isolate_git, streamseal};

use crate::page::Command;

/// Seconds after which a hanging command is ended.
const LIMIT_S: &str = "60";

/// `cargo` for a reader who has installed the program: `cargo run` runs it, `cargo install` only checks the path.
const CARGO: &str = r#"#!/bin/sh
case "$1 $2" in
"run --release") shift 2; [ $# = 0 ] || shift; exec streamseal "$@" ;;
"install --path") exec grep --quiet '^\[package\]' "$WORK_TREE/$3/Cargo.toml" ;;
*) echo "cargo $*: not a command that a reader needs" >&2; exit 2 ;;
esac
"#;

/// The folder that commands run in, and what the page's placeholders stand for.
pub(crate) struct Shell {
    folder: PathBuf,
    programs: PathBuf,
    words: BTreeMap<String, Word>,
}

struct Word {
    value: String,
    is_used: bool,
}

impl Shell {
    /// A shell in `folder`, which knows `streamseal`, `streamseal-verify`, `cargo` and Kafka's tools.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let programs = folder.join("bin");
        fs::create_dir_all(&programs).unwrap();
        symlink(streamseal(), programs.join("streamseal")).unwrap();
        symlink(streamseal().with_file_name("streamseal-verify"), programs.join("streamseal-verify")).unwrap();
        let cargo = programs.join("cargo");
        fs::write(&cargo, CARGO).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        Kafka::write_tools(&programs);
        Self { folder, programs, words: BTreeMap::new() }
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Changes the folder that commands run in.
    pub(crate) fn enter(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Says what a placeholder stands for from now on. A page writes it as a word of its own.
    pub(crate) fn set(&mut self, placeholder: &str, value: impl Into<String>) {
        let is_used = self.words.get(placeholder).is_some_and(|word| word.is_used);
        self.words.insert(placeholder.to_owned(), Word { value: value.into(), is_used });
    }

    /// Runs a command, which must succeed, and returns what it prints.
    pub(crate) fn run(&mut self, command: &Command) -> String {
        let text = self.substitute(&command.text);
        eprintln!("{}: {text}", command.place);
        let mut child = Child::new("timeout");
        child.args([LIMIT_S, "bash", "-o", "pipefail", "-c", &text]);
        let output = self.surround(&mut child).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{}, {}: {}: {text}\n{printed}{}",
            command.place,
            command.section,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// Starts a service by the command of a page.
    pub(crate) fn start(&mut self, name: &str, command: &Command) -> Process {
        let text = self.substitute(&command.text);
        let mut child = Process::command("bash");
        child.args(["-c", &format!("exec {text}")]);
        self.surround(&mut child);
        Process::start(name, self.folder.join(format!("{name}.log")), child)
    }

    /// Requires that every placeholder was used: an unused one left the page, or is misspelt here.
    pub(crate) fn assert_all_used(&self) {
        let unused: Vec<_> = self.words.iter().filter(|(_, word)| !word.is_used).map(|(name, _)| name).collect();
        assert!(unused.is_empty(), "no command has the placeholders {unused:?}");
    }

    fn surround<'a>(&self, child: &'a mut Child) -> &'a mut Child {
        let path = format!("{}:{}", self.programs.display(), env::var("PATH").unwrap_or_default());
        isolate_git(child);
        let work_tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        child.current_dir(&self.folder).env("PATH", path).env("TMPDIR", &self.folder).env("WORK_TREE", work_tree)
    }

    /// A text with values in the place of placeholders.
    pub(crate) fn substitute(&mut self, text: &str) -> String {
        // The longest first: `OLD-VKEY` before `VKEY`.
        let mut words: Vec<_> = self.words.iter_mut().collect();
        words.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut text = text.to_owned();
        for (i, (name, word)) in words.iter_mut().enumerate() {
            let marked = replace_word(&text, name, &format!("\u{1}{i}\u{2}"));
            word.is_used |= marked != text;
            text = marked;
        }
        for (i, (_, word)) in words.iter().enumerate() {
            text = text.replace(&format!("\u{1}{i}\u{2}"), &word.value);
        }
        text
    }
}

/// Replaces `word` where no letter or digit is beside it.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let is_inside = before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        replaced.push_str(before);
        replaced.push_str(if is_inside { word } else { by });
        rest = after;
    }
    replaced + rest
}
