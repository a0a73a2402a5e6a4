//! The ledger of all worlds: its keys, and the statements of its operator.

use std::sync::Arc;

use committer::Ledger;
use evidence::statement::{Action, Epoch, Genesis, KeyStatement, LedgerId, Role, TopicPattern};
use evidence::{Algorithm, Hash, Partition, SignedStatement, SigningKey, Statement, sha256};

pub(crate) const ORIGIN: &str = "example.com/audit";
pub(crate) const TOPIC: &str = "orders";

/// The keys. All worlds share them, because making keys costs more than running a world.
#[derive(Clone)]
pub(crate) struct Keys {
    operator: Arc<SigningKey>,
    pub(crate) log: Arc<SigningKey>,
    /// The first is granted from the beginning. In some worlds the second replaces it.
    pub(crate) ingest: [Arc<SigningKey>; 2],
    pub(crate) ledger: Ledger,
}

fn key(name: &str, seed: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).expect("a good name"))
}

impl Keys {
    pub(crate) fn new() -> Self {
        let (operator, log) = (key("operator", 1), key(ORIGIN, 2));
        let ingest = [key("ingest-a", 3), key("ingest-b", 4)];
        let genesis = Genesis {
            origin: ORIGIN.to_owned(),
            nonce: sha256(b"simulation"),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        };
        let genesis = SignedStatement::sign(Statement::Genesis(genesis), &[&operator, &log]);
        let id = LedgerId { origin: ORIGIN.to_owned(), genesis: genesis.hash() };
        let grant = key_statement(&id, Action::Grant, &ingest[0], id.genesis);
        let grants = vec![SignedStatement::sign(grant, &[&operator])];
        let ledger = Ledger::new(genesis, grants).expect("a good beginning");
        Self { operator, log, ingest, ledger }
    }

    pub(crate) fn id(&self) -> &LedgerId {
        self.ledger.id()
    }

    /// A grant or revocation of an ingest key after the key statement with this hash.
    pub(crate) fn change(&self, action: Action, which: usize, prev: Hash) -> SignedStatement {
        self.by_operator(key_statement(self.id(), action, &self.ingest[which], prev))
    }

    /// A statement signed by the operator.
    pub(crate) fn by_operator(&self, statement: Statement) -> SignedStatement {
        SignedStatement::sign(statement, &[&self.operator])
    }
}

fn key_statement(id: &LedgerId, action: Action, key: &SigningKey, prev: Hash) -> Statement {
    let topics: Vec<TopicPattern> = vec!["*".parse().expect("a pattern")];
    Statement::Key(KeyStatement {
        ledger: id.clone(),
        action,
        role: Role::Ingest,
        key: key.verifier_key().clone(),
        topics,
        distrust_from: None,
        prev,
    })
}

pub(crate) fn partition(number: u32) -> Partition {
    Partition { cluster: "c1".to_owned(), topic: TOPIC.to_owned(), number }
}

/// The statement that begins a new epoch after a stream's head.
pub(crate) fn epoch(
    id: &LedgerId,
    head: &evidence::chain::StreamState,
    new_topic_id: Option<String>,
    start: u64,
) -> Statement {
    Statement::Epoch(Epoch {
        ledger: id.clone(),
        stream: head.id.partition.stream(head.id.epoch + 1),
        old_topic_id: head.topic_id.clone(),
        topic_id: new_topic_id,
        old_next: head.next,
        start,
        prev: head.statement,
    })
}
