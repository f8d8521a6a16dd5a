//! A warm run allocates nothing. In a binary of its own, since it counts every allocation of the process.

mod tiny;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use loquat_kernels::{Cpu, Exec, Team};
use loquat_runtime::{
    Options, Precision, Session,
    cpu::{Arena, Program},
};
use tiny::AWKWARD;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_run_allocates_nothing() {
    let weights = Arc::new(AWKWARD.weights());
    let graph = |precision| {
        let options = Options { threads: NonZeroUsize::new(1), precision, ..Options::default() };
        let session = Session::new(AWKWARD.graph(), Arc::clone(&weights), &options).unwrap();
        session.inspect().graph().unwrap().clone()
    };
    let precisions = [Precision::F32, Precision::Bf16x3, Precision::Bf16, Precision::Int8, Precision::Int4];
    let team = Team::new(NonZeroUsize::new(3).unwrap()).unwrap();
    let lease = team.lease_blocking();
    // A thread allocates when it starts, which may be late on a busy machine; after a job all of them have started.
    lease.run(&|_| {});
    for (cpu, precision) in Cpu::available().into_iter().flat_map(|cpu| precisions.map(|each| (cpu, each))) {
        let program = Program::new(&graph(precision), Arc::clone(&weights), cpu, Exec::Serial).unwrap();
        let large = AWKWARD.batch(&[30, 4, 17, 1, 55]);
        let small = AWKWARD.batch(&[9, 2, 40]);
        for (name, exec) in [("serial", Exec::Serial), ("team", Exec::Team(&lease))] {
            let mut arena = Arena::new();
            for (case, batch, cold) in [("first", &large, true), ("again", &large, false), ("smaller", &small, false)] {
                let view = batch.view();
                let rows = |tokens: bool| if tokens { batch.tokens() } else { batch.sequences() };
                let mut memory: Vec<Vec<f32>> = program
                    .outputs()
                    .iter()
                    .map(|(name, shape)| vec![0.0; rows(name == "hidden") * shape.width])
                    .collect();
                let mut outputs: Vec<&mut [f32]> = memory.iter_mut().map(Vec::as_mut_slice).collect();
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                program.run(view, &mut arena, exec, &mut outputs).unwrap();
                let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
                // The first run shows that the counter counts.
                assert_eq!(count > 0, cold, "{} {precision:?} {name} {case}: {count} allocations", cpu.level());
                assert!(memory.iter().flatten().any(|value| *value != 0.0));
            }
        }
    }
}
