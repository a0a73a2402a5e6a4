use std::fmt;

use super::Role;

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

/// Defines [`StatementKind`] from one list: variant, name, first line, signers, effect, phrase.
macro_rules! statement_kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $first_line:literal [$($signer:ident)+] $effect:ident $phrase:literal)+) => {
        /// The kinds of statements. What depends on the kind alone is said here and nowhere else.
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
            $($(#[$doc])* $kind,)+
        }

        impl StatementKind {
            /// All kinds, in the order of SPEC.md.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            const fn properties(self) -> Properties {
                match self {
                    $(Self::$kind => Properties {
                        name: $name,
                        first_line: $first_line,
                        signers: &[$(Role::$signer),+],
                        effect: Effect::$effect,
                        phrase: $phrase,
                    },)+
                }
            }
        }
    };
}

statement_kinds! {
    /// Begins the chain.
    Genesis "genesis" "streamseal/genesis@v1" [Operator Log] Keys "a genesis"
    /// Grants or revokes a key.
    Key "key" "streamseal/key@v1" [Operator] Keys "a key statement"
    /// Seals a batch.
    Summary "summary" "streamseal/summary@v1" [Ingest] Advance "a summary"
    /// Passes over offsets that are not sealed.
    Gap "gap" "streamseal/gap@v1" [Ingest Operator] Advance "a gap"
    /// Begins a new stream of a partition.
    Epoch "epoch" "streamseal/epoch@v1" [Operator] NewStream "an epoch"
    /// Commits to the state of every stream.
    Heads "heads" "streamseal/heads@v1" [Log] Commit "heads"
}

impl StatementKind {
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
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The kind whose texts begin with this line.
    pub fn from_first_line(line: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.first_line() == line)
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
        for (at, kind) in StatementKind::ALL.iter().copied().enumerate() {
            assert_eq!(kind as usize, at, "{kind}");
            assert_eq!(StatementKind::from_name(kind.name()), Some(kind));
            assert_eq!(StatementKind::from_first_line(kind.first_line()), Some(kind));
            assert_eq!(kind.first_line(), format!("streamseal/{kind}@v1"));
        }
    }
}
