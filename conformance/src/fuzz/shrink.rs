//! Making a failing program small.

use super::program::{Block, Program, Stmt};
use std::sync::Arc;

/// Takes away statements, blocks and settings while `fails` says that the program still fails.
#[must_use]
pub fn shrink(program: &Program, mut fails: impl FnMut(&Program) -> bool) -> Program {
    let mut best = program.clone();
    loop {
        let smaller = candidates(&best).into_iter().find(|candidate| fails(candidate));
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Programs that are smaller by one step, the smallest first.
fn candidates(program: &Program) -> Vec<Program> {
    let mut candidates = Vec::new();
    if program.repetitions > 1 {
        candidates.push(Program { repetitions: 1, ..program.clone() });
    }
    if program.drop_after.is_some() {
        candidates.push(Program { drop_after: None, ..program.clone() });
    }
    let mut smaller: Vec<_> =
        blocks(&program.main).into_iter().map(|main| Program { main, ..program.clone() }).collect();
    smaller.sort_by_key(Program::size);
    candidates.append(&mut smaller);
    candidates
}

fn blocks(block: &Block) -> Vec<Block> {
    let mut all = Vec::new();
    for i in 0..block.len() {
        let replaced = |new: &[Stmt]| {
            let mut stmts = block[..i].to_vec();
            stmts.extend_from_slice(new);
            stmts.extend_from_slice(&block[i + 1..]);
            Arc::new(stmts)
        };
        all.push(replaced(&[]));
        let stmt = &block[i];
        for (j, inner) in stmt.blocks.iter().enumerate() {
            all.push(replaced(inner));
            for smaller in blocks(inner) {
                let mut stmt = stmt.clone();
                stmt.blocks[j] = smaller;
                all.push(replaced(&[stmt]));
            }
        }
    }
    all
}
