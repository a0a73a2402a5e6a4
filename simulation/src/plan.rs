use crate::random::Random;

/// What distinguishes a world: its parameters and planned disruptions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) steps: u64,
    /// The percentage of database messages that arrive at once.
    pub(crate) at_once: u64,
    /// The percentage of the others that are cut.
    pub(crate) cuts: u64,
    /// From the beginning, each partition has two consumers that both believe to own it.
    pub(crate) rivals: bool,
    /// The topic is deleted and recreated.
    pub(crate) recreated: bool,
    /// A new leader lacks the end of the log.
    pub(crate) truncated: bool,
    /// An old copy replaces the database for a while.
    pub(crate) old_copy: bool,
    /// The ingest key is replaced and revoked.
    pub(crate) new_key: bool,
    /// Clocks jump.
    pub(crate) clocks: bool,
    /// When the topic is recreated or truncated.
    pub(crate) log_change_at: u64,
    /// When the copy is made, when it replaces the database, and when the full one is restored.
    pub(crate) copy_at: [u64; 3],
    /// When the new key is granted, and when the old key is revoked.
    pub(crate) key_at: [u64; 2],
}

/// Maximum steps of a world.
const STEPS: u64 = 200;

impl Plan {
    pub(crate) fn new(random: &mut Random) -> Self {
        let steps = STEPS / 4 + random.below(STEPS * 3 / 4);
        let (recreated, truncated) = match random.below(6) {
            0 => (true, false),
            1 => (false, true),
            _ => (false, false),
        };
        // Far enough apart, so that checkpoints are signed before and after.
        let quarter = steps / 4;
        let copy_at = [0, 1, 3].map(|begin| begin * quarter + random.below(quarter));
        let mut key_at = [random.below(steps), random.below(steps)];
        key_at.sort_unstable();
        Self {
            steps,
            at_once: [60, 80, 95][random.index(3)],
            cuts: [0, 5, 15][random.index(3)],
            rivals: random.one_in(3),
            recreated,
            truncated,
            old_copy: random.one_in(4),
            new_key: random.one_in(5),
            clocks: random.one_in(5),
            log_change_at: random.below(steps),
            copy_at,
            key_at,
        }
    }
}
