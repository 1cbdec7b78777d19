//! What is left in the controller's memory once it has nothing to do.

use waxseal_tests::canaries::{Canaries, list};
use waxseal_tests::memory::sightings;
use waxseal_tests::vectors::KnownObject;

use crate::machine::{Controller, Machine};

/// What the controller does remember: the status that it wrote.
const REMEMBERED: &str = "the Secret is as this SealedSecret says";

/// Nothing is left at all: the keys are read for each pass and wiped at its end, and neither the
/// allocator nor a stack keeps a copy.
#[track_caller]
fn assert_nothing_is_left(controller: &Controller<'_>, known: &KnownObject) {
    let memory = controller.idle_memory();
    let found = sightings(&memory, &known.canaries());
    let found: Vec<_> = found.into_iter().map(|(_, sighting)| sighting).collect();
    assert!(found.is_empty(), "{}", list(&found));
    let remembered = Canaries::new([("the last status", REMEMBERED)]);
    assert!(!sightings(&memory, &remembered).is_empty(), "not even what it remembers is found: was memory read?");
}

#[test]
fn after_a_pass_no_key_no_value_and_no_intermediate_is_left() {
    let known = KnownObject::new("shop", "db");
    let machine = Machine::new();
    machine.add_identity(&known.identity, "2026-01-01T00:00:00Z");
    machine.write_manifest("db.json", known.manifest.to_string());
    let controller = machine.start_readable();
    controller.wait_for_value("shop/db/PASSWORD", &known.value);
    controller.wait_for_reason("db", "Materialised");
    assert_nothing_is_left(&controller, &known);

    machine.edit("db.json", "\"PASSWORD\"", "\"PASSWORT\"");
    controller.wait_for_reason("db", "Unreadable");
    machine.edit("db.json", "\"PASSWORT\"", "\"PASSWORD\"");
    controller.wait_for_reason("db", "Materialised");
    assert_nothing_is_left(&controller, &known);
}
