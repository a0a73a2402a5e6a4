//! A ledger as the operator's commands see it. Its keys come from the committer and are verified from the genesis on.

use anyhow::{Context, bail, ensure};
use committer_client::Client;
use evidence::chain::State;
use evidence::statement::LedgerId;
use evidence::{Entry, SignedStatement, SigningKey, Statement};

use crate::config::Config;

/// A ledger behind a committer.
pub(crate) struct Ledger {
    /// The committer.
    pub client: Client,
    /// The genesis and all key entries, in order.
    pub key_entries: Vec<Entry>,
    /// The state of the chain after its key entries alone. It knows all keys and no streams.
    pub state: State,
}

impl Ledger {
    /// Fetches the key entries and verifies them from the configured genesis on.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let genesis = config.ledger.read_genesis()?;
        let client = Client::new(&config.committer_url()?)?;
        let texts = client.keys().await?.entries;
        let key_entries = texts.iter().map(|text| Entry::parse(text.as_bytes())).collect::<Result<Vec<_>, _>>();
        let key_entries = key_entries.context("a key entry of the committer")?;
        let id = LedgerId { origin: config.ledger.origin.clone(), genesis: genesis.hash() };
        let state = State::of_keys(&id, &key_entries).context("the key entries of the committer")?;
        ensure!(state.next_seq() > 0, "the committer at {} has no genesis entry yet", client.base());
        Ok(Self { client, key_entries, state })
    }

    /// Signs a statement, submits it and returns the seq of its entry.
    pub(crate) async fn submit(&self, statement: Statement, keys: &[&SigningKey]) -> anyhow::Result<u64> {
        let signed = SignedStatement::sign(statement, keys);
        let text = String::from_utf8(signed.to_bytes()).expect("a statement is text");
        let answer = self.client.submit(vec![text]).await?;
        if let Some(refused) = answer.refused {
            bail!("the committer refused the statement: {}: {}", refused.code, refused.message);
        }
        let accepted = answer.accepted.first().context("the committer accepted nothing and refused nothing")?;
        Ok(accepted.seq)
    }
}
