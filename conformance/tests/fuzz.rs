//! Random programs, for a few seconds. The binary runs more: `trine-conformance fuzz --seconds 60`.

use std::time::{Duration, Instant};
use trine::testing::Order;
use trine_conformance::fuzz::{Program, Setup, check, shrink};
use trine_conformance::host;

#[test]
fn random_programs_find_nothing() {
    let (begin, mut failures) = (Instant::now(), String::new());
    let (mut seed, hosts) = (0, host::all());
    while begin.elapsed() < Duration::from_secs(5) && seed < 20_000 {
        let program = Program::generate(seed);
        let orders = [Order::Fifo, Order::Lifo, Order::Shuffle(seed)];
        for (host, order) in hosts.iter().flat_map(|host| orders.map(|order| (host, order))) {
            let setup = Setup { host: host.clone(), order };
            let report = check(&program, &setup);
            if !report.passed() {
                let small = shrink(&program, |smaller| !check(smaller, &setup).passed());
                failures += &format!("seed {seed}, {host:?}, {order:?}: {:#?}\n{small}\n", report.failures);
            }
        }
        seed += 1;
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn programs_are_what_their_seed_says() {
    for seed in 0..50 {
        assert_eq!(Program::generate(seed).to_string(), Program::generate(seed).to_string());
    }
}
