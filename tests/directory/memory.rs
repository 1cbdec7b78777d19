//! What is left in the controller's memory once it has nothing to do.

use waxseal_tests::canaries::{Canaries, list};
use waxseal_tests::memory::sightings;
use waxseal_tests::vectors::KnownObject;

use crate::machine::{Controller, Machine};

/// A text that stays in the controller's memory: a part of the status that it wrote.
const REMEMBERED: &str = "the Secret is as this SealedSecret says";

/// Asserts that no secret is left: the controller reads the keys for each pass and wipes them at its end, and neither
/// the allocator nor a stack keeps a copy.
#[track_caller]
fn assert_nothing_is_left(controller: &Controller<'_>, known: &KnownObject) {
    let memory = controller.idle_memory();
    let found = sightings(&memory, &known.canaries());
    let found: Vec<_> = found.into_iter().map(|(_, sighting)| sighting).collect();
    assert!(found.is_empty(), "{}", list(&found));
    let remembered = Canaries::new([("the last status", REMEMBERED)]);
    assert!(!sightings(&memory, &remembered).is_empty(), "the last status is not found either: was the memory read?");
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
