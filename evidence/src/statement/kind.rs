use std::fmt;

use super::Role;

/// The kinds of statements. Only this module states what depends on the kind alone.
///
/// ```
/// use evidence::statement::StatementKind;
///
/// assert_eq!(StatementKind::from_name("gap"), Some(StatementKind::Gap));
/// assert!(StatementKind::Genesis.is_key_entry());
/// assert!(!StatementKind::Heads.has_stream());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// Begins the chain.
    Genesis,
    /// Grants or revokes a key.
    Key,
    /// Seals a batch.
    Summary,
    /// Passes over offsets that are not sealed.
    Gap,
    /// Begins a new stream of a partition.
    Epoch,
    /// Commits to the state of every stream.
    Heads,
}

/// What an entry of a kind changes in the state of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The keys. Later entries name it in their line `keys`.
    Keys,
    /// The cursor of a stream, from its `first` to its `next`.
    Advance,
    /// The open stream of a partition. It sets the new stream's cursor to its `start`.
    NewStream,
    /// Nothing: it commits to the state of the streams.
    Commit,
}

struct Properties {
    name: &'static str,
    first_line: &'static str,
    /// Who may sign, once the genesis named the first keys.
    signers: &'static [Role],
    effect: Effect,
    /// How a sentence refers to one.
    phrase: &'static str,
}

impl StatementKind {
    /// All kinds, in the order of SPEC.md.
    pub const ALL: [Self; 6] = [Self::Genesis, Self::Key, Self::Summary, Self::Gap, Self::Epoch, Self::Heads];

    const fn properties(self) -> Properties {
        let (name, first_line, signers, effect, phrase): (_, _, &[Role], _, _) = match self {
            Self::Genesis => {
                ("genesis", "streamseal/genesis@v1", &[Role::Operator, Role::Log], Effect::Keys, "a genesis")
            }
            Self::Key => ("key", "streamseal/key@v1", &[Role::Operator], Effect::Keys, "a key statement"),
            Self::Summary => ("summary", "streamseal/summary@v1", &[Role::Ingest], Effect::Advance, "a summary"),
            Self::Gap => ("gap", "streamseal/gap@v1", &[Role::Ingest, Role::Operator], Effect::Advance, "a gap"),
            Self::Epoch => ("epoch", "streamseal/epoch@v1", &[Role::Operator], Effect::NewStream, "an epoch"),
            Self::Heads => ("heads", "streamseal/heads@v1", &[Role::Log], Effect::Commit, "heads"),
        };
        Properties { name, first_line, signers, effect, phrase }
    }

    /// The name, as databases, metrics and reports show it.
    pub const fn name(self) -> &'static str {
        self.properties().name
    }

    /// The first line of the text, without its newline.
    pub const fn first_line(self) -> &'static str {
        self.properties().first_line
    }

    /// The roles whose keys may sign it. The genesis itself names the two keys that sign it.
    pub const fn signers(self) -> &'static [Role] {
        self.properties().signers
    }

    /// A noun with its article, for messages.
    pub(crate) const fn phrase(self) -> &'static str {
        self.properties().phrase
    }

    /// What it changes.
    pub const fn effect(self) -> Effect {
        self.properties().effect
    }

    /// Whether an entry of it is a key entry, which the line `keys` of later entries names.
    pub const fn is_key_entry(self) -> bool {
        matches!(self.effect(), Effect::Keys)
    }

    /// Whether it belongs to a stream.
    pub const fn has_stream(self) -> bool {
        match self.effect() {
            Effect::Advance | Effect::NewStream => true,
            Effect::Keys | Effect::Commit => false,
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind whose texts begin with this line.
    pub fn from_first_line(line: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.first_line() == line)
    }
}

impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_kind_once() {
        for (at, kind) in StatementKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{kind}");
            assert_eq!(StatementKind::from_name(kind.name()), Some(kind));
            assert_eq!(StatementKind::from_first_line(kind.first_line()), Some(kind));
            assert_eq!(kind.first_line(), format!("streamseal/{kind}@v1"));
        }
    }
}
