//! Reading events allocates nothing. A test binary of its own, because it replaces the allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use evidence::TimestampType;
use kafka::{Item, Polled, TopicPartition};
use testbed::events::{PATIENCE, alone, broker};
use testbed::wire;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does everything.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller ensures it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller ensures it.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn reading_an_event_allocates_nothing() {
    let broker = broker(&[("t", 1)]);
    let bootstrap = broker.bootstrap_servers();
    let headers = vec![(b"name".to_vec(), Some(b"value".to_vec())); 20];
    let record = wire::Record { value: Some(b"v".to_vec()), headers, ..wire::Record::default() };
    wire::produce(bootstrap, "t", 0, &wire::batch(TimestampType::Create, &vec![record; 500]));
    let mut consumer = alone(bootstrap);
    // The first round allocates memory that the second one reuses.
    for round in 0..2 {
        consumer.start([(TopicPartition::new("t", 0), 0)]).expect("it is in no group");
        let (mut events, mut allocations) = (0, 0);
        while events < 500 {
            if let Polled::Batch(mut batch) = consumer.poll(PATIENCE).expect("the client works") {
                let before = COUNT.get();
                while let Some(item) = batch.next_item() {
                    match item {
                        Item::Event { event, .. } => events += u32::from(event.headers.len() == 20),
                        Item::End { .. } => {}
                        Item::Error(error) => panic!("{error}"),
                    }
                }
                allocations += COUNT.get() - before;
            }
        }
        assert!(round == 0 || allocations == 0, "{allocations} allocations for {events} events");
    }
}
