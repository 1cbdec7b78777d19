//! Runs work on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Runs `work` for each item, on as many threads as there are cores. Passes the outcomes to `take` in the order of the
/// items, each as soon as it and all earlier outcomes are ready.
pub(crate) fn in_order<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut take: impl FnMut(R)) {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if workers < 2 {
        return items.iter().map(work).for_each(take);
    }
    let (next, work) = (AtomicUsize::new(0), &work);
    let (sender, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { break };
                    if sender.send((number, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        for (number, outcome) in outcomes {
            waiting.insert(number, outcome);
            while let Some(outcome) = waiting.remove(&due) {
                take(outcome);
                due += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn outcomes_come_in_the_order_of_the_items() {
        for count in [0, 1, 2, 100] {
            let items: Vec<u64> = (0..count).collect();
            let mut outcomes = Vec::new();
            let work = |item: &u64| {
                thread::sleep(Duration::from_micros(if item.is_multiple_of(10) { 2000 } else { 10 }));
                item * 2
            };
            in_order(&items, work, |outcome| outcomes.push(outcome));
            assert_eq!(outcomes, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
