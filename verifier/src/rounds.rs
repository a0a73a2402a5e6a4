//! Batches are checked on all cores, and what is found comes out as if they were checked one after the other.
//!
//! Where a batch begins in a stream's files is known for sure only when the one before was read. But its summary says
//! how long it should be, and in an honest bundle that is so. So batches are checked from where they should begin,
//! several of one stream at once, and what was found counts only if the batch before ended there. If it did not, the rest
//! is checked again from where it did end, and nothing was lost but time: no more than it takes to read the bundle a few
//! times over, whatever is in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bundle::{Position, Reader};
use evidence::Entry;
use evidence::statement::{Statement, Summary};

use crate::batch::{BatchChecker, Broken, Checked};
use crate::chain::threads;
use crate::stream::{Standing, StreamCheck, StreamResult};

/// How many statements wait before their batches are checked: each may bring thousands of problems.
const STATEMENTS_MAX: usize = 128;

/// Batches of one stream are checked by one thread until they have so many bytes together: enough that opening the
/// files does not matter, little enough that all threads are done at about the same time.
const PIECE_BYTES: u64 = 2 << 20;

/// So often a stream's batches may turn out to begin elsewhere; then they are checked one after the other.
const MISSES_MAX: u32 = 4;

/// Takes the statements of all streams, in the order of their seqs.
pub(crate) struct Rounds<'a> {
    reader: &'a Reader,
    streams: Vec<Stream<'a>>,
    /// One for each thread.
    checkers: Vec<BatchChecker>,
    waiting: Vec<Waiting>,
}

struct Stream<'a> {
    check: StreamCheck<'a>,
    /// Where its next batch begins.
    position: Position,
    /// In how many rounds batches did not begin where they should.
    misses: u32,
    /// Set when the stream's files cannot be read on.
    is_broken: bool,
}

/// A statement that waits.
struct Waiting {
    stream: usize,
    entry: Entry,
    standing: Standing,
}

/// Neighbouring batches of one stream, by their places among what waits.
struct Piece {
    stream: usize,
    from: Position,
    /// Where it should end, if `from` is where it should begin: so far it is read, so that looking ahead reads no byte
    /// twice. `None` where it is known to begin.
    to: Option<Position>,
    batches: Vec<usize>,
}

/// What became of a piece.
struct Done {
    /// One for each batch that could be read.
    checked: Vec<Checked>,
    /// Where the next batch begins, or why the next one could not be read.
    end: Result<Position, Broken>,
}

type Outcomes = Vec<Option<Result<Checked, Broken>>>;

impl<'a> Rounds<'a> {
    /// `checks` are the streams of the manifest, in order.
    pub(crate) fn new(reader: &'a Reader, checks: Vec<StreamCheck<'a>>) -> Self {
        let stream = |check| Stream { check, position: Position::default(), misses: 0, is_broken: false };
        Self {
            reader,
            streams: checks.into_iter().map(stream).collect(),
            checkers: (0..threads()).map(|_| BatchChecker::default()).collect(),
            waiting: Vec::new(),
        }
    }

    /// Takes the next statement of a stream.
    pub(crate) fn statement(&mut self, stream: usize, entry: Entry, standing: Standing) {
        self.waiting.push(Waiting { stream, entry, standing });
        if self.waiting.len() == STATEMENTS_MAX {
            self.round();
        }
    }

    /// Takes it that there are no more statements. `all_read` unless reading stopped early.
    pub(crate) fn finish(mut self, all_read: bool) -> Vec<StreamResult> {
        self.round();
        let finish = |(i, stream): (usize, Stream<'_>)| {
            let end = match stream.is_broken {
                true => Ok(()),
                false => self.reader.batches_from(i, stream.position, None).end(),
            };
            stream.check.finish(end, all_read)
        };
        self.streams.into_iter().enumerate().map(finish).collect()
    }

    /// Checks the batches of what waits, and draws the conclusions in order.
    fn round(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut outcomes: Outcomes = waiting.iter().map(|_| None).collect();
        let mut pieces = self.pieces(&waiting);
        while !pieces.is_empty() {
            let done = self.check(&pieces, &waiting);
            pieces = self.accept(pieces, done, &mut outcomes);
        }
        for (Waiting { stream, entry, standing }, outcome) in waiting.into_iter().zip(outcomes) {
            self.streams[stream].check.statement(&entry, &standing, outcome);
        }
    }

    /// What there is to check, stream by stream.
    fn pieces(&self, waiting: &[Waiting]) -> Vec<Piece> {
        let mut by_stream: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, statement) in waiting.iter().enumerate() {
            if !self.streams[statement.stream].is_broken && self.sealed(statement).is_some() {
                by_stream.entry(statement.stream).or_default().push(i);
            }
        }
        let mut pieces = Vec::new();
        for (stream, batches) in by_stream {
            let Stream { position: from, misses, .. } = self.streams[stream];
            let whole = Piece { stream, from, to: None, batches };
            if misses < MISSES_MAX { self.cut(whole, waiting, &mut pieces) } else { pieces.push(whole) }
        }
        pieces
    }

    /// Cuts a piece into smaller ones that begin where their summaries say.
    fn cut(&self, whole: Piece, waiting: &[Waiting], pieces: &mut Vec<Piece>) {
        let Piece { stream, from, batches, .. } = whole;
        let mut piece = Piece { stream, from, to: None, batches: Vec::new() };
        let (mut end, mut is_known) = (from, true);
        let mut push = |mut piece: Piece, end| {
            piece.to = Some(end).filter(|_| piece.from != from);
            pieces.push(piece);
        };
        for i in batches {
            if is_known && end.events - piece.from.events >= PIECE_BYTES {
                let next = Piece { stream, from: end, to: None, batches: Vec::new() };
                push(std::mem::replace(&mut piece, next), end);
            }
            piece.batches.push(i);
            let (summary, held) = self.sealed(&waiting[i]).expect("in a piece is what the bundle holds something of");
            // What the bundle holds a part of is shorter, nobody knows how much.
            is_known &= held == (summary.first..summary.next);
            end = end.after(summary.events, summary.events, summary.bytes);
        }
        push(piece, end);
    }

    /// The summary of a batch of which the bundle holds events, and their offsets.
    fn sealed<'b>(&self, statement: &'b Waiting) -> Option<(&'b Summary, Range<u64>)> {
        let Statement::Summary(summary) = statement.entry.statement.statement() else { return None };
        Some((summary, self.streams[statement.stream].check.held(summary)?))
    }

    /// Checks pieces on all threads, and returns what became of each in their order.
    fn check(&mut self, pieces: &[Piece], waiting: &[Waiting]) -> Vec<Done> {
        let mut checkers = std::mem::take(&mut self.checkers);
        let next = AtomicUsize::new(0);
        let work = |checker: &mut BatchChecker| -> Vec<(usize, Done)> {
            let next = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
            let pieces = next.map_while(|i| Some((i, pieces.get(i)?)));
            pieces.map(|(i, piece)| (i, self.check_piece(piece, waiting, checker))).collect()
        };
        let mut done = thread::scope(|scope| {
            let (own, others) = checkers.split_first_mut().expect("one for each thread, of which one is here");
            let others = others.iter_mut().take(pieces.len() - 1);
            let others: Vec<_> = others.map(|checker| scope.spawn(|| work(checker))).collect();
            let mut done = work(own);
            for other in others {
                done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            done
        });
        self.checkers = checkers;
        done.sort_by_key(|(i, _)| *i);
        done.into_iter().map(|(_, done)| done).collect()
    }

    /// Checks the batches of a piece one after the other, as far as they can be read.
    fn check_piece(&self, piece: &Piece, waiting: &[Waiting], checker: &mut BatchChecker) -> Done {
        let mut batches = self.reader.batches_from(piece.stream, piece.from, piece.to);
        let mut checked = Vec::with_capacity(piece.batches.len());
        for statement in piece.batches.iter().map(|i| &waiting[*i]) {
            let (summary, held) = self.sealed(statement).expect("in a piece is what the bundle holds something of");
            let expected = &self.streams[piece.stream].check.result.expected;
            match checker.check(&mut batches, statement.entry.seq, summary, held, expected) {
                Ok(batch) => checked.push(batch),
                Err(error) => return Done { checked, end: Err(error) },
            }
        }
        Done { checked, end: Ok(batches.position()) }
    }

    /// Takes over what counts. What began elsewhere than where the piece before ended is returned, one piece for each
    /// stream, to be checked from there.
    fn accept(&mut self, pieces: Vec<Piece>, done: Vec<Done>, outcomes: &mut Outcomes) -> Vec<Piece> {
        let mut again: Vec<Piece> = Vec::new();
        for (piece, done) in pieces.into_iter().zip(done) {
            let stream = &mut self.streams[piece.stream];
            if stream.is_broken {
                continue;
            }
            // Pieces of a stream are neighbours here, so the last one is its own if there is one.
            match again.last_mut().filter(|rest| rest.stream == piece.stream) {
                Some(rest) => rest.batches.extend(piece.batches),
                // What is read only so far may have been cut short by that alone.
                None if piece.from != stream.position || (piece.to.is_some() && done.end.is_err()) => {
                    stream.misses += 1;
                    again.push(Piece { from: stream.position, to: None, ..piece });
                }
                None => {
                    let mut batches = piece.batches.into_iter();
                    for (checked, i) in done.checked.into_iter().zip(&mut batches) {
                        outcomes[i] = Some(Ok(checked));
                    }
                    match (done.end, batches.next()) {
                        (Err(error), Some(i)) => {
                            outcomes[i] = Some(Err(error));
                            stream.is_broken = true;
                        }
                        (Ok(end), _) => stream.position = end,
                        (Err(_), None) => unreachable!("what could not be read was a batch of the piece"),
                    }
                }
            }
        }
        again
    }
}
