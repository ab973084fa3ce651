//! Every way has an end: from wherever the machine is, it comes to rest by itself, and nothing but the world's own
//! weather can keep it from that for ever.

use super::explore::{Found, is_operator, is_weather};
use super::world::{ALL, Event};

/// Nodes from which no way leads to rest without a person.
pub fn trapped(found: &Found) -> Vec<u32> {
    let count = found.edges.len();
    let mut back: Vec<Vec<u32>> = vec![Vec::new(); count];
    for (from, edges) in (0_u32..).zip(&found.edges) {
        for (to, (event, _)) in edges {
            if !is_operator(*event) {
                back[*to as usize].push(from);
            }
        }
    }
    let mut safe = found.settled.clone();
    let mut queue: Vec<u32> = (0_u32..).zip(&safe).filter(|(_, safe)| **safe).map(|(number, _)| number).collect();
    while let Some(number) = queue.pop() {
        for from in &back[number as usize] {
            if !safe[*from as usize] {
                safe[*from as usize] = true;
                queue.push(*from);
            }
        }
    }
    (0_u32..).zip(safe).filter(|(_, safe)| !safe).map(|(number, _)| number).collect()
}

/// The longest way that the machine can be led without weather, losses, time or a person before it rests; none where it can be
/// led in a circle, whose nodes are given.
pub fn longest_way(found: &Found) -> Result<u32, Vec<u32>> {
    let moves = |number: usize| {
        let own = u32::try_from(number).unwrap_or(u32::MAX);
        found.edges[number].iter().filter(move |(to, (event, fate))| {
            *to != own && *fate == ALL && !is_operator(*event) && !is_weather(*event) && !matches!(event, Event::Time)
        })
    };
    // 0: not seen, 1: on the way, 2: done.
    let mut colour = vec![0_u8; found.edges.len()];
    let mut depth = vec![0_u32; found.edges.len()];
    for root in 0..found.edges.len() {
        if colour[root] != 0 {
            continue;
        }
        let mut stack = vec![(root, 0_usize)];
        colour[root] = 1;
        while let Some((node, next)) = stack.pop() {
            if let Some((to, _)) = moves(node).nth(next) {
                let to = *to as usize;
                stack.push((node, next + 1));
                match colour[to] {
                    0 => {
                        colour[to] = 1;
                        stack.push((to, 0));
                    }
                    1 => {
                        let start = stack.iter().position(|(on, _)| *on == to).unwrap_or_default();
                        return Err(stack[start..]
                            .iter()
                            .map(|(on, _)| u32::try_from(*on).unwrap_or(u32::MAX))
                            .collect());
                    }
                    _ => {}
                }
            } else {
                colour[node] = 2;
                depth[node] = moves(node).map(|(to, _)| depth[*to as usize] + 1).max().unwrap_or(0);
            }
        }
    }
    Ok(depth.into_iter().max().unwrap_or(0))
}
