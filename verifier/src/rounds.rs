//! Checks batches on all cores, with the findings of checking them one after the other.
//!
//! The position of a batch in a stream's files is certain only once the batch before it was read. But the summaries give
//! the lengths, and an honest bundle has those lengths. So several batches of one stream are checked at once, each from
//! where it should begin. A result counts only if the batch before ended there. If not, the rest is checked again from the
//! real position. That costs only time: a hostile bundle is read at most a few times over.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bundle::{Position, Reader};
use evidence::Entry;
use evidence::statement::{Statement, Summary};

use crate::batch::{BatchChecker, BatchResult, Checked, Unfinished};
use crate::stream::{Standing, StreamCheck, StreamResult};
use crate::threads::threads;

/// The number of statements that wait before their batches are checked. Each may bring thousands of problems.
const STATEMENTS_MAX: usize = 128;

/// The bytes of one stream's batches that a thread checks together. This is enough that opening the files does not matter,
/// and little enough that all threads finish at about the same time.
const PIECE_BYTES: u64 = 2 << 20;

/// The number of wrong positions after which a stream's batches are checked one after the other.
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
    /// The position of its next batch.
    position: Position,
    /// The number of rounds in which a batch did not begin where it should.
    misses: u32,
    /// Set when the rest of the stream's files cannot be read.
    is_unreadable: bool,
}

/// A statement that waits.
struct Waiting {
    stream: usize,
    entry: Entry,
    standing: Standing,
}

/// Neighbouring batches of one stream, by their indexes among the waiting statements.
struct Piece {
    stream: usize,
    from: Position,
    /// Where it should end; `None` if `from` is certain. A piece that begins at a guess is not read beyond this, so that no
    /// byte is read twice.
    to: Option<Position>,
    batches: Vec<usize>,
}

/// The result of checking a piece.
struct Done {
    /// One for each batch that could be read.
    checked: Vec<Checked>,
    /// The position of the next batch, or why that batch could not be read.
    end: Result<Position, Unfinished>,
}

impl<'a> Rounds<'a> {
    /// `checks` are the streams of the manifest, in order.
    pub(crate) fn new(reader: &'a Reader, checks: Vec<StreamCheck<'a>>) -> Self {
        let stream = |check| Stream { check, position: Position::default(), misses: 0, is_unreadable: false };
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

    /// Returns the results, after the last statement. `all_read` is false if reading ended early.
    pub(crate) fn finish(mut self, all_read: bool) -> Vec<StreamResult> {
        self.round();
        let finish = |(i, stream): (usize, Stream<'_>)| {
            let end = match stream.is_unreadable {
                true => Ok(()),
                false => self.reader.batches_from(i, stream.position, None).end(),
            };
            stream.check.finish(end, all_read)
        };
        self.streams.into_iter().enumerate().map(finish).collect()
    }

    /// Checks the waiting batches, and draws the conclusions in order.
    fn round(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let mut results: Vec<Option<BatchResult>> = waiting.iter().map(|_| None).collect();
        let mut pieces = self.pieces(&waiting);
        while !pieces.is_empty() {
            let done = self.check(&pieces, &waiting);
            pieces = self.accept(pieces, done, &mut results);
        }
        for (Waiting { stream, entry, standing }, result) in waiting.into_iter().zip(results) {
            self.streams[stream].check.statement(&entry, &standing, result);
        }
    }

    /// The pieces to check, stream by stream.
    fn pieces(&self, waiting: &[Waiting]) -> Vec<Piece> {
        let mut by_stream: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, statement) in waiting.iter().enumerate() {
            if !self.streams[statement.stream].is_unreadable && self.sealed(statement).is_some() {
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

    /// Cuts a piece into smaller ones that begin where the summaries say.
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
            let (summary, held) =
                self.sealed(&waiting[i]).expect("a piece has only batches that the bundle holds a part of");
            // A batch of which the bundle holds a part is shorter, by an unknown length.
            is_known &= held == (summary.first..summary.next);
            end = end.after(summary.events, summary.events, summary.bytes);
        }
        push(piece, end);
    }

    /// Summary and held offsets of a batch, if the bundle holds any of its events.
    fn sealed<'b>(&self, statement: &'b Waiting) -> Option<(&'b Summary, Range<u64>)> {
        let Statement::Summary(summary) = statement.entry.statement.statement() else { return None };
        Some((summary, self.streams[statement.stream].check.held(summary)?))
    }

    /// Checks pieces on all threads, and returns the results in their order.
    fn check(&mut self, pieces: &[Piece], waiting: &[Waiting]) -> Vec<Done> {
        let mut checkers = std::mem::take(&mut self.checkers);
        let next = AtomicUsize::new(0);
        let work = |checker: &mut BatchChecker| -> Vec<(usize, Done)> {
            let next = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
            let pieces = next.map_while(|i| Some((i, pieces.get(i)?)));
            pieces.map(|(i, piece)| (i, self.check_piece(piece, waiting, checker))).collect()
        };
        let mut done = thread::scope(|scope| {
            let (own, others) =
                checkers.split_first_mut().expect("one for each thread, and there is at least this one");
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
            let (summary, held) =
                self.sealed(statement).expect("a piece has only batches that the bundle holds a part of");
            let expected = &self.streams[piece.stream].check.result.expected;
            match checker.check(&mut batches, statement.entry.seq, summary, held, expected) {
                Ok(batch) => checked.push(batch),
                Err(error) => return Done { checked, end: Err(error) },
            }
        }
        Done { checked, end: Ok(batches.position()) }
    }

    /// Accepts the results of pieces that began where the piece before ended. Returns the rest of each other stream as one
    /// piece, to be checked again from there.
    fn accept(&mut self, pieces: Vec<Piece>, done: Vec<Done>, results: &mut [Option<BatchResult>]) -> Vec<Piece> {
        let mut again: Vec<Piece> = Vec::new();
        for (piece, done) in pieces.into_iter().zip(done) {
            let stream = &mut self.streams[piece.stream];
            if stream.is_unreadable {
                continue;
            }
            // Pieces of a stream are neighbours, so if it has one in `again`, that is the last.
            match again.last_mut().filter(|rest| rest.stream == piece.stream) {
                Some(rest) => rest.batches.extend(piece.batches),
                // The limit `to` alone may have cut the piece short.
                None if piece.from != stream.position || (piece.to.is_some() && done.end.is_err()) => {
                    stream.misses += 1;
                    again.push(Piece { from: stream.position, to: None, ..piece });
                }
                None => {
                    let mut batches = piece.batches.into_iter();
                    for (checked, i) in done.checked.into_iter().zip(&mut batches) {
                        results[i] = Some(Ok(checked));
                    }
                    match (done.end, batches.next()) {
                        (Err(error), Some(i)) => {
                            results[i] = Some(Err(error));
                            stream.is_unreadable = true;
                        }
                        (Ok(end), _) => stream.position = end,
                        (Err(_), None) => unreachable!("only a batch of the piece can be unreadable"),
                    }
                }
            }
        }
        again
    }
}
