//! A ledger that decides as a committer does, without database and network.

use std::collections::HashMap;

use committer_client as client;
use evidence::chain::{Role, State, StreamState};
use evidence::statement::{Action, Epoch, Gap, Genesis, KeyStatement, LedgerId, Reason};
use evidence::{Algorithm, Entry, Hash, Partition, SignedStatement, SigningKey, Statement};

/// A ledger with an operator key, a log key, and an ingest key that may seal every topic.
pub struct MemoryLedger {
    state: State,
    operator: SigningKey,
    entries: Vec<Entry>,
    by_statement: HashMap<Hash, u64>,
}

/// A key derived from `seed`, the same in every run.
pub fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).expect("a good name")
}

/// The ingest key that [`MemoryLedger::new`] grants.
pub fn ingest_key() -> SigningKey {
    key("ingest-a", 3)
}

impl MemoryLedger {
    /// A ledger that has granted [`ingest_key`] all topics.
    pub fn new() -> Self {
        let mut ledger = Self::without_grants();
        ledger.grant(&ingest_key(), &["*"]);
        ledger
    }

    /// A ledger that has only its genesis.
    pub fn without_grants() -> Self {
        let origin = "example.com/audit";
        let (operator, log) = (key("operator", 1), key(origin, 2));
        let genesis = Statement::Genesis(Genesis {
            origin: origin.to_owned(),
            nonce: Hash([7; 32]),
            operator: operator.verifier_key().clone(),
            log: log.verifier_key().clone(),
            continues: None,
        });
        let genesis = SignedStatement::sign(genesis, &[&operator, &log]);
        let state = State::new(origin, genesis.hash());
        let mut ledger = Self { state, operator, entries: Vec::new(), by_statement: HashMap::new() };
        ledger.append(genesis).expect("a good genesis");
        ledger
    }

    /// Its origin and genesis.
    pub fn id(&self) -> LedgerId {
        self.state.ledger().clone()
    }

    /// The state of the open stream of a partition.
    pub fn open(&self, partition: &Partition) -> Option<&StreamState> {
        self.state.streams().open(partition)
    }

    /// The entries so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The operator grants an ingest key.
    pub fn grant(&mut self, key: &SigningKey, topics: &[&str]) {
        self.change_key(Action::Grant, key, topics);
    }

    /// The operator revokes an ingest key.
    pub fn revoke(&mut self, key: &SigningKey, topics: &[&str]) {
        self.change_key(Action::Revoke, key, topics);
    }

    fn change_key(&mut self, action: Action, key: &SigningKey, topics: &[&str]) {
        self.by_operator(Statement::Key(KeyStatement {
            ledger: self.id(),
            action,
            role: Role::Ingest,
            key: key.verifier_key().clone(),
            topics: topics.iter().map(|topic| topic.parse().expect("a pattern")).collect(),
            distrust_from: None,
            prev: self.state.keys().statement().expect("a genesis"),
        }));
    }

    /// Begins an epoch, as `streamseal epoch` does.
    pub fn begin_epoch(&mut self, partition: &Partition, topic_id: Option<String>, start: u64) {
        let head = self.open(partition).expect("a stream").clone();
        self.by_operator(Statement::Epoch(Epoch {
            ledger: self.id(),
            stream: partition.stream(head.id.epoch + 1),
            topic_id,
            old_topic_id: head.topic_id,
            old_next: head.next,
            start,
            prev: head.statement,
        }));
    }

    /// Signs an operator gap, as `streamseal gap` does.
    pub fn skip_to(&mut self, partition: &Partition, topic_id: Option<String>, next: u64) {
        let head = self.open(partition).cloned();
        self.by_operator(Statement::Gap(Gap {
            ledger: self.id(),
            stream: partition.stream(head.as_ref().map_or(0, |head| head.id.epoch)),
            topic_id: head.as_ref().map_or(topic_id, |head| head.topic_id.clone()),
            first: head.as_ref().map_or(0, |head| head.next),
            next,
            reason: Reason::Operator,
            low: 0,
            high: next,
            prev: head.map(|head| head.statement),
        }));
    }

    fn by_operator(&mut self, statement: Statement) {
        let signed = SignedStatement::sign(statement, &[&self.operator.clone()]);
        self.append(signed).expect("the operator signs valid statements");
    }

    fn append(&mut self, signed: SignedStatement) -> Result<u64, (String, String)> {
        let hash = signed.hash();
        if let Some(seq) = self.by_statement.get(&hash) {
            return Ok(*seq);
        }
        let entry = self.state.draft(signed, 0);
        self.state.apply(&entry).map_err(|refusal| (refusal.code().to_owned(), refusal.to_string()))?;
        let seq = entry.seq;
        self.by_statement.insert(hash, seq);
        self.entries.push(entry);
        Ok(seq)
    }

    /// `POST /v1/statements`.
    pub fn submit(&mut self, statements: &[String]) -> client::SubmitResponse {
        let mut answer = client::SubmitResponse { accepted: Vec::new(), refused: None, cursor: None };
        for (index, text) in statements.iter().enumerate() {
            let signed = SignedStatement::parse(text.as_bytes()).expect("ingest sends valid notes");
            let partition = signed.statement().stream().expect("of a stream").partition.clone();
            let result = self.append(signed);
            answer.cursor = Some(self.cursor(&partition));
            match result {
                Ok(seq) => answer.accepted.push(client::Accepted { seq, entry: self.text(seq) }),
                Err((code, message)) => {
                    answer.refused = Some(client::RefusedStatement { index, code, message });
                    break;
                }
            }
        }
        answer
    }

    /// `GET /v1/cursors`.
    pub fn cursor(&self, partition: &Partition) -> client::Cursor {
        let Some(head) = self.open(partition) else { return client::Cursor::default() };
        let summary = self.entries.iter().rev().map(|entry| &entry.statement).find(
            |signed| matches!(signed.statement(), Statement::Summary(s) if s.stream == head.id && s.last.is_some()),
        );
        client::Cursor {
            epoch: head.id.epoch,
            start: head.start,
            next: head.next,
            topic_id: head.topic_id.clone(),
            statement: Some(note(&self.entries[head.seq as usize].statement)),
            seq: Some(head.seq),
            last_summary: summary.map(note),
        }
    }

    /// `GET /v1/keys`.
    pub fn keys(&self) -> client::Keys {
        let is_key = |entry: &&Entry| matches!(entry.statement.statement(), Statement::Genesis(_) | Statement::Key(_));
        client::Keys { entries: self.entries.iter().filter(is_key).map(|entry| self.text(entry.seq)).collect() }
    }

    fn text(&self, seq: u64) -> String {
        String::from_utf8(self.entries[seq as usize].to_bytes()).expect("entries are text")
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

fn note(signed: &SignedStatement) -> String {
    String::from_utf8(signed.to_bytes()).expect("notes are text")
}
