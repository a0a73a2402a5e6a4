//! Runs many seeds on all processors, and counts the events in them.

#![allow(clippy::print_stdout, reason = "it prints a report")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use simulation::{Counts, Finding, Simulator};

/// Simulates sealing and committing in worlds where everything fails.
#[derive(Parser)]
struct Arguments {
    /// Number of seeds to run.
    #[arg(default_value_t = 100_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Number of threads; by default the number of processors.
    #[arg(long)]
    threads: Option<usize>,
    /// Print all events in the world of the first seed, and run no other seed.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        for line in Simulator::default().trace(arguments.first) {
            println!("{line}");
        }
    }
    let seeds = if arguments.trace { 1 } else { arguments.seeds };
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = arguments.threads.unwrap_or(available).max(1);
    let begun = Instant::now();
    let (counts, done, finding) = run(arguments.first, seeds, threads);
    let elapsed_s = begun.elapsed().as_secs_f64();
    print!("{counts}");
    println!(
        "{done} seeds from {}, {elapsed_s:.1} s, {:.0} seeds/s on {threads} threads",
        arguments.first,
        done as f64 / elapsed_s
    );
    match finding {
        None => ExitCode::SUCCESS,
        Some(finding) => {
            println!("\n{finding}");
            ExitCode::FAILURE
        }
    }
}

/// Runs seeds on threads, until all are done or one has a finding.
fn run(first: u64, seeds: u64, threads: usize) -> (Counts, u64, Option<Box<Finding>>) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let results = Mutex::new((Counts::default(), 0, None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut simulator, mut counts, mut done, mut finding) =
                    (Simulator::default(), Counts::default(), 0, None);
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    done += 1;
                    match simulator.run(first + seed, None) {
                        Ok(of_seed) => counts.merge(&of_seed),
                        Err(found) => {
                            finding = Some(found);
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
                let mut results = results.lock().expect("no thread panics while it holds the lock");
                results.0.merge(&counts);
                results.1 += done;
                results.2 = results.2.take().or(finding);
            });
        }
    });
    results.into_inner().expect("no thread panics while it holds the lock")
}
