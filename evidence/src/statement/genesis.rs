use super::StatementKind;
use crate::text::Lines;
use crate::{Algorithm, Error, Hash, VerifierKey};

const FIRST_LINE: &str = StatementKind::Genesis.first_line();

/// Begins a chain. The operator key and the log key that it names sign it (SPEC.md, "Genesis").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// The log's origin, a URL without scheme such as `example.com/audit`.
    pub origin: String,
    /// 32 random bytes: two ledgers never have the same genesis.
    pub nonce: Hash,
    /// The first operator key.
    pub operator: VerifierKey,
    /// The first log key. Its name is the origin, as C2SP tlog-checkpoint requires.
    pub log: VerifierKey,
    /// The ledger that this one continues, if any.
    pub continues: Option<Continues>,
}

/// The head of the ledger that a new one continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continues {
    /// Its origin.
    pub origin: String,
    /// Its final tree size.
    pub size: u64,
    /// Its final root.
    pub root: Hash,
}

impl Genesis {
    pub(super) fn decode(mut lines: Lines<'_>) -> Result<Self, Error> {
        let origin = lines.field("origin")?.name()?;
        let nonce = lines.field("nonce")?.hash()?;
        let operator: VerifierKey = lines.field("operator")?.parse()?;
        if operator.algorithm() != Algorithm::Ed25519 {
            return Err(lines.error("an operator key signs with Ed25519 (0x01)"));
        }
        let log: VerifierKey = lines.field("log")?.parse()?;
        if log.algorithm() != Algorithm::Ed25519 || log.name() != origin {
            return Err(lines.error("the log key signs with Ed25519 (0x01) and is named like the origin"));
        }
        if operator.name() == log.name() || operator.id() == log.id() || operator.public_key() == log.public_key() {
            return Err(lines.error("operator and log have one name, key id or public key"));
        }
        let mut fields = lines.fields("continues")?;
        let continues = match fields.next()?.optional() {
            None => None,
            Some(origin) => {
                let (origin, size, root) = (origin.name()?, fields.next()?.u63()?, fields.next()?.hash()?);
                Some(Continues { origin, size, root })
            }
        };
        fields.end()?;
        lines.end()?;
        Ok(Self { origin, nonce, operator, log, continues })
    }

    pub(super) fn encode(&self) -> String {
        let Self { origin, nonce, operator, log, continues } = self;
        let continues = match continues {
            None => "-".to_owned(),
            Some(Continues { origin, size, root }) => format!("{origin} {size} {root}"),
        };
        format!("{FIRST_LINE}\norigin {origin}\nnonce {nonce}\noperator {operator}\nlog {log}\ncontinues {continues}\n")
    }
}
