//! One question for everybody who asks it at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Asks in rounds, one after the other. Everybody gets the answer of a round that began after they asked, so it is as
/// good as one of their own.
pub(crate) struct Rounds<T> {
    begun: AtomicU64,
    /// The answer of the newest round that ended, with its number.
    newest: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), newest: Mutex::default() }
    }
}

impl<T: Clone> Rounds<T> {
    /// The answer to `question`, which is the same whoever asks.
    pub(crate) async fn ask(&self, question: impl Future<Output = T>) -> T {
        let good = self.begun.load(Ordering::SeqCst) + 1;
        // Whoever has the lock is the only one who begins a round.
        let mut newest = self.newest.lock().await;
        if let Some((round, answer)) = &*newest
            && *round >= good
        {
            return answer.clone();
        }
        let round = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = question.await;
        *newest = Some((round, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// Numbers the questions, and lets each wait for leave to be answered.
    struct Asked {
        rounds: Rounds<u64>,
        questions: AtomicU64,
        leave: Semaphore,
    }

    async fn ask(asked: Arc<Asked>) -> u64 {
        let question = async {
            let number = asked.questions.fetch_add(1, Ordering::SeqCst) + 1;
            asked.leave.acquire().await.expect("open").forget();
            number
        };
        asked.rounds.ask(question).await
    }

    #[tokio::test]
    async fn who_asks_while_a_question_is_open_shares_the_next() {
        let asked =
            Arc::new(Asked { rounds: Rounds::default(), questions: AtomicU64::new(0), leave: Semaphore::new(0) });
        let first = tokio::spawn(ask(Arc::clone(&asked)));
        while asked.questions.load(Ordering::SeqCst) == 0 {
            yield_now().await;
        }
        // Asked after the first question began: its answer may be too old for them.
        let mut others = JoinSet::new();
        (0..100).for_each(|_| drop(others.spawn(ask(Arc::clone(&asked)))));
        for _ in 0..1_000 {
            yield_now().await;
        }
        asked.leave.add_permits(2);
        assert_eq!(first.await.expect("no panic"), 1);
        assert_eq!(others.join_all().await, vec![2; 100]);

        // Later ones ask anew.
        asked.leave.add_permits(1);
        assert_eq!(ask(Arc::clone(&asked)).await, 3);
    }

    #[tokio::test]
    async fn one_that_is_given_up_is_asked_again() {
        let rounds = Rounds::default();
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, rounds.ask(std::future::pending::<u64>()));
        assert!(given_up.await.is_err());
        assert_eq!(rounds.ask(async { 7 }).await, 7);
    }
}
