//! `streamseal key`: the operator grants and revokes keys.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use evidence::chain::{GrantedKey, Keys};
use evidence::statement::{Action, KeyStatement, Role, TopicPattern};
use evidence::{Statement, VerifierKey};

use crate::config::ConfigFile;
use crate::ledger::Ledger;
use crate::output;

/// Grants, revokes and lists keys
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a command has only one")]
enum Command {
    /// Lets a key sign from now on
    Grant {
        /// The new key's vkey, as `streamseal keygen` printed it
        key: VerifierKey,
        /// The key's role: ingest, operator, log or anchor
        #[arg(long)]
        role: Role,
        /// Topics that an ingest key may seal: a name, or a prefix and *; may be repeated
        #[arg(long, value_name = "PATTERN")]
        scope: Vec<TopicPattern>,
        /// The file of a new operator key, which must sign its own grant too
        #[arg(long, value_name = "FILE")]
        new_operator_key: Option<PathBuf>,
        #[command(flatten)]
        operator: OperatorKey,
    },
    /// Revokes a key: new signatures by it are refused, earlier ones stay valid
    Revoke {
        /// The key's name, or its vkey if several keys have that name (all log keys are named like the origin)
        key: String,
        /// The first seq that the key may have signed in other hands; verifiers ignore its signatures from there on
        #[arg(long, value_name = "SEQ")]
        distrust_from: Option<u64>,
        #[command(flatten)]
        operator: OperatorKey,
    },
    /// Lists all keys, with the entries that granted and revoked them
    List,
}

/// The option that names the operator's key.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorKey {
    /// The operator's key file
    #[arg(long, value_name = "FILE")]
    pub operator_key: PathBuf,
}

/// Signs and submits a key statement, or lists the keys.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let ledger = Ledger::open(&args.config.load()?).await?;
    match args.command {
        Command::Grant { key, role, scope, new_operator_key, operator } => {
            let statement = statement(&ledger, Action::Grant, role, key.clone(), scope, None)?;
            let signer = keystore::read_signing_key(&operator.operator_key)?;
            let new_operator = new_operator_key.map(|path| keystore::read_signing_key(&path)).transpose()?;
            ensure!(
                (role == Role::Operator) == new_operator.is_some(),
                "--role operator needs --new-operator-key, and no other role takes it"
            );
            let signers: Vec<_> = std::iter::once(&signer).chain(&new_operator).collect();
            let seq = ledger.submit(statement, &signers).await?;
            output::line(format_args!("entry {seq}: {role} key {} is granted", key.name()));
        }
        Command::Revoke { key, distrust_from, operator } => {
            let granted = revocable(ledger.state.keys(), &key)?;
            let (role, key, topics) = (granted.role, granted.key.clone(), granted.topics.clone());
            let shown =
                if key.name() == ledger.state.ledger().origin { key.to_string() } else { key.name().to_owned() };
            let statement = statement(&ledger, Action::Revoke, role, key, topics, distrust_from)?;
            let signer = keystore::read_signing_key(&operator.operator_key)?;
            let seq = ledger.submit(statement, &[&signer]).await?;
            output::line(format_args!("entry {seq}: {role} key {shown} is revoked"));
        }
        Command::List => list(&ledger),
    }
    Ok(())
}

/// Finds the key with a name or a vkey, and checks that it may be revoked.
fn revocable<'a>(keys: &'a Keys, key: &str) -> anyhow::Result<&'a GrantedKey> {
    let is_meant = |granted: &&GrantedKey| granted.key.name() == key || granted.key.to_string() == key;
    let meant: Vec<_> = keys.granted().iter().filter(is_meant).collect();
    let granted = match meant[..] {
        [] => bail!("no key {key:?} was ever granted"),
        [granted] => granted,
        [..] => {
            let vkeys: String = meant.iter().map(|granted| format!("\n{}", granted.key)).collect();
            bail!("several keys are named {key:?}; give the vkey of one:{vkeys}")
        }
    };
    ensure!(
        granted.role != Role::Log || granted.revoked.is_some() || keys.in_force(Role::Log).count() > 1,
        "{} is the last log key, and without one no checkpoint can be signed and anchored. First grant the next one \
         (`streamseal key --config FILE grant VKEY --role log --operator-key FILE`) and have the committer sign with it",
        granted.key
    );
    Ok(granted)
}

fn statement(
    ledger: &Ledger,
    action: Action,
    role: Role,
    key: VerifierKey,
    topics: Vec<TopicPattern>,
    distrust_from: Option<u64>,
) -> anyhow::Result<Statement> {
    ensure!(key.algorithm() == role.algorithm(), "{key} does not have the algorithm of role {role}");
    ensure!(
        (role == Role::Ingest) != topics.is_empty(),
        "--role ingest needs at least one --scope, and no other role takes one"
    );
    let prev = ledger.state.keys().statement().context("the chain has no genesis")?;
    let ledger = ledger.state.ledger().clone();
    Ok(Statement::Key(KeyStatement { ledger, action, role, key, topics, distrust_from, prev }))
}

fn list(ledger: &Ledger) {
    for granted in ledger.state.keys().granted() {
        let topics: String = granted.topics.iter().map(|t| format!(" {t}")).collect();
        let end = match granted.revoked {
            None => String::new(),
            Some(end) => {
                let distrust =
                    end.distrust_from.map_or_else(String::new, |seq| format!(", distrusted from entry {seq}"));
                format!(", revoked in entry {}{distrust}", end.seq)
            }
        };
        output::line(format_args!(
            "{} {}{topics}: granted in entry {}{end}",
            granted.role, granted.key, granted.granted
        ));
    }
}
