//! The commands of a page, in order.

use std::fs;
use std::path::Path;

/// A code block or code span that begins with one of these is a command.
const PROGRAMS: [&str; 15] = [
    "./test",
    "DELETE",
    "cargo",
    "chmod",
    "curl",
    "docker",
    "git",
    "kafka-dump-log.sh",
    "kafka-topics.sh",
    "kcat",
    "mv",
    "sqlite3",
    "ssh-keyscan",
    "streamseal",
    "streamseal-verify",
];

/// Code spans with fewer words only mention a command.
const SPAN_WORDS_MIN: usize = 3;

/// A command of a page.
#[derive(Debug)]
pub(crate) struct Command {
    /// The page and the line.
    pub(crate) place: String,
    /// The heading above it.
    pub(crate) section: String,
    /// The command as the page has it, on one line.
    pub(crate) text: String,
}

/// A page of the work tree.
pub(crate) fn read(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All commands of a page, with the comments (`# ...`) between them.
pub(crate) fn commands(page: &str) -> Vec<Command> {
    let text = read(page);
    let mut reader = Reader { page, section: String::new(), found: Vec::new() };
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut is_fenced = false;
    while let Some((number, line)) = lines.next() {
        let mut piece = vec![line.trim()];
        let mut is_code = is_fenced || line.starts_with("    ");
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
            continue;
        }
        if let (false, Some(heading)) = (is_code, line.strip_prefix('#')) {
            heading.trim_start_matches('#').trim().clone_into(&mut reader.section);
            continue;
        }
        // A block or a paragraph ends at an empty line or where the kind of text changes.
        while let Some((_, next)) = lines.peek() {
            let ends = next.trim_start().starts_with("```") || next.starts_with('#');
            if ends || next.trim().is_empty() || (!is_fenced && next.starts_with("    ") != is_code) {
                break;
            }
            piece.extend(lines.next().map(|(_, line)| line.trim()));
        }
        is_code &= !piece[0].is_empty();
        if is_code { reader.block(number, &piece) } else { reader.paragraph(number, &piece.join(" ")) }
    }
    reader.found
}

struct Reader<'a> {
    page: &'a str,
    section: String,
    found: Vec<Command>,
}

impl Reader<'_> {
    fn block(&mut self, number: usize, lines: &[&str]) {
        if !is_command(lines[0]) {
            for line in lines {
                let has_option = line.contains(" --") && !line.contains("-->") && !line.contains(": ");
                assert!(
                    !is_command(line) && !has_option,
                    "{}:{number}: {line:?} looks like a command, but its block does not begin with one of {PROGRAMS:?}",
                    self.page
                );
            }
            return;
        }
        let mut text = String::new();
        for (number, line) in (number..).zip(lines) {
            text.push_str(line.trim_end_matches('\\'));
            if line.ends_with(['\\', '|']) {
                text.push(' ');
            } else {
                self.add(number, std::mem::take(&mut text));
            }
        }
        assert!(text.is_empty(), "{}:{number}: the command has no end: {text}", self.page);
    }

    fn paragraph(&mut self, number: usize, text: &str) {
        for span in text.split('`').skip(1).step_by(2) {
            if is_command(span) && span.split_whitespace().count() >= SPAN_WORDS_MIN {
                self.add(number, span.to_owned());
            }
        }
    }

    fn add(&mut self, number: usize, text: String) {
        let place = format!("{}:{number}", self.page);
        self.found.push(Command { place, section: self.section.clone(), text });
    }
}

fn is_command(text: &str) -> bool {
    let program = text.split_whitespace().next().unwrap_or_default();
    PROGRAMS.contains(&program)
}
