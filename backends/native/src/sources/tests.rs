use super::*;

#[test]
fn l23_a_token_of_an_ended_registration_finds_nothing() {
    let sources = Sources::default();
    let insert = || sources.insert(0).unwrap().watch().token();
    let old = insert();
    sources.remove(old);
    let new = insert();
    assert_ne!(old, new);
    assert_eq!(old.0 & SLOT_MASK, new.0 & SLOT_MASK);
    let inner = lock(&sources.inner);
    assert!(inner.find(old).is_none());
    assert!(inner.find(new).is_some());
    assert!(inner.find(WAKER).is_none());
}

#[test]
fn nothing_is_registered_with_a_loop_that_is_gone() {
    let sources = Sources::default();
    sources.end(&mut Vec::new());
    assert!(sources.insert(0).is_err());
}
